"""What a user points at: added, corrected, removed, and not forgotten."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from gest_stream.config import RedetectionConfig, TrackerConfig
from gest_stream.errors import InvalidInputError
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_frame
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import FrameResult, HandLandmarks, Observation, PromptMode, ReinitialisedBy, TrackState
from tests.tracking.scenes import SIZE, by_id, hand, ids


class Stage:
    """A tracker and its segmenter, a frame at a time."""

    def __init__(self, hands: Sequence[HandLandmarks] = (), config: TrackerConfig | None = None) -> None:
        self.hands = list(hands)
        self.segmenter = ScriptedSegmenter()
        self.core = TrackerCore(ScriptedDetector(lambda seq: self.hands), self.segmenter, config)
        self.seq = -1

    def step(self, count: int = 1) -> FrameResult:
        for _ in range(count):
            self.seq += 1
            result = self.core.step(make_frame(self.seq, SIZE))
        return result

    def told(self, object_id: int) -> Observation:
        """What the segmenter was told of the hand on the last frame."""
        return next(o for o in self.segmenter.observations[-1] if o.object_id == object_id)


def test_a_click_beside_every_mask_starts_an_object_that_lives_as_long_as_its_mask() -> None:
    stage = Stage([hand(100)])
    stage.step()
    assert stage.core.add_prompt([(400, 200)]) == 2
    result = stage.step()
    track = by_id(result)[2]
    assert (track.state, track.landmarks) == (TrackState.TRACKED, None)
    assert track.mask is not None and track.mask.box_xyxy_px == pytest.approx((380, 180, 421, 221), abs=1)
    assert track.reinitialisation is not None
    assert (track.reinitialisation.by, track.reinitialisation.seq) == (ReinitialisedBy.USER, 1)
    prompt = stage.told(2).prompt
    assert prompt is not None and prompt.mode is PromptMode.RESET and prompt.labels.tolist() == [1]
    result = stage.step(200)
    assert ids(result) == [1, 2] and by_id(result)[2].state is TrackState.TRACKED
    assert by_id(result)[2].reinitialisation is None


def test_a_click_on_a_mask_corrects_that_hand_from_where_its_mask_is() -> None:
    stage = Stage([hand(100), hand(500)])
    stage.step(5)
    assert stage.core.add_prompt([(500, 185), (520, 200)], [0, 1]) == 2
    track = by_id(stage.step())[2]
    prompt = stage.told(2).prompt
    assert prompt is not None and prompt.mode is PromptMode.REFINE
    assert prompt.points_xy_px.tolist() == [[500, 185], [520, 200]] and prompt.labels.tolist() == [0, 1]
    assert track.reinitialised_by is ReinitialisedBy.USER
    assert stage.told(1).prompt is None
    stage.step()
    assert stage.told(2).prompt is None


def test_a_hand_is_corrected_by_name_wherever_the_click_is() -> None:
    stage = Stage([hand(100), hand(500)])
    stage.step(5)
    assert stage.core.add_prompt([(300, 10)], [0], track_id=1) == 1
    stage.step()
    prompt = stage.told(1).prompt
    assert prompt is not None and prompt.labels.tolist() == [0]


def test_a_box_starts_an_object() -> None:
    stage = Stage()
    stage.step()
    assert stage.core.add_prompt([(400, 200)], box_xyxy_px=(380.0, 160.0, 430.0, 240.0)) == 1
    stage.step()
    prompt = stage.told(1).prompt
    assert prompt is not None and prompt.box_xyxy_px == (380.0, 160.0, 430.0, 240.0)


def test_a_prompt_waits_for_a_frame_on_which_the_hand_is_not_prompted_by_its_landmarks() -> None:
    stage = Stage()
    stage.step()
    stage.hands = [hand(100)]
    stage.step()  # prompted by its landmarks
    stage.core.add_prompt([(100, 185)], [0])
    stage.core.add_prompt([(110, 185)], [0])
    modes = []
    for _ in range(3):
        stage.step()
        prompt = stage.told(1).prompt
        modes.append(None if prompt is None else (prompt.mode, prompt.points_xy_px.tolist()))
    assert modes == [(PromptMode.REFINE, [[100, 185]]), (PromptMode.REFINE, [[110, 185]]), None]


def test_a_click_that_is_taken_back_before_the_next_frame_leaves_nothing() -> None:
    stage = Stage()
    stage.step()
    stage.core.remove_track(stage.core.add_prompt([(400, 200)]))
    assert ids(stage.step()) == [] and ids(stage.step()) == []


def test_a_new_object_is_known_by_its_id_while_its_first_frame_is_worked_on() -> None:
    stage = Stage()
    stage.step()
    first = stage.core.add_prompt([(400, 200)])
    stage.segmenter._before_step = lambda seq: given.append(stage.core.add_prompt([(410, 210)], track_id=first))
    given: list[int] = []
    stage.step()
    assert given == [first]


def test_a_click_on_a_hand_without_a_mask_is_about_that_hand() -> None:
    stage = Stage([hand(100)])
    stage.segmenter.step = lambda encoded, observations: {}  # type: ignore[method-assign]
    stage.step(4)
    assert stage.core.add_prompt([(100, 180)]) == 1
    assert stage.core.add_prompt([(300, 180)]) == 2


def test_a_correction_that_changes_the_size_a_lot_is_trusted() -> None:
    stage = Stage()
    stage.step()
    stage.core.add_prompt([(400, 200)])
    stage.step(3)
    stage.core.add_prompt([(400, 200), (300, 200), (200, 200), (500, 200), (600, 200)], track_id=1)
    assert stage.step().tracks[0].mask is not None
    assert stage.step(30).tracks[0].mask is not None


def test_an_object_is_removed_with_the_next_frame() -> None:
    stage = Stage()
    stage.step()
    first = stage.core.add_prompt([(400, 200)])
    stage.step()
    stage.core.remove_track(first)
    assert ids(stage.step()) == []
    with pytest.raises(InvalidInputError, match="track 1: no such hand is in view; known are none"):
        stage.core.remove_track(first)


def test_a_hand_that_is_gone_meanwhile_is_not_brought_back_under_its_id(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.step()
    first = stage.core.add_prompt([(400, 200)])
    stage.step()
    stage.core.remove_track(first)
    stage.core.add_prompt([(400, 200)], track_id=first)
    assert ids(stage.step()) == []
    assert caplog.messages == ["track 1: the user's prompt comes to nothing: it is gone"]
    assert stage.core.add_prompt([(400, 200)]) == 2


def test_landmarks_that_come_to_a_users_object_keep_its_id() -> None:
    stage = Stage()
    stage.step()
    stage.core.add_prompt([(100, 180)])
    stage.step(3)
    stage.hands = [hand(100, size_px=50)]
    result = stage.step(5)
    assert ids(result) == [1] and result.tracks[0].landmarks is not None


def test_a_hand_that_appears_near_a_users_object_does_not_become_it() -> None:
    stage = Stage()
    stage.step()
    stage.core.add_prompt([(300, 60)])
    stage.step(10)
    stage.hands = [hand(300, 150)]
    result = stage.step(5)
    assert ids(result) == [1, 2]
    assert by_id(result)[1].landmarks is None and by_id(result)[2].landmarks is not None


@pytest.mark.parametrize(
    ("points", "labels", "track_id", "message"),
    [
        ([(300, 100)], [0], None, r"prompt at \(300, 100\): no hand's mask is there"),
        ([(900, 100)], [1], None, r"prompt at \(900, 100\): outside the picture of 640x360"),
        ([(-1, 100)], [1], None, r"outside the picture"),
        ([(100, 180)], [1], 9, "track 9: no such hand is in view; known are 1"),
        ([(100, 180)], [2], None, "expected 0 or 1"),
        ([(100, 180)], [1, 1], None, "prompt labels"),
        ([], None, None, "at least one point"),
        ([(1.0, 2.0), (3.0,)], None, None, "expected points"),
        ([(100, 180)], ["a"], None, "expected points"),
        ([(100, 180)], [0.6], None, "expected 0 or 1"),
    ],
)
def test_a_prompt_that_means_nothing_is_refused_at_once(
    points: list[Any], labels: list[Any] | None, track_id: int | None, message: str
) -> None:
    stage = Stage([hand(100)])
    stage.step()
    with pytest.raises(InvalidInputError, match=message):
        stage.core.add_prompt(points, labels, track_id=track_id)
    assert ids(stage.step()) == [1]


def test_before_the_first_frame_there_is_nothing_to_point_at() -> None:
    with pytest.raises(InvalidInputError, match="wait for the first result"):
        Stage().core.add_prompt([(10, 10)])


def test_a_segmenter_that_takes_no_clicks_says_so() -> None:
    stage = Stage()
    stage.step()
    stage.segmenter.takes_clicks = False
    with pytest.raises(InvalidInputError, match="takes no clicks; use the segmenter sam2"):
        stage.core.add_prompt([(10, 10)])
    with pytest.raises(InvalidInputError, match="takes no clicks"):
        TrackerCore(ScriptedDetector(lambda seq: []), None).add_prompt([(10, 10)])


def test_where_there_is_no_room_the_prompt_comes_to_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage([hand(100)], TrackerConfig(max_tracks=1))
    stage.step(4)
    stage.core.add_prompt([(400, 200)])
    assert ids(stage.step()) == [1]
    assert caplog.messages == ["track 2: the user's prompt comes to nothing: no room beside 1 others"]


def test_a_reset_or_a_new_frame_size_drops_what_was_pointed_at() -> None:
    stage = Stage(config=TrackerConfig(redetection=RedetectionConfig(open_tracks=False)))
    stage.step()
    stage.core.add_prompt([(400, 200)])
    result = stage.core.step(make_frame(1, (320, 180)))
    assert ids(result) == []


def test_prompts_come_from_any_thread_each_with_an_id_of_its_own() -> None:
    stage = Stage(config=TrackerConfig(max_tracks=64))
    stage.step()
    given: list[int] = []
    threads = [
        threading.Thread(target=lambda k=k: given.append(stage.core.add_prompt([(10.0 + 5 * k, 300)])))
        for k in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(1, 41))
    assert ids(stage.step()) == list(range(1, 41))
