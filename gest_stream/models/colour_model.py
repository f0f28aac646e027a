"""What one hand and its surroundings look like: two colour histograms and how well they can be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BITS = (4, 5, 5)
"""Bits kept of L, a and b: hands and backgrounds differ in chroma by less than they vary in lightness."""
_BINS = tuple(1 << bits for bits in _BITS)
_SPREAD = np.array([0.25, 0.5, 0.25], np.float32)
_ONE = np.ones(1, np.float32)
_MIN_SAMPLES = 24
_EVIDENCE_LIMIT = 4.0
_TRUST_FROM = (0.1, 0.5)
"""Separability at which colour starts to count, and at which it counts in full."""


def colour_codes(image_rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Histogram bin of every pixel in CIE Lab, (H, W) int32, of an (H, W, 3) uint8 RGB picture."""
    import cv2

    # A channel at a time and in whole planes: strided ones take longer.
    codes = np.zeros(image_rgb.shape[:2], np.int32)
    for plane, bits in zip(cv2.split(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2Lab)), _BITS, strict=True):
        codes <<= bits
        codes |= np.asarray(plane) >> (8 - bits)
    return codes


@dataclass(frozen=True, slots=True, eq=False)
class ColourModel:
    """Colour frequencies of a hand and of what surrounds it.

    Args:
        hand: (bins,) float32 frequencies, sum 1.
        surroundings: The same of the background.
    """

    hand: NDArray[np.float32]
    surroundings: NDArray[np.float32]

    @classmethod
    def learn(
        cls, codes: NDArray[np.int32], hand: NDArray[np.bool_], surroundings: NDArray[np.bool_]
    ) -> ColourModel | None:
        """Count the colours of sure pixels; None where there are too few of either.

        Args:
            codes: (h, w) from `colour_codes`.
            hand: (h, w) True where the hand is for sure.
            surroundings: (h, w) True where it is for sure not.
        """
        # by index: NumPy takes longer to pick by a mask of scattered cells
        of_hand, of_rest = (codes.ravel().take(np.flatnonzero(cells)) for cells in (hand, surroundings))
        if of_hand.size < _MIN_SAMPLES or of_rest.size < _MIN_SAMPLES:
            return None
        return cls(_frequencies(of_hand), _frequencies(of_rest))

    def blended(self, older: ColourModel | None, keep: float) -> ColourModel:
        """This model with the share `keep`, 0 to 1, of an older one, so that it does not flicker."""
        if older is None:
            return self
        mix = np.float32(keep)
        return ColourModel(
            self.hand + mix * (older.hand - self.hand),
            self.surroundings + mix * (older.surroundings - self.surroundings),
        )

    @property
    def separability(self) -> float:
        """How well the two are told apart, 0 (same colours) to 1: one less the Bhattacharyya coefficient."""
        return float(np.clip(1.0 - np.sqrt(self.hand * self.surroundings).sum(), 0.0, 1.0))

    @property
    def trust(self) -> float:
        """Weight that colour deserves, 0 where hand and surroundings look alike to 1."""
        low, high = _TRUST_FROM
        return float(np.clip((self.separability - low) / (high - low), 0.0, 1.0))

    def evidence(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Log likelihood ratio of hand against surroundings for every pixel, (h, w) float32, limited to ±4."""
        floor = np.float32(1e-4)
        ratio = np.log((self.hand + floor) / (self.surroundings + floor))
        limited = np.clip(ratio, -_EVIDENCE_LIMIT, _EVIDENCE_LIMIT).astype(np.float32)
        evidence: NDArray[np.float32] = limited.take(codes)
        return evidence


def _frequencies(codes: NDArray[np.int32]) -> NDArray[np.float32]:
    import cv2

    counts = np.bincount(codes, minlength=_BINS[0] * _BINS[1] * _BINS[2]).astype(np.float32)
    # A colour one bin away is nearly as likely: without this, fifty samples a bin would be needed. The cube is blurred
    # by (1, 2, 1) / 4 along L and a with b as the channels of a picture, then along b; what would leave it is dropped.
    across = cv2.sepFilter2D(counts.reshape(_BINS), -1, _SPREAD, _SPREAD, borderType=cv2.BORDER_CONSTANT)
    spread = cv2.sepFilter2D(across.reshape(-1, _BINS[2]), -1, _SPREAD, _ONE, borderType=cv2.BORDER_CONSTANT)
    smooth: NDArray[np.float32] = np.asarray(spread, np.float32).ravel() / np.float32(spread.sum())
    return smooth
