"""Probability maps carried along with the picture."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.interfaces import ProbabilityCarrier
from gest_stream.models.map_flow import FlowCarrier
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame
from gest_stream.types import Frame, HandMask, HandProbability

SIZE = (320, 240)
GRID = (80, 60)


@pytest.fixture(scope="module")
def swipe() -> list[SyntheticFrame]:
    """Nine frames of a hand that is swept across a third of the picture."""
    clip = ClipConfig(
        size=SIZE, frames=30, hands=1, seed=54, events=(Event(EventKind.SWIPE, 0.0, 1.0, hand=0),), tones=(4.5,)
    )
    renderer = ClipRenderer(clip)
    return [renderer.frame(seq) for seq in range(6, 15)]


def on_grid(mask: HandMask) -> NDArray[np.float32]:
    cells = cv2.resize(mask.full(), GRID, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cells / np.float32(255), np.float32)


def iou_with(values: NDArray[np.float32], mask: HandMask) -> float:
    seen = cv2.resize(values, mask.frame_size, interpolation=cv2.INTER_LINEAR) > 0.5
    truth = mask.full() >= 128
    return float((seen & truth).sum() / (seen | truth).sum())


def frame_of(image: NDArray[np.uint8], seq: int = 0) -> Frame:
    return Frame(image, seq, Fraction(1, 30), 0, seq)


def speckled(seed: int, colour: tuple[int, int, int], size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 60, (size[1], size[0])).astype(np.float32)
    speckle = cv2.GaussianBlur(noise, (0, 0), 2.0)[..., None]
    image: NDArray[np.uint8] = np.clip(np.array(colour, np.float32) + speckle, 0, 255).astype(np.uint8)
    return image


def square_frame(left: int | None, seq: int = 0) -> Frame:
    """A reddish 80x80 square at (`left`, 80) before a bluish ground; None leaves the ground alone."""
    image = speckled(1, (60, 80, 150))
    if left is not None:
        image[80:160, left : left + 80] = speckled(2, (205, 150, 125))[:80, :80]
    return frame_of(image, seq)


def square_map(left: int) -> HandProbability:
    hand = np.zeros((GRID[1], GRID[0]), np.float32)
    hand[20:40, left // 4 : left // 4 + 20] = 0.9
    return HandProbability(hand, SIZE)


@pytest.mark.parametrize("gap", [1, 3, 8])
def test_a_carried_map_lies_on_the_hand_where_a_stale_one_no_longer_does(swipe: list[SyntheticFrame], gap: int) -> None:
    seen = HandProbability(on_grid(swipe[0].hands[0].hand_mask), SIZE)
    carried = FlowCarrier().carry(seen, [each.frame for each in swipe[: gap + 1]])
    truth = swipe[gap].hands[0].hand_mask
    assert iou_with(carried.hand, truth) > iou_with(seen.hand, truth) + 0.25
    assert iou_with(carried.hand, truth) > 0.85


def test_the_forearm_is_carried_as_well(swipe: list[SyntheticFrame]) -> None:
    first, last = swipe[0].hands[0], swipe[3].hands[0]
    seen = HandProbability(on_grid(first.hand_mask), SIZE, on_grid(first.arm_mask))
    carried = FlowCarrier().carry(seen, [each.frame for each in swipe[:4]])
    assert seen.forearm is not None
    assert carried.forearm is not None
    assert iou_with(carried.forearm, last.arm_mask) > iou_with(seen.forearm, last.arm_mask) + 0.2


def test_no_forearm_stays_none(swipe: list[SyntheticFrame]) -> None:
    seen = HandProbability(on_grid(swipe[0].hands[0].hand_mask), SIZE)
    assert FlowCarrier().carry(seen, [each.frame for each in swipe[:2]]).forearm is None


def test_a_still_picture_leaves_the_map_as_it_was(swipe: list[SyntheticFrame]) -> None:
    mask = swipe[0].hands[0].hand_mask
    seen = HandProbability(on_grid(mask) * np.float32(0.7), SIZE)
    carried = FlowCarrier().carry(seen, [swipe[0].frame] * 6)
    assert np.abs(carried.hand - seen.hand).max() < 1e-3
    assert carried.frame_size == SIZE


def test_one_frame_leaves_the_map_untouched(swipe: list[SyntheticFrame]) -> None:
    seen = HandProbability(on_grid(swipe[0].hands[0].hand_mask), SIZE)
    assert FlowCarrier().carry(seen, [swipe[0].frame]) is seen


def test_values_stay_probabilities_of_the_same_shape(swipe: list[SyntheticFrame]) -> None:
    values = np.random.default_rng(4).random((37, 53), np.float32)
    values[:9], values[-9:] = 0.0, 1.0
    carried = FlowCarrier().carry(HandProbability(values, SIZE), [each.frame for each in swipe])
    assert carried.hand.shape == (37, 53)
    assert carried.hand.dtype == np.float32
    assert 0.0 <= carried.hand.min() < carried.hand.max() <= 1.0


def test_what_vanished_from_the_picture_vanishes_from_the_map() -> None:
    seen = square_map(120)
    carried = FlowCarrier().carry(seen, [square_frame(120), square_frame(None, 1)])
    assert (carried.hand > 0.5).sum() < 0.1 * (seen.hand > 0.5).sum()


def test_a_lamp_that_is_switched_on_takes_nothing_away() -> None:
    dark = square_frame(120)
    bright = frame_of(np.clip(dark.image.astype(np.float32) * 1.15 + 40, 0, 255).astype(np.uint8), 1)
    seen = square_map(120)
    carried = FlowCarrier().carry(seen, [dark, bright])
    assert (carried.hand > 0.5).sum() > 0.9 * (seen.hand > 0.5).sum()


def test_of_a_long_way_frames_are_left_out_evenly_and_the_hand_is_still_followed() -> None:
    odd = [frame_of(speckled(30 + k, (120, 120, 120)), 2 * k + 1) for k in range(3)]
    even = [square_frame(100 + 8 * k, 2 * k) for k in range(4)]
    trail = [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3]]
    carried = FlowCarrier(max_steps=3).carry(square_map(100), trail)
    seen, truth = carried.hand > 0.5, square_map(124).hand > 0.5
    assert (seen & truth).sum() / (seen | truth).sum() > 0.85


def test_the_map_of_a_frame_that_is_too_narrow_for_flow_stays() -> None:
    frames = [frame_of(speckled(k, (90, 90, 90), (300, 12)), k) for k in range(2)]
    seen = HandProbability(np.full((2, 30), 0.5, np.float32), (300, 12))
    assert FlowCarrier().carry(seen, frames) is seen


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (40, 30), (90, 320)])
def test_frames_of_any_size_can_be_followed(size: tuple[int, int]) -> None:
    frames = [frame_of(speckled(5, (90, 90, 90), size), k) for k in range(3)]
    seen = HandProbability(np.full((3, 4), 0.75, np.float32), size)
    assert np.allclose(FlowCarrier().carry(seen, frames).hand, 0.75, atol=1e-3)


def test_frames_of_another_size_than_the_maps_are_refused(swipe: list[SyntheticFrame]) -> None:
    carrier: ProbabilityCarrier = FlowCarrier()
    small = frame_of(np.zeros((120, 160, 3), np.uint8), 7)
    seen = HandProbability(on_grid(swipe[0].hands[0].hand_mask), SIZE)
    with pytest.raises(InvalidInputError, match=r"\(320, 240\).*\(160, 120\).*frame 7"):
        carrier.carry(seen, [swipe[0].frame, small])
    with pytest.raises(InvalidInputError, match="no frame"):
        carrier.carry(seen, [])
