"""What a segmenter is told about one hand on one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.types.hand import HandLandmarks


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
    """Points and a box that say where the hand is on the frame they arrive with.

    Args:
        points_xy_px: (N, 2) float32 pixels of the frame, N >= 0.
        labels: (N,) int32; 1 is on the hand, 0 is off it.
        box_xyxy_px: Box around the hand in pixels, or None.
        mode: What happens to the hand's memory.

    Raises:
        InvalidInputError: Shapes, dtypes or labels do not fit, or there is neither point nor box.
    """

    points_xy_px: NDArray[np.float32]
    labels: NDArray[np.int32]
    box_xyxy_px: tuple[float, float, float, float] | None = None
    mode: PromptMode = PromptMode.RESET

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
        if self.box_xyxy_px is None and points.shape[0] == 0:
            raise InvalidInputError("prompt: expected at least one point or a box, got neither")
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
    """

    object_id: int
    landmarks: HandLandmarks | None = None
    prompt: Prompt | None = None
