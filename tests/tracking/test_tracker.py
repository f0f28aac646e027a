"""The tracker as its callers see it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gest_stream.config import LossConfig, TrackerConfig
from gest_stream.errors import ConfigError, InvalidInputError, ModelError
from gest_stream.metrics import StageTimer
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_frame
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import (
    Frame,
    Handedness,
    HandLandmarks,
    HandMask,
    MaskSource,
    Observation,
    PromptMode,
    ReinitialisedBy,
    TrackState,
)
from tests.tracking.scenes import LEFT, RIGHT, SIZE, by_id, center_x, hand, ids, prompted, track_all

LOSS = LossConfig()


class FadingSegmenter(ScriptedSegmenter):
    """Its masks score `score` while landmarks are missing, and it remembers whom it was told to forget."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self._score = score
        self.forgotten: list[int] = []

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        masks = super().step(encoded, observations)
        blind = {o.object_id for o in observations if o.landmarks is None}
        return {
            i: HandMask(m.crop, m.origin_xy_px, m.frame_size, self._score, MaskSource.CARRIED) if i in blind else m
            for i, m in masks.items()
        }

    def forget(self, object_id: int) -> None:
        super().forget(object_id)
        self.forgotten.append(object_id)


class MisplacedSegmenter(ScriptedSegmenter):
    """Its masks lie 200 pixels beside the hands."""

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        return {
            i: HandMask(m.crop, (m.origin_xy_px[0] + 200, m.origin_xy_px[1]), m.frame_size, 0.9, m.source)
            for i, m in super().step(encoded, observations).items()
        }


def test_ids_count_from_one_and_tracks_are_ordered_by_them() -> None:
    results = track_all(lambda seq: [hand(500, side=LEFT), hand(100)][:: 1 if seq % 2 else -1], 4)
    assert [ids(result) for result in results] == [[1, 2]] * 4
    assert [t.state for t in results[1].tracks] == [TrackState.TENTATIVE] * 2
    assert [t.state for t in results[2].tracks] == [TrackState.TRACKED] * 2
    assert {t.handedness for t in results[0].tracks} == {LEFT, RIGHT}


def test_no_hand_is_a_result() -> None:
    result = track_all(lambda seq: [], 1)[0]
    assert result.tracks == ()
    assert set(result.timings_ms) == {"landmarks", "track", "total"}


def test_a_ghost_of_one_frame_is_gone_on_the_next_and_its_id_is_not_used_again() -> None:
    results = track_all(lambda seq: [hand(100)] if seq in (0, 11) else [], 12)
    assert [ids(result) for result in results] == [[1], *[[]] * 10, [2]]


def test_a_hand_that_flickers_before_it_is_trusted_keeps_its_id_where_it_was_and_no_other_gets_it() -> None:
    segmenter = ScriptedSegmenter()
    seen = {0: [hand(100)], 5: [hand(500)], 10: [hand(104)]}
    results = track_all(lambda seq: seen.get(seq, []), 11, segmenter=segmenter)
    assert [ids(result) for result in results] == [[1], *[[]] * 4, [2], *[[]] * 4, [1]]
    assert results[10].tracks[0].state is TrackState.TENTATIVE
    assert prompted(segmenter, 1) == [0, 10]


def test_a_hand_without_landmarks_is_lost_then_removed_and_its_mask_carried_in_between() -> None:
    segmenter = FadingSegmenter(0.8)
    results = track_all(lambda seq: [hand(100)] if seq < 5 else [], 80, segmenter=segmenter)
    states = [result.tracks[0].state if result.tracks else None for result in results]
    assert states[3:9] == [TrackState.TRACKED] * 6
    assert states[9] is TrackState.LOST
    assert states[4 + 59] is TrackState.LOST and states[4 + 60] is None
    lost = results[20].tracks[0]
    assert lost.landmarks is None and lost.mask is not None and lost.missed_frames == 16
    assert segmenter.forgotten == [1]


def test_a_mask_below_the_threshold_is_not_shown_for_a_missing_hand_which_is_lost_sooner() -> None:
    results = track_all(lambda seq: [hand(100)] if seq < 5 else [], 12, segmenter=FadingSegmenter(0.4))
    assert results[4].tracks[0].mask is not None
    assert [result.tracks[0].mask for result in results[5:]] == [None] * 7
    assert results[6].tracks[0].state is TrackState.TRACKED
    assert results[7].tracks[0].state is TrackState.LOST


def test_a_lost_hand_is_reinitialised_on_the_frame_its_landmarks_return() -> None:
    segmenter = ScriptedSegmenter()
    results = track_all(lambda seq: [] if 5 <= seq < 15 else [hand(100)], 18, segmenter=segmenter)
    assert [result.tracks[0].reinitialised_by for result in results] == [
        ReinitialisedBy.LANDMARKS if seq == 15 else None for seq in range(18)
    ]
    assert results[15].tracks[0].state is TrackState.TRACKED
    assert prompted(segmenter, 1) == [0, 15]


@pytest.mark.parametrize("returns_at_x", [40.0, 600.0])
def test_a_left_hand_that_leaves_returns_with_its_id_on_either_side(returns_at_x: float) -> None:
    def script(seq: int) -> list[HandLandmarks]:
        left = [hand(300 - 30 * seq, side=LEFT)] if seq < 10 else []
        left = [hand(returns_at_x, side=LEFT)] if seq >= 40 else left
        return [hand(320, 240), *left]

    results = track_all(script, 45)
    left_id = next(t.id for t in results[3].tracks if t.handedness is LEFT)
    assert by_id(results[39])[left_id].state is TrackState.LOST
    for result in results[40:]:
        assert ids(result) == [1, 2]
        assert center_x(by_id(result)[left_id]) == pytest.approx(returns_at_x, abs=5)
    assert by_id(results[40])[left_id].reinitialised_by is ReinitialisedBy.LANDMARKS


def test_a_hand_that_returns_under_the_wrong_name_has_its_id_back_when_it_is_named_right() -> None:
    def script(seq: int) -> list[HandLandmarks]:
        label = RIGHT if seq == 20 else LEFT
        return [hand(100 if seq < 5 else 500, side=LEFT, label=label)] if seq < 5 or seq >= 20 else []

    results = track_all(script, 24)
    assert ids(results[20]) == [1, 2]
    assert ids(results[23]) == [1]
    assert results[23].tracks[0].state is TrackState.TRACKED


def test_a_right_hand_in_the_place_of_a_lost_left_one_gets_its_own_id() -> None:
    results = track_all(
        lambda seq: [hand(100, side=LEFT)] if seq < 5 else [hand(100, side=RIGHT)] if seq >= 20 else [], 25
    )
    tracks = by_id(results[24])
    assert (tracks[1].state, tracks[1].handedness) == (TrackState.LOST, LEFT)
    assert (tracks[2].state, tracks[2].handedness) == (TrackState.TRACKED, RIGHT)


def test_a_hand_too_fast_for_the_gate_keeps_its_id() -> None:
    segmenter = ScriptedSegmenter()
    results = track_all(lambda seq: [hand(100 if seq < 5 else 500)], 12, segmenter=segmenter)
    assert ids(results[-1]) == [1]
    assert center_x(results[-1].tracks[0]) == pytest.approx(500, abs=5)
    assert prompted(segmenter, 1) == [0, 7]


def test_a_lost_hand_that_had_stopped_where_it_was_last_seen_keeps_its_id() -> None:
    results = track_all(lambda seq: [hand(min(seq, 6) * 30, label=Handedness.UNKNOWN)] if not 7 <= seq < 20 else [], 22)
    assert [ids(result) for result in results] == [[1]] * 22
    assert results[21].tracks[0].state is TrackState.TRACKED


def test_handedness_is_stable_through_wrong_labels() -> None:
    results = track_all(lambda seq: [hand(100, label=LEFT if 20 <= seq < 26 else RIGHT)], 40)
    assert {result.tracks[0].handedness for result in results} == {RIGHT}


def test_a_hand_reported_twice_is_one_track() -> None:
    results = track_all(lambda seq: [hand(100), hand(102), hand(101, side=LEFT)], 6)
    assert [ids(result) for result in results] == [[1]] * 6


def test_live_tracks_are_bounded_and_no_tracked_hand_makes_room() -> None:
    five = [hand(60 + 120 * k, side=(LEFT, RIGHT)[k % 2], score=0.9 - 0.1 * k) for k in range(5)]
    results = track_all(lambda seq: five, 6, TrackerConfig(max_tracks=2))
    assert [ids(result) for result in results] == [[1, 2]] * 6
    assert sorted(center_x(t) for t in results[-1].tracks) == pytest.approx([60, 180], abs=5)


def test_a_new_hand_takes_the_place_of_the_one_lost_longest() -> None:
    segmenter = FadingSegmenter(0.9)

    def script(seq: int) -> list[HandLandmarks]:
        hands = [hand(100, side=LEFT)] if seq < 5 else []
        hands += [hand(300)] if seq < 8 else []
        return hands + ([hand(550, label=Handedness.UNKNOWN)] if seq >= 20 else [])

    results = track_all(script, 25, TrackerConfig(max_tracks=2), segmenter)
    left = next(t.id for t in results[3].tracks if t.handedness is LEFT)
    assert ids(results[19]) == [1, 2]
    assert ids(results[20]) == sorted({1, 2, 3} - {left})
    assert segmenter.forgotten == [left]


def test_prompts_go_out_on_a_new_hand_only_while_all_is_well() -> None:
    segmenter = ScriptedSegmenter()
    track_all(lambda seq: [hand(100 + seq), *([hand(400, side=LEFT)] if seq >= 10 else [])], 40, segmenter=segmenter)
    assert prompted(segmenter, 1) == [0]
    assert prompted(segmenter, 2) == [10]
    prompt = segmenter.observations[0][0].prompt
    assert prompt is not None and prompt.mode is PromptMode.RESET


def test_a_mask_beside_the_hand_is_prompted_again_at_a_limited_rate() -> None:
    segmenter = MisplacedSegmenter()
    track_all(lambda seq: [hand(100)], 50, segmenter=segmenter)
    assert prompted(segmenter, 1) == [0, 15, 30, 45]


def test_a_hand_outside_the_picture_is_prompted_once_it_comes_in() -> None:
    segmenter = ScriptedSegmenter()
    track_all(lambda seq: [hand(-80 + 10 * seq)], 12, segmenter=segmenter)
    # Its box with the margin reaches the border at x = -36.
    assert prompted(segmenter, 1) == [5]


def test_every_live_hand_is_observed_and_a_lost_one_without_landmarks() -> None:
    segmenter = ScriptedSegmenter()
    track_all(lambda seq: [hand(100), *([hand(400, side=LEFT)] if seq < 5 else [])], 20, segmenter=segmenter)
    last = {o.object_id: o for o in segmenter.observations[-1]}
    assert set(last) == {1, 2}
    assert sorted(o.landmarks is None for o in last.values()) == [False, True]


@pytest.mark.parametrize("second", [(1280, 720), (320, 180), (480, 360)])
def test_ids_survive_a_change_of_the_frames_size(second: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    scale_x, scale_y = second[0] / SIZE[0], second[1] / SIZE[1]

    def script(seq: int) -> list[HandLandmarks]:
        sides = ((120.0, RIGHT), (480.0, LEFT))
        if seq < 5:
            return [hand(x, 180, side) for x, side in sides]
        return [hand(x * scale_x, 180 * scale_y, side, size_px=80 * scale_y) for x, side in sides]

    segmenter = ScriptedSegmenter()
    core = TrackerCore(ScriptedDetector(script), segmenter)
    with caplog.at_level(logging.INFO, "gest_stream.tracking"):
        results = [core.step(make_frame(seq, SIZE if seq < 5 else second)) for seq in range(10)]
    assert [ids(result) for result in results] == [[1, 2]] * 10
    for i, before in by_id(results[4]).items():
        assert by_id(results[5])[i].handedness is before.handedness
        assert center_x(by_id(results[5])[i]) == pytest.approx(center_x(before) * scale_x, abs=5)
    assert segmenter.resets == 1
    assert prompted(segmenter, 1) == prompted(segmenter, 2) == [0, 5]
    assert [m for m in caplog.messages if "size" in m] == [
        f"frame size changed from 640x360 to {second[0]}x{second[1]}"
    ]


def test_a_picture_that_turns_keeps_the_ids_by_handedness() -> None:
    def script(seq: int) -> list[HandLandmarks]:
        return [hand(60), hand(600, side=LEFT)] if seq < 5 else [hand(300, 60), hand(60, 500, side=LEFT)]

    core = TrackerCore(ScriptedDetector(script), None)
    results = [core.step(make_frame(seq, (640, 360) if seq < 5 else (360, 640))) for seq in range(8)]
    for result in results[5:]:
        assert {t.id: t.handedness for t in result.tracks} == {t.id: t.handedness for t in results[0].tracks}
        assert all(t.landmarks is not None for t in result.tracks)


def test_dropped_frames_do_not_lose_a_moving_hand() -> None:
    core = TrackerCore(ScriptedDetector(lambda seq: [hand(20 + 25 * seq, label=Handedness.UNKNOWN)]), None)
    results = [core.step(make_frame(seq, SIZE)) for seq in (0, 1, 2, 6, 7, 12, 20, 23)]
    assert [ids(result) for result in results] == [[1]] * 8


def test_the_score_follows_the_evidence() -> None:
    results = track_all(lambda seq: [hand(100, score=0.9)] if seq < 5 else [], 20)
    scores = [result.tracks[0].score for result in results]
    assert scores[:5] == pytest.approx([0.9] * 5)
    assert scores[5] == pytest.approx(0.45)
    assert scores[19] < 0.01
    carried = track_all(lambda seq: [hand(100)] if seq < 5 else [], 20, segmenter=FadingSegmenter(0.6))
    assert carried[19].tracks[0].score == pytest.approx(0.6, abs=0.01)
    assert track_all(lambda seq: [hand(100, presence=0.7)], 1)[0].tracks[0].score == pytest.approx(0.7)


def test_advance_adds_to_the_stages_that_were_timed_elsewhere() -> None:
    core = TrackerCore(ScriptedDetector(lambda seq: [hand(100)]), ScriptedSegmenter())
    frame = make_frame(0, SIZE)
    timer = StageTimer()
    timer.ms.update(landmarks=12.0, segment=100.0)
    result = core.advance(frame, core.detect(frame), core.encode(frame), timer)
    assert result.timings_ms["landmarks"] == 12.0
    assert 100.0 < result.timings_ms["segment"] < 200.0
    assert result.timings_ms["track"] > 0.0
    assert result.timings_ms["total"] > 0.0
    assert result.frame is frame


def test_detecting_ahead_changes_nothing() -> None:
    def script(seq: int) -> list[HandLandmarks]:
        return [hand(100 + 10 * seq)] if seq != 4 else []

    frames = [make_frame(seq, SIZE) for seq in range(8)]
    core = TrackerCore(ScriptedDetector(script), ScriptedSegmenter())
    ready = [(frame, core.detect(frame), core.encode(frame)) for frame in frames]
    ahead = [core.advance(*each) for each in ready]
    for one, other in zip(ahead, track_all(script, 8, segmenter=ScriptedSegmenter()), strict=True):
        assert [(t.id, t.state, t.missed_frames) for t in one.tracks] == [
            (t.id, t.state, t.missed_frames) for t in other.tracks
        ]


def test_advance_without_the_encoding_is_refused() -> None:
    core = TrackerCore(ScriptedDetector(lambda seq: []), ScriptedSegmenter())
    with pytest.raises(InvalidInputError, match="encode"):
        core.advance(make_frame(0, SIZE), (), None)


def test_reset_drops_the_hands_and_goes_on_counting() -> None:
    segmenter = ScriptedSegmenter()
    core = TrackerCore(ScriptedDetector(lambda seq: [hand(100)]), segmenter)
    for seq in range(5):
        core.step(make_frame(seq, SIZE))
    core.reset()
    assert segmenter.resets == 1
    result = core.step(make_frame(0, (320, 240)))
    assert [(t.id, t.state) for t in result.tracks] == [(2, TrackState.TENTATIVE)]


def test_leaving_closes_detector_and_segmenter_once() -> None:
    class BadlyClosing(ScriptedDetector):
        def close(self) -> None:
            assert not self.closed
            super().close()
            raise ModelError("cannot be closed")

    detector, segmenter = BadlyClosing(lambda seq: []), ScriptedSegmenter()
    core = TrackerCore(detector, segmenter)
    with pytest.raises(ModelError, match="cannot be closed"), core:
        pass
    assert detector.closed and segmenter.closed
    core.close()


def test_a_detectors_error_comes_through() -> None:
    def broken(seq: int) -> list[HandLandmarks]:
        raise ModelError(f"broke on frame {seq}")

    with pytest.raises(ModelError, match="broke on frame 3"):
        TrackerCore(ScriptedDetector(broken), None).step(make_frame(3, SIZE))


def test_a_segmenters_error_comes_through() -> None:
    def broken(seq: int) -> None:
        raise ModelError(f"broke on frame {seq}")

    core = TrackerCore(ScriptedDetector(lambda seq: [hand(100)]), ScriptedSegmenter(broken))
    with pytest.raises(ModelError, match="broke on frame 3"):
        core.step(make_frame(3, SIZE))


def test_one_line_is_logged_for_each_change_of_state_and_none_for_a_steady_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "gest_stream.tracking"):
        track_all(lambda seq: [hand(100)] if seq < 20 or 30 <= seq < 40 else [], 110)
    assert caplog.messages == [
        "track 1 tracked",
        "track 1 lost after 5 frames",
        "track 1 found again by landmarks after 11 frames, seen on frame 30 with score 0.90",
        "track 1 lost after 5 frames",
        "track 1 removed after 60 frames",
    ]


def test_flickering_ghosts_are_not_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gest_stream.tracking"):
        track_all(lambda seq: [hand(100)] if seq % 2 else [], 20)
    assert caplog.messages == []


def test_landmarks_and_masks_are_passed_on_untouched() -> None:
    landmarks = hand(100)
    result = track_all(lambda seq: [landmarks], 1, segmenter=ScriptedSegmenter())[0]
    track = result.tracks[0]
    assert track.landmarks is landmarks
    assert track.mask is not None and np.count_nonzero(track.mask.full()) > 1000


def test_max_tracks_out_of_range_names_itself() -> None:
    with pytest.raises(ConfigError, match=r"tracker\.max_tracks"):
        TrackerConfig(max_tracks=0)
