"""A mask carried from the last frame to this one by optical flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_OUTSIDE = -16.0


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Where every cell of a grid came from.

    Args:
        back_xy: (h, w, 2) float32 cells from a cell of this frame to its place on the last one.
        error: (h, w) float32 cells by which going back and forth misses.
    """

    back_xy: NDArray[np.float32]
    error: NDArray[np.float32]

    def carry(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values on the last frame's grid, (h, w) float32, moved to this frame's; background from outside."""
        return _sample(values, self.back_xy, _OUTSIDE)

    def move_points(self, points_xy: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """Move points of the last frame as one stiff, scalable piece with the cells inside.

        Args:
            points_xy: (N, 2) grid cells on the last frame.
            inside: (h, w) True for this frame's cells that move along.

        Returns:
            (N, 2) grid cells on this frame; None where too few cells move or they do not agree.
        """
        rows, columns = np.nonzero(inside & (self.error < 1.5))
        if rows.size < 32:
            return None
        now = columns + 1j * rows
        moved = self.back_xy[rows, columns]
        before = now + moved[:, 0] + 1j * moved[:, 1]
        turn, shift = _similarity(before, now)
        # One pass more without the worst half: fingers that move by themselves, background that was let in.
        miss = np.abs(turn * before + shift - now)
        good = miss <= np.median(miss)
        turn, shift = _similarity(before[good], now[good])
        if not 0.5 < abs(turn) < 2.0:
            return None
        target = turn * (points_xy[:, 0] + 1j * points_xy[:, 1]) + shift
        return np.stack([target.real, target.imag], axis=1)


def grey_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) uint8, as flow takes it, of an (h, w, 3) uint8 RGB picture."""
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


class FlowFinder:
    """Dense inverse search flow between two small grey pictures.

    Source: Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search", 2016, as in OpenCV.

    Args:
        fine: Follow what is a few cells wide, as fingers are on a small picture of a whole frame: search at half the
            resolution instead of a quarter, and leave out the refinement, which blurs the field at a hand's border.
    """

    def __init__(self, fine: bool = False) -> None:
        import cv2

        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        # At the resolution searched last, a quarter or half, a patch of 8 must fit: OpenCV reads past the picture else.
        self._least_cells = 24 if fine else 32
        if fine:
            self._dis.setFinestScale(1)
            self._dis.setVariationalRefinementIterations(0)

    def between(self, last: NDArray[np.uint8], now: NDArray[np.uint8]) -> Flow | None:
        """The flow between two (h, w) uint8 pictures of one size; None where they are too small for it."""
        if min(now.shape) < self._least_cells:
            return None
        back = np.asarray(self._dis.calc(now, last, None), np.float32)
        forth = np.asarray(self._dis.calc(last, now, None), np.float32)
        miss_x = back[..., 0] + _sample(np.ascontiguousarray(forth[..., 0]), back, 1e3)
        miss_y = back[..., 1] + _sample(np.ascontiguousarray(forth[..., 1]), back, 1e3)
        return Flow(back, np.hypot(miss_x, miss_y).astype(np.float32))


def _sample(values: NDArray[np.float32], back_xy: NDArray[np.float32], outside: float) -> NDArray[np.float32]:
    import cv2

    height, width = values.shape
    x = np.arange(width, dtype=np.float32)[None, :] + back_xy[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + back_xy[..., 1]
    moved = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside)
    return np.asarray(moved, np.float32)


def _similarity(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> tuple[complex, complex]:
    """Least squares `turn`, `shift` of b = turn * a + shift over complex points."""
    a_mean, b_mean = complex(a.mean()), complex(b.mean())
    a_free, b_free = a - a_mean, b - b_mean
    spread = float((a_free.real**2 + a_free.imag**2).sum())
    turn = complex((a_free.conj() * b_free).sum()) / spread if spread > 0 else 1 + 0j
    return turn, b_mean - turn * a_mean
