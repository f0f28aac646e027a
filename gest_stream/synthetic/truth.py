"""What is known of a rendered frame, because it was rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.types import Frame, Handedness, HandLandmarks, HandMask


@dataclass(frozen=True, slots=True, eq=False)
class HandTruth:
    """One hand on one frame, at the middle of its exposure.

    Args:
        index: Which hand of the clip, from 0; the same on every frame, also while the hand is away.
        landmarks: The 21 joints as `HandLandmarks` defines them, also where they lie outside the frame.
        visible: (21,) bool, True where the landmark is inside the frame and nothing but its own flesh lies before it.
        hand_mask: Visible pixels of the hand, distal of the wrist; alpha is the share of the pixel that shows it.
        arm_mask: Visible pixels of forearm and sleeve, likewise.
        inside_frame: Every point of the hand lies inside the frame.
        shown: Share of the hand's pixels inside the frame that nothing hides, 0 to 1; 0 where none is in the frame.
        blur_px: Length of the motion blur.
    """

    index: int
    landmarks: HandLandmarks
    visible: NDArray[np.bool_]
    hand_mask: HandMask
    arm_mask: HandMask
    inside_frame: bool
    shown: float
    blur_px: float

    def __post_init__(self) -> None:
        if self.visible.shape != (21,) or self.visible.dtype != np.bool_:
            raise InvalidInputError(f"visible: expected (21,) bool, got {self.visible.shape} {self.visible.dtype}")

    @property
    def handedness(self) -> Handedness:
        """Which hand of the person it is."""
        return self.landmarks.handedness

    @property
    def present(self) -> bool:
        """True where at least one pixel of the hand can be seen."""
        return self.hand_mask.area_px > 0

    @property
    def unoccluded(self) -> bool:
        """True where the hand is in the frame and nothing hides more than a hundredth of it."""
        return self.shown >= 0.99

    @property
    def size_px(self) -> float:
        """Longer side of the landmarks' box, pixels."""
        left, top, right, bottom = self.landmarks.box_xyxy_px
        return max(right - left, bottom - top)


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticFrame:
    """A rendered frame and the truth about every hand of the clip, in the order of their index."""

    frame: Frame
    hands: tuple[HandTruth, ...]
