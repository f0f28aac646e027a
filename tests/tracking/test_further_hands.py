"""Hands that the landmarks' detector misses beside those it sees are looked for, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gest_stream.testing import ScriptedRedetector, ScriptedSegmenter, hull_mask, probability_of
from gest_stream.types import Frame, HandMask, HandProbability, MaskSource
from tests.tracking.redetected import CONFIG, ForgettingSegmenter, run, seen_by_redetector
from tests.tracking.scenes import SIZE, Script, hand, ids


@pytest.mark.parametrize(("most", "known"), [(1, {1}), (2, {1, 2}), (3, {1, 2, 3})])
def test_beside_landmarks_as_many_hands_are_found_as_the_detector_looks_for(most: int, known: set[int]) -> None:
    there = seen_by_redetector(lambda seq: [hand(100), hand(300), hand(500)])
    results = run(lambda seq: [hand(100)], there, 40, ScriptedSegmenter(), most_hands=most)
    assert {track_id for result in results for track_id in ids(result)} == known
    found = [track for track in results[-1].tracks if track.id > 1]
    truths = [hull_mask(hand(x), SIZE) for x in (300, 500)]
    assert all(track.mask is not None and max(track.mask.iou(t) for t in truths) > 0.8 for track in found)


def test_a_hand_that_is_back_leaves_no_room_for_what_else_is_seen_with_it() -> None:
    there = seen_by_redetector(lambda seq: [hand(100), hand(300), *([hand(500)] if seq >= 20 else [])])
    detected: Script = lambda seq: [hand(100), hand(300)] if seq < 10 else [hand(100)]  # noqa: E731
    segmenter = ForgettingSegmenter(lambda seq, object_id: seq >= 20)
    results = run(detected, there, 50, segmenter, most_hands=2)
    assert {track_id for result in results for track_id in ids(result)} == {1, 2}


def test_a_part_of_a_hand_with_landmarks_is_no_further_hand() -> None:
    whole = hull_mask(hand(100), SIZE)
    top = whole.full()
    rows = np.flatnonzero(top.any(axis=1))
    top[rows[len(rows) // 4] :] = 0
    part = HandMask.from_full(top, 1.0, MaskSource.SCRIPTED)
    there = ScriptedRedetector(lambda frame: probability_of([part], SIZE))
    results = run(lambda seq: [hand(100)], there, 40, ScriptedSegmenter(), most_hands=2)
    assert {track_id for result in results for track_id in ids(result)} == {1}


def test_a_hand_that_flickers_before_it_is_trusted_is_found_with_its_id() -> None:
    there = seen_by_redetector(lambda seq: [hand(100), hand(500)] if seq >= 14 else [hand(100)])
    detected: Script = lambda seq: [hand(100), hand(500)] if seq == 14 else [hand(100)]  # noqa: E731
    results = run(detected, there, 60, ForgettingSegmenter(lambda seq, object_id: seq > 16), most_hands=2)
    assert {track_id for result in results for track_id in ids(result)} == {1, 2}
    assert ids(results[-1]) == [1, 2]


@pytest.mark.parametrize(("seek_score", "known"), [(0.85, {1}), (0.6, {1, 2})])
def test_more_is_asked_of_a_hand_beside_landmarks(seek_score: float, known: set[int]) -> None:
    def doubtful(frame: Frame) -> HandProbability:
        sure = probability_of([hull_mask(hand(300), SIZE)], SIZE)
        return HandProbability(sure.hand * np.float32(0.7 / sure.hand.max()), SIZE)

    easy = replace(CONFIG.redetection, open_score=0.6, seek_score=seek_score)
    config = replace(CONFIG, redetection=easy)
    results = run(lambda seq: [hand(60)], ScriptedRedetector(doubtful), 30, ScriptedSegmenter(), config, 2)
    assert {track_id for result in results for track_id in ids(result)} == known


def test_no_more_hands_are_opened_than_the_detector_looks_for_while_it_sees_none() -> None:
    there = seen_by_redetector(lambda seq: [hand(100), hand(300), *([hand(520)] if seq >= 10 else [])])
    detected: Script = lambda seq: [hand(100), hand(300)] if seq < 10 else []  # noqa: E731
    results = run(detected, there, 60, ScriptedSegmenter(), most_hands=2)
    assert {track_id for result in results for track_id in ids(result)} == {1, 2}
    assert ids(results[-1]) == [1, 2]
