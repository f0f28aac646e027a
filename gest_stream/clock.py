"""Media time (integer pts with a Fraction time_base) and monotonic time (`perf_counter_ns`). The two never mix."""

from __future__ import annotations

import time
from fractions import Fraction


def now_ns() -> int:
    """Monotonic time in nanoseconds; the only clock that latency is measured with."""
    return time.perf_counter_ns()


def media_time_s(pts: int, time_base: Fraction) -> float:
    """Media time of a pts, in seconds."""
    return float(pts * time_base)


def media_time_ms(pts: int, time_base: Fraction) -> int:
    """Media time of a pts in whole milliseconds, rounded down."""
    return int(pts * time_base * 1000)


class Pacer:
    """Says how long to wait so that media time advances no faster than monotonic time.

    The first pts anchors media time to the moment it is first asked about. A pts that lies before the anchor or more
    than `max_jump_s` beyond the expected time (a discontinuity) anchors anew.
    """

    def __init__(self, max_jump_s: float = 10.0) -> None:
        self._max_jump_s = max_jump_s
        self._anchor_media_s: float | None = None
        self._anchor_ns = 0

    def delay_s(self, media_s: float, at_ns: int) -> float:
        """Seconds (>= 0) to wait from monotonic time `at_ns` until the frame at `media_s` is due."""
        if self._anchor_media_s is None:
            self._anchor_media_s, self._anchor_ns = media_s, at_ns
            return 0.0
        due_s = media_s - self._anchor_media_s
        delay = due_s - (at_ns - self._anchor_ns) / 1e9
        if due_s < 0 or delay > self._max_jump_s:
            self._anchor_media_s, self._anchor_ns = media_s, at_ns
            return 0.0
        return max(delay, 0.0)
