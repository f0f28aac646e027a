"""From probability maps to hands and points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import PointPolicy, RegionConfig
from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.tracking.prompts import prompt_from_region
from gest_stream.tracking.regions import HandRegion, find_regions, mask_center_px
from gest_stream.types import HandProbability, PromptMode
from tests.tracking.scenes import hand

CONFIG = RegionConfig(points=4)
SIZE = (640, 320)  # cells of 10 x 8 pixels


def grid(*boxes: tuple[int, int, int, int, float]) -> NDArray[np.float32]:
    """A (40, 64) map: (left, top, right, bottom, probability) of each box."""
    values = np.full((40, 64), 0.02, np.float32)
    for left, top, right, bottom, value in boxes:
        values[top:bottom, left:right] = value
    return values


def regions_of(
    hand_map: NDArray[np.float32], forearm: NDArray[np.float32] | None = None, config: RegionConfig = CONFIG
) -> tuple[HandRegion, ...]:
    return find_regions(HandProbability(hand_map, SIZE, forearm), config)


def test_each_connected_component_is_a_hand_the_largest_first_where_it_lies_in_the_frame() -> None:
    small, large = regions_of(grid((4, 10, 10, 20, 0.9), (30, 5, 50, 25, 0.95)))[::-1]
    assert large.mask.box_xyxy_px == pytest.approx((300, 40, 500, 200), abs=6)
    assert small.mask.box_xyxy_px == pytest.approx((40, 80, 100, 160), abs=6)
    assert [large.score, small.score] == pytest.approx([0.95, 0.9])
    assert large.center_xy_px.tolist() == pytest.approx([400, 120], abs=0.6)
    assert large.mask.area_px == pytest.approx(200 * 160, rel=0.05)


def test_diagonal_cells_are_connected() -> None:
    values = grid((10, 10, 16, 16, 0.9), (16, 16, 22, 22, 0.9))
    assert len(regions_of(values)) == 1


def test_the_mask_of_one_hand_holds_nothing_of_the_next() -> None:
    first, second = regions_of(grid((4, 10, 14, 30, 0.9), (15, 10, 24, 30, 0.9)))
    assert first.mask.iou(second.mask) == 0.0


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (CONFIG, 2),
        (replace(CONFIG, min_area_share=0.05), 1),
        (replace(CONFIG, min_score=0.8), 1),
        (replace(CONFIG, mask_threshold=0.8), 1),
        (replace(CONFIG, max_regions=1), 1),
        (replace(CONFIG, mask_threshold=0.99, min_score=0.0), 0),
    ],
)
def test_thresholds_decide_what_counts(config: RegionConfig, count: int) -> None:
    assert len(regions_of(grid((4, 10, 10, 20, 0.7), (30, 5, 50, 25, 0.95)), config=config)) == count


def test_nothing_is_no_region() -> None:
    assert regions_of(grid()) == ()


def test_points_lie_inside_spread_out_the_deepest_first_and_are_the_same_each_time() -> None:
    values = grid((10, 5, 34, 35, 0.9), (34, 18, 60, 22, 0.9))  # a square and an arm to its right
    region = regions_of(values)[0]
    again = regions_of(values)[0]
    assert np.array_equal(region.inner_xy_px, again.inner_xy_px)
    assert region.inner_xy_px.shape == (4, 2)
    assert np.abs(region.inner_xy_px[0] - (220, 160)).max() <= 20
    apart = np.linalg.norm(region.inner_xy_px[:, None] - region.inner_xy_px[None], axis=2)
    assert apart[~np.eye(4, dtype=bool)].min() > 60
    columns, rows = (region.inner_xy_px / (10, 8)).astype(int).T
    assert (values[rows, columns] >= 0.8).all()


def test_points_keep_away_from_the_border_the_frames_edge_included() -> None:
    region = regions_of(grid((0, 0, 20, 40, 0.9)))[0]
    assert region.inner_xy_px[0].tolist() == pytest.approx([100, 160], abs=75)
    assert 60 <= region.inner_xy_px[0, 0] <= 140


def test_points_take_the_sure_cells_and_the_surest_where_none_is_sure() -> None:
    values = grid((10, 10, 30, 30, 0.7), (12, 12, 15, 15, 0.9))
    inner = regions_of(values)[0].inner_xy_px
    assert ((inner >= (120, 96)) & (inner <= (150, 120))).all()
    values[20, 25] = 0.78
    unsure = regions_of(np.minimum(values, np.float32(0.78)))[0].inner_xy_px
    assert len(unsure) == 4 and ((unsure[:, 0] <= 150) | (np.abs(unsure - (255, 164)).max(axis=1) < 1)).all()


def test_the_random_policy_draws_sure_pixels_by_its_seed() -> None:
    values = grid((10, 10, 50, 30, 0.7), (20, 12, 40, 28, 0.9))
    drawn = [
        regions_of(values, config=replace(CONFIG, points=12, point_policy=PointPolicy.RANDOM, seed=seed))[0].inner_xy_px
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert len(np.unique(drawn[0], axis=0)) == 12
    assert ((drawn[0] > (200, 96)) & (drawn[0] < (400, 224))).all()


def test_forearm_points_lie_on_the_forearm_beside_the_hand_and_not_on_a_far_one() -> None:
    hand_map = grid((20, 5, 30, 15, 0.9))
    forearm = grid((22, 15, 28, 38, 0.9), (55, 2, 60, 38, 0.9))
    region = regions_of(hand_map, forearm)[0]
    assert region.forearm_xy_px.shape == (2, 2)
    assert ((region.forearm_xy_px > (220, 128)) & (region.forearm_xy_px < (280, 120 + 110))).all()
    assert regions_of(hand_map, forearm, replace(CONFIG, forearm_points=0))[0].forearm_xy_px.shape == (0, 2)
    assert regions_of(hand_map)[0].forearm_xy_px.shape == (0, 2)


def test_a_prompt_of_a_region_points_on_it_and_off_forearm_and_other_hands_and_boxes_it() -> None:
    first, second = regions_of(grid((20, 5, 30, 15, 0.9), (45, 5, 53, 13, 0.9)), grid((22, 15, 28, 38, 0.9)))
    prompt = prompt_from_region(first, [second], [hand(100, 250)], CONFIG)
    on, off = prompt.points_xy_px[prompt.labels == 1], prompt.points_xy_px[prompt.labels == 0]
    assert np.array_equal(on, first.inner_xy_px)
    assert len(off) == 2 + 2 + 2
    assert np.array_equal(off[:2], first.forearm_xy_px) and np.array_equal(off[2:4], second.inner_xy_px[:2])
    assert np.abs(off[4] - (100, 260)).max() < 25
    assert prompt.box_xyxy_px == first.mask.box_xyxy_px and prompt.mode is PromptMode.RESET
    bare = prompt_from_region(
        first, [second], [hand(100, 250)], replace(CONFIG, box=False, other_hand_points=0, forearm_points=0)
    )
    assert bare.box_xyxy_px is None and bare.labels.tolist() == [1] * 4


def test_no_point_is_called_off_the_hand_that_lies_on_it_or_outside_the_frame() -> None:
    region = regions_of(grid((20, 5, 30, 15, 0.9)))[0]
    on_it, outside = hand(250, 80, size_px=40), hand(-300, 80)
    assert prompt_from_region(region, [], [on_it, outside], CONFIG).labels.tolist() == [1] * 4


def test_the_middle_of_a_mask_is_that_of_its_pixels() -> None:
    region = regions_of(grid((20, 5, 30, 15, 0.9)))[0]
    rows, columns = np.nonzero(region.mask.full() >= 128)
    assert mask_center_px(region.mask).tolist() == pytest.approx([columns.mean() + 0.5, rows.mean() + 0.5], abs=1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4), np.float64), "float64"),
        (np.full((3, 4), 1.5, np.float32), "0 to 1"),
        (np.full((3, 4), np.nan, np.float32), "0 to 1"),
        (np.zeros((0, 4), np.float32), "(0, 4)"),
    ],
)
def test_a_map_that_is_none_is_refused(values: NDArray[np.float32], message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        HandProbability(values, SIZE)
    assert message in str(caught.value)


@pytest.mark.parametrize("wrong", [{"points": 0}, {"mask_threshold": 0.0}, {"min_score": 2.0}, {"max_regions": 0}])
def test_settings_out_of_range_name_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"regions.{next(iter(wrong))}"):
        replace(RegionConfig(), **wrong)  # type: ignore[arg-type]
