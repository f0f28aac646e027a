"""A rendered hand that is covered, leaves and returns on the other side, and blurs: found again, with its id.

The detector sees the hand only until it is lost for the first time, so that it is the redetector alone that can find it
again; its answers are the truth about the frame. Masks come from the real `light` segmenter.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gest_stream.config import LightConfig, RedetectionConfig, RedetectionMode, TrackerConfig
from gest_stream.models.light import LightSegmenter
from gest_stream.models.map_flow import FlowCarrier
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame
from gest_stream.testing import ScriptedDetector, ScriptedRedetector, probability_of
from gest_stream.tracking.redetection import Redetection
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, HandMask, HandProbability, ReinitialisedBy

WITHIN_FRAMES = 5
CLIP = ClipConfig(
    size=(320, 240),
    frames=125,
    hands=1,
    seed=65,
    tones=(4.0,),
    shutter=0.5,
    events=(
        Event(EventKind.OCCLUDE, 0.4, 1.1),
        Event(EventKind.LEAVE, 1.7, 1.3, elsewhere=True),
        Event(EventKind.SWIPE, 3.2, 0.9),
    ),
)
SEEN_UNTIL = 14


@pytest.fixture(scope="module")
def clip() -> list[SyntheticFrame]:
    renderer = ClipRenderer(CLIP)
    return [renderer.frame(seq) for seq in range(CLIP.frames)]


def in_view(frame: SyntheticFrame) -> bool:
    """Half of the hand can be seen."""
    (hand,) = frame.hands
    return hand.shown >= 0.5 and hand.hand_mask.area_px >= 1000


def returns(clip: list[SyntheticFrame]) -> list[int]:
    """The frames on which the hand comes back into view."""
    return [seq for seq in range(SEEN_UNTIL, len(clip)) if in_view(clip[seq]) and not in_view(clip[seq - 1])]


def track(clip: list[SyntheticFrame], redetector: ScriptedRedetector | None, live: bool = False) -> list[FrameResult]:
    mode = RedetectionMode.BACKGROUND if live else RedetectionMode.WAIT
    config = TrackerConfig(redetection=RedetectionConfig(mode=mode))
    redetection = (
        Redetection(redetector, FlowCarrier(), config.redetection.regions) if redetector is not None else None
    )
    detector = ScriptedDetector(lambda seq: [clip[seq].hands[0].landmarks] if seq < SEEN_UNTIL else [])
    results = []
    with TrackerCore(detector, LightSegmenter(LightConfig()), config, redetection) as core:
        for rendered in clip:
            results.append(core.step(rendered.frame))
            if live and redetection is not None and rendered.frame.seq % 3 == 2:
                with redetection.changed:  # a redetector that takes up to three frames
                    redetection.changed.wait_for(lambda: redetection.answered or not redetection.busy, 10)
    return results


def truth_of(clip: list[SyntheticFrame]) -> Callable[[Frame], HandProbability]:
    return lambda frame: probability_of([hand.hand_mask for hand in clip[frame.seq].hands], frame.size)


def iou(result: FrameResult, truth: HandMask) -> float:
    return max((one.mask.iou(truth) for one in result.tracks if one.mask is not None), default=0.0)


def frames_until_found(results: list[FrameResult], clip: list[SyntheticFrame], start: int) -> int | None:
    """Frames from `start` until the first hand's mask lies on the hand again."""
    for seq in range(start, len(results)):
        on_it = [one for one in results[seq].tracks if one.id == 1 and one.mask is not None]
        if on_it and on_it[0].mask is not None and on_it[0].mask.iou(clip[seq].hands[0].hand_mask) >= 0.5:
            return seq - start
    return None


def test_the_hand_goes_out_of_view_twice(clip: list[SyntheticFrame]) -> None:
    gone = [seq for seq in range(len(clip)) if not in_view(clip[seq])]
    assert len(returns(clip)) == 2
    assert len(gone) >= 2 * 15
    before, after = (clip[seq].hands[0].landmarks.points_xy_px[9, 0] for seq in (40, 95))
    assert before < 160 < after, "it does not return on the other side"


@pytest.mark.parametrize("live", [False, True])
def test_with_a_redetector_it_is_found_within_five_frames_with_its_id(clip: list[SyntheticFrame], live: bool) -> None:
    results = track(clip, ScriptedRedetector(truth_of(clip)), live)
    for start in returns(clip):
        took = frames_until_found(results, clip, start)
        assert took is not None and took <= WITHIN_FRAMES, f"back on frame {start}, found after {took}"
    assert {one.id for result in results for one in result.tracks} == {1}
    assert any(one.reinitialised_by is ReinitialisedBy.DINO for result in results for one in result.tracks)
    settled = [iou(results[seq], clip[seq].hands[0].hand_mask) for seq in range(len(clip) - 30, len(clip))]
    assert sum(settled) / len(settled) >= 0.75


def test_without_a_redetector_it_is_not(clip: list[SyntheticFrame]) -> None:
    results = track(clip, None)
    assert [frames_until_found(results, clip, start) for start in returns(clip)] == [None, None]
