"""Types check themselves and quote what they got."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.errors import ConfigError, GestStreamError, InvalidInputError, MissingDependencyError
from gest_stream.testing import hull_mask, make_frame, make_landmarks
from gest_stream.types import (
    Frame,
    FrameResult,
    Handedness,
    HandLandmarks,
    HandMask,
    MaskSource,
    Prompt,
    PromptMode,
    Track,
    TrackState,
)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[1, 2, 3]], r"got list; convert it with numpy.asarray"),
        (np.zeros((4, 4, 3), np.float32), r"got \(4, 4, 3\) float32; multiply by 255"),
        (np.zeros((4, 4, 3), np.uint16), r"got \(4, 4, 3\) uint16; convert with .astype"),
        (np.zeros((4, 4), np.uint8), r"got \(4, 4\) uint8; grey"),
        (np.zeros((4, 4, 4), np.uint8), r"got \(4, 4, 4\) uint8; grey and RGBA"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\) uint8"),
    ],
)
def test_frame_refuses_what_is_not_rgb_uint8(image: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Frame(image, 0, Fraction(1, 30), 0)


def test_frame_refuses_bad_times() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(InvalidInputError, match="pts: expected an integer, got 0.5"):
        Frame(image, 0.5, Fraction(1, 30), 0)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="time_base: expected a positive Fraction"):
        Frame(image, 0, 1 / 30, 0)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="seq"):
        Frame(image, 0, Fraction(1, 30), 0, seq=-1)


def test_frame_makes_a_strided_image_contiguous() -> None:
    image = np.zeros((4, 6, 3), np.uint8)[:, ::2]
    frame = Frame(image, 3, Fraction(1, 2), 0)
    assert frame.image.flags.c_contiguous
    assert (frame.size, frame.time_s) == ((3, 4), 1.5)


def test_landmarks_refuse_bad_points_and_scores() -> None:
    with pytest.raises(InvalidInputError, match=r"points_px: expected \(21, 3\) float32, got \(20, 3\) float32"):
        HandLandmarks(np.zeros((20, 3), np.float32))
    with pytest.raises(InvalidInputError, match="finite"):
        HandLandmarks(np.full((21, 3), np.nan, np.float32))
    with pytest.raises(InvalidInputError, match="handedness_score: expected 0 to 1, got 1.5"):
        HandLandmarks(np.zeros((21, 3), np.float32), handedness_score=1.5)


def test_mask_outside_the_frame_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"4x4 at \(8, 0\) reaches outside the frame of 10x10"):
        HandMask(np.zeros((4, 4), np.uint8), (8, 0), (10, 10), 1.0, MaskSource.LIGHT)
    with pytest.raises(InvalidInputError, match=r"expected \(h, w\) uint8, got \(4, 4\) bool"):
        HandMask(np.zeros((4, 4), bool), (0, 0), (10, 10), 1.0, MaskSource.LIGHT)


def random_alpha(seed: int, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(seed)
    alpha = np.zeros((size[1], size[0]), np.uint8)
    x0, x1 = sorted(rng.integers(0, size[0] + 1, 2))
    y0, y1 = sorted(rng.integers(0, size[1] + 1, 2))
    alpha[y0:y1, x0:x1] = rng.integers(0, 256, (y1 - y0, x1 - x0))
    return alpha


@given(seed=st.integers(0, 2**32 - 1), other_seed=st.integers(0, 2**32 - 1))
def test_cropped_mask_equals_the_full_picture(seed: int, other_seed: int) -> None:
    size = (23, 17)
    full, other_full = random_alpha(seed, size), random_alpha(other_seed, size)
    mask = HandMask.from_full(full, 0.5, MaskSource.LIGHT)
    other = HandMask.from_full(other_full, 0.5, MaskSource.LIGHT)
    np.testing.assert_array_equal(mask.full(), full)
    assert mask.area_px == np.count_nonzero(full >= 128)
    union = np.count_nonzero((full >= 128) | (other_full >= 128))
    shared = np.count_nonzero((full >= 128) & (other_full >= 128))
    assert mask.iou(other) == (shared / union if union else 0.0)
    assert mask.shared_px(other) == other.shared_px(mask) == shared
    rows, columns = np.nonzero(full >= 128)
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if rows.size else None
    assert mask.box_xyxy_px == expected


def test_prompt_refuses_nothing_and_foreign_labels() -> None:
    no_points, no_labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    with pytest.raises(InvalidInputError, match="expected at least one point, a box or a mask, got none of them"):
        Prompt(no_points, no_labels)
    with pytest.raises(InvalidInputError, match="expected 0 or 1, got \\[2\\]"):
        Prompt(np.zeros((1, 2), np.float32), np.array([2], np.int32))
    with pytest.raises(InvalidInputError, match="x0 < x1"):
        Prompt(no_points, no_labels, (5.0, 0.0, 5.0, 3.0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_prompt_refuses_points_and_boxes_that_are_no_numbers(bad: float) -> None:
    points = np.array([[1, 2], [bad, 3]], np.float32)
    with pytest.raises(InvalidInputError, match=rf"expected finite pixels, got \[\[1.0, 2.0\], \[{bad}, 3.0\]\]"):
        Prompt(points, np.ones(2, np.int32))
    with pytest.raises(InvalidInputError, match="x0 < x1 and y0 < y1, got"):
        Prompt(points[:0], np.zeros(0, np.int32), (0.0, np.nan, 5.0, 3.0))


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (np.zeros((1, 3), np.float32), np.ones(1, np.int32), r"expected \(N, 2\) float32, got \(1, 3\) float32"),
        (np.zeros((1, 2), np.float64), np.ones(1, np.int32), r"got \(1, 2\) float64"),
        (np.zeros((2, 2), np.float32), np.ones(1, np.int32), r"expected \(2,\) int32, got \(1,\) int32"),
        (np.zeros((1, 2), np.float32), np.ones(1, np.int64), r"got \(1,\) int64"),
        (np.zeros((2, 2), np.float32), np.array([1, -1], np.int32), r"expected 0 or 1, got \[-1, 1\]"),
    ],
)
def test_prompt_refuses_other_shapes_and_dtypes(points: Any, labels: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Prompt(points, labels)


def test_prompt_from_mask_is_the_mask_alone() -> None:
    mask = np.eye(4, 6, dtype=bool)
    prompt = Prompt.from_mask(mask, PromptMode.APPEND)
    assert prompt.mask is mask
    assert (prompt.points_xy_px.shape, prompt.labels.shape, prompt.box_xyxy_px) == ((0, 2), (0,), None)
    assert (prompt.mode, Prompt.from_mask(mask).mode) == (PromptMode.APPEND, PromptMode.RESET)


@pytest.mark.parametrize("mask", [np.zeros((4, 6), np.uint8), np.zeros(6, bool), np.zeros((1, 4, 6), bool)])
def test_prompt_refuses_masks_of_other_kinds(mask: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"prompt mask: expected \(H, W\) bool, got"):
        Prompt.from_mask(mask)


def test_prompt_refuses_a_mask_with_points_or_a_box() -> None:
    mask, point, label = np.ones((4, 6), bool), np.ones((1, 2), np.float32), np.ones(1, np.int32)
    with pytest.raises(InvalidInputError, match="a mask comes alone, got points or a box with it; use two prompts"):
        Prompt(point, label, mask=mask)
    with pytest.raises(InvalidInputError, match="a mask comes alone"):
        Prompt(point[:0], label[:0], (0.0, 0.0, 2.0, 2.0), mask=mask)


def two_tracks() -> FrameResult:
    frame = make_frame(size=(320, 240))
    left = make_landmarks((80, 120), 90, Handedness.LEFT)
    right = make_landmarks((240, 120), 90, Handedness.RIGHT)
    tracks = (
        Track(1, TrackState.TRACKED, Handedness.LEFT, 0.9, left, hull_mask(left, frame.size)),
        Track(4, TrackState.TRACKED, Handedness.RIGHT, 0.8, right, None),
        Track(5, TrackState.LOST, Handedness.UNKNOWN, 0.1),
    )
    return FrameResult(frame, tracks)


def test_to_supervision_gives_boxes_masks_and_ids() -> None:
    pytest.importorskip("supervision")
    result = two_tracks()
    detections = result.to_supervision()
    assert detections.tracker_id is not None and detections.mask is not None and detections.class_id is not None
    assert detections.tracker_id.tolist() == [1, 4]
    assert detections.class_id.tolist() == [0, 1]
    assert detections.data["class_name"].tolist() == ["left", "right"]
    mask = result.tracks[0].mask
    assert mask is not None
    np.testing.assert_array_equal(detections.mask[0], mask.full() >= 128)
    assert tuple(detections.xyxy[0].tolist()) == mask.box_xyxy_px
    assert len(FrameResult(result.frame).to_supervision()) == 0


def test_to_supervision_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gest-stream\[supervision\]'"):
        two_tracks().to_supervision()


def test_error_tree_keeps_the_builtin_parents() -> None:
    assert issubclass(ConfigError, GestStreamError) and issubclass(ConfigError, ValueError)
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(MissingDependencyError, ImportError)
