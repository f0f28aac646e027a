"""Writing into pipes: slow, stuck and broken readers."""

import io
import os
import threading
from pathlib import Path

import pytest

from gest_stream.errors import SinkError
from gest_stream.pipe.stdout import PipeFile, grow_pipe


def test_all_bytes_arrive_through_a_small_pipe() -> None:
    reading, writing = os.pipe()
    data = os.urandom(1_000_000)
    received = bytearray()

    def read_all() -> None:
        while piece := os.read(reading, 4000):
            received.extend(piece)

    reader = threading.Thread(target=read_all)
    reader.start()
    with os.fdopen(writing, "wb", buffering=0) as file:
        out = PipeFile(file, "output")
        assert out.write(data) == len(data)
        out.close()
        out.close()
    reader.join(10)
    os.close(reading)
    assert received == data


def test_a_reader_that_is_gone_is_a_broken_pipe() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as file:
        out = PipeFile(file, "output")
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            out.write(b"x" * 10)
        out.close()


def test_a_reader_that_takes_nothing_is_given_up_once_the_run_is_being_ended() -> None:
    reading, writing = os.pipe()
    ending = threading.Event()
    with os.fdopen(writing, "wb", buffering=0) as file:
        out = PipeFile(file, "output", ending.is_set, patience_s=0.2)
        errors: list[BaseException] = []

        def write() -> None:
            try:
                out.write(bytes(1 << 20))
            except SinkError as exc:
                errors.append(exc)

        writer = threading.Thread(target=write)
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()  # without an end it waits for as long as it takes
        ending.set()
        writer.join(10)
        assert not writer.is_alive()
        assert [str(error) for error in errors] == [
            "output: its reader takes nothing; the end of the stream was not written"
        ]
        out.close()
    os.close(reading)


def test_writing_does_not_make_the_pipe_non_blocking_for_others() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as file:
        out = PipeFile(file, "output")
        out.write(b"abc")
        assert os.get_blocking(writing)
        out.close()
    os.close(reading)


def test_a_file_is_written_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    with path.open("wb", buffering=0) as file:
        file.write(b"head ")
        out = PipeFile(file, "output")
        out.write(b"tail")
        out.close()
    assert path.read_bytes() == b"head tail"


def test_a_file_without_a_descriptor_is_written_too() -> None:
    file = io.BytesIO()
    out = PipeFile(file, "output")
    assert out.write(b"abc") == 3
    grow_pipe(file)
    out.close()
    assert file.getvalue() == b"abc"


def test_pipes_are_made_to_hold_a_raw_picture() -> None:
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_GETPIPE_SZ"):
        pytest.skip("this system cannot change a pipe's size")
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as file:
        before = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
        grow_pipe(file)
        assert fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) > before
    os.close(reading)
