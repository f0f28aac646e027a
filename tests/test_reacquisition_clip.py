"""A rendered hand that is covered, leaves and returns on the other side, and blurs: found again, with its id.

The detector sees the hand only until it is lost for the first time, so that it is the redetector alone that can find it
again; its answers are the truth about the frame. Masks come from the real `light` segmenter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gest_stream.config import LightConfig, RedetectionConfig, RedetectionMode, TrackerConfig
from gest_stream.models.light import LightSegmenter
from gest_stream.models.map_flow import FlowCarrier
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame
from gest_stream.testing import ScriptedDetector, ScriptedRedetector, probability_of
from gest_stream.tracking.redetection import Redetection
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, HandProbability, ReinitialisedBy

WITHIN_FRAMES = 5
COVERED, LEAVES_AND_BLURS = "covered", "leaves and blurs"
EVENTS = {
    COVERED: (Event(EventKind.OCCLUDE, 0.0, 6.6),),
    LEAVES_AND_BLURS: (Event(EventKind.LEAVE, 0.3, 1.4, elsewhere=True), Event(EventKind.SWIPE, 1.8, 0.8)),
}
FRAMES = {COVERED: (72, 132), LEAVES_AND_BLURS: (0, 84)}
"""From where on it is rendered, and up to where: before the object comes near and after it is gone nothing happens."""


@pytest.fixture(scope="module", params=[COVERED, LEAVES_AND_BLURS])
def clip(request: pytest.FixtureRequest) -> list[SyntheticFrame]:
    first, last = FRAMES[request.param]
    events = EVENTS[request.param]
    config = ClipConfig((256, 192), last, hands=1, seed=65, tones=(4.0,), shutter=0.5, events=events)
    renderer = ClipRenderer(config)
    rendered = [renderer.frame(seq) for seq in range(first, last)]
    return [SyntheticFrame(replace(one.frame, seq=k, pts=k), one.hands) for k, one in enumerate(rendered)]


def in_view(frame: SyntheticFrame) -> bool:
    """Half of the hand can be seen."""
    (hand,) = frame.hands
    return hand.shown >= 0.5 and hand.hand_mask.area_px >= 600


def gone(clip: list[SyntheticFrame]) -> list[int]:
    """The frames on which it is out of view."""
    return [seq for seq, rendered in enumerate(clip) if not in_view(rendered)]


def track(clip: list[SyntheticFrame], redetector: ScriptedRedetector | None, live: bool = False) -> list[FrameResult]:
    mode = RedetectionMode.BACKGROUND if live else RedetectionMode.WAIT
    config = TrackerConfig(redetection=RedetectionConfig(mode=mode))
    redetection = Redetection(redetector, FlowCarrier(), config.redetection.regions) if redetector else None
    lost = gone(clip)[0]
    detector = ScriptedDetector(lambda seq: [clip[seq].hands[0].landmarks] if seq < lost else [])
    results = []
    with TrackerCore(detector, LightSegmenter(LightConfig()), config, redetection) as core:
        for rendered in clip:
            results.append(core.step(rendered.frame))
            if live and redetection is not None and rendered.frame.seq % 2:
                with redetection.changed:  # a redetector that takes up to two frames
                    redetection.changed.wait_for(lambda: redetection.answered or not redetection.busy, 10)
    return results


def truth_of(clip: list[SyntheticFrame]) -> Callable[[Frame], HandProbability]:
    return lambda frame: probability_of([hand.hand_mask for hand in clip[frame.seq].hands], frame.size)


def overlap(result: FrameResult, rendered: SyntheticFrame) -> float:
    """IoU of the first hand's mask with the truth."""
    masks = [one.mask for one in result.tracks if one.id == 1 and one.mask is not None]
    return masks[0].iou(rendered.hands[0].hand_mask) if masks else 0.0


def test_the_hand_is_out_of_view_for_twenty_frames_once(clip: list[SyntheticFrame]) -> None:
    away = gone(clip)
    assert len(away) >= 20
    assert away == list(range(away[0], away[-1] + 1))


@pytest.mark.parametrize("live", [False, True])
def test_with_a_redetector_it_is_found_within_five_frames_with_its_id(clip: list[SyntheticFrame], live: bool) -> None:
    results = track(clip, ScriptedRedetector(truth_of(clip)), live)
    back = gone(clip)[-1] + 1
    overlaps = [overlap(result, rendered) for result, rendered in zip(results[back:], clip[back:], strict=True)]
    assert max(overlaps[: WITHIN_FRAMES + 1]) >= 0.5, [round(value, 2) for value in overlaps[:20]]
    assert sum(overlaps[WITHIN_FRAMES:]) / len(overlaps[WITHIN_FRAMES:]) >= 0.6
    assert {one.id for result in results for one in result.tracks} == {1}
    assert any(one.reinitialised_by is ReinitialisedBy.DINO for result in results for one in result.tracks)


def test_without_a_redetector_it_is_not(clip: list[SyntheticFrame]) -> None:
    results = track(clip, None)
    back = gone(clip)[-1] + 1
    assert max(overlap(result, rendered) for result, rendered in zip(results[back:], clip[back:], strict=True)) < 0.5
