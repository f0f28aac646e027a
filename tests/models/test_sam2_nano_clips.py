"""The trained size nano on rendered hands it never saw: it follows them, survives an occlusion, is brought back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
import torch

from gest_stream.config import RegionConfig, Sam2Config, Sam2Size
from gest_stream.models.builtin import builtin_path
from gest_stream.models.sam2 import Sam2Segmenter, load_engine
from gest_stream.models.sam2_nano import NANO_NAME
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame
from gest_stream.tracking.prompts import build_prompt, prompt_from_region
from gest_stream.tracking.regions import find_regions
from gest_stream.types import HandMask, HandProbability, Observation, Prompt

SIZE = (320, 240)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def segmenter() -> Iterator[Sam2Segmenter]:
    made = Sam2Segmenter(load_engine(Sam2Config(size=Sam2Size.NANO, device="cpu"), builtin_path(NANO_NAME)))
    yield made
    made.close()


def rendered(numbers: Sequence[int], hands: int, seed: int, events: tuple[Event, ...] = ()) -> list[SyntheticFrame]:
    renderer = ClipRenderer(ClipConfig(size=SIZE, frames=numbers[-1] + 1, hands=hands, seed=seed, events=events))
    return [renderer.frame(number) for number in numbers]


def prompts(frame: SyntheticFrame) -> dict[int, Prompt | None]:
    """What the tracker would prompt, by hand."""
    seen = [hand.landmarks for hand in frame.hands]
    return {
        hand.index: build_prompt(hand.landmarks, [one for one in seen if one is not hand.landmarks], SIZE)
        for hand in frame.hands
    }


def advance(
    segmenter: Sam2Segmenter, frame: SyntheticFrame, prompt: dict[int, Prompt | None] | None = None
) -> dict[int, HandMask]:
    given = prompt or {}
    observations = [Observation(hand.index, None, given.get(hand.index)) for hand in frame.hands]
    return dict(segmenter.step(segmenter.encode(frame.frame), observations))


def iou(masks: dict[int, HandMask], frame: SyntheticFrame, hand: int = 0) -> float:
    return masks[hand].iou(frame.hands[hand].hand_mask) if hand in masks else 0.0


def test_two_hands_are_followed_without_landmarks_and_none_takes_the_other(segmenter: Sam2Segmenter) -> None:
    frames = rendered(range(0, 20, 4), hands=2, seed=5)
    masks = advance(segmenter, frames[0], prompts(frames[0]))
    for frame in frames[1:]:
        masks = advance(segmenter, frame)
        for hand in (0, 1):
            assert iou(masks, frame, hand) > 0.6
            assert masks[hand].iou(frame.hands[1 - hand].hand_mask) < 0.1


def test_a_hand_is_carried_through_an_occlusion(segmenter: Sam2Segmenter) -> None:
    covered = Event(EventKind.OCCLUDE, 0.3, 1.0)
    frames = rendered(range(0, 46, 5), hands=1, seed=7, events=(covered,))
    assert min(frame.hands[0].shown for frame in frames) < 0.7 < frames[-1].hands[0].shown
    advance(segmenter, frames[0], prompts(frames[0]))
    found = [iou(advance(segmenter, frame), frame) for frame in frames[1:]]
    assert min(found) < 0.8 and found[-1] > 0.7, "nobody prompted it again"


def test_a_prompt_from_a_region_brings_a_hand_back_that_is_followed_in_the_wrong_place(
    segmenter: Sam2Segmenter,
) -> None:
    first, second, third = rendered((0, 3, 6), hands=1, seed=5)
    corner = Prompt(np.array([[6.0, 6.0]], np.float32), np.ones(1, np.int32), (1.0, 1.0, 16.0, 16.0))
    assert iou(advance(segmenter, first, {0: corner}), first) < 0.5
    seen = cv2.resize(second.hands[0].hand_mask.full(), (64, 48), interpolation=cv2.INTER_AREA)
    (region,) = find_regions(HandProbability(np.divide(seen, 255, dtype=np.float32), SIZE), RegionConfig())
    assert iou(advance(segmenter, second, {0: prompt_from_region(region, [], [])}), second) > 0.6
    assert iou(advance(segmenter, third), third) > 0.6
