"""What a segmenter is told about one hand on one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.types.hand import HandLandmarks
from gest_stream.types.mask import HandMask


class PromptMode(StrEnum):
    """What a prompt does to what the segmenter remembers of the hand."""

    RESET = "reset"
    """Forget the hand's memory and start from this prompt."""
    APPEND = "append"
    """Keep the memory and add this frame to it as one more certain one."""
    REFINE = "refine"
    """Correct this frame's mask, starting from it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What says where the hand is on the frame it arrives with: points and a box, or a mask.

    Args:
        points_xy_px: (N, 2) float32 pixels of the frame, N >= 0.
        labels: (N,) int32; 1 is on the hand, 0 is off it.
        box_xyxy_px: Box around the hand in pixels, or None.
        mode: What happens to the hand's memory.
        mask: (H, W) bool of the frame's size, True on the hand; alone, without points and box. None where points
            and box say it.

    Raises:
        InvalidInputError: Shapes, dtypes or labels do not fit, there is neither point nor box nor mask, or a mask
            comes together with points or a box.
    """

    points_xy_px: NDArray[np.float32]
    labels: NDArray[np.int32]
    box_xyxy_px: tuple[float, float, float, float] | None = None
    mode: PromptMode = PromptMode.RESET
    mask: NDArray[np.bool_] | None = None

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_], mode: PromptMode = PromptMode.RESET) -> Prompt:
        """A prompt that is a mask, (H, W) bool of the frame's size."""
        return cls(np.zeros((0, 2), np.float32), np.zeros(0, np.int32), None, mode, mask)

    def __post_init__(self) -> None:
        points, labels = self.points_xy_px, self.labels
        if points.ndim != 2 or points.shape[1] != 2 or points.dtype != np.float32:
            raise InvalidInputError(f"prompt points: expected (N, 2) float32, got {points.shape} {points.dtype}")
        if labels.shape != points.shape[:1] or labels.dtype != np.int32:
            raise InvalidInputError(
                f"prompt labels: expected ({points.shape[0]},) int32, got {labels.shape} {labels.dtype}"
            )
        if not np.isin(labels, (0, 1)).all():
            raise InvalidInputError(f"prompt labels: expected 0 or 1, got {sorted(set(labels.tolist()))}")
        if not np.isfinite(points).all():
            raise InvalidInputError(f"prompt points: expected finite pixels, got {points.tolist()}")
        given = self.box_xyxy_px is not None or points.shape[0] > 0
        if self.mask is not None:
            if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
                raise InvalidInputError(f"prompt mask: expected (H, W) bool, got {self.mask.shape} {self.mask.dtype}")
            if given:
                raise InvalidInputError("prompt: a mask comes alone, got points or a box with it; use two prompts")
        elif not given:
            raise InvalidInputError("prompt: expected at least one point, a box or a mask, got none of them")
        if self.box_xyxy_px is not None:
            left, top, right, bottom = self.box_xyxy_px
            if not (left < right and top < bottom):
                raise InvalidInputError(f"prompt box: expected x0 < x1 and y0 < y1, got {self.box_xyxy_px}")


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One live hand on one frame, as the tracker hands it to the segmenter.

    Args:
        object_id: The track's id; stable over the stream, never reused.
        landmarks: The hand's landmarks on this frame, None where they were not found.
        prompt: Where the segmenter should start (again); None on steady frames.
        region: What the redetector saw of the hand on this frame, None where it did not look; for segmenters that
            start from a mask rather than from points. Where it is no more than a confirmation there is no prompt.
    """

    object_id: int
    landmarks: HandLandmarks | None = None
    prompt: Prompt | None = None
    region: HandMask | None = None
