"""Masks of the light segmenter: shape, colour, overlap, carrying and dropping."""

from __future__ import annotations

import threading
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import LightConfig
from gest_stream.models.colour_model import ColourModel, colour_codes
from gest_stream.models.light import LightSegmenter
from gest_stream.testing import make_landmarks
from gest_stream.types import Frame, Handedness, HandLandmarks, HandMask, MaskSource, Observation, Prompt, PromptMode

SIZE = (320, 240)


def frame_of(image: NDArray[np.uint8], seq: int = 0) -> Frame:
    return Frame(image, seq, Fraction(1, 30), 0, seq)


def flat(value: int = 128, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), value, np.uint8)


def step(segmenter: LightSegmenter, image: NDArray[np.uint8], *observations: Observation) -> dict[int, HandMask]:
    return dict(segmenter.step(segmenter.encode(frame_of(image)), observations))


def shape_mask(landmarks: HandLandmarks, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    """The mask on a picture of one grey: nothing but the shape."""
    return step(LightSegmenter(LightConfig()), flat(size=size), Observation(1, landmarks))[1].full() >= 128


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def textured_hand(shift: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """A speckled skin-coloured hand over a speckled blue ground, moved by `shift` pixels with its landmarks."""
    rng = np.random.default_rng(7)
    height, width = SIZE[1], SIZE[0]
    speckle = cv2.GaussianBlur(rng.normal(0, 60, (height, width)).astype(np.float32), (0, 0), 2.0)[..., None]
    ground = np.array([60, 80, 150], np.float32) + np.roll(speckle, 37, axis=1)
    skin = np.array([205, 150, 125], np.float32) + speckle
    inside = shape_mask(make_landmarks((140, 120), 130))
    inside, skin = np.roll(inside, shift, axis=(1, 0)), np.roll(skin, shift, axis=(1, 0))
    image: NDArray[np.uint8] = np.clip(np.where(inside[..., None], skin, ground), 0, 255).astype(np.uint8)
    return image


def test_the_mask_covers_every_landmark() -> None:
    landmarks = make_landmarks((160, 120), 150)
    inside = shape_mask(landmarks)
    columns, rows = landmarks.points_xy_px.round().astype(int).T
    assert inside[rows, columns].all()


def test_gaps_between_spread_fingers_stay_open() -> None:
    landmarks = make_landmarks((160, 120), 200)
    thumb, index = landmarks.points_xy_px[4], landmarks.points_xy_px[8]
    column, row = ((thumb + index) / 2).round().astype(int)
    assert not shape_mask(landmarks)[row, column]


def test_the_hand_ends_a_little_below_the_wrist() -> None:
    landmarks = make_landmarks((160, 110), 170)
    wrist_y = float(landmarks.points_xy_px[0, 1])
    lowest = int(np.flatnonzero(shape_mask(landmarks).any(axis=1))[-1])
    assert wrist_y < lowest < wrist_y + 0.12 * 170


@pytest.mark.parametrize("shift", [(40, 0), (0, -25), (-33, 17)])
def test_a_moved_hand_has_a_moved_mask(shift: tuple[int, int]) -> None:
    here = shape_mask(make_landmarks((160, 120), 120))
    there = shape_mask(make_landmarks((160 + shift[0], 120 + shift[1]), 120))
    assert iou(np.roll(here, shift, axis=(1, 0)), there) > 0.97


def test_twice_the_hand_has_four_times_the_area() -> None:
    small, large = (shape_mask(make_landmarks((160, 120), size)).sum() for size in (100, 200))
    assert large / small == pytest.approx(4.0, rel=0.04)


def test_a_mirrored_hand_has_a_mirrored_mask() -> None:
    right = shape_mask(make_landmarks((159.5, 120), 150, Handedness.RIGHT))
    left = shape_mask(make_landmarks((159.5, 120), 150, Handedness.LEFT))
    assert iou(right[:, ::-1], left) > 0.97


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_hand_has_a_turned_mask(degrees: int) -> None:
    landmarks = make_landmarks((119.5, 119.5), 140)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = landmarks.points_px.copy()
    points[:, :2] = (points[:, :2] - 119.5) @ turn.T + 119.5
    turned = shape_mask(HandLandmarks(points), (240, 240))
    assert iou(np.rot90(shape_mask(landmarks, (240, 240)), -degrees // 90), turned) > 0.96


def test_colour_takes_back_what_the_shape_promised_too_much() -> None:
    truth = shape_mask(make_landmarks((140, 120), 130))
    # Both are grey 150: only chroma shows the outline, so that smoothing along edges alone cannot find it.
    image = np.where(truth[..., None], (190, 136, 123), (120, 160, 174)).astype(np.uint8)
    off = make_landmarks((140, 120), 142)
    refined = step(LightSegmenter(LightConfig()), image, Observation(1, off))[1].full() >= 128
    assert iou(refined, truth) > iou(shape_mask(off), truth) + 0.02


def test_a_forearm_of_the_hands_colour_is_cut_at_the_wrist() -> None:
    landmarks = make_landmarks((160, 90), 150)
    wrist = landmarks.points_xy_px[0]
    image = np.full((SIZE[1], SIZE[0], 3), (60, 80, 150), np.uint8)
    image[shape_mask(landmarks)] = (205, 150, 125)
    lowest_of_shape = int(np.flatnonzero(shape_mask(landmarks).any(axis=1))[-1])
    image[int(wrist[1]) :, int(wrist[0]) - 22 : int(wrist[0]) + 22] = (205, 150, 125)
    inside = step(LightSegmenter(LightConfig()), image, Observation(1, landmarks))[1].full() >= 128
    assert int(np.flatnonzero(inside.any(axis=1))[-1]) <= lowest_of_shape + 3


def test_colours_that_cannot_be_told_apart_are_not_trusted() -> None:
    rng = np.random.default_rng(2)
    left = np.arange(64)[None, :] < np.full((64, 1), 32)
    same = colour_codes(rng.integers(90, 130, (64, 64, 3), np.uint8))
    apart = colour_codes(np.where(left[..., None], (205, 150, 125), (60, 80, 150)).astype(np.uint8))
    trusts = [model.trust for codes in (same, apart) if (model := ColourModel.learn(codes, left, ~left)) is not None]
    assert trusts == [pytest.approx(0.0, abs=0.1), 1.0]


def test_a_background_of_the_hands_colour_leaves_the_shape() -> None:
    rng = np.random.default_rng(3)
    skin = np.clip(np.array([205, 150, 125]) + rng.normal(0, 4, (SIZE[1], SIZE[0], 1)), 0, 255).astype(np.uint8)
    landmarks = make_landmarks((160, 120), 140)
    mask = step(LightSegmenter(LightConfig()), skin, Observation(1, landmarks))[1]
    assert iou(mask.full() >= 128, shape_mask(landmarks)) > 0.95


def test_edges_are_soft() -> None:
    crop = step(LightSegmenter(LightConfig()), textured_hand(), Observation(1, make_landmarks((140, 120), 130)))[1].crop
    assert ((crop > 32) & (crop < 224)).sum() > 50


def test_overlapping_hands_share_no_pixel() -> None:
    first, second = make_landmarks((140, 120), 150), make_landmarks((175, 125), 150, Handedness.LEFT)
    masks = step(LightSegmenter(LightConfig()), flat(), Observation(1, first), Observation(2, second))
    assert not ((masks[1].full() >= 128) & (masks[2].full() >= 128)).any()
    assert masks[1].area_px > 2000
    assert masks[2].area_px > 2000


def test_a_hand_without_landmarks_is_carried_along_with_the_picture() -> None:
    segmenter = LightSegmenter(LightConfig())
    seen = step(segmenter, textured_hand(), Observation(1, make_landmarks((140, 120), 130)))[1]
    for moves in range(1, 5):
        shift = (6 * moves, 3 * moves)
        carried = step(segmenter, textured_hand(shift), Observation(1))[1]
        assert carried.source is MaskSource.CARRIED
        assert iou(carried.full() >= 128, np.roll(seen.full() >= 128, shift, axis=(1, 0))) > 0.9


def test_the_score_of_a_carried_mask_falls_until_it_is_dropped() -> None:
    segmenter, image = LightSegmenter(LightConfig()), textured_hand()
    scores = [step(segmenter, image, Observation(1, make_landmarks((140, 120), 130)))[1].score]
    for _ in range(40):
        masks = step(segmenter, image, Observation(1))
        if 1 not in masks:
            break
        scores.append(masks[1].score)
    assert scores == sorted(scores, reverse=True)
    assert 5 < len(scores) < 40
    assert step(segmenter, image, Observation(1)) == {}


def test_a_cut_to_another_picture_drops_the_mask_within_a_few_frames() -> None:
    segmenter, rng = LightSegmenter(LightConfig()), np.random.default_rng(1)
    step(segmenter, textured_hand(), Observation(1, make_landmarks((140, 120), 130)))
    left = [step(segmenter, rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8), Observation(1)) for _ in range(3)]
    assert left[-1] == {}


@pytest.mark.parametrize("end", ["forget", "reset", "prompt", "size"])
def test_what_was_forgotten_is_not_carried(end: str) -> None:
    segmenter, image = LightSegmenter(LightConfig()), textured_hand()
    step(segmenter, image, Observation(1, make_landmarks((140, 120), 130)))
    prompt = None
    if end == "forget":
        segmenter.forget(1)
        segmenter.forget(99)
    elif end == "reset":
        segmenter.reset()
    elif end == "prompt":
        prompt = Prompt(np.ones((1, 2), np.float32), np.ones(1, np.int32), mode=PromptMode.RESET)
    else:
        image = flat(size=(200, 160))
    assert step(segmenter, image, Observation(1, None, prompt)) == {}


def test_a_hand_never_seen_has_no_mask() -> None:
    assert step(LightSegmenter(LightConfig()), flat(), Observation(1)) == {}


@pytest.mark.parametrize("size_px", [10, 260])
@pytest.mark.parametrize("centre", [(160, 120), (2, 3), (318, 200)])
def test_tiny_huge_and_cut_hands_get_a_mask_inside_the_frame(size_px: int, centre: tuple[int, int]) -> None:
    mask = step(LightSegmenter(LightConfig()), flat(), Observation(1, make_landmarks(centre, size_px)))[1]
    assert mask.area_px > 5
    assert 0.0 <= mask.score <= 1.0


def test_a_hand_outside_the_frame_has_an_empty_mask() -> None:
    mask = step(LightSegmenter(LightConfig()), flat(), Observation(1, make_landmarks((-900, 100), 100)))[1]
    assert mask.crop.size == 0


@pytest.mark.parametrize("value", [50.0, 0.0, -1e6, 1e9])
@pytest.mark.parametrize("world", [False, True])
def test_degenerate_landmarks_neither_raise_nor_warn(value: float, world: bool) -> None:
    points = np.full((21, 3), value, np.float32)
    landmarks = HandLandmarks(points, np.zeros((21, 3), np.float32) if world else None)
    segmenter = LightSegmenter(LightConfig())
    mask = step(segmenter, flat(), Observation(1, landmarks))[1]
    assert mask.area_px < 100
    step(segmenter, flat(), Observation(1))


def test_the_same_input_gives_the_same_masks() -> None:
    runs = []
    for _ in range(2):
        segmenter = LightSegmenter(LightConfig())
        step(segmenter, textured_hand(), Observation(1, make_landmarks((140, 120), 130)))
        runs.append(step(segmenter, textured_hand((5, 2)), Observation(1))[1].crop)
    assert np.array_equal(runs[0], runs[1])


def test_encoding_in_another_thread_changes_nothing() -> None:
    images = [textured_hand((4 * i, 0)) for i in range(4)]
    landmarks = [make_landmarks((140 + 4 * i, 120), 130) for i in range(4)]
    alone, beside = LightSegmenter(LightConfig()), LightSegmenter(LightConfig())
    encoded = beside.encode(frame_of(images[0]))
    for i, image in enumerate(images):
        following: list[object] = []
        ahead = frame_of(images[min(i + 1, 3)])
        thread = threading.Thread(target=lambda f=ahead, out=following: out.append(beside.encode(f)))
        thread.start()
        got = beside.step(encoded, [Observation(1, landmarks[i])])[1].crop
        thread.join()
        assert np.array_equal(got, step(alone, image, Observation(1, landmarks[i]))[1].crop)
        encoded = beside.encode(ahead)


def test_the_number_of_opencv_threads_is_left_alone() -> None:
    before = cv2.getNumThreads()
    step(LightSegmenter(LightConfig()), flat(), Observation(1, make_landmarks((140, 120), 130)))
    assert cv2.getNumThreads() == before
