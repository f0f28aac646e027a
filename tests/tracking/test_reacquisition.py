"""The tracker with a redetector: lost hands come back, unknown ones are found, frames do not wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from gest_stream.config import LossConfig, RedetectionConfig, RedetectionMode, TrackerConfig
from gest_stream.errors import ModelError
from gest_stream.testing import (
    ScriptedDetector,
    ScriptedRedetector,
    ScriptedSegmenter,
    hull_mask,
    make_frame,
    probability_of,
)
from gest_stream.tracking.redetection import Redetection
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import (
    Frame,
    HandLandmarks,
    HandMask,
    HandProbability,
    MaskSource,
    Observation,
    PromptMode,
    ReinitialisedBy,
    TrackState,
)
from tests.tracking.redetected import CONFIG, ForgettingSegmenter, run, seen_by_redetector
from tests.tracking.scenes import LEFT, SIZE, Script, by_id, hand, ids, prompted


def away(start: int, end: int, before: float, after: float, shown: bool) -> Script:
    """A hand that is away from `start` to `end`; `shown` is whether landmarks are found afterwards."""

    def script(seq: int) -> list[HandLandmarks]:
        if seq < start:
            return [hand(before)]
        return [hand(after)] if seq >= end and shown else []

    return script


@pytest.mark.parametrize("returns_at", [120.0, 560.0])
def test_a_hand_that_only_the_redetector_sees_is_back_within_five_frames_with_its_id(returns_at: float) -> None:
    detected, there = away(10, 30, 100, returns_at, False), away(10, 30, 100, returns_at, True)
    results = run(detected, seen_by_redetector(there), 50)
    assert by_id(results[29])[1].state is TrackState.LOST and results[29].tracks[0].mask is None
    back = next(r.frame.seq for r in results if r.frame.seq >= 30 and r.tracks and r.tracks[0].mask is not None)
    assert back <= 35
    track = by_id(results[back])[1]
    assert track.state is TrackState.TRACKED and track.landmarks is None
    assert track.reinitialisation is not None
    assert (track.reinitialisation.by, track.reinitialisation.seq) == (ReinitialisedBy.DINO, back)
    assert track.reinitialisation.score > 0.9
    assert track.mask is not None and track.mask.iou(hull_mask(hand(returns_at), SIZE)) > 0.8
    assert [ids(result) for result in results] == [[1]] * 50


def test_without_a_redetector_it_is_not() -> None:
    results = run(away(10, 30, 100, 560, False), None, 50)
    assert all(track.mask is None for result in results[12:] for track in result.tracks)
    assert [r.tracks[0].reinitialisation for r in results] == [None] * 50


def test_the_segmenter_is_prompted_from_the_region_on_the_frame_of_the_event() -> None:
    segmenter = ForgettingSegmenter()
    detected, there = away(10, 30, 100, 400, False), away(10, 30, 100, 400, True)
    results = run(detected, seen_by_redetector(there), 40, segmenter)
    events = [r.frame.seq for r in results if r.tracks and r.tracks[0].reinitialised_by is ReinitialisedBy.DINO]
    assert prompted(segmenter, 1) == [0, *events]
    (observation,) = segmenter.observations[events[0]]
    assert observation.prompt is not None and observation.prompt.mode is PromptMode.RESET
    assert observation.region is not None
    assert abs(observation.prompt.points_xy_px[0, 0] - 400) < 40
    confirmed = [seq for seq, (one,) in enumerate(segmenter.observations) if one.region and not one.prompt]
    assert confirmed == []


def test_a_hand_that_is_confirmed_keeps_its_mask_and_the_segmenter_is_shown_what_was_seen() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    redetector = seen_by_redetector(lambda seq: [hand(300)])
    run(lambda seq: [], redetector, 40, segmenter)
    told = [seq for seq, seen in enumerate(segmenter.observations) if any(one.region is not None for one in seen)]
    assert told == redetector.asked


def test_nothing_is_asked_while_landmarks_show_all_hands_that_they_can() -> None:
    redetector = seen_by_redetector(lambda seq: [hand(100)])
    run(lambda seq: [hand(100)], redetector, 40, most_hands=1)
    assert redetector.asked == []


def test_a_blink_of_the_detector_asks_nothing_and_a_loss_asks_at_the_interval() -> None:
    redetector = seen_by_redetector(lambda seq: [])
    run(lambda seq: [] if seq == 10 or seq >= 20 else [hand(100)], redetector, 40)
    assert redetector.asked == [21, *range(24, 40, 3)]


def test_where_the_detector_never_finds_a_hand_the_redetector_opens_a_track_and_holds_it() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    redetector = seen_by_redetector(lambda seq: [hand(300)])
    results = run(lambda seq: [], redetector, 200, segmenter)
    assert [ids(result) for result in results] == [[1]] * 200
    assert results[0].tracks[0].state is TrackState.TENTATIVE
    assert results[0].tracks[0].reinitialised_by is ReinitialisedBy.DINO
    assert {result.tracks[0].state for result in results[20:]} == {TrackState.TRACKED}
    assert all(result.tracks[0].mask is not None for result in results)
    assert prompted(segmenter, 1) == [0]
    gaps = [b - a for a, b in zip(redetector.asked, redetector.asked[1:], strict=False)]
    assert gaps[:4] == [3, 6, 12, 15] and set(gaps[4:]) == {15}


def test_a_hand_that_was_seen_once_and_never_again_is_given_up() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    results = run(lambda seq: [], seen_by_redetector(lambda seq: [hand(300)] if seq == 0 else []), 80, segmenter)
    assert ids(results[44]) == [1] and ids(results[45]) == []


def test_a_hand_held_by_its_mask_is_lost_where_the_redetector_sees_it_no_longer() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    redetector = seen_by_redetector(lambda seq: [hand(300)] if seq < 100 else [])
    results = run(lambda seq: [], redetector, 146, segmenter)
    states = [result.tracks[0].state for result in results]
    lost = states.index(TrackState.LOST)
    assert 100 + 15 < lost <= 100 + 45


def test_a_mask_that_wandered_off_is_started_anew_where_the_hand_is() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    redetector = seen_by_redetector(lambda seq: [hand(300 + (25 if seq > 0 else 0))])
    results = run(lambda seq: [], redetector, 40, segmenter)
    assert len(prompted(segmenter, 1)) == 2
    mask = results[-1].tracks[0].mask
    assert mask is not None and mask.iou(hull_mask(hand(325), SIZE)) > 0.8
    assert [ids(result) for result in results] == [[1]] * 40


def test_landmarks_take_over_a_hand_that_the_redetector_found() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    detected: Script = lambda seq: [hand(300, side=LEFT)] if seq >= 20 else []  # noqa: E731
    results = run(detected, seen_by_redetector(lambda seq: [hand(300)]), 40, segmenter)
    assert [ids(result) for result in results] == [[1]] * 40
    assert results[30].tracks[0].landmarks is not None and results[30].tracks[0].handedness is LEFT


def test_unknown_regions_open_no_tracks_beside_all_landmarks_there_can_be_or_where_that_is_off() -> None:
    both: Script = lambda seq: [hand(100), hand(500)]  # noqa: E731
    detected: Script = lambda seq: [hand(100), hand(300)] if seq < 5 else [hand(100)]  # noqa: E731
    results = run(detected, seen_by_redetector(both), 30, most_hands=1)
    assert {track_id for result in results for track_id in ids(result)} == {1, 2}
    closed = replace(CONFIG, redetection=replace(CONFIG.redetection, open_tracks=False))
    results = run(lambda seq: [], seen_by_redetector(both), 30, config=closed)
    assert {track_id for result in results for track_id in ids(result)} == set()


@pytest.mark.parametrize(("back", "known"), [(24, {1, 2}), (60, {1})])
def test_a_mask_keeps_its_hand_from_landmarks_elsewhere_only_while_something_was_seen_in_it(
    back: int, known: set[int]
) -> None:
    detected: Script = lambda seq: [hand(100, side=LEFT)] if seq < 5 else [hand(500, side=LEFT)] * (seq >= back)  # noqa: E731
    there = seen_by_redetector(lambda seq: [hand(100)] if seq < 22 else [])
    results = run(detected, there, back + 10, ScriptedSegmenter(), most_hands=2)
    assert {track_id for result in results for track_id in ids(result)} == known


def test_a_doubtful_region_opens_no_track_but_finds_a_missing_hand_near_to_where_it_was() -> None:
    def doubtful(frame: Frame) -> HandProbability:
        sure = probability_of([hull_mask(hand(300), SIZE)], SIZE)
        return HandProbability(sure.hand * np.float32(0.7 / sure.hand.max()), SIZE)

    unknown = run(lambda seq: [], ScriptedRedetector(doubtful), 30)
    assert {track_id for result in unknown for track_id in ids(result)} == set()
    far = run(lambda seq: [hand(60)] if seq < 5 else [], ScriptedRedetector(doubtful), 30)
    assert all(track.reinitialisation is None for result in far for track in result.tracks)
    missing = run(lambda seq: [hand(200)] if seq < 5 else [], ScriptedRedetector(doubtful), 30)
    found = [track.reinitialisation for result in missing for track in result.tracks if track.reinitialisation]
    assert found and all(one.by is ReinitialisedBy.DINO and one.score < 0.75 for one in found)
    assert {track_id for result in missing for track_id in ids(result)} == {1}


@pytest.mark.parametrize(("speed", "found"), [(0, False), (20, True)])
def test_near_to_where_a_hand_was_going_is_near_as_well(speed: float, found: bool) -> None:
    def doubtful(frame: Frame) -> HandProbability:
        sure = probability_of([hull_mask(hand(385), SIZE)], SIZE)
        return HandProbability(sure.hand * np.float32(0.7 / sure.hand.max()), SIZE)

    detected: Script = lambda seq: [hand(200 - speed * (8 - seq))] if seq <= 8 else []  # noqa: E731
    results = run(detected, ScriptedRedetector(doubtful), 20)
    assert any(track.reinitialisation is not None for result in results[9:] for track in result.tracks) == found


class MisplacedSegmenter(ScriptedSegmenter):
    """Its mask lies 200 pixels beside the hand until it is given a region."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[int] = set()

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        masks = dict(super().step(encoded, observations))
        self._told |= {one.object_id for one in observations if one.region is not None}
        for one in observations:
            if one.object_id in masks and one.object_id not in self._told:
                m = masks[one.object_id]
                place = (m.origin_xy_px[0] + 200, m.origin_xy_px[1])
                masks[one.object_id] = HandMask(m.crop, place, m.frame_size, 0.9, MaskSource.SCRIPTED)
        return masks


def test_where_landmarks_and_mask_go_on_disagreeing_the_redetector_decides() -> None:
    segmenter = MisplacedSegmenter()
    redetector = seen_by_redetector(lambda seq: [hand(100)])
    results = run(lambda seq: [hand(100)], redetector, 60, segmenter)
    events = [r.frame.seq for r in results if r.tracks[0].reinitialised_by is ReinitialisedBy.DINO]
    assert len(events) == 1
    mask = results[-1].tracks[0].mask
    assert mask is not None and mask.iou(hull_mask(hand(100), SIZE)) > 0.9


def test_a_mask_that_does_not_agree_with_the_region_is_not_trusted() -> None:
    class Elsewhere(ForgettingSegmenter):
        def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
            blind = [o for o in observations if o.landmarks is None and o.prompt is not None]
            return {**super().step(encoded, observations), **{o.object_id: hull_mask(hand(50), SIZE) for o in blind}}

    detected, there = away(10, 12, 300, 400, False), away(10, 12, 300, 400, True)
    results = run(detected, seen_by_redetector(there), 30, Elsewhere())
    assert all(track.mask is None for result in results[12:] for track in result.tracks)


def test_a_users_object_is_no_lost_hand_and_what_is_seen_on_it_changes_nothing() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: object_id == 2 and not 40 <= seq < 46)
    redetector = seen_by_redetector(lambda seq: [hand(480)] if seq >= 40 else [])
    redetection = Redetection(redetector, None, CONFIG.redetection.regions)
    detector = ScriptedDetector(lambda seq: [hand(100)] if seq < 10 else [])
    with TrackerCore(detector, segmenter, CONFIG, redetection) as core:
        for seq in range(60):
            if seq == 5:
                core.add_prompt([(560, 300)])
            result = core.step(make_frame(seq, SIZE))
    tracks = by_id(result)
    assert tracks[1].mask is not None and tracks[1].mask.iou(hull_mask(hand(480), SIZE)) > 0.8
    assert tracks[2].mask is not None and tracks[2].mask.box_xyxy_px == pytest.approx((540, 280, 581, 321), abs=1)


def test_a_users_correction_is_not_undone_by_the_redetector() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    redetection = Redetection(seen_by_redetector(lambda seq: [hand(300)]), None, CONFIG.redetection.regions)
    with TrackerCore(ScriptedDetector(lambda seq: []), segmenter, CONFIG, redetection) as core:
        for seq in range(60):
            if seq == 20:
                core.add_prompt([(300, 180)])
            core.step(make_frame(seq, SIZE))
    assert prompted(segmenter, 1) == [0, 20]


def test_nor_by_what_it_sees_beside_the_hand() -> None:
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    there = seen_by_redetector(lambda seq: [hand(300 if seq < 30 else 346)])
    redetection = Redetection(there, None, CONFIG.redetection.regions)
    with TrackerCore(ScriptedDetector(lambda seq: []), segmenter, CONFIG, redetection, most_hands=1) as core:
        for seq in range(60):
            if seq == 20:
                core.add_prompt([(300, 180)])
            core.step(make_frame(seq, SIZE))
    assert prompted(segmenter, 1) == [0, 20]


@pytest.mark.parametrize(("chance", "moved"), [(0.7, False), (0.9, True)])
def test_beside_its_mask_a_hand_is_only_where_it_surely_is_one(chance: float, moved: bool) -> None:
    def seen(frame: Frame) -> HandProbability:
        sure = probability_of([hull_mask(hand(346), SIZE)], SIZE)
        return HandProbability(sure.hand * np.float32(chance / sure.hand.max()), SIZE)

    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    config = replace(CONFIG, redetection=replace(CONFIG.redetection, verify_after_frames=2))  # before it counts as lost
    run(lambda seq: [hand(300)] if seq < 5 else [], ScriptedRedetector(seen), 9, segmenter, config, most_hands=1)
    assert (prompted(segmenter, 1) != [0]) == moved


def test_two_hands_that_are_seen_as_one_keep_their_masks() -> None:
    def apart(seq: int) -> float:
        return max(0.0, 60.0 - 8.0 * seq)

    def detected(seq: int) -> list[HandLandmarks]:
        return [hand(280 - apart(seq)), hand(330 + apart(seq), side=LEFT)] if seq < 10 else []

    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    results = run(detected, seen_by_redetector(lambda seq: [hand(280), hand(330)]), 100, segmenter)
    assert [ids(result) for result in results] == [[1, 2]] * 100
    assert max(prompted(segmenter, 1) + prompted(segmenter, 2)) < 10
    first, second = (track.mask for track in results[-1].tracks)
    assert first is not None and second is not None and first.iou(second) < 0.5


def test_a_segmenter_that_never_agrees_is_told_at_a_bounded_rate() -> None:
    class Elsewhere(ScriptedSegmenter):
        def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
            return dict.fromkeys(super().step(encoded, observations), hull_mask(hand(500), SIZE))

    segmenter = Elsewhere()
    run(lambda seq: [hand(100)], seen_by_redetector(lambda seq: [hand(100)]), 300, segmenter)
    assert len(prompted(segmenter, 1)) <= 300 / 7


def test_regions_that_the_segmenter_makes_nothing_of_are_asked_about_ever_more_rarely() -> None:
    class Mute(ScriptedSegmenter):
        def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
            return {}

    redetector = seen_by_redetector(lambda seq: [hand(300)])
    run(lambda seq: [], redetector, 600, Mute())
    assert len(redetector.asked) < 40


def test_without_a_segmenter_nothing_is_asked() -> None:
    redetector = seen_by_redetector(lambda seq: [hand(300)])
    core = TrackerCore(
        ScriptedDetector(lambda seq: []), None, CONFIG, Redetection(redetector, None, CONFIG.redetection.regions)
    )
    assert core.step(make_frame(0, SIZE)).tracks == ()
    assert redetector.asked == []


def test_events_and_changes_are_logged_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    detected, there = away(10, 30, 100, 400, False), away(10, 30, 100, 400, True)
    with caplog.at_level(logging.INFO, "gest_stream.tracking"):
        run(detected, seen_by_redetector(there), 33, ForgettingSegmenter(lambda seq, object_id: seq >= 30))
    assert caplog.messages[:2] == ["track 1 tracked", "track 1 lost after 3 frames"]
    assert len(caplog.messages) == 3
    assert caplog.messages[2].startswith("track 1 found again by dino after 2")
    assert "seen on frame 3" in caplog.messages[2]


def test_an_error_of_the_redetector_comes_through() -> None:
    def broken(frame: Frame) -> HandProbability:
        raise ModelError("its memory is full")

    with pytest.raises(ModelError, match="its memory is full"):
        run(lambda seq: [], ScriptedRedetector(broken), 3)


def test_a_live_frame_does_not_wait_for_the_redetector_and_its_answer_comes_later() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(frame: Frame) -> HandProbability:
        asked.set()
        assert go_on.wait(10)
        return probability_of([hull_mask(hand(300), SIZE)], SIZE)

    config = TrackerConfig()
    redetection = Redetection(ScriptedRedetector(slow), None, config.redetection.regions)
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    with TrackerCore(ScriptedDetector(lambda seq: []), segmenter, config, redetection) as core:
        core.set_live(True)
        before = [core.step(make_frame(seq, SIZE)) for seq in range(20)]  # would never return if a frame waited
        assert asked.wait(10)
        assert [ids(result) for result in before] == [[]] * 20
        go_on.set()
        with redetection.changed:
            assert redetection.changed.wait_for(lambda: redetection.answered, 10)
        result = core.step(make_frame(20, SIZE))
    assert ids(result) == [1]
    event = result.tracks[0].reinitialisation
    assert event is not None and event.seq == 0
    assert result.timings_ms["redetect"] > 0


def test_the_mode_overrules_what_the_source_is() -> None:
    for mode, live, background in (
        (RedetectionMode.AUTO, True, True),
        (RedetectionMode.AUTO, False, False),
        (RedetectionMode.WAIT, True, False),
        (RedetectionMode.BACKGROUND, False, True),
    ):
        config = TrackerConfig(redetection=RedetectionConfig(mode=mode))
        redetection = Redetection(seen_by_redetector(lambda seq: []), None, config.redetection.regions)
        core = TrackerCore(ScriptedDetector(lambda seq: []), ScriptedSegmenter(), config, redetection)
        core.set_live(live)
        assert redetection.background is background


def test_a_new_frame_size_drops_what_was_asked_about_the_old_one() -> None:
    redetector = seen_by_redetector(lambda seq: [])
    redetection = Redetection(redetector, None, CONFIG.redetection.regions)
    with TrackerCore(ScriptedDetector(lambda seq: []), ScriptedSegmenter(), CONFIG, redetection) as core:
        for seq, size in ((0, SIZE), (1, SIZE), (2, (320, 180))):
            core.step(make_frame(seq, size))
    assert redetector.asked == [0, 2]


def test_a_lost_hand_is_held_no_longer_than_its_settings_say() -> None:
    config = replace(CONFIG, loss=LossConfig(hold_frames=20, remove_after_frames=30))
    segmenter = ForgettingSegmenter(lambda seq, object_id: True)
    redetector = seen_by_redetector(lambda seq: [hand(300)] if seq < 50 else [])
    results = run(lambda seq: [], redetector, 120, segmenter, config)
    last_sight = max(seq for seq in redetector.asked if seq < 50)
    states = [result.tracks[0].state if result.tracks else None for result in results]
    assert states.index(TrackState.LOST) == last_sight + 20
    assert states.index(None) == last_sight + 30
