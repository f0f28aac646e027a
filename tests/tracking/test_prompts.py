"""What a segmenter is told of a hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.cli.settings import compose_config
from gest_stream.config import PromptConfig, TrackerConfig
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, hull_mask, make_frame
from gest_stream.tracking.prompts import build_prompt, inside_hull
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import HandLandmarks, Prompt, PromptMode
from tests.tracking.scenes import LEFT, SIZE, hand


def labelled(prompt: Prompt, label: int) -> NDArray[np.float32]:
    points: NDArray[np.float32] = prompt.points_xy_px[prompt.labels == label]
    return points


def positives(prompt: Prompt) -> NDArray[np.float32]:
    return labelled(prompt, 1)


def negatives(prompt: Prompt) -> NDArray[np.float32]:
    return labelled(prompt, 0)


def prompt_of(landmarks: HandLandmarks, *others: HandLandmarks, config: PromptConfig | None = None) -> Prompt:
    prompt = build_prompt(landmarks, others, SIZE, config=config)
    assert prompt is not None
    return prompt


def rotated(landmarks: HandLandmarks, angle: float) -> HandLandmarks:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    points = landmarks.points_px.copy()
    middle = points[:, :2].mean(axis=0)
    points[:, :2] = (points[:, :2] - middle) @ turn.T + middle
    return HandLandmarks(points, None, landmarks.handedness, landmarks.handedness_score)


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.6, 3.0, 4.5])
def test_positive_points_lie_on_the_hand_and_negative_ones_off_it(angle: float) -> None:
    landmarks = rotated(hand(320), angle)
    prompt = prompt_of(landmarks)
    alpha = hull_mask(landmarks, SIZE).full()
    for x, y in positives(prompt):
        # The thumb's bones are a side of the hull: allow a pixel of rounding.
        row, column = round(float(y)), round(float(x))
        assert alpha[row - 1 : row + 2, column - 1 : column + 2].max() == 255
    for x, y in negatives(prompt):
        assert alpha[round(float(y)), round(float(x))] == 0
    assert len(positives(prompt)) == 8
    assert len(negatives(prompt)) == 2


def test_positive_points_reach_palm_and_every_finger() -> None:
    landmarks = hand(320)
    points = positives(prompt_of(landmarks))
    for finger in range(5):
        joints = landmarks.points_xy_px[1 + 4 * finger : 5 + 4 * finger]
        assert np.linalg.norm(points[:, None] - joints[None], axis=2).min() < 0.3 * landmarks.palm_width_px
    np.testing.assert_allclose(points[0], landmarks.points_xy_px[[0, 5, 9, 13, 17]].mean(axis=0))


def test_forearm_points_lie_beyond_the_wrist_away_from_the_fingers() -> None:
    landmarks = hand(320)
    wrist = landmarks.points_xy_px[0]
    for x, y in negatives(prompt_of(landmarks)):
        assert y > wrist[1] + 0.5 * landmarks.palm_width_px
        assert abs(x - wrist[0]) < 1.0


def test_a_palm_seen_along_its_length_has_no_forearm_points() -> None:
    landmarks = hand(320)
    points = landmarks.points_px.copy()
    points[:, 1] = points[0, 1] + 0.05 * (points[:, 1] - points[0, 1])
    prompt = prompt_of(HandLandmarks(points))
    assert len(negatives(prompt)) == 0


def test_the_other_hand_is_marked_as_not_this_one() -> None:
    this, other = hand(250), hand(400, side=LEFT)
    marked = negatives(prompt_of(this, other))
    assert inside_hull(marked, other.points_xy_px).sum() == 2
    assert not inside_hull(marked, this.points_xy_px).any()


def test_where_two_hands_overlap_neither_is_marked_with_doubtful_points() -> None:
    this, other = hand(320), hand(332, side=LEFT)
    prompt = prompt_of(this, other)
    fingers = positives(prompt)[1:]
    if len(fingers):
        apart = np.linalg.norm(fingers[:, None] - other.points_xy_px[None], axis=2).min(axis=1)
        assert apart.min() > 0.2 * other.palm_width_px
    assert len(fingers) < 7
    assert not inside_hull(negatives(prompt), this.points_xy_px).any()


def test_the_box_holds_the_hand_with_a_margin() -> None:
    landmarks = hand(320)
    box = prompt_of(landmarks).box_xyxy_px
    margin = 0.25 * landmarks.palm_width_px
    left, top, right, bottom = landmarks.box_xyxy_px
    assert box == pytest.approx((left - margin, top - margin, right + margin, bottom + margin))


@pytest.mark.parametrize(("x", "y"), [(0.0, 180.0), (640.0, 180.0), (320.0, 0.0), (320.0, 360.0), (2.0, 2.0)])
def test_at_the_border_box_and_points_are_inside_the_frame(x: float, y: float) -> None:
    prompt = prompt_of(hand(x, y), hand(x + 5, y + 5, side=LEFT))
    assert prompt.box_xyxy_px is not None
    left, top, right, bottom = prompt.box_xyxy_px
    assert 0 <= left < right <= SIZE[0] and 0 <= top < bottom <= SIZE[1]
    points = prompt.points_xy_px
    assert ((points >= 0) & (points <= np.array(SIZE) - 1)).all()


def test_a_hand_outside_the_frame_has_no_prompt() -> None:
    assert build_prompt(hand(-200), (), SIZE) is None
    assert build_prompt(hand(320, 700), (), SIZE) is None


def test_the_mode_is_what_was_asked_for_and_starts_anew_by_default() -> None:
    assert prompt_of(hand(320)).mode is PromptMode.RESET
    refined = build_prompt(hand(320), (), SIZE, PromptMode.REFINE)
    assert refined is not None and refined.mode is PromptMode.REFINE


def test_forearm_points_are_left_out_where_they_are_not_wanted() -> None:
    this, other = hand(250), hand(400, side=LEFT)
    bare = prompt_of(this, other, config=PromptConfig(forearm_points=False))
    assert inside_hull(negatives(bare), other.points_xy_px).tolist() == [True, True]
    assert len(negatives(prompt_of(this, other))) == 4
    np.testing.assert_array_equal(positives(bare), positives(prompt_of(this, other)))


def test_points_on_the_other_hand_are_left_out_where_they_are_not_wanted() -> None:
    this, other = hand(250), hand(400, side=LEFT)
    bare = prompt_of(this, other, config=PromptConfig(other_hand_points=False))
    np.testing.assert_array_equal(negatives(bare), negatives(prompt_of(this)))
    assert len(negatives(bare)) == 2


def test_the_box_is_left_out_where_it_is_not_wanted() -> None:
    bare = prompt_of(hand(320), config=PromptConfig(box=False))
    assert bare.box_xyxy_px is None
    np.testing.assert_array_equal(bare.points_xy_px, prompt_of(hand(320)).points_xy_px)


def test_a_hand_whose_points_all_lie_outside_keeps_its_box() -> None:
    # Only the fingertips' outermost part and the margin of the box reach into the frame.
    config = PromptConfig(forearm_points=False, other_hand_points=False, box=False)
    kept = 0
    for y in range(360, 480, 2):
        prompt = build_prompt(hand(320, y), (), SIZE, config=config)
        if prompt is not None:
            assert len(positives(prompt)) > 0 or prompt.box_xyxy_px is not None
            kept += prompt.box_xyxy_px is not None
    assert kept > 0


def test_the_tracker_prompts_as_its_config_says() -> None:
    def first_prompt(config: TrackerConfig) -> Prompt:
        segmenter = ScriptedSegmenter()
        core = TrackerCore(ScriptedDetector(lambda seq: [hand(320)]), segmenter, config)
        core.step(make_frame(0, SIZE))
        (observation,) = segmenter.observations[0]
        assert observation.prompt is not None
        return observation.prompt

    default = first_prompt(TrackerConfig())
    assert len(negatives(default)) == 2 and default.box_xyxy_px is not None
    bare = first_prompt(TrackerConfig(prompts=PromptConfig(forearm_points=False, box=False)))
    assert len(negatives(bare)) == 0 and bare.box_xyxy_px is None


def test_prompt_switches_are_set_from_the_command_line() -> None:
    config = compose_config(None, ["tracker.prompts.forearm_points=false"], {})
    assert config.tracker.prompts == PromptConfig(forearm_points=False, other_hand_points=True, box=True)


def test_the_same_hand_makes_the_same_prompt() -> None:
    first, second = prompt_of(hand(320), hand(400)), prompt_of(hand(320), hand(400))
    np.testing.assert_array_equal(first.points_xy_px, second.points_xy_px)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_inside_hull_knows_inside_from_outside_and_border() -> None:
    square = np.array([(0, 0), (4, 0), (4, 4), (0, 4), (2, 1)], np.float32)
    points = np.array([(2, 2), (0.5, 3.5), (5, 2), (-1, -1), (2, 4), (2, 4.5)], np.float32)
    assert inside_hull(points, square).tolist() == [True, True, False, False, False, False]
