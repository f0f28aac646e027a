"""The camera of PipeWire, on programs that stand in for `gest_stream_camera`."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.cli.virtual_camera import make_virtual_camera
from gest_stream.config import PipelineConfig
from gest_stream.errors import SinkError
from gest_stream.sinks import pipewire
from gest_stream.sinks.pipewire import PipeWireCamera, names_pipewire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PipeWire is Linux's")

MakeProgram = Callable[[str], str]
SIZE = (640, 480)
KEEPS_WHAT_IT_IS_GIVEN = """
print("ready 7", flush=True)
open(folder / "kept", "wb").write(sys.stdin.buffer.read())
"""
READS_WHEN_TOLD = """
print("ready 7", flush=True)
while not (folder / "go").exists():
    time.sleep(0.01)
open(folder / "kept", "wb").write(sys.stdin.buffer.read())
"""
NEVER_READS = """
print("ready 7", flush=True)
time.sleep(600)
"""


@pytest.fixture
def make_program(tmp_path: Path) -> MakeProgram:
    """Writes a program of some lines of Python, and returns the device that names it."""

    def make(body: str) -> str:
        path = tmp_path / "program"
        path.write_text(
            f"#!{sys.executable}\nimport pathlib, sys, time\nfolder = pathlib.Path({str(tmp_path)!r})\n{body}"
        )
        path.chmod(0o755)
        return f"pipewire:{path}"

    return make


def picture_of(number: int) -> NDArray[np.uint8]:
    return np.full((SIZE[1], SIZE[0], 3), number, np.uint8)


def kept_in(folder: Path) -> NDArray[np.uint8]:
    return np.fromfile(folder / "kept", np.uint8).reshape(-1, SIZE[1], SIZE[0], 3)


def test_frames_go_to_the_program_in_order(make_program: MakeProgram, tmp_path: Path) -> None:
    camera = PipeWireCamera(*SIZE, 30.0, make_program(KEEPS_WHAT_IT_IS_GIVEN))
    assert (camera.device, camera.backend) == ("gest_stream (node 7)", "pipewire")
    for number in range(5):
        camera.send(picture_of(number))
    camera.close()
    kept = kept_in(tmp_path)
    assert [int(picture[0, 0, 0]) for picture in kept] == [0, 1, 2, 3, 4]


def test_the_program_is_told_size_and_rate(make_program: MakeProgram, tmp_path: Path) -> None:
    device = make_program("(folder / 'told').write_text(' '.join(sys.argv[1:]))\nprint('ready 7', flush=True)")
    PipeWireCamera(*SIZE, 30000 / 1001, device).close()
    assert (tmp_path / "told").read_text() == "640 480 30000/1001"


def test_a_program_that_is_not_ready_loses_whole_frames_and_holds_nobody(
    make_program: MakeProgram, tmp_path: Path
) -> None:
    camera = PipeWireCamera(*SIZE, 30.0, make_program(READS_WHEN_TOLD))
    slowest_s = 0.0
    for number in range(6):
        start = time.monotonic()
        camera.send(picture_of(number))
        slowest_s = max(slowest_s, time.monotonic() - start)
    (tmp_path / "go").touch()
    deadline = time.monotonic() + 10
    while camera._unsent and time.monotonic() < deadline:
        camera._flush(time.monotonic_ns() + 10**8)
    camera.send(picture_of(6))
    camera.close()
    assert slowest_s < 1.0
    kept = kept_in(tmp_path)
    numbers = [int(picture[0, 0, 0]) for picture in kept]
    assert numbers[0] == 0 and numbers[-1] == 6 and len(numbers) < 7
    assert all((picture == picture[0, 0, 0]).all() for picture in kept)


def test_a_program_that_takes_nothing_for_five_seconds_is_an_error(make_program: MakeProgram) -> None:
    now_s = [0.0]

    def clock() -> int:
        now_s[0] += 0.05
        return int(now_s[0] * 1e9)

    camera = PipeWireCamera(*SIZE, 30.0, make_program(NEVER_READS), clock=clock)
    start = time.monotonic()
    try:
        with pytest.raises(SinkError, match="gest_stream_camera has taken no frame for 5 s"):
            for number in range(1000):
                camera.send(picture_of(number % 256))
    finally:
        process = camera._process
        camera.close()
    assert now_s[0] > 5.0
    assert process.returncode == -9
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("gest_stream_camera: PipeWire is gone: broken\n[W] a warning of a library", "PipeWire is gone: broken"),
        ("one thing\nanother thing", "another thing"),
    ],
    ids=["its own", "of a library"],
)
def test_a_program_that_dies_is_an_error_with_its_last_words(make_program: MakeProgram, said: str, told: str) -> None:
    dies = f"print('ready 7', flush=True)\nsys.stdin.buffer.read(640 * 480 * 3)\nsys.exit({said!r})"
    camera = PipeWireCamera(*SIZE, 30.0, make_program(dies))
    deadline = time.monotonic() + 20
    with pytest.raises(SinkError, match=f"gest_stream_camera ended with code 1: {told}$"):
        while time.monotonic() < deadline:
            camera.send(picture_of(0))
    camera.close()


def test_where_pipewire_does_not_run_the_error_says_how_to_start_it(make_program: MakeProgram) -> None:
    device = make_program("print('PipeWire cannot be reached: Host is down', file=sys.stderr)\nsys.exit(3)")
    with pytest.raises(SinkError, match="code 3: PipeWire cannot be reached: .*; .*systemctl --user start pipewire"):
        PipeWireCamera(*SIZE, 30.0, device)


def test_a_camera_that_does_not_come_is_an_error(make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipewire, "_READY_S", 0.2)
    with pytest.raises(SinkError, match="no camera after 0.2 s; PipeWire and a session manager have to run"):
        PipeWireCamera(*SIZE, 30.0, make_program("time.sleep(600)"))


def test_a_program_that_is_absent_is_an_error_with_the_command_that_builds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipewire, "_BUILT", tmp_path / "nothing")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SinkError, match="neither built nor on the PATH; build it .*cmake -S plugins -B build/plugins"):
        PipeWireCamera(*SIZE, 30.0)
    with pytest.raises(SinkError, match="there is no file /nowhere/camera; build it"):
        PipeWireCamera(*SIZE, 30.0, "pipewire:/nowhere/camera")


def test_the_program_is_found_on_the_path(
    make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program(KEEPS_WHAT_IT_IS_GIVEN)
    (tmp_path / "program").rename(tmp_path / "gest_stream_camera")
    monkeypatch.setattr(pipewire, "_BUILT", tmp_path / "nothing")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    PipeWireCamera(*SIZE, 30.0).close()
    assert (tmp_path / "kept").exists()


def test_a_file_that_is_no_program_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with pytest.raises(SinkError, match="does not start: Permission denied; build it"):
        PipeWireCamera(*SIZE, 30.0, f"pipewire:{tmp_path / 'text'}")


def test_a_frame_of_another_size_is_refused(make_program: MakeProgram) -> None:
    camera = PipeWireCamera(*SIZE, 30.0, make_program(KEEPS_WHAT_IT_IS_GIVEN))
    with pytest.raises(SinkError, match=r"takes \(480, 640, 3\) uint8, not \(2, 2, 3\)"):
        camera.send(np.zeros((2, 2, 3), np.uint8))
    camera.close()


def test_the_device_is_told_from_pyvirtualcams() -> None:
    named = ["pipewire", "pipewire:/usr/bin/gest_stream_camera", "/dev/video4", "pipewireless", None]
    assert [names_pipewire(name) for name in named] == [True, True, False, False, False]
    sinks = make_virtual_camera(PipelineConfig(), False, "pipewire")
    assert [sink.name for sink in sinks] == ["virtual camera pipewire"]
