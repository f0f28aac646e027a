"""From a probability map to hands: connected components, their masks, and points on and beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gest_stream.config import PointPolicy, RegionConfig
from gest_stream.types import HandMask, HandProbability, MaskSource

_TOUCHING = np.ones((3, 3), bool)
_INSIDE = 128
_FOREARM_REACH_HANDS = 1.0
"""How far from the hand its forearm's points may lie, in square roots of the hand's area."""

_CLEAR_CELLS = 1.5
"""Points on the forearm keep that far from the hand, in cells: its border is not known better."""


@dataclass(frozen=True, slots=True, eq=False)
class HandRegion:
    """One hand as a segmentation network saw it.

    Args:
        mask: Its outline, as coarse as the map it comes from; the score is its mean probability.
        inner_xy_px: (N, 2) float32 pixels of the frame, N >= 1, on the hand, the surest first.
        forearm_xy_px: (M, 2) float32, on the forearm beside it.
    """

    mask: HandMask
    inner_xy_px: NDArray[np.float32]
    forearm_xy_px: NDArray[np.float32]

    @property
    def score(self) -> float:
        """Mean probability, 0 to 1."""
        return self.mask.score

    @property
    def center_xy_px(self) -> NDArray[np.float32]:
        """(2,) middle of its pixels."""
        return mask_center_px(self.mask)

    @property
    def size_px(self) -> float:
        """Square root of its area, pixels."""
        return float(np.sqrt(self.mask.area_px))


def mask_center_px(mask: HandMask) -> NDArray[np.float32]:
    """(2,) float32 mean x and y of the hand pixels of a mask that is not empty."""
    inside = mask.inside
    columns, rows = inside.sum(axis=0), inside.sum(axis=1)
    total = max(int(columns.sum()), 1)
    x = float((columns * np.arange(len(columns))).sum()) / total + mask.origin_xy_px[0] + 0.5
    y = float((rows * np.arange(len(rows))).sum()) / total + mask.origin_xy_px[1] + 0.5
    return np.array([x, y], np.float32)


def find_regions(probability: HandProbability, config: RegionConfig) -> tuple[HandRegion, ...]:
    """The hands of a map, the largest first.

    Args:
        probability: What the network says of a frame.
        config: Thresholds, and how points are picked.

    Returns:
        One region for each connected component that is large and sure enough. Hands that touch are one.
    """
    inside = probability.hand >= config.mask_threshold
    labels, count = ndimage.label(inside, _TOUCHING)
    if count == 0:
        return ()
    cells = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    means = np.asarray(ndimage.mean(probability.hand, labels, np.arange(1, count + 1)))
    smallest = config.min_area_share * inside.size
    order = sorted(range(count), key=lambda k: (-int(cells[k]), k))
    kept = [k + 1 for k in order if cells[k] >= smallest and means[k] >= config.min_score]
    forearm = _forearm_cells(probability, inside, config)
    regions = [
        _region(probability, labels == label, inside, forearm, config, index)
        for index, label in enumerate(kept[: config.max_regions])
    ]
    return tuple(region for region in regions if region.mask.area_px > 0)


def _forearm_cells(
    probability: HandProbability, hands: NDArray[np.bool_], config: RegionConfig
) -> NDArray[np.bool_] | None:
    if probability.forearm is None or config.forearm_points == 0:
        return None
    return (probability.forearm >= config.mask_threshold) & ~hands


def _region(
    probability: HandProbability,
    own: NDArray[np.bool_],
    hands: NDArray[np.bool_],
    forearm: NDArray[np.bool_] | None,
    config: RegionConfig,
    index: int,
) -> HandRegion:
    score = float(np.clip(probability.hand[own].mean(), 0.0, 1.0))
    mask = _frame_mask(np.where(hands & ~own, 0.0, probability.hand), own, probability, score, config.mask_threshold)
    sure = own & (probability.hand >= config.point_threshold)
    if not sure.any():
        sure = own & (probability.hand >= float(probability.hand[own].max()) - 1e-6)
    if config.point_policy is PointPolicy.RANDOM:
        inner = _random_cells(sure, config.points, np.random.default_rng((config.seed, index)))
    else:
        inner = _peak_cells(sure, config.points, probability.scale_xy)
    beside = np.zeros((0, 2), np.int64)
    if forearm is not None:
        beside = _peak_cells(_near(forearm, own, probability.scale_xy), config.forearm_points, probability.scale_xy)
    return HandRegion(mask, _to_frame(inner, probability), _to_frame(beside, probability))


def _near(forearm: NDArray[np.bool_], hand: NDArray[np.bool_], scale_xy: tuple[float, float]) -> NDArray[np.bool_]:
    """The forearm's cells that lie near the hand, but not at its border."""
    cell_x, cell_y = scale_xy
    apart_px = np.asarray(ndimage.distance_transform_edt(~hand, sampling=(cell_y, cell_x)))
    reach_px = _FOREARM_REACH_HANDS * float(np.sqrt(np.count_nonzero(hand) * cell_x * cell_y))
    return forearm & (apart_px <= reach_px) & (apart_px > _CLEAR_CELLS * max(scale_xy))


def _peak_cells(cells: NDArray[np.bool_], count: int, scale_xy: tuple[float, float]) -> NDArray[np.int64]:
    """Up to `count` (row, column) of cells: each the middle of the largest circle between border and earlier ones."""
    chosen: list[tuple[int, int]] = []
    free = np.pad(cells, 1)  # the frame's edge is a border as well
    while len(chosen) < count and free.any():
        depth = ndimage.distance_transform_edt(free, sampling=(scale_xy[1], scale_xy[0]))
        row, column = np.unravel_index(int(np.argmax(depth)), free.shape)
        free[row, column] = False
        chosen.append((int(row) - 1, int(column) - 1))
    return np.array(chosen, np.int64).reshape(-1, 2)


def _random_cells(cells: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to `count` (row, column) of cells, drawn without replacement."""
    rows, columns = np.nonzero(cells)
    picked = rng.choice(len(rows), min(count, len(rows)), replace=False)
    return np.stack([rows[picked], columns[picked]], axis=1)


def _to_frame(cells: NDArray[np.int64], probability: HandProbability) -> NDArray[np.float32]:
    """(row, column) of cells to the frame's pixels at their middles, (N, 2) float32 x and y."""
    return ((cells[:, ::-1] + 0.5) * probability.scale_xy).astype(np.float32).reshape(-1, 2)


def _frame_mask(
    values: NDArray[np.float32],
    own: NDArray[np.bool_],
    probability: HandProbability,
    score: float,
    threshold: float,
) -> HandMask:
    """The component at the frame's resolution, between cells by bilinear interpolation."""
    scale_x, scale_y = probability.scale_xy
    width, height = probability.frame_size
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    left, top = max(0, int((columns[0] - 0.5) * scale_x)), max(0, int((rows[0] - 0.5) * scale_y))
    right = min(width, int(np.ceil((columns[-1] + 1.5) * scale_x)))
    bottom = min(height, int(np.ceil((rows[-1] + 1.5) * scale_y)))
    y = (np.arange(top, bottom) + 0.5) / scale_y - 0.5
    x = (np.arange(left, right) + 0.5) / scale_x - 0.5
    fine = _between(_between(values, y).T, x).T
    # threshold to 128, 0 and 1 to the ends
    alpha = np.where(
        fine >= threshold,
        _INSIDE + (fine - threshold) / max(1.0 - threshold, 1e-6) * (255 - _INSIDE),
        fine / threshold * (_INSIDE - 1),
    )
    crop = np.clip(alpha.round(), 0, 255).astype(np.uint8)
    return HandMask(crop, (left, top), probability.frame_size, score, MaskSource.CARRIED)


def _between(values: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    """Rows of (n, m) `values` at fractional row numbers, linearly, the outermost repeated beyond the ends."""
    at = np.clip(at, 0, len(values) - 1)
    low = np.minimum(np.floor(at).astype(np.int64), max(len(values) - 2, 0))
    share = (at - low).astype(np.float32)[:, None]
    high = np.minimum(low + 1, len(values) - 1)
    return np.asarray(values[low] * (1 - share) + values[high] * share)
