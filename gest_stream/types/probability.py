"""Where hands and forearms probably are on one frame, as a segmentation network says it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError


@dataclass(frozen=True, slots=True, eq=False)
class HandProbability:
    """Probabilities on a grid that covers the whole frame, coarser than it.

    Args:
        hand: (h, w) float32, 0 to 1, that a cell shows a hand.
        frame_size: (width, height) of the frame in pixels; the grid may have another shape.
        forearm: (h, w) float32, 0 to 1, that it shows a forearm or sleeve; None where the network does not tell.

    Raises:
        InvalidInputError: A map is of another shape, dtype or range.
    """

    hand: NDArray[np.float32]
    frame_size: tuple[int, int]
    forearm: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check("hand probability", self.hand)
        if self.forearm is not None:
            _check("forearm probability", self.forearm)
            if self.forearm.shape != self.hand.shape:
                raise InvalidInputError(
                    f"forearm probability: expected {self.hand.shape} as the hand's, got {self.forearm.shape}"
                )
        if min(self.frame_size) < 1:
            raise InvalidInputError(f"hand probability: expected a frame of at least 1x1, got {self.frame_size}")

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Frame pixels per cell, in x and y."""
        height, width = self.hand.shape
        return self.frame_size[0] / width, self.frame_size[1] / height


def _check(name: str, values: object) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype != np.float32 or 0 in values.shape:
        got = f"{values.shape} {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise InvalidInputError(f"{name}: expected (h, w) float32, got {got}")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # also false for nan
        raise InvalidInputError(f"{name}: expected 0 to 1, got {low} to {high}")
