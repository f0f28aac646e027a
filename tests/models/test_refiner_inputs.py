"""What the refiner is shown: crops, the landmarks' shape, the last frame where the hand is now."""

from __future__ import annotations

import numpy as np
import pytest

from gest_stream.models.crop_window import CropWindow
from gest_stream.models.refiner_inputs import (
    Past,
    frame_plane,
    landmark_window,
    mask_window,
    past_planes,
    shape_plane,
    square_window,
    stack_inputs,
    take_square,
)
from gest_stream.testing import make_landmarks

GRID = 64


def test_the_crop_holds_every_landmark_and_some_room() -> None:
    points = make_landmarks((160, 120), 150).points_xy_px
    window = landmark_window(points, GRID)
    cells = window.to_grid(points)
    assert window.width == window.height and window.grid_size == (GRID, GRID)
    assert cells.min() > 0.1 * GRID and cells.max() < 0.9 * GRID


def test_a_crop_around_a_mask_is_not_much_tighter_for_a_fist() -> None:
    fist = mask_window((100, 100, 180, 180), 5500, GRID)
    assert fist.width == pytest.approx(2.1 * np.sqrt(5500), abs=1)
    assert fist.left + fist.width / 2 == pytest.approx(140, abs=1)
    assert fist.top + fist.height / 2 == pytest.approx(140, abs=1)


def test_what_lies_outside_the_frame_is_grey_and_told() -> None:
    image = np.full((40, 40, 3), 255, np.uint8)
    window = CropWindow(-20, 0, 40, 40, (GRID, GRID))
    crop, inside = take_square(image, window), frame_plane(window, (40, 40))
    assert (crop[:, : GRID // 2 - 2] == 128).all() and (crop[:, GRID // 2 + 2 :] == 255).all()
    assert inside[:, : GRID // 2].sum() == 0 and inside[:, GRID // 2 :].all()


def test_a_crop_wholly_outside_is_grey() -> None:
    assert (take_square(np.zeros((40, 40, 3), np.uint8), CropWindow(100, 100, 20, 20, (GRID, GRID))) == 128).all()


def test_the_shape_is_firm_on_bones_and_half_so_on_flesh() -> None:
    points = make_landmarks((160, 120), 150).points_xy_px
    window = landmark_window(points, GRID)
    plane = shape_plane(points, window)
    columns, rows = window.to_grid(points).round().astype(int).T
    assert (plane[rows, columns] == 1.0).all()
    assert set(np.unique(plane)) == {0.0, 0.5, 1.0} and (plane > 0).mean() > 0.1


def a_past(window: CropWindow, points: np.ndarray | None = None) -> Past:
    mask = np.zeros((GRID, GRID), np.float32)
    mask[20:40, 24:34] = 1.0
    return Past(window, np.full((GRID, GRID, 3), 200, np.uint8), mask, points)


def test_the_past_of_the_same_crop_stays_as_it_is() -> None:
    past = a_past(square_window(np.array([100.0, 100.0]), 128, GRID))
    image, mask = past_planes(past, past.window)
    np.testing.assert_allclose(mask, past.mask, atol=1e-6)
    np.testing.assert_array_equal(image, past.image)


def test_the_past_moves_with_the_hand() -> None:
    past = a_past(square_window(np.array([100.0, 100.0]), 128, GRID))
    window = square_window(np.array([130.0, 90.0]), 128, GRID)
    np.testing.assert_allclose(past_planes(past, window, None, (30.0, -10.0))[1], past.mask, atol=1e-6)


def test_the_past_turns_and_grows_as_the_landmarks_do() -> None:
    before = make_landmarks((100, 100), 80).points_xy_px
    past = a_past(square_window(np.array([100.0, 100.0]), 128, GRID), before)
    turned = (np.stack([-before[:, 1], before[:, 0]], axis=1) * 1.25 + (300.0, 20.0)).astype(np.float32)
    window = square_window(np.array([100.0 * -1.25 + 300.0, 100.0 * 1.25 + 20.0]), 160, GRID)
    mask = past_planes(past, window, turned)[1]
    np.testing.assert_allclose(mask[4:-4, 4:-4], np.rot90(past.mask, -1)[4:-4, 4:-4], atol=0.6)
    assert (mask > 0.5).sum() == pytest.approx(past.mask.sum(), rel=0.15)


def test_landmarks_of_quite_another_size_only_shift_the_past() -> None:
    before = make_landmarks((100, 100), 80).points_xy_px
    past = a_past(square_window(np.array([100.0, 100.0]), 128, GRID), before)
    now = ((before - before.mean(axis=0)) * 4.0 + before.mean(axis=0)).astype(np.float32)
    np.testing.assert_allclose(past_planes(past, past.window, now)[1], past.mask, atol=1e-3)


def test_what_is_not_told_is_zero() -> None:
    image = np.full((GRID, GRID, 3), 255, np.uint8)
    stacked = stack_inputs(image, np.ones((GRID, GRID), np.float32), None, None, None)
    assert stacked.shape == (10, GRID, GRID) and stacked.dtype == np.float32
    assert (stacked[4:] == 0.0).all() and (stacked[3] == 1.0).all()
    np.testing.assert_allclose(stacked[:3], (255 - 127.5) / 64.0)
