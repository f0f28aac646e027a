"""Small holes in a hand are filled, what is seen through it stays."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.models.mask_holes import MAX_HOLE_SHARE, fill_holes
from gest_stream.types import HandMask, MaskSource

SIZE = (320, 240)


def disc_mask(change: Callable[[NDArray[np.uint8]], object] | None = None) -> HandMask:
    """A disc of radius 60 with an edge that is soft over some pixels, at (160, 120)."""
    alpha = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.circle(alpha, (160, 120), 60, 255, -1)
    if change is not None:
        change(alpha)
    return HandMask.from_full(cv2.GaussianBlur(alpha, (0, 0), 1.0), 0.75, MaskSource.LIGHT)


def hole(radius: int, x: int = 160, y: int = 120) -> Callable[[NDArray[np.uint8]], object]:
    return lambda alpha: cv2.circle(alpha, (x, y), radius, 0, -1)


def test_a_small_hole_is_filled_with_its_soft_rim() -> None:
    filled = fill_holes(disc_mask(hole(4)), 0.02)
    # What is left of the rim is too faint to be seen.
    np.testing.assert_allclose(filled.full(), disc_mask().full(), atol=8)


def test_the_filled_mask_keeps_place_score_and_source() -> None:
    mask = disc_mask(hole(4))
    before = mask.crop.copy()
    filled = fill_holes(mask, 0.02)
    assert (filled.origin_xy_px, filled.frame_size) == (mask.origin_xy_px, mask.frame_size)
    assert (filled.score, filled.source) == (0.75, MaskSource.LIGHT)
    np.testing.assert_array_equal(mask.crop, before)


def test_a_hole_above_the_share_stays_while_a_smaller_one_beside_it_is_filled() -> None:
    def both(alpha: NDArray[np.uint8]) -> None:
        hole(10, x=140)(alpha)
        hole(3, x=185)(alpha)

    mask = disc_mask(both)
    filled = fill_holes(mask, 0.01)
    np.testing.assert_allclose(filled.full(), disc_mask(hole(10, x=140)).full(), atol=8)


def test_the_share_is_of_the_hand_and_so_holds_at_every_scale() -> None:
    for zoom in (1.0, 2.0, 3.0):
        size = int(150 * zoom)
        alpha = np.zeros((size, size), np.uint8)
        cv2.circle(alpha, (size // 2, size // 2), int(60 * zoom), 255, -1)
        cv2.circle(alpha, (size // 2, size // 2), int(6 * zoom), 0, -1)
        mask = HandMask.from_full(alpha, 1.0, MaskSource.LIGHT)
        assert fill_holes(mask, 0.008) is mask
        assert fill_holes(mask, 0.015).crop[mask.crop.shape[0] // 2, mask.crop.shape[1] // 2] == 255


def test_the_ring_of_thumb_and_index_finger_survives_by_default() -> None:
    # 0.5 % of the hand, which is among the smaller rings that are seen
    ring = disc_mask(hole(4))
    share = int((ring.crop[40:80, 40:80] < 128).sum()) / ring.area_px
    assert MAX_HOLE_SHARE < share < 0.006
    assert fill_holes(ring) is ring
    noise = disc_mask(hole(2))
    assert fill_holes(noise).area_px == disc_mask().area_px > noise.area_px


def test_a_hole_whose_corner_touches_the_outside_is_still_one() -> None:
    alpha = np.zeros((40, 40), np.uint8)
    alpha[5:35, 5:35] = 255
    alpha[33, 33] = 0
    alpha[34, 34] = 0
    filled = fill_holes(HandMask.from_full(alpha, 1.0, MaskSource.LIGHT), 0.01).full()
    assert filled[33, 33] == 255
    assert filled[34, 34] == 0


def test_a_bay_is_no_hole() -> None:
    def bay(alpha: NDArray[np.uint8]) -> None:
        alpha[118:121, 150:230] = 0

    mask = disc_mask(bay)
    assert fill_holes(mask, 0.2) is mask


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_background_at_the_border_of_the_frame_may_go_on_there_and_is_no_hole(side: str) -> None:
    alpha = np.zeros((60, 60), np.uint8)
    alpha[:, :] = 255
    rows, columns = {
        "left": (slice(28, 31), slice(0, 3)),
        "top": (slice(0, 3), slice(28, 31)),
        "right": (slice(28, 31), slice(57, 60)),
        "bottom": (slice(57, 60), slice(28, 31)),
    }[side]
    alpha[rows, columns] = 0
    mask = HandMask.from_full(alpha, 1.0, MaskSource.LIGHT)
    assert fill_holes(mask, 0.5) is mask


def test_the_outer_edge_stays_soft_where_a_filled_hole_is_near_it() -> None:
    # The hole's middle is 5 px inside the outline.
    near_edge, solid = disc_mask(hole(2, x=160 + 55)), disc_mask()
    filled = fill_holes(near_edge, 0.02)
    assert filled.full()[120, 160 + 55] == 255
    outer = solid.full()[120, 219:224]
    assert ((outer > 0) & (outer < 255)).sum() >= 3
    np.testing.assert_array_equal(filled.full()[120, 219:224], near_edge.full()[120, 219:224])


def test_many_holes_are_filled_at_once() -> None:
    rng = np.random.default_rng(3)
    solid = disc_mask()
    crop = solid.crop.copy()
    rows, columns = np.nonzero(cv2.erode((crop == 255).astype(np.uint8), np.ones((5, 5), np.uint8)))
    picked = rng.choice(rows.size, 100, replace=False)
    crop[rows[picked], columns[picked]] = rng.integers(0, 128, 100, np.uint8)
    filled = fill_holes(HandMask(crop, solid.origin_xy_px, SIZE, 0.75, MaskSource.LIGHT))
    np.testing.assert_array_equal(filled.crop, solid.crop)


def test_where_there_is_nothing_to_fill_the_mask_itself_comes_back() -> None:
    solid = disc_mask()
    assert fill_holes(solid) is solid
    assert fill_holes(disc := disc_mask(hole(4)), 0.0) is disc
    empty = HandMask(np.zeros((0, 0), np.uint8), (0, 0), SIZE, 0.0, MaskSource.LIGHT)
    assert fill_holes(empty) is empty
    faint = HandMask(np.full((20, 20), 90, np.uint8), (0, 0), SIZE, 0.0, MaskSource.LIGHT)
    assert fill_holes(faint, 1.0) is faint


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InvalidInputError, match="max_share: expected 0 to 1"):
        fill_holes(disc_mask(), share)
