"""Which hand is which region."""

from __future__ import annotations

import numpy as np
import pytest

from gest_stream.config import RegionConfig, TrackerConfig
from gest_stream.testing import hull_mask, probability_of
from gest_stream.tracking.live_track import LiveTrack
from gest_stream.tracking.recognition import Recognition, recognise
from gest_stream.tracking.regions import find_regions
from gest_stream.types import HandLandmarks, ReinitialisedBy, TrackState
from tests.tracking.scenes import SIZE, hand


def tracked(track_id: int, landmarks: HandLandmarks, *, seen: bool, masked: bool) -> LiveTrack:
    """A hand that was at `landmarks` on the last frame and on this one has landmarks, a mask, or neither."""
    track = LiveTrack.seen_first(track_id, landmarks, TrackerConfig())
    track.see(landmarks, 0, 1, relocated=False)
    if masked:
        track.take_mask(hull_mask(landmarks, SIZE))
    if seen:
        track.see(landmarks, 1, 1, relocated=False)
    else:
        track.miss(1)
    return track


def recognised(tracks: list[LiveTrack], *hands: HandLandmarks) -> Recognition:
    probability = probability_of([hull_mask(one, SIZE) for one in hands], SIZE)
    return recognise(find_regions(probability, RegionConfig()), tracks)


def test_a_region_on_landmarks_or_on_a_mask_is_that_hands() -> None:
    tracks = [
        tracked(1, hand(100), seen=True, masked=False),
        tracked(2, hand(500), seen=False, masked=True),
    ]
    assert recognised(tracks, hand(104, size_px=90), hand(505)) == Recognition({0: 0, 1: 1}, {}, ())


def test_the_only_missing_hand_is_recognised_wherever_it_turns_up() -> None:
    tracks = [tracked(1, hand(100), seen=True, masked=True), tracked(2, hand(300), seen=False, masked=False)]
    assert recognised(tracks, hand(100, size_px=90), hand(590)) == Recognition({0: 0}, {1: 1}, ())


def test_several_missing_hands_are_given_the_regions_nearest_to_them() -> None:
    tracks = [tracked(k, hand(x), seen=False, masked=False) for k, x in ((1, 100), (2, 500))]
    assert recognised(tracks, hand(560, size_px=90), hand(60)).returned == {0: 1, 1: 0}
    assert recognised(tracks, hand(400)).returned == {0: 1}


def test_a_region_of_quite_another_size_is_no_returning_hand() -> None:
    tracks = [tracked(1, hand(100, size_px=40), seen=False, masked=False)]
    assert recognised(tracks, hand(320, size_px=300)) == Recognition({}, {}, (0,))
    assert recognised(tracks, hand(320, size_px=60)).returned == {0: 0}


def test_a_hand_that_comes_in_over_the_edge_may_be_small_at_first() -> None:
    tracks = [tracked(1, hand(300, size_px=150), seen=False, masked=False)]
    assert recognised(tracks, hand(300, 180, size_px=25)).returned == {}
    assert recognised(tracks, hand(300, 350, size_px=25)).returned == {0: 0}


def test_regions_without_a_track_are_unknown() -> None:
    assert recognised([], hand(100), hand(400, size_px=120)).unknown == (0, 1)
    assert recognised([tracked(1, hand(100), seen=True, masked=True)]) == Recognition({}, {}, ())


def test_a_small_region_beside_a_large_one_is_a_part_of_that_hand() -> None:
    assert recognised([], hand(300, size_px=120), hand(390, size_px=40)).unknown == (0,)
    assert recognised([], hand(300, size_px=120), hand(600, size_px=40)).unknown == (0, 1)
    assert recognised([], hand(300, size_px=120), hand(420, size_px=90)).unknown == (0, 1)


def test_a_lost_hands_place_and_size_are_those_of_its_last_mask() -> None:
    track = tracked(1, hand(100), seen=False, masked=True)
    assert track.size_px == np.sqrt(hull_mask(hand(100), SIZE).area_px)
    assert abs(track.place_xy_px[0] - 100) < 10


def gliding(track_id: int, xs: list[float], *, mask_at: float | None) -> LiveTrack:
    """A hand that was seen at each of `xs`, frame by frame, and then went missing; its mask then lay at `mask_at`."""
    track = LiveTrack.seen_first(track_id, hand(xs[0]), TrackerConfig())
    for seq, x in enumerate(xs):
        track.see(hand(x), seq, 1, relocated=False)
        track.take_mask(hull_mask(hand(x), SIZE))
    track.miss(1)
    track.take_mask(hull_mask(hand(mask_at), SIZE) if mask_at is not None else None)
    track.miss(1)
    return track


def test_hands_that_crossed_are_told_apart_by_how_they_moved() -> None:
    rightwards = gliding(1, [220, 250, 280], mask_at=None)
    leftwards = gliding(2, [380, 350, 320], mask_at=None)
    assert recognised([rightwards, leftwards], hand(345, size_px=82), hand(255)).returned == {0: 0, 1: 1}


def test_a_mask_that_went_over_to_the_hand_it_crossed_does_not_decide() -> None:
    rightwards = gliding(1, [220, 250, 280], mask_at=250)
    leftwards = gliding(2, [380, 350, 320], mask_at=None)
    found = recognised([rightwards, leftwards], hand(345, size_px=82), hand(240))
    assert found == Recognition({}, {0: 0, 1: 1}, ())


def test_a_hand_beside_its_mask_is_that_hand_and_far_away_it_is_another() -> None:
    left_behind = gliding(1, [300, 300, 300], mask_at=300)
    assert recognised([left_behind], hand(346)) == Recognition({}, {0: 0}, ())
    assert recognised([left_behind], hand(500)) == Recognition({}, {}, (0,))


def test_two_regions_on_one_mask_are_the_two_hands_of_which_one_has_none() -> None:
    holding = gliding(1, [300, 300, 300], mask_at=300)
    gone = gliding(2, [420, 400, 380], mask_at=None)
    assert recognised([holding, gone], hand(290), hand(345, size_px=70)) == Recognition({0: 0}, {1: 1}, ())


def test_a_sliver_of_a_hand_does_not_make_it_small() -> None:
    track = tracked(1, hand(100), seen=True, masked=True)
    track.take_mask(hull_mask(hand(100, size_px=10), SIZE))
    before = np.sqrt(hull_mask(hand(100), SIZE).area_px)
    assert track.size_px > 0.9 * before


def test_a_hand_that_fits_its_region_is_not_moved_on_to_find_one_for_another_hand() -> None:
    still = gliding(1, [300, 300, 300], mask_at=300)
    gone = tracked(2, hand(500, size_px=130), seen=False, masked=False)
    probability = probability_of([hull_mask(hand(300), SIZE), hull_mask(hand(352, 165, size_px=34), SIZE)], SIZE)
    regions = find_regions(probability, RegionConfig())
    assert len(regions) == 2
    assert recognise(regions, [still, gone]).known[0] == 0
    assert 1 not in recognise(regions, [still, gone]).returned.values()


def test_a_mask_that_covers_a_region_counts_for_more_than_being_a_little_nearer() -> None:
    holding = gliding(1, [260, 260, 260], mask_at=300)
    gone = gliding(2, [320, 320, 320], mask_at=None)
    assert recognised([holding, gone], hand(300)) == Recognition({0: 0}, {}, ())


def test_a_hand_long_gone_may_have_stopped_where_it_was() -> None:
    gone = gliding(1, [100, 130, 160], mask_at=None)
    other = gliding(2, [330, 330, 330], mask_at=None)
    for _ in range(12):
        gone.miss(1)
        other.miss(1)
    assert recognised([gone, other], hand(160)).returned == {0: 0}


def test_one_hand_is_not_two_regions() -> None:
    track = gliding(1, [240, 270, 300], mask_at=285)
    found = recognised([track], hand(350), hand(275, size_px=60))
    assert len({*found.known.values(), *found.returned.values()}) == len(found.known) + len(found.returned)


def test_a_lost_hand_is_found_away_from_a_stale_mask_that_is_more_of_another() -> None:
    tracks = [gliding(k, [300, 300, 300], mask_at=300) for k in (1, 2)]
    for track in tracks:
        for _ in range(8):
            track.miss(1)
            track.take_mask(hull_mask(hand(300), SIZE))
        track.miss(1)
    assert all(track.state is TrackState.LOST for track in tracks)
    found = recognised(tracks, hand(300, size_px=82), hand(500))
    assert sorted({**found.known, **found.returned}.items()) == [(0, 0), (1, 1)]


def test_a_size_follows_the_frames_and_what_a_user_says() -> None:
    track = tracked(1, hand(100), seen=False, masked=True)
    before = track.size_px
    track.resize((2.0, 2.0), same_shape=True)
    assert track.size_px == pytest.approx(2 * before)
    track.miss(1)
    track.spot(ReinitialisedBy.USER, 2, 1.0, None, prompted=True)
    track.take_mask(hull_mask(hand(100, size_px=30), SIZE))
    assert track.size_px == pytest.approx(np.sqrt(hull_mask(hand(100, size_px=30), SIZE).area_px))


def test_a_hand_that_returns_smaller_is_held_to_be_smaller() -> None:
    track = tracked(1, hand(100, size_px=80), seen=False, masked=True)
    before = track.size_px
    (region,) = find_regions(probability_of([hull_mask(hand(100, size_px=40), SIZE)], SIZE), RegionConfig())
    track.spot(ReinitialisedBy.BUILTIN, 2, 0.9, region, prompted=True)
    assert region.size_px < track.size_px < 0.8 * before


@pytest.mark.parametrize("misses", [1, 2, 4])
def test_a_hand_that_a_user_points_at_elsewhere_rests_there(misses: int) -> None:
    track = tracked(1, hand(100), seen=True, masked=True)
    for _ in range(misses):
        track.miss(1)
        track.take_mask(None)
    track.spot(ReinitialisedBy.USER, 9, 1.0, None, prompted=True)
    track.take_mask(hull_mask(hand(500), SIZE))
    track.miss(1)
    assert track.expected_xy_px[0] == pytest.approx(500, abs=10)
