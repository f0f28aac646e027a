"""A sink that draws as a window or a camera would, and notes when each frame came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gest_stream.audio import AudioFeed
from gest_stream.clock import now_ns
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult, MaskSource


class ScreenSink(ThreadedSink):
    """Keeps a few numbers of each frame, and no frame.

    Args:
        draw: Draws a result on the sink's thread; None draws nothing.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, draw: Callable[[FrameResult], Any] | None, clock: Callable[[], int] = now_ns) -> None:
        super().__init__("screen")
        self._draw, self._clock = draw, clock
        self.seqs: list[int] = []
        self.captured_ns: list[int] = []
        self.shown_ns: list[int] = []
        self.drawn_ns: list[int] = []
        self.cpu_ns: list[int] = []
        self.mask_age_ms: list[float] = []
        self.masks = self.carried = 0

    async def write(self, result: FrameResult) -> None:
        """Note the hand-over, then draw."""
        self.shown_ns.append(self._clock())
        self.captured_ns.append(result.captured_ns)
        self.seqs.append(result.frame.seq)
        self.cpu_ns.append(time.process_time_ns())
        masks = [track.mask for track in result.tracks if track.mask is not None]
        self.mask_age_ms.append(max((mask.age_ms for mask in masks), default=0.0))
        self.masks += len(masks)
        self.carried += sum(mask.source is MaskSource.CARRIED for mask in masks)
        await super().write(result)

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Nothing is opened."""

    def _write(self, result: FrameResult) -> None:
        if self._draw is not None:
            self._draw(result)
        self.drawn_ns.append(self._clock())

    def _close(self) -> None:
        """Nothing is closed."""
