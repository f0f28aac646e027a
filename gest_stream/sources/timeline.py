"""From decoded pictures to numbered frames whose pts never stand still or run backwards."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from gest_stream.types import Frame

_LOG = logging.getLogger(__name__)
DISCONTINUITY_S = 1
_FALLBACK_RATE = Fraction(30)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture before it has its place in the stream.

    Args:
        image: (H, W, 3) uint8 RGB.
        pts: As the container gave it, None where it gave none.
        time_base: Seconds per pts unit.
        captured_ns: `clock.now_ns()` when it was decoded.
    """

    image: NDArray[np.uint8]
    pts: int | None
    time_base: Fraction
    captured_ns: int


class Timeline:
    """Numbers pictures and keeps their pts strictly increasing, changing only what is broken.

    A pts that increases is passed on untouched. A missing one is put one nominal frame after its predecessor. One that
    repeats or steps back by less than a second becomes the predecessor's plus one unit. One that falls back by a second
    or more is a discontinuity (a wrapped or restarted clock): it and everything after it is shifted so that it comes
    one nominal frame after its predecessor.

    Args:
        name: Of the source, for messages.
        time_base: Seconds per pts unit of the frames; pictures in another one are converted.
        rate: Nominal frames per second, None where unknown.
    """

    def __init__(self, name: str, time_base: Fraction, rate: Fraction | None) -> None:
        self._name = name
        self._time_base = time_base
        self._step = max(1, round(1 / ((rate or _FALLBACK_RATE) * time_base)))
        self._gap = max(1, round(DISCONTINUITY_S / time_base))
        self._shift = 0
        self._last: int | None = None
        self._size: tuple[int, int] | None = None
        self._seq = 0
        self._repaired = 0

    @property
    def shift_s(self) -> Fraction:
        """Seconds that discontinuities have added to the media time; what goes with the pictures is moved by it."""
        return self._shift * self._time_base

    @property
    def end_s(self) -> Fraction | None:
        """Media time of the last frame in seconds, None before the first."""
        return None if self._last is None else self._last * self._time_base

    @property
    def repaired(self) -> int:
        """Pictures whose pts was missing, repeated or ran backwards."""
        return self._repaired

    def frame(self, picture: Picture) -> Frame:
        """The next frame of the stream."""
        pts = self._place(picture)
        frame = Frame(picture.image, pts, self._time_base, picture.captured_ns, self._seq)
        if self._size is not None and self._size != frame.size:
            _LOG.warning("%s: the picture size changed from %dx%d to %dx%d", self._name, *self._size, *frame.size)
        self._size = frame.size
        self._last = pts
        self._seq += 1
        return frame

    def _place(self, picture: Picture) -> int:
        if picture.pts is None:
            return 0 if self._last is None else self._last + self._step
        pts = picture.pts
        if picture.time_base != self._time_base:
            pts = round(pts * picture.time_base / self._time_base)
        pts += self._shift
        if self._last is None or pts > self._last:
            return pts
        if self._last - pts >= self._gap:
            back_s = float((self._last - pts) * self._time_base)
            self._shift += self._last + self._step - pts
            _LOG.info("%s: timestamps fell back by %.1f s; the stream goes on without the gap", self._name, back_s)
            return self._last + self._step
        self._repaired += 1
        if self._repaired == 1:
            _LOG.warning("%s: timestamp %d does not follow %d; repaired", self._name, pts, self._last)
        return self._last + 1
