"""Settings of the deadline that masks are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require


@dataclass(frozen=True, slots=True)
class DeadlineConfig:
    """How long a frame waits for the segmenter.

    Args:
        limit_ms: Milliseconds after which a frame takes the last mask, carried to it, instead of waiting on; None
            waits for every mask. Counted from the frame's capture where the source is live, else from when the frame
            reaches the segmenter.
        fade_frames: Frames over which a late mask replaces the carried one; 0 replaces it at once.
        working_px: Longer side of the grid a mask is carried on; time grows with its square.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    limit_ms: float | None = None
    fade_frames: int = 3
    working_px: int = 144

    def __post_init__(self) -> None:
        ok = self.limit_ms is None or 0.0 < self.limit_ms <= 10_000.0
        require(ok, "deadline.limit_ms", "above 0 to 10000", self.limit_ms)
        require(0 <= self.fade_frames <= 30, "deadline.fade_frames", "0 to 30", self.fade_frames)
        require(32 <= self.working_px <= 512, "deadline.working_px", "32 to 512", self.working_px)
