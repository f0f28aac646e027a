"""Where a hand will be on the next frame, at constant velocity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import AssociationConfig
from gest_stream.types import HandLandmarks

_PALM = [0, 5, 9, 13, 17]
_MAX_STEP = 8


def palm_center_px(points_xy_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of wrist and finger bases, (..., 2) pixels, of landmarks (..., 21, 2); still while the fingers move."""
    center: NDArray[np.float32] = points_xy_px[..., _PALM, :].mean(axis=-2)
    return center


def frame_steps(seq: int, previous_seq: int | None) -> int:
    """Source frames from one processed frame to the next, 1 to 8; more than 1 where frames were dropped."""
    if previous_seq is None:
        return 1
    return min(max(seq - previous_seq, 1), _MAX_STEP)


class HandMotion:
    """Last seen shape and smoothed velocity of one hand.

    Args:
        points_xy_px: (21, 2) float32 landmarks as first seen; where only its place is known, that place 21 times.
        palm_width_px: How large it is.
        config: Velocity gain and damping.
    """

    def __init__(self, points_xy_px: NDArray[np.float32], palm_width_px: float, config: AssociationConfig) -> None:
        self._config = config
        self.last_px = points_xy_px
        self.palm_width_px = palm_width_px
        self._velocity: NDArray[np.float32] | None = None
        self._steps_unseen = 0

    def predict(self, steps: int) -> NDArray[np.float32]:
        """(21, 2) float32 pixels of the hand `steps` source frames after the previous processed one."""
        if self._velocity is None:
            return self.last_px
        keep, count = self._config.velocity_damping, self._steps_unseen + steps
        travel = count if keep == 1.0 else (1.0 - keep**count) / (1.0 - keep)
        return self.last_px + self._velocity * np.float32(travel)

    def see(self, landmarks: HandLandmarks, steps: int, jumped: bool) -> None:
        """Take in where the hand is now; after a jump it starts at rest."""
        points = landmarks.points_xy_px
        travelled = palm_center_px(points) - palm_center_px(self.last_px)
        measured = travelled / np.float32(self._steps_unseen + steps)
        if jumped:
            self._velocity = None
        else:
            self._learn(measured)
        self.last_px, self.palm_width_px, self._steps_unseen = points, landmarks.palm_width_px, 0

    def move_to(self, center_xy_px: NDArray[np.float32], jumped: bool) -> None:
        """The hand's middle is there now, whatever its landmarks are; after a jump its last shape rests there.

        Said twice of one frame, the second time only corrects the place.
        """
        travelled = center_xy_px - self.last_px.mean(axis=0)
        self.last_px = self.last_px + travelled
        if jumped:
            self._velocity = None
        elif self._steps_unseen > 0:
            self._learn(travelled / np.float32(self._steps_unseen))
        self._steps_unseen = 0

    def _learn(self, measured: NDArray[np.float32]) -> None:
        """Take in a velocity, pixels a source frame."""
        if self._velocity is None:
            self._velocity = measured
        else:
            self._velocity = self._velocity + np.float32(self._config.velocity_gain) * (measured - self._velocity)

    def miss(self, steps: int) -> None:
        """Let time pass without a sight of the hand."""
        self._steps_unseen += steps

    def rescale(self, scale_xy: tuple[float, float]) -> None:
        """Follow a change of the frame's size."""
        factors = np.array(scale_xy, np.float32)
        self.last_px = self.last_px * factors
        self.palm_width_px *= float(factors.mean())
        if self._velocity is not None:
            self._velocity = self._velocity * factors
