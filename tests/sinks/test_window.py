"""The window, on scripted window functions."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from gest_stream.errors import InvalidInputError, SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.pointer import Pointer
from gest_stream.sinks.window import WindowSink
from gest_stream.testing import make_frame
from gest_stream.types import Frame, FrameResult


class FakeGui:
    """OpenCV's window functions; keys and visibility by script."""

    WINDOW_NORMAL, WINDOW_KEEPRATIO, WINDOW_GUI_NORMAL, WND_PROP_VISIBLE = 0, 0, 16, 4
    EVENT_MOUSEMOVE, EVENT_LBUTTONDOWN, EVENT_RBUTTONDOWN, EVENT_FLAG_SHIFTKEY = 0, 1, 2, 16

    class error(Exception):  # noqa: N801 - OpenCV's name
        pass

    def __init__(self, keys: dict[int, int] | None = None, closed_at: int | None = None, broken: bool = False) -> None:
        self.keys, self.closed_at, self.broken = keys or {}, closed_at, broken
        self.pictures: list[Any] = []
        self.threads: set[int] = set()
        self.destroyed = 0
        self.mouse: Any = None

    def setMouseCallback(self, title: str, callback: Any) -> None:  # noqa: N802
        self.mouse = callback

    def namedWindow(self, title: str, flags: int) -> None:  # noqa: N802
        if self.broken:
            raise self.error("no GUI support")
        self.threads.add(threading.get_ident())
        self.flags = flags

    def resizeWindow(self, title: str, width: int, height: int) -> None:  # noqa: N802
        self.size = (width, height)

    def imshow(self, title: str, picture: Any) -> None:
        self.threads.add(threading.get_ident())
        self.pictures.append(picture)

    def waitKey(self, delay: int) -> int:  # noqa: N802
        return self.keys.get(len(self.pictures) - 1, -1)

    def getWindowProperty(self, title: str, prop: int) -> float:  # noqa: N802
        return 0.0 if self.closed_at is not None and len(self.pictures) > self.closed_at else 1.0

    def destroyWindow(self, title: str) -> None:  # noqa: N802
        self.threads.add(threading.get_ident())
        self.destroyed += 1


def coloured(seq: int) -> FrameResult:
    frame = make_frame(seq, (8, 6))
    image = frame.image.copy()
    image[:] = (10, 20, 30)
    return FrameResult(Frame(image, frame.pts, frame.time_base, frame.captured_ns, seq))


def show(gui: FakeGui, count: int = 5, pointer: Pointer | None = None) -> int:
    closes: list[int] = []
    sink = WindowSink(lambda r: r.frame.image, on_close=lambda: closes.append(1), gui=gui, pointer=pointer)

    async def go() -> None:
        frame = make_frame(0, (8, 6))
        try:
            await sink.open(SourceInfo("x", True, frame.size, frame.time_base), None)
            for seq in range(count):
                await sink.write(coloured(seq))
        finally:
            await sink.close()

    asyncio.run(go())
    return len(closes)


def test_pictures_are_shown_in_bgr_from_one_thread() -> None:
    gui = FakeGui()
    assert show(gui) == 0
    assert len(gui.pictures) == 5 and gui.size == (8, 6)
    np.testing.assert_array_equal(gui.pictures[0][0, 0], (30, 20, 10))
    assert len(gui.threads) == 1 and threading.get_ident() not in gui.threads
    assert gui.destroyed == 1
    assert gui.flags & gui.WINDOW_GUI_NORMAL, "the right button would open a menu"


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_q_and_escape_ask_once_for_the_end(key: int) -> None:
    gui = FakeGui(keys={1: key, 2: key})
    assert show(gui) == 1
    assert len(gui.pictures) == 2


def test_closing_the_window_asks_for_the_end() -> None:
    gui = FakeGui(closed_at=2)
    assert show(gui) == 1
    assert len(gui.pictures) == 3


def test_a_window_that_cannot_open_says_what_to_do() -> None:
    with pytest.raises(SinkError, match="cannot be opened; run on a desktop session"):
        show(FakeGui(broken=True))


def test_without_a_display_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    sink = WindowSink(lambda r: r.frame.image)
    frame = make_frame(0, (8, 6))

    async def go() -> None:
        try:
            await sink.open(SourceInfo("x", True, frame.size, frame.time_base), None)
        finally:
            await sink.close()

    with pytest.raises(SinkError, match="DISPLAY and WAYLAND_DISPLAY are not set.*--save-masked"):
        asyncio.run(go())


class RecordingPrompter:
    """Gives every new click the next id, and refuses what `refuse` names."""

    def __init__(self, refuse: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._refuse = refuse

    def add_prompt(
        self, points_xy_px: Any = (), labels: Any = None, *, track_id: int | None = None, box_xyxy_px: Any = None
    ) -> int:
        if self._refuse:
            raise InvalidInputError(self._refuse)
        self.calls.append((points_xy_px, labels, track_id))
        return track_id if track_id is not None else len(self.calls)

    def remove_track(self, track_id: int) -> None:
        self.calls.append(("remove", track_id))


class ClickingGui(FakeGui):
    """Sends mouse events while a picture is shown, as OpenCV does from within waitKey."""

    def __init__(self, events: dict[int, tuple[int, int, int, int]], keys: dict[int, int] | None = None) -> None:
        super().__init__(keys)
        self._events = events

    def waitKey(self, delay: int) -> int:  # noqa: N802
        event = self._events.get(len(self.pictures) - 1)
        if event is not None:
            self.mouse(*event, None)
        return super().waitKey(delay)


def test_clicks_in_the_window_are_prompts() -> None:
    left, right, move, shift = 1, 2, 0, 16
    events = {0: (left, 3, 4, 0), 1: (move, 5, 5, 0), 2: (right, 6, 2, 0), 3: (left, 7, 1, shift)}
    prompter = RecordingPrompter()
    show(ClickingGui(events, {4: ord("x")}), 6, Pointer(lambda: prompter))
    assert prompter.calls == [
        ([(3, 4)], [1], None),
        ([(6, 2)], [0], None),
        ([(7, 1)], [1], 2),
        ("remove", 2),
    ]


def test_keys_drop_nothing_before_a_click_and_twice() -> None:
    prompter = RecordingPrompter()
    show(ClickingGui({1: (1, 3, 4, 0)}, {0: ord("x"), 2: ord("x"), 3: ord("x")}), 5, Pointer(lambda: prompter))
    assert prompter.calls == [([(3, 4)], [1], None), ("remove", 1)]


def test_a_click_that_means_nothing_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    show(ClickingGui({1: (2, 3, 4, 0)}), 3, Pointer(lambda: RecordingPrompter("no hand is there")))
    assert caplog.messages == ["no hand is there"]


def test_before_there_is_a_tracker_clicks_are_ignored() -> None:
    assert show(ClickingGui({0: (1, 3, 4, 0)}, {1: ord("x")}), 3, Pointer(lambda: None)) == 0
