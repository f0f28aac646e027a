"""The camera of PipeWire: real PipeWire, a real session manager, and GStreamer looking."""

import asyncio
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.virtualcam import VirtualCameraSink
from gest_stream.types import Frame, FrameResult
from tests.native.pipewire_session import PROGRAMS, Looker, PipeWireSession
from tests.native.waiting import wait_until

pytestmark = pytest.mark.native

SIZE = (320, 240)
FRAME_BYTES = SIZE[0] * SIZE[1] * 3
RATE = 30
NODE = "gest_stream"


@pytest.fixture(scope="module")
def camera_program(built_plugins: Path) -> Path:
    """The program."""
    program = built_plugins / "pipewire" / "gest_stream_camera"
    if not program.exists():
        pytest.skip("libpipewire is not here (Debian: apt-get install libpipewire-0.3-dev)")
    return program


@pytest.fixture
def session(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeWireSession]:
    """PipeWire, where cameras that this process starts find it too."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    inspected = subprocess.run(["gst-inspect-1.0", "pipewiresrc"], stdout=subprocess.DEVNULL, check=False, timeout=60)
    if inspected.returncode != 0:
        pytest.skip("GStreamer has no pipewiresrc here (Debian: apt-get install gstreamer1.0-pipewire)")
    with PipeWireSession(runtime) as started:
        monkeypatch.delenv("PIPEWIRE_REMOTE", raising=False)
        monkeypatch.delenv("PIPEWIRE_RUNTIME_DIR", raising=False)
        for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "HOME"):
            monkeypatch.setenv(name, started.environment[name])
        yield started


def colours_of(number: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Of the upper and the lower half of a frame; they tell its number."""
    return (number % 200, 60, 250 - number % 200), (20, 220, 120)


class Show:
    """Numbered frames at a camera's rate, from a thread, until it is left or the sink fails."""

    def __init__(self, program: Path, size: tuple[int, int] = SIZE) -> None:
        self._sink = VirtualCameraSink(EffectConfig(kind=EffectKind.CONTOUR), f"pipewire:{program}")
        self._size = size
        self._stop = threading.Event()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.failure: SinkError | None = None
        self.slowest_write_s = 0.0
        self.written = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._opened.wait(30)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        try:
            await self._sink.open(SourceInfo("numbers", True, self._size, Fraction(1, RATE), Fraction(RATE)), None)
            self.process = self._sink._camera._process
            self._opened.set()
            while not self._stop.is_set():
                start = time.monotonic()
                await self._sink.write(self._result())
                took_s = time.monotonic() - start
                self.slowest_write_s = max(self.slowest_write_s, took_s)
                self.written += 1
                await asyncio.sleep(max(0.0, 1 / RATE - took_s))
        except SinkError as exc:
            self.failure = exc
        finally:
            await self._sink.close()
            self._opened.set()

    def _result(self) -> FrameResult:
        width, height = self._size
        image = np.empty((height, width, 3), np.uint8)
        image[: height // 2], image[height // 2 :] = colours_of(self.written)
        return FrameResult(Frame(image, self.written, Fraction(1, RATE), 0, self.written))


def pictures_in(raw: bytes, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    # GStreamer pads the lines of RGB to four bytes
    line = (size[0] * 3 + 3) // 4 * 4
    lines = np.frombuffer(raw, np.uint8).reshape(-1, size[1], line)
    return lines[:, :, : size[0] * 3].reshape(-1, size[1], size[0], 3)


def assert_numbered(pictures: NDArray[np.uint8], tolerance: int = 0) -> list[int]:
    """The numbers of the frames, which have to be whole."""
    numbers = []
    half = pictures.shape[1] // 2
    for picture in pictures.astype(int):
        number = int(round((picture[: half - 2, :, 0].mean() + 250 - picture[: half - 2, :, 2].mean()) / 2))
        upper, lower = colours_of(number)
        assert np.abs(picture[: half - 2] - upper).max() <= tolerance
        assert np.abs(picture[half + 2 :] - lower).max() <= tolerance
        numbers.append(number)
    return numbers


@pytest.mark.parametrize(("format", "tolerance"), [("RGB", 0), ("BGRx", 0), ("I420", 6)])
def test_a_looker_sees_every_frame_once_and_in_its_colours(
    session: PipeWireSession, camera_program: Path, tmp_path: Path, format: str, tolerance: int
) -> None:
    with Show(camera_program) as show, Looker(session, NODE, tmp_path / "seen", format, 20) as looker:
        pictures = pictures_in(looker.finish())
    assert show.failure is None
    assert pictures.shape == (20, 240, 320, 3)
    numbers = assert_numbered(pictures, tolerance)
    if tolerance == 0:
        steps = np.diff(numbers) % 200
        assert steps.min() >= 1  # none twice
        assert steps.max() <= 10


@pytest.mark.parametrize("size", [(322, 242), (641, 361)], ids=["even", "odd"])
def test_lines_that_are_no_multiple_of_four_bytes_are_straight(
    session: PipeWireSession, camera_program: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    with Show(camera_program, size) as show, Looker(session, NODE, tmp_path / "seen", "RGB", 5) as looker:
        pictures = pictures_in(looker.finish(), even)
    assert show.failure is None
    assert pictures.shape == (5, even[1], even[0], 3)
    assert_numbered(pictures)


def test_a_looker_that_dies_or_hangs_holds_nobody(
    session: PipeWireSession, camera_program: Path, tmp_path: Path
) -> None:
    with Show(camera_program) as show:
        with Looker(session, NODE, tmp_path / "first", "RGB", 10_000) as first:
            first.wait_for_frames(5, FRAME_BYTES)
            first.process.kill()
        with Looker(session, NODE, tmp_path / "second", "RGB", 10_000) as second:
            second.wait_for_frames(5, FRAME_BYTES)
            second.process.send_signal(signal.SIGSTOP)
            written = show.written
            wait_until(lambda: show.written >= written + 2 * RATE, "two seconds of frames", 20)
            with Looker(session, NODE, tmp_path / "third", "RGB", 10) as third:
                pictures = pictures_in(third.finish())
    assert show.failure is None
    assert show.slowest_write_s < 1.0
    assert len(assert_numbered(pictures)) == 10


def test_a_looker_that_wants_what_is_not_offered_leaves_the_camera_to_others(
    session: PipeWireSession, camera_program: Path, tmp_path: Path
) -> None:
    with Show(camera_program) as show:
        with Looker(session, NODE, tmp_path / "refused", "GRAY16_LE", 5) as refused:
            written = show.written
            wait_until(lambda: show.written >= written + 2 * RATE, "two seconds of frames", 20)
            refused.process.kill()
        with Looker(session, NODE, tmp_path / "seen", "BGRx", 5) as looker:
            pictures = pictures_in(looker.finish())
    assert show.failure is None
    assert len(assert_numbered(pictures)) == 5


def test_a_program_that_is_killed_is_a_sink_error(session: PipeWireSession, camera_program: Path) -> None:
    with Show(camera_program) as show:
        assert show.process is not None
        wait_until(lambda: show.written > 3, "some frames", 20)
        os.kill(show.process.pid, signal.SIGKILL)
        wait_until(lambda: show.failure is not None, "the error", 10)
    assert "gest_stream_camera was ended by signal 9" in str(show.failure)


def test_pipewire_that_goes_away_is_a_sink_error(session: PipeWireSession, camera_program: Path) -> None:
    with Show(camera_program) as show:
        wait_until(lambda: show.written > 3, "some frames", 20)
        session.stop_pipewire()
        wait_until(lambda: show.failure is not None, "the error", 10)
    assert "gest_stream_camera ended with code 4: PipeWire is gone: " in str(show.failure)


def test_the_end_of_a_run_takes_the_camera_away(session: PipeWireSession, camera_program: Path) -> None:
    with Show(camera_program) as show:
        wait_until(lambda: show.written > 3, "some frames", 20)
    assert show.failure is None
    assert show.process is not None and show.process.returncode == 0


def test_without_pipewire_the_error_says_how_to_start_it(
    camera_program: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PIPEWIRE_REMOTE", "pipewire-absent")
    with Show(camera_program) as show:
        pass
    assert "ended with code 3: PipeWire cannot be reached: " in str(show.failure)
    assert "systemctl --user start pipewire wireplumber" in str(show.failure)


@pytest.mark.parametrize(
    "arguments",
    [[], ["320", "240"], ["0", "240", "30"], ["321", "240", "30"], ["320", "-2", "30"], ["320", "240", "30/0"],
     ["320", "240", "30fps"], ["9000", "240", "30"], ["320", "240", "30", "name", "more"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_arguments_are_told(camera_program: Path, arguments: list[str]) -> None:
    done = subprocess.run([camera_program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: gest_stream_camera WIDTH HEIGHT RATE")


def test_sigterm_ends_the_program(session: PipeWireSession, camera_program: Path) -> None:
    with subprocess.Popen(
        [camera_program, "320", "240", "30000/1001"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline().startswith(b"ready ")
            program.terminate()
            assert program.wait(5) == 0
        finally:
            program.kill()
