"""Layouts of the shared memory, and memory that is refused."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gest_stream.exchange.messages import ExchangeError, Message, Refusal
from gest_stream.exchange.slots import Output, PixelFormat, Shape, SharedSlots, check_frame, shape_of
from tests.exchange.host import SEALS, frame_of, hello_of, mapped_memfds, rgba_shape, sealed_memfd

SHAPE = rgba_shape()


def test_a_layout_is_that_of_the_protocol() -> None:
    hd = Shape(1280, 720, PixelFormat.RGBA, Output.FRAME)
    assert (hd.input_bytes, hd.total_bytes, hd.output_at(1)) == (3686400, 6 * 3686400, 4 * 3686400)
    odd = Shape(33, 17, PixelFormat.I420, Output.MASK)
    assert odd.input_planes == ((17, 33), (9, 17), (9, 17))
    assert odd.output_planes == ((17, 33),)
    assert (odd.input_at(2), odd.output_at(0), odd.total_bytes) == (8192, 3 * 4096, 6 * 4096)
    assert Shape(33, 17, PixelFormat.NV12, Output.FRAME).output_planes == ((17, 33), (9, 34))


def test_slots_do_not_overlap_and_are_the_hosts_own_memory() -> None:
    for pixel_format in PixelFormat:
        for output in Output:
            shape = Shape(35, 21, pixel_format, output)
            descriptor = sealed_memfd(shape.total_bytes)
            slots = SharedSlots(descriptor, shape)
            for slot in range(3):
                for plane in slots.output(slot):
                    assert not plane.any()
                    plane[...] = slot + 1
            whole = np.frombuffer(os.pread(descriptor, shape.total_bytes, 0), np.uint8)
            os.close(descriptor)
            counts = [int((whole == value).sum()) for value in (1, 2, 3)]
            assert counts == [shape.output_bytes] * 3
            start = shape.output_at(1)
            assert (whole[start : start + shape.output_bytes] == 2).all()
            with pytest.raises(ValueError, match="read-only"):
                slots.input(0)[0][0, 0] = 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"width": 15}, Refusal.SIZE),
        ({"width": 8193}, Refusal.SIZE),
        ({"height": 0}, Refusal.SIZE),
        ({"height": 2**32 - 1}, Refusal.SIZE),
        ({"stride": 4 * 64 + 1}, Refusal.SIZE),
        ({"stride": 0}, Refusal.SIZE),
        ({"slot": 2}, Refusal.SIZE),
        ({"size_bytes": SHAPE.total_bytes + 4096}, Refusal.SIZE),
        ({"size_bytes": 0}, Refusal.SIZE),
        ({"size_bytes": 2**64 - 1}, Refusal.SIZE),
        ({"format": 0}, Refusal.FORMAT),
        ({"format": 5}, Refusal.FORMAT),
        ({"output": 2}, Refusal.FORMAT),
    ],
)
def test_a_hello_whose_fields_do_not_fit_is_refused(change: dict[str, int], reason: Refusal) -> None:
    with pytest.raises(ExchangeError) as caught:
        shape_of(replace(hello_of(SHAPE), **change))  # type: ignore[arg-type]
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"slot": 3}, Refusal.SLOT),
        ({"slot": 2**32 - 1}, Refusal.SLOT),
        ({"width": 65}, Refusal.SIZE),
        ({"height": 47}, Refusal.SIZE),
        ({"stride": 1}, Refusal.SIZE),
        ({"format": 2}, Refusal.SIZE),
        ({"output": 1}, Refusal.SIZE),
        ({"size_bytes": SHAPE.input_bytes - 1}, Refusal.SIZE),
    ],
)
def test_a_frame_that_is_not_of_its_hello_is_refused(change: dict[str, int], reason: Refusal) -> None:
    check_frame(frame_of(SHAPE, 2, 1), SHAPE)
    bad: Message = replace(frame_of(SHAPE, 2, 1), **change)  # type: ignore[arg-type]
    with pytest.raises(ExchangeError) as caught:
        check_frame(bad, SHAPE)
    assert caught.value.reason is reason


def refused(descriptor: int) -> str:
    try:
        with pytest.raises(ExchangeError) as caught:
            SharedSlots(descriptor, SHAPE)
    finally:
        os.close(descriptor)
    assert caught.value.reason is Refusal.MEMORY
    return str(caught.value)


def test_memory_that_could_shrink_or_grow_is_refused() -> None:
    for seals in (0, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW):
        assert "not sealed" in refused(sealed_memfd(SHAPE.total_bytes, seals))


def test_memory_of_another_size_is_refused() -> None:
    for size in (0, SHAPE.total_bytes - 1, SHAPE.total_bytes + 1):
        assert f"has {size} bytes" in refused(sealed_memfd(size))


def test_memory_that_cannot_be_written_is_refused() -> None:
    assert "cannot be mapped" in refused(sealed_memfd(SHAPE.total_bytes, SEALS | fcntl.F_SEAL_WRITE))
    descriptor = sealed_memfd(SHAPE.total_bytes)
    readable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    os.close(descriptor)
    assert "cannot be mapped" in refused(readable)


def test_what_is_no_memfd_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(SHAPE.total_bytes))
    assert "no memfd" in refused(os.open(file, os.O_RDWR))
    readable, writable = os.pipe()
    os.close(writable)
    assert "no memfd" in refused(readable)
    assert "no memfd" in refused(os.open("/dev/zero", os.O_RDWR))
    assert "no memfd" in refused(os.open(tmp_path, os.O_RDONLY))


def test_memory_is_unmapped_when_its_last_array_is_gone() -> None:
    before = mapped_memfds()
    descriptor = sealed_memfd(SHAPE.total_bytes)
    slots = SharedSlots(descriptor, SHAPE)
    os.close(descriptor)
    plane = slots.output(1)[0]
    assert mapped_memfds() == before + 1
    del slots
    plane[0, 0] = 7  # still there for whoever works on it
    del plane
    assert mapped_memfds() == before
