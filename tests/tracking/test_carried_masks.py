"""What a carried mask says of a hand: that it is back, or that its mask went to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gest_stream.config import LossConfig, TrackerConfig
from gest_stream.testing import ScriptedSegmenter, hull_mask
from gest_stream.tracking.live_track import LiveTrack
from gest_stream.types import Frame, HandMask, Observation, ReinitialisedBy, TrackState
from tests.tracking.scenes import LEFT, RIGHT, SIZE, by_id, hand, ids, prompted, track_all


@pytest.mark.parametrize(("place", "ids_at_the_end"), [(100, [1]), (400, [1, 2])])
def test_a_hand_that_returns_into_its_carried_mask_keeps_its_id_whatever_it_is_called(
    place: float, ids_at_the_end: list[int]
) -> None:
    results = track_all(
        lambda seq: [hand(100, side=LEFT)] if seq < 5 else [hand(place, side=RIGHT)] if seq >= 15 else [],
        20,
        segmenter=ScriptedSegmenter(),
    )
    assert by_id(results[14])[1].state is TrackState.LOST
    assert by_id(results[14])[1].mask is not None
    assert ids(results[19]) == ids_at_the_end


class RecognisingSegmenter(ScriptedSegmenter):
    """A lost hand's mask is that of any hand that is there."""

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        masks = dict(super().step(encoded, observations))
        seen = [masks[o.object_id] for o in observations if o.landmarks is not None]
        blind = [o.object_id for o in observations if o.landmarks is None]
        return {**masks, **dict.fromkeys(blind, seen[0])} if seen else {}


def test_a_hand_that_its_mask_recognises_a_frame_late_has_its_id_back() -> None:
    results = track_all(
        lambda seq: [hand(100, side=LEFT)] if seq < 5 else [hand(400, side=RIGHT)] if seq >= 15 else [],
        20,
        segmenter=RecognisingSegmenter(),
    )
    assert [ids(result) for result in results[14:18]] == [[1], [1, 2], [1], [1]]
    assert by_id(results[16])[1].reinitialised_by is ReinitialisedBy.LANDMARKS


class WanderingSegmenter(ScriptedSegmenter):
    """The mask of hand 1 goes to hand 2."""

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        masks = super().step(encoded, observations)
        return {i: masks.get(2, mask) for i, mask in masks.items()}


@pytest.mark.parametrize(("together", "second"), [(True, [0, 15, 30]), (False, [0])])
def test_where_a_mask_goes_to_another_hand_both_are_prompted_again(together: bool, second: list[int]) -> None:
    segmenter = WanderingSegmenter()
    config = TrackerConfig(loss=LossConfig(reprompt_together=together))
    track_all(lambda seq: [hand(100), hand(500, side=LEFT)], 40, config, segmenter)
    assert prompted(segmenter, 1) == [0, 15, 30]
    assert prompted(segmenter, 2) == second


@pytest.mark.parametrize(("steps", "ahead"), [(1, 1), (2, 1), (2, 2), (1, 3)])
def test_a_hand_whose_mask_went_on_faster_than_it_did_is_expected_there_as_well(steps: int, ahead: int) -> None:
    track = LiveTrack.seen_first(1, hand(100), TrackerConfig())
    for seq in range(3):
        track.see(hand(100), seq, 1, relocated=False)
        track.take_mask(hull_mask(hand(100), SIZE))
    assert np.allclose(*track.candidate(1).hypotheses_px)
    for x in (120, 140):
        track.miss(steps)
        track.take_mask(hull_mask(hand(x), SIZE))
    still, moved = track.candidate(ahead).hypotheses_px
    np.testing.assert_allclose(still, hand(100).points_xy_px, atol=0.1)
    np.testing.assert_allclose(moved, hand(140 + 20 * ahead / steps).points_xy_px, atol=1.5)
