"""Logits on the device become 8-bit masks of the frame: nothing shifted, nothing twice, nothing invented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gest_stream.models.sam2_engine import Sam2Masks
from gest_stream.models.sam2_masks import to_hand_masks
from gest_stream.models.sam2_model import Decoded
from gest_stream.types import MaskSource

SIZE = (320, 180)
SIDE = 16


def masks_of(
    logits: torch.Tensor,
    ids: Sequence[int],
    size: tuple[int, int] = SIZE,
    score: Sequence[float] | None = None,
    iou: float = 0.8,
) -> Sam2Masks:
    count = len(ids)
    scores = torch.tensor(score if score is not None else [5.0] * count)[:, None]
    decoded = Decoded(logits.reshape(count, 1, SIDE, SIDE), torch.full((count,), iou), scores, torch.zeros(count, 8))
    return Sam2Masks(tuple(ids), decoded, size)


def square(rows: slice, columns: slice, height: float = 8.0) -> torch.Tensor:
    logits = torch.full((SIDE, SIDE), -8.0)
    logits[rows, columns] = height
    return logits


def waves(count: int, seed: int = 0) -> torch.Tensor:
    """Smooth logits of about +-8, crossing zero everywhere."""
    coarse = 12 * torch.randn(count, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")


@pytest.mark.parametrize("size", [(320, 180), (180, 320), (64, 64), (9, 200)])
def test_a_pixel_is_hand_exactly_where_its_interpolated_logit_is_above_zero(size: tuple[int, int]) -> None:
    logits = waves(3)
    found = to_hand_masks(masks_of(logits, [4, 2, 9], size), non_overlap=False)
    enlarged = F.interpolate(logits, size=(size[1], size[0]), mode="bilinear", align_corners=False)[:, 0].numpy()
    assert list(found) == [4, 2, 9]
    for mask, values in zip(found.values(), enlarged, strict=True):
        assert 0 < mask.area_px < size[0] * size[1]
        assert np.array_equal(mask.full() >= 128, values > 0)
        assert np.abs(mask.full() - 255 / (1 + np.exp(-values))).max() <= 1.0
        assert (mask.frame_size, mask.source) == (size, MaskSource.SAM2)


def test_logits_a_hair_from_zero_fall_on_their_own_side() -> None:
    for value, area in ((1e-9, 64 * 64), (0.0, 0), (-1e-9, 0)):
        found = to_hand_masks(masks_of(torch.full((SIDE, SIDE), value), [1], (64, 64)), non_overlap=False)
        assert found[1].area_px == area
        assert found[1].crop.min() == (128 if area else 127)


def test_the_crop_holds_everything_above_zero_and_no_empty_border() -> None:
    found = to_hand_masks(masks_of(square(slice(3, 6), slice(9, 14)), [1]), non_overlap=False)[1]
    for edge in (found.crop[0], found.crop[-1], found.crop[:, 0], found.crop[:, -1]):
        assert edge.any()
    alpha = F.interpolate(square(slice(3, 6), slice(9, 14))[None, None], size=(180, 320), mode="bilinear").sigmoid()
    assert np.abs(found.full() - (alpha[0, 0] * 255).numpy()).max() <= 1.0
    assert found.crop.flags.c_contiguous


@pytest.mark.parametrize(
    ("rows", "columns"), [(slice(1, 4), slice(10, 15)), (slice(11, 15), slice(0, 4)), (slice(6, 9), slice(2, 13))]
)
def test_a_square_comes_back_at_its_place_in_an_oblong_frame(rows: slice, columns: slice) -> None:
    found = to_hand_masks(masks_of(square(rows, columns), [1]), non_overlap=False)[1]
    box = found.box_xyxy_px
    assert box is not None
    expected = (columns.start * 20, rows.start * 180 / 16, columns.stop * 20, rows.stop * 180 / 16)
    assert box == pytest.approx(expected, abs=1.0)
    assert found.full()[round((rows.start + rows.stop) * 180 / 32), round((columns.start + columns.stop) * 10)] > 250


def test_masks_that_overlap_become_disjoint_and_the_higher_logit_wins() -> None:
    logits = torch.stack([square(slice(2, 12), slice(1, 10), 3.0), square(slice(2, 12), slice(6, 15), 7.0)])
    apart = to_hand_masks(masks_of(logits, [1, 2]), non_overlap=True)
    loose = to_hand_masks(masks_of(logits, [1, 2]), non_overlap=False)
    shared = (loose[1].full() >= 128) & (loose[2].full() >= 128)
    assert shared.sum() > 3000
    assert not ((apart[1].full() >= 128) & (apart[2].full() >= 128)).any()
    higher = loose[2].full().astype(int) > loose[1].full()
    assert np.array_equal(apart[2].full()[higher], loose[2].full()[higher]), "the stronger one loses nothing"
    assert apart[1].full()[higher & shared].max() == 0
    union = (loose[1].full() >= 128) | (loose[2].full() >= 128)
    assert np.array_equal((apart[1].full() >= 128) | (apart[2].full() >= 128), union)


def test_many_wavy_masks_are_disjoint() -> None:
    apart = to_hand_masks(masks_of(waves(6), list(range(6))), non_overlap=True)
    claims = np.stack([mask.full() >= 128 for mask in apart.values()]).sum(axis=0)
    assert claims.max() == 1


def test_an_object_that_is_not_in_the_picture_is_missing_and_takes_no_pixel() -> None:
    logits = torch.stack([square(slice(2, 12), slice(1, 10)), torch.full((SIDE, SIDE), -1024.0), waves(1)[0, 0]])
    found = to_hand_masks(masks_of(logits, [1, 2, 3], score=[3.0, -2.0, 0.0]), non_overlap=True)
    assert list(found) == [1]
    alone = to_hand_masks(masks_of(logits[:2], [1, 2], score=[3.0, -2.0]), non_overlap=True)
    assert np.array_equal(alone[1].full(), to_hand_masks(masks_of(logits[0], [1]), non_overlap=False)[1].full())


def test_a_mask_without_a_pixel_is_an_empty_crop() -> None:
    found = to_hand_masks(masks_of(torch.full((SIDE, SIDE), -20.0), [1]), non_overlap=False)[1]
    assert (found.crop.shape, found.origin_xy_px, found.area_px, found.frame_size) == ((0, 0), (0, 0), 0, SIZE)


def test_the_score_is_the_masks_quality_times_the_chance_that_the_hand_is_there() -> None:
    for score, iou, expected in ((0.5, 0.8, 0.8 / (1 + np.exp(-0.5))), (30.0, 1.2, 1.0), (2.0, -0.1, 0.0)):
        found = to_hand_masks(masks_of(waves(1), [1], score=[score], iou=iou), non_overlap=False)
        assert found[1].score == pytest.approx(expected, abs=1e-6)


def test_no_object_gives_no_mask() -> None:
    assert to_hand_masks(Sam2Masks((), None, SIZE), non_overlap=True) == {}


def test_the_logits_are_left_as_they_were() -> None:
    masks = masks_of(waves(2), [1, 2])
    assert masks.decoded is not None
    before = masks.decoded.logits.clone()
    to_hand_masks(masks, non_overlap=True)
    assert torch.equal(masks.decoded.logits, before)
