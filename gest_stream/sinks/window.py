"""A live window."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.pointer import Pointer
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from gest_stream.audio import AudioFeed

_CLOSE_KEYS = (ord("q"), ord("Q"), 27)
_DROP_KEYS = (ord("x"), ord("X"))
_REMEDY = "run on a desktop session, or leave --show away and write a file with --save-masked"


class WindowSink(ThreadedSink):
    """Shows every result; `q`, Escape or the window's close button ask for the end of the run.

    With a pointer, the left button adds to the hand under it or starts a new object, the right one takes a part away;
    with Shift both mean the object clicked on last, and `x` drops that.

    All calls of the window system come from one thread, as OpenCV wants it.

    Args:
        render: Draws a result, (H, W, 3) uint8 RGB or (H, W, 4) RGBA.
        on_close: Called once, on the window's thread, when the user wants to end; frames after that are not shown.
        title: Of the window.
        gui: The window functions of OpenCV; another object in tests.
        pointer: What becomes of clicks; None ignores them.
    """

    def __init__(
        self,
        render: Callable[[FrameResult], NDArray[np.uint8]],
        on_close: Callable[[], object] | None = None,
        title: str = "gest_stream",
        gui: Any = None,
        pointer: Pointer | None = None,
    ) -> None:
        super().__init__(f"window {title!r}")
        self._render = render
        self._on_close = on_close
        self._title = title
        self._gui = gui
        self._pointer = pointer
        self._shown = self._ended = False

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        if self._gui is None:
            self._gui = _opencv_gui()
        gui = self._gui
        try:
            # GUI_NORMAL: without Qt's toolbar, and without its menu, which the right button would open
            gui.namedWindow(self._title, gui.WINDOW_NORMAL | gui.WINDOW_KEEPRATIO | gui.WINDOW_GUI_NORMAL)
            gui.resizeWindow(self._title, *info.size)
            if self._pointer is not None:
                gui.setMouseCallback(self._title, self._on_mouse)
        except gui.error as exc:
            raise SinkError(f"{self.name}: cannot be opened; {_REMEDY}") from exc
        self._shown = False
        self._ended = False

    def _write(self, result: FrameResult) -> None:
        if self._ended:
            return
        gui = self._gui
        # OpenCV shows BGR, and ignores alpha
        gui.imshow(self._title, np.ascontiguousarray(self._render(result)[..., 2::-1]))
        key = gui.waitKey(1) & 0xFF
        closed = self._shown and gui.getWindowProperty(self._title, gui.WND_PROP_VISIBLE) < 1
        self._shown = True
        if key in _DROP_KEYS and self._pointer is not None:
            self._pointer.drop_last()
        if key in _CLOSE_KEYS or closed:
            self._ended = True
            if self._on_close is not None:
                self._on_close()

    def _on_mouse(self, event: int, x: int, y: int, flags: int, _: Any) -> None:
        """A mouse event, in pixels of the picture that is shown."""
        gui, pointer = self._gui, self._pointer
        if pointer is None or event not in (gui.EVENT_LBUTTONDOWN, gui.EVENT_RBUTTONDOWN):
            return
        shift = bool(flags & gui.EVENT_FLAG_SHIFTKEY)
        if event == gui.EVENT_LBUTTONDOWN:
            pointer.add(x, y, to_last=shift)
        else:
            pointer.take_away(x, y, from_last=shift)

    def _close(self) -> None:
        if self._gui is None:
            return
        try:
            self._gui.destroyWindow(self._title)
            self._gui.waitKey(1)  # lets the window system take it down
        except self._gui.error:
            pass  # the user closed it, or it never opened


def _opencv_gui() -> Any:
    import cv2

    # Qt, which OpenCV draws with on Linux, ends the whole process where it finds no display.
    on_linux = sys.platform.startswith("linux")
    if on_linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SinkError(f"window: no display is there (DISPLAY and WAYLAND_DISPLAY are not set); {_REMEDY}")
    return cv2
