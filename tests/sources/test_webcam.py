import asyncio
import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import ReconnectConfig, SourceConfig
from gest_stream.errors import SourceLostError
from gest_stream.sources.cameras import Camera, list_cameras
from gest_stream.sources.webcam import WebcamSource, open_capture
from gest_stream.types import Frame
from tests.sources.running import FakeTime, open_error, read_all, until

RED_BGR = (10, 20, 200)
ABSENT = "absent"
FAIL = "fail"


class FakeCapture:
    """Plays a script.

    A number is a picture that took so many milliseconds; a negative one is a read that fails after as many; FAIL fails
    at once; ABSENT is no camera.
    """

    def __init__(
        self, script: list[Any], time: FakeTime, picture: NDArray[np.uint8], when_over: Callable[[], None]
    ) -> None:
        self.script = list(script)
        self.time = time
        self.picture = picture
        self.when_over = when_over
        self.released = 0

    def isOpened(self) -> bool:
        return self.script[:1] != [ABSENT]

    def read(self) -> tuple[bool, Any]:
        if not self.script:
            self.when_over()
            return False, None
        step = self.script.pop(0)
        if step == FAIL:
            return False, None
        self.time.ns += abs(step) * 1_000_000
        return (True, self.picture) if step >= 0 else (False, None)

    def get(self, property_id: int) -> float:
        return 25.0

    def release(self) -> None:
        self.released += 1


class Bench:
    """A camera that is opened once for each script, on a clock of its own; it is stopped when the last one is over."""

    def __init__(self, *scripts: list[Any], config: SourceConfig | None = None, **settings: Any) -> None:
        self.time = FakeTime()
        self.picture = np.full((6, 8, 3), RED_BGR, np.uint8)
        self.keeps_trying = False
        self.scripts = list(scripts)
        self.captures: list[FakeCapture] = []
        self.asked: list[tuple[Any, ...]] = []
        self.source = WebcamSource(
            0,
            config=config,
            capture_factory=self.open,
            cameras=lambda: (Camera("/dev/video2", "Desk cam"),),
            clock=self.time.clock,
            wait=self.time.wait,
            uniform=lambda: 0.5,
            **settings,
        )

    def open(self, device: int | str, size: tuple[int, int] | None, rate: float | None) -> FakeCapture:
        self.asked.append((device, size, rate))
        script = self.scripts.pop(0) if self.scripts else [ABSENT]
        when_over = (lambda: None) if self.scripts or self.keeps_trying else self.source.stop
        capture = FakeCapture(script, self.time, self.picture, when_over)
        self.captures.append(capture)
        return capture

    def every_frame(self) -> list[Frame]:
        """The frames the worker makes, without the newest-wins ring in between."""
        self.source._open()
        try:
            return list(self.source._frames())
        finally:
            self.source._close()


def test_pictures_come_as_rgb_timed_from_the_first() -> None:
    frames = Bench([33, 33, 34, 100]).every_frame()
    assert tuple(frames[0].image[0, 0]) == RED_BGR[::-1]
    assert [frame.pts for frame in frames] == [0, 33 * 90, 67 * 90, 167 * 90]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert [frame.captured_ns for frame in frames] == [10**9 + ms * 10**6 for ms in (33, 66, 100, 200)]
    assert frames[0].time_base == Fraction(1, 90_000)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 4)])
def test_grey_and_bgra_pictures_become_rgb(shape: tuple[int, ...]) -> None:
    bench = Bench([33])
    bench.picture = np.full(shape, 77, np.uint8)
    [frame] = bench.every_frame()
    np.testing.assert_array_equal(frame.image, np.full((6, 8, 3), 77, np.uint8))


def test_a_camera_is_live_and_tells_its_size_and_rate() -> None:
    bench = Bench([33, 33, 33])
    frames = read_all(bench.source)
    info = bench.source.info
    assert (info.live, info.size, info.average_rate, info.frame_count) == (True, (8, 6), Fraction(25), None)
    assert info.name == "camera 0"
    assert bench.source.audio is None
    assert all(frame.size == (8, 6) for frame in frames)
    assert bench.captures[0].released == 1


def test_only_the_newest_frame_waits_for_a_slow_consumer() -> None:
    bench = Bench([33] * 50)

    async def run() -> None:
        async with bench.source as source:
            await until(lambda: source.stats.pushed >= 50)
            assert source.stats.held <= 1
            assert source.stats.dropped >= 49

    asyncio.run(run())


def test_size_and_rate_are_asked_for_and_a_refusal_is_told(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench([33], size=(1280, 720), rate=30.0)
    with caplog.at_level(logging.WARNING):
        bench.every_frame()
    assert bench.asked == [(0, (1280, 720), 30.0)]
    assert [r.getMessage() for r in caplog.records] == ["camera 0: asked for 1280x720, gives 8x6"]


def test_a_few_failed_reads_are_no_loss() -> None:
    bench = Bench([33, FAIL, FAIL, FAIL, 33])
    frames = bench.every_frame()
    assert [frame.seq for frame in frames] == [0, 1]
    assert len(bench.captures) == 1
    assert bench.time.waits_s[:3] == [0.02] * 3


def test_an_unplugged_camera_is_opened_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench([33, 33] + [FAIL] * 10, [ABSENT], [ABSENT], [33, 33])
    with caplog.at_level(logging.INFO):
        frames = bench.every_frame()
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert [wait for wait in bench.time.waits_s if wait != 0.02] == [0.5, 1.0, 2.0]
    # Media time goes on while the camera is away: 33 ms, ten retries and three pauses, 33 ms.
    assert frames[2].time_s == pytest.approx(0.033 + 10 * 0.02 + 3.5 + 0.033, abs=1e-3)
    assert [capture.released for capture in bench.captures] == [1, 1, 1, 1]
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "camera 0: lost (it gives no more frames); reconnecting for up to 60 s"
    assert messages[1].startswith("camera 0: back after 3.5")


def test_a_stall_longer_than_the_read_timeout_is_a_loss() -> None:
    bench = Bench([33, -2100], [33], config=SourceConfig(read_timeout_s=2.0))
    assert len(bench.every_frame()) == 2
    assert bench.time.waits_s[0] == 0.5


def test_a_camera_that_stays_away_is_given_up() -> None:
    bench = Bench([33] + [FAIL] * 10, config=SourceConfig(reconnect=ReconnectConfig(give_up_after_s=5)))
    bench.keeps_trying = True
    with pytest.raises(SourceLostError) as caught:
        read_all(bench.source)
    message = str(caught.value)
    assert message.startswith("camera 0: lost (it gives no more frames) and not back after 3 attempts")
    assert "the last said: camera 0: cannot be opened" in message
    assert all(capture.released == 1 for capture in bench.captures)


def test_an_absent_camera_names_those_that_are_there() -> None:
    message = open_error(Bench([ABSENT]).source)
    assert message.startswith("camera 0: cannot be opened; cameras here: /dev/video2 (Desk cam); pass one of them")


def test_without_any_camera_the_message_offers_something_else() -> None:
    time = FakeTime()
    source = WebcamSource(
        3,
        capture_factory=lambda *_: FakeCapture([ABSENT], time, np.zeros((6, 8, 3), np.uint8), lambda: None),
        cameras=lambda: (),
    )
    assert open_error(source) == (
        "camera 3: cannot be opened; no camera was found on this machine; "
        "plug one in, or pass a video file or 'synthetic:'"
    )


def test_a_camera_without_pictures_says_so() -> None:
    bench = Bench([FAIL] * 20)
    bench.keeps_trying = True
    assert "camera 0: was opened but gives no picture; close other programs" in open_error(bench.source)
    assert bench.captures[0].released == 1


def test_opencv_finds_no_camera_behind_an_absent_device_and_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    capture = open_capture("/dev/video97", (640, 480), 30.0)
    assert not capture.isOpened()
    capture.release()
    assert capfd.readouterr().err == ""


def test_cameras_are_listed_by_name_without_their_metadata_nodes(tmp_path: Path) -> None:
    for node, name, index in (("video10", "Late", 0), ("video0", "Desk cam", 0), ("video1", "Desk cam", 1)):
        folder = tmp_path / "sys" / node
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "index").write_text(f"{index}\n")
        (tmp_path / node).touch()
    assert list_cameras(tmp_path / "sys", tmp_path) == (
        Camera(str(tmp_path / "video0"), "Desk cam"),
        Camera(str(tmp_path / "video10"), "Late"),
    )


def test_a_system_without_video4linux_lists_no_camera(tmp_path: Path) -> None:
    assert list_cameras(tmp_path / "none", tmp_path) == ()
