"""What holds for any stream of detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gest_stream.config import LossConfig, TrackerConfig
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_frame
from gest_stream.tracking.prompts import build_prompt
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, Handedness, HandLandmarks, HandMask, Observation, TrackState
from tests.tracking.scenes import SIZE, hand

_CONFIG = TrackerConfig(max_tracks=3, loss=LossConfig(lost_after_frames=3, remove_after_frames=6))
_NEW = None
_WAIT = LossConfig().drop_tentative_after_frames
_LEGAL: dict[TrackState | None, set[TrackState]] = {
    _NEW: {TrackState.TENTATIVE},
    TrackState.TENTATIVE: {TrackState.TENTATIVE, TrackState.TRACKED},
    TrackState.TRACKED: {TrackState.TRACKED, TrackState.LOST},
    TrackState.LOST: {TrackState.LOST, TrackState.TRACKED},
}

_hands = st.builds(
    hand,
    x=st.sampled_from([-60.0, 20.0, 60.0, 100.0, 320.0, 340.0, 500.0, 700.0]),
    y=st.sampled_from([0.0, 180.0, 200.0, 400.0]),
    side=st.sampled_from([Handedness.LEFT, Handedness.RIGHT]),
    score=st.floats(0.0, 1.0),
    size_px=st.sampled_from([0.5, 30.0, 80.0, 200.0]),
    label=st.sampled_from([None, Handedness.UNKNOWN, Handedness.LEFT]),
    presence=st.none() | st.floats(0.0, 1.0),
)
_frames = st.lists(_hands, max_size=5)
# Each drawn frame is held for some frames, so that tracks live long enough to be confirmed, lost and removed.
_streams = st.lists(st.tuples(_frames, st.integers(1, 8)), max_size=8).map(
    lambda runs: [hands for hands, count in runs for _ in range(count)]
)


class RememberingSegmenter(ScriptedSegmenter):
    """Keeps whom it was told to forget, and before which frame."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: dict[int, int] = {}

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        assert not self.forgotten.keys() & {one.object_id for one in observations}  # SAM2 takes no id twice
        return super().step(encoded, observations)

    def forget(self, object_id: int) -> None:
        super().forget(object_id)
        assert object_id not in self.forgotten
        self.forgotten[object_id] = len(self.observations)


def _results(stream: list[list[HandLandmarks]], segmenter: ScriptedSegmenter | None) -> list[FrameResult]:
    core = TrackerCore(ScriptedDetector(lambda seq: stream[seq]), segmenter, _CONFIG)
    return [core.step(make_frame(seq, SIZE)) for seq in range(len(stream))]


@settings(max_examples=60, deadline=None)
@given(_streams)
def test_ids_are_unique_ordered_never_reused_and_bounded_and_every_transition_is_legal(
    stream: list[list[HandLandmarks]],
) -> None:
    before: dict[int, TrackState] = {}
    gone: set[int] = set()
    waiting: dict[int, int] = {}  # never trusted, gone since so many frames: those alone may be seen again
    for result in _results(stream, None):
        now = {track.id: track.state for track in result.tracks}
        assert list(now) == sorted(now) and len(now) == len(result.tracks) <= 3
        assert not gone & set(now)
        for track_id, state in now.items():
            previous = TrackState.TENTATIVE if track_id in waiting else before.get(track_id)
            assert state in _LEGAL[previous] and (track_id not in waiting or state is TrackState.TENTATIVE)
            assert previous is not None or track_id > max([0, *gone, *before, *waiting])
        left = {track_id: 0 for track_id in set(before) - set(now) if before[track_id] is TrackState.TENTATIVE}
        waited = {track_id: frames + 1 for track_id, frames in {**waiting, **left}.items() if track_id not in now}
        waiting = {track_id: frames for track_id, frames in waited.items() if frames < _WAIT}
        gone |= set(before) - set(now) - set(left) | set(waited) - set(waiting)
        before = now


@settings(max_examples=60, deadline=None)
@given(_streams)
def test_every_detection_is_used_at_most_once_and_missing_means_no_landmarks(
    stream: list[list[HandLandmarks]],
) -> None:
    for seen, result in zip(stream, _results(stream, None), strict=True):
        used = [track.landmarks for track in result.tracks if track.landmarks is not None]
        assert len({id(landmarks) for landmarks in used}) == len(used)
        assert all(any(landmarks is one for one in seen) for landmarks in used)
        for track in result.tracks:
            assert (track.landmarks is None) is (track.missed_frames > 0)
            assert (track.state is TrackState.LOST) <= (track.landmarks is None)
            assert track.missed_frames < 6


@settings(max_examples=40, deadline=None)
@given(_streams)
def test_the_segmenter_hears_of_the_live_hands_is_prompted_first_and_forgets_the_others(
    stream: list[list[HandLandmarks]],
) -> None:
    segmenter = RememberingSegmenter()
    results = _results(stream, segmenter)
    known: set[int] = set()
    for result, observations in zip(results, segmenter.observations, strict=True):
        assert [o.object_id for o in observations] == [track.id for track in result.tracks]
        for track, observation in zip(result.tracks, observations, strict=True):
            assert track.landmarks is observation.landmarks
            assert observation.prompt is None or observation.landmarks is not None
            if track.id not in known and track.landmarks is not None:
                assert (observation.prompt is None) is (build_prompt(track.landmarks, (), SIZE) is None)
        known |= set(o.object_id for o in observations)
    last = {track.id: (seq, track.state) for seq, result in enumerate(results) for track in result.tracks}
    for object_id, (seq, state) in last.items():
        latest = seq + (_WAIT if state is TrackState.TENTATIVE else 1)
        if object_id in segmenter.forgotten:
            assert seq < segmenter.forgotten[object_id] <= latest
        else:
            assert latest >= len(results)
