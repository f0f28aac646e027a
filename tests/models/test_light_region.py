"""Masks of the light segmenter that start from what a redetector saw, without landmarks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import LightConfig
from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.models.blob_shape import BlobShape, beyond_lookalikes_cm
from gest_stream.models.crop_window import CropWindow
from gest_stream.models.light import LightSegmenter
from gest_stream.synthetic import ClipConfig, ClipRenderer, SyntheticFrame
from gest_stream.testing import make_landmarks
from gest_stream.types import Frame, Handedness, HandMask, MaskSource, Observation, Prompt, PromptMode

SIZE = (320, 240)
SKIN, GROUND = (205, 150, 125), (60, 80, 150)


@pytest.fixture(scope="module")
def clip() -> list[SyntheticFrame]:
    """A rendered hand with its forearm, which moves and bends its fingers, over 16 frames."""
    renderer = ClipRenderer(ClipConfig(size=SIZE, frames=30, hands=1, seed=7, tones=(4.5,)))
    return [renderer.frame(seq) for seq in range(16)]


def step(segmenter: LightSegmenter, image: NDArray[np.uint8], *observations: Observation) -> dict[int, HandMask]:
    return dict(segmenter.step(segmenter.encode(Frame(image, 0, Fraction(1, 30), 0, 0)), observations))


def coarse(mask: HandMask, cell_px: float, score: float = 0.9) -> HandMask:
    """What a network whose cells are so wide shows of a mask."""
    width, height = mask.frame_size
    grid = cv2.resize(
        mask.full(), (round(width / cell_px), round(height / cell_px)), interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    full = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR) >= 128
    return HandMask.from_full(np.where(full, 255, 0).astype(np.uint8), score, MaskSource.SCRIPTED)


def mask_of(inside: NDArray[np.bool_], score: float = 0.9) -> HandMask:
    return HandMask.from_full(np.where(inside, 255, 0).astype(np.uint8), score, MaskSource.SCRIPTED)


def shape_of(centre: tuple[float, float] = (140, 100), size_px: float = 120) -> NDArray[np.bool_]:
    """The outline of an open hand."""
    flat = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    return step(LightSegmenter(LightConfig()), flat, Observation(1, make_landmarks(centre, size_px)))[1].full() >= 128


def picture_of(skin: NDArray[np.bool_], shift: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Speckled skin over a speckled blue ground; skin and its speckles moved by `shift` pixels."""
    noise = np.random.default_rng(7).normal(0, 60, (SIZE[1], SIZE[0])).astype(np.float32)
    speckle = cv2.GaussianBlur(noise, (0, 0), 2.0)[..., None]
    ground = np.array(GROUND, np.float32) + np.roll(speckle, 37, axis=1)
    hand = np.roll(np.array(SKIN, np.float32) + speckle, shift, axis=(1, 0))
    inside = np.roll(skin, shift, axis=(1, 0))[..., None]
    image: NDArray[np.uint8] = np.clip(np.where(inside, hand, ground), 0, 255).astype(np.uint8)
    return image


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_coarse_region_becomes_a_mask_on_the_same_frame_that_fits_the_hand_better() -> None:
    skin = shape_of()
    region = coarse(mask_of(skin), 10)
    mask = step(LightSegmenter(LightConfig()), picture_of(skin), Observation(1, region=region))[1]
    assert mask.source is MaskSource.CARRIED
    assert 0.8 < mask.score <= region.score
    assert iou(mask.full() >= 128, skin) > region.iou(mask_of(skin)) + 0.03
    assert iou(mask.full() >= 128, skin) > 0.92


def test_a_region_that_lies_half_beside_the_hand_is_drawn_onto_it() -> None:
    skin = shape_of()
    off = np.roll(skin, (6, 4), axis=(1, 0))
    mask = step(LightSegmenter(LightConfig()), picture_of(skin), Observation(1, region=mask_of(off)))[1]
    assert iou(off, skin) < 0.7
    assert iou(mask.full() >= 128, skin) > 0.96


def test_a_mask_from_a_region_is_carried_along_with_a_rendered_hand(clip: list[SyntheticFrame]) -> None:
    segmenter = LightSegmenter(LightConfig())
    region = coarse(clip[0].hands[0].hand_mask, 7)
    ious, scores = [], []
    for seq, each in enumerate(clip):
        observation = Observation(1, region=region if seq == 0 else None)
        mask = dict(segmenter.step(segmenter.encode(each.frame), [observation]))[1]
        ious.append(mask.iou(each.hands[0].hand_mask))
        scores.append(mask.score)
    stale = clip[0].hands[0].hand_mask.iou(clip[-1].hands[0].hand_mask)
    assert ious[0] > 0.9
    assert min(ious) > 0.85
    assert ious[-1] > stale + 0.2
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0.5


def test_on_a_still_picture_it_lives_twenty_to_forty_frames() -> None:
    skin = shape_of()
    segmenter, image = LightSegmenter(LightConfig()), picture_of(skin)
    scores = [step(segmenter, image, Observation(1, region=mask_of(skin)))[1].score]
    while len(scores) < 60 and (masks := step(segmenter, image, Observation(1))):
        scores.append(masks[1].score)
    assert 20 <= len(scores) <= 40
    assert 15 <= sum(score >= 0.5 for score in scores) <= 25
    assert min(scores) >= LightConfig().min_score


def test_how_long_it_lives_is_a_setting() -> None:
    skin = shape_of()
    short = LightSegmenter(LightConfig(region_decay=0.5))
    image = picture_of(skin)
    step(short, image, Observation(1, region=mask_of(skin)))
    assert 1 in step(short, image, Observation(1))
    assert step(short, image, Observation(1)) == {}
    with pytest.raises(ConfigError, match=r"light\.region_decay"):
        LightConfig(region_decay=0.0)


def test_a_forearm_of_the_hands_colour_is_neither_taken_nor_crept_up() -> None:
    hand = shape_of()
    skin = hand.copy()
    wrist_row = int(np.flatnonzero(hand.any(axis=1))[-1])
    columns = np.flatnonzero(hand[wrist_row - 3])
    skin[wrist_row - 5 :, columns[0] : columns[-1] + 1] = True
    segmenter = LightSegmenter(LightConfig())
    masks = step(segmenter, picture_of(skin), Observation(1, region=coarse(mask_of(hand), 7)))
    for _ in range(15):
        masks = step(segmenter, picture_of(skin), Observation(1))
    lowest = int(np.flatnonzero((masks[1].full() >= 128).any(axis=1))[-1])
    assert abs(lowest - wrist_row) <= 5


def test_a_region_puts_a_mask_that_went_astray_back_onto_the_hand() -> None:
    skin = shape_of()
    image = picture_of(skin)
    segmenter = LightSegmenter(LightConfig())
    step(segmenter, image, Observation(1, region=mask_of(np.roll(skin, 90, axis=1))))
    astray = step(segmenter, image, Observation(1))[1].full() >= 128
    assert iou(astray, skin) < 0.2
    back = step(segmenter, image, Observation(1, region=mask_of(skin)))[1]
    assert iou(back.full() >= 128, skin) > 0.9
    assert back.score > 0.8


@pytest.mark.parametrize("mode", PromptMode)
def test_the_prompt_that_comes_with_a_region_does_not_keep_it_from_starting(mode: PromptMode) -> None:
    skin = shape_of()
    prompt = Prompt(np.array([[140, 120]], np.float32), np.ones(1, np.int32), mode=mode)
    segmenter = LightSegmenter(LightConfig())
    for _ in range(2):
        mask = step(segmenter, picture_of(skin), Observation(1, None, prompt, mask_of(skin)))[1]
        assert iou(mask.full() >= 128, skin) > 0.9


def test_landmarks_win_over_a_region() -> None:
    image, landmarks = picture_of(shape_of()), make_landmarks((140, 100), 120)
    elsewhere = mask_of(np.roll(shape_of(), 100, axis=1))
    alone = step(LightSegmenter(LightConfig()), image, Observation(1, landmarks))[1]
    both = step(LightSegmenter(LightConfig()), image, Observation(1, landmarks, region=elsewhere))[1]
    assert both.source is MaskSource.LIGHT
    assert both.score == alone.score
    assert np.array_equal(both.full(), alone.full())


def test_landmarks_that_come_later_take_over() -> None:
    skin, landmarks = shape_of(), make_landmarks((140, 100), 120)
    segmenter = LightSegmenter(LightConfig())
    step(segmenter, picture_of(skin), Observation(1, region=coarse(mask_of(skin), 14)))
    step(segmenter, picture_of(skin), Observation(1))
    mask = step(segmenter, picture_of(skin), Observation(1, landmarks))[1]
    assert mask.source is MaskSource.LIGHT
    assert iou(mask.full() >= 128, skin) > 0.95
    # From now on it is a hand with a known shape, whose carried masks fade faster than a region's.
    carried = step(segmenter, picture_of(skin), Observation(1))[1]
    assert carried.score <= LightConfig().carry_decay * mask.score


@pytest.mark.parametrize("second_has_landmarks", [False, True])
def test_hands_that_overlap_share_no_pixel(second_has_landmarks: bool) -> None:
    first, second = shape_of((130, 100)), shape_of((160, 105))
    landmarks = make_landmarks((160, 105), 120, Handedness.RIGHT) if second_has_landmarks else None
    observations = Observation(1, region=mask_of(first)), Observation(2, landmarks, region=mask_of(second))
    segmenter, image = LightSegmenter(LightConfig()), picture_of(first | second)
    for now in (observations, (Observation(1), Observation(2))):
        masks = step(segmenter, image, *now)
        assert not ((masks[1].full() >= 128) & (masks[2].full() >= 128)).any()
        assert min(mask.area_px for mask in masks.values()) > 2000


def test_a_hand_does_not_grow_into_another_one_of_its_colour() -> None:
    first = shape_of((130, 100))
    second = shape_of((160, 105)) & ~first
    observations = Observation(1, region=mask_of(first)), Observation(2, region=mask_of(second))
    masks = step(LightSegmenter(LightConfig()), picture_of(first | second), *observations)
    assert iou(masks[1].full() >= 128, first) > 0.97
    assert iou(masks[2].full() >= 128, second) > 0.97


def test_an_empty_region_starts_nothing_and_stops_nothing() -> None:
    skin = shape_of()
    nothing = mask_of(np.zeros_like(skin))
    segmenter = LightSegmenter(LightConfig())
    assert step(segmenter, picture_of(skin), Observation(1, region=nothing)) == {}
    step(segmenter, picture_of(skin), Observation(1, region=mask_of(skin)))
    carried = step(segmenter, picture_of(skin), Observation(1, region=nothing))[1]
    assert iou(carried.full() >= 128, skin) > 0.9


def test_a_region_of_another_frame_size_is_refused() -> None:
    region = HandMask(np.full((4, 4), 255, np.uint8), (10, 10), (640, 480), 0.9, MaskSource.SCRIPTED)
    with pytest.raises(InvalidInputError, match=r"\(320, 240\).*\(640, 480\)"):
        step(LightSegmenter(LightConfig()), picture_of(shape_of()), Observation(1, region=region))


def test_what_was_forgotten_is_not_carried() -> None:
    skin = shape_of()
    segmenter = LightSegmenter(LightConfig())
    step(segmenter, picture_of(skin), Observation(1, region=mask_of(skin)))
    segmenter.forget(1)
    assert step(segmenter, picture_of(skin), Observation(1)) == {}


def test_a_cut_to_another_picture_drops_the_mask_within_a_few_frames() -> None:
    segmenter, rng = LightSegmenter(LightConfig()), np.random.default_rng(1)
    step(segmenter, picture_of(shape_of()), Observation(1, region=mask_of(shape_of())))
    noise = [rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8) for _ in range(4)]
    assert [step(segmenter, image, Observation(1)) for image in noise][-1] == {}


@pytest.mark.parametrize(
    "box",
    [(0, 0, 320, 240), (100, 100, 101, 101), (20, 50, 300, 51), (319, 0, 320, 240), (0, 0, 3, 2), (100, 80, 108, 90)],
)
def test_regions_of_any_size_neither_raise_nor_warn(box: tuple[int, int, int, int]) -> None:
    inside = np.zeros((SIZE[1], SIZE[0]), bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    segmenter = LightSegmenter(LightConfig())
    mask = step(segmenter, picture_of(inside), Observation(1, region=mask_of(inside)))[1]
    assert mask.area_px < 2.0 * inside.sum() + 20
    assert mask.area_px > 0.5 * inside.sum() or inside.sum() < 10
    step(segmenter, picture_of(inside), Observation(1))


def test_a_blob_is_drawn_as_the_mask_it_came_from_holes_included() -> None:
    ring = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.circle(ring, (150, 120), 60, 255, -1)
    cv2.circle(ring, (150, 120), 25, 0, -1)
    mask = HandMask.from_full(ring, 1.0, MaskSource.SCRIPTED)
    blob = BlobShape.from_mask(mask)
    assert blob is not None
    window = CropWindow(0, 0, SIZE[0], SIZE[1], SIZE)
    assert iou(blob.draw(window) > 0, ring > 0) > 0.98
    core = blob.draw_core(window) > 0
    assert core.any()
    assert not (core & (ring == 0)).any()
    assert core.sum() < 0.8 * (ring > 0).sum()


def test_a_blobs_centimetre_grows_with_it() -> None:
    blob = BlobShape.from_mask(mask_of(np.pad(np.ones((120, 100), bool), ((60, 60), (110, 110)))))
    assert blob is not None
    assert blob.px_per_cm == pytest.approx(10.0)
    centre = blob.points_xy_px.mean(axis=0)
    larger = blob.moved_to(centre + (blob.points_xy_px - centre) * np.float32(1.5) + np.float32(7))
    assert larger.px_per_cm == pytest.approx(15.0, rel=1e-3)
    assert larger.box_xyxy_px(1.0)[0] == pytest.approx(float(larger.points_xy_px[:, 0].min()) - 15.0, rel=1e-3)


def test_an_empty_mask_has_no_blob() -> None:
    empty = mask_of(np.zeros((SIZE[1], SIZE[0]), bool))
    assert BlobShape.from_mask(empty) is None
    assert BlobShape.from_mask(replace(empty, crop=np.full((3, 3), 100, np.uint8))) is None


def test_only_what_reaches_far_out_ends_a_hand_at_its_outline() -> None:
    distance = np.repeat(np.linspace(3, -5, 81, dtype=np.float32)[:, None], 60, axis=1)
    evidence = np.full(distance.shape, -3.0, np.float32)
    evidence[:36] = 3.0  # hand, and half a centimetre more of it than the outline says
    assert (beyond_lookalikes_cm(evidence, distance, 10.0, 1.0) == -1.0).all()
    evidence[:, 20:40] = 3.0  # an arm
    beyond = beyond_lookalikes_cm(evidence, distance, 10.0, 1.0)
    assert beyond[30, 30] == pytest.approx(0.0, abs=1e-5)
    assert beyond[40, 30] == pytest.approx(1.0, abs=1e-5)
    assert beyond[30, 0] == -1.0
