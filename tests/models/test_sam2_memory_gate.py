"""Which frames of an object are let into its memory."""

from __future__ import annotations

import pytest
import torch

from gest_stream.models.sam2_memory_gate import Box, MemoryGate, Sight, look_at
from gest_stream.models.sam2_model import Decoded

HERE: Box = (10, 10, 20, 20)
FAR: Box = (40, 40, 50, 50)


def sight(box: Box | None = HERE, score: float = 3.0, iou: float = 0.9) -> Sight:
    return Sight(score, iou, box)


@pytest.mark.parametrize(
    ("seen", "admitted"),
    [
        (sight(), True),
        (sight(score=0.01, iou=0.5), True),
        (sight(score=0.0), False),
        (sight(score=-4.0), False),
        (sight(iou=0.49), False),
        (sight(box=None), False),
        (sight(box=(11, 12, 21, 22)), True),
        (sight(box=FAR), False),
        (sight(box=(20, 20, 30, 30)), False),
        (sight(box=(10, 10, 13, 13)), False),
    ],
)
def test_a_good_mask_near_the_last_one_is_remembered(seen: Sight, admitted: bool) -> None:
    gate = MemoryGate(0.5)
    assert gate.admits(1, sight())
    assert gate.admits(1, seen) is admitted


def test_the_first_mask_may_be_anywhere_but_must_be_good() -> None:
    gate = MemoryGate(0.5)
    assert not gate.admits(1, sight(FAR, score=-1))
    assert gate.admits(1, sight(FAR))
    assert gate.admits(2, sight(HERE)), "objects do not share a place"


def test_a_steady_fast_hand_is_where_its_velocity_says() -> None:
    gate = MemoryGate(0.5)
    for step in (0, 5, 14):  # from the second step on it overlaps its last box by less and less
        assert gate.admits(1, sight((step, 0, step + 10, 10)))
    assert gate.admits(1, sight((23, 0, 33, 10)))
    assert not gate.admits(1, sight((5, 0, 15, 10))), "going back at once is a jump"


def test_a_jump_that_lasts_is_learned_after_eight_frames() -> None:
    gate = MemoryGate(0.5)
    gate.admits(1, sight(HERE))
    assert [gate.admits(1, sight(FAR)) for _ in range(10)] == [False] * 8 + [True] * 2


def test_frames_without_the_hand_count_towards_the_patience() -> None:
    gate = MemoryGate(0.5)
    gate.admits(1, sight(HERE))
    for _ in range(8):
        assert not gate.admits(1, sight(None, score=-3))
    assert gate.admits(1, sight(FAR))


def test_a_good_frame_ends_the_count_of_refusals() -> None:
    gate = MemoryGate(0.5)
    gate.admits(1, sight(HERE))
    for _ in range(3):
        assert [gate.admits(1, sight(FAR)) for _ in range(7)] == [False] * 7
        assert gate.admits(1, sight(HERE))


@pytest.mark.parametrize("verb", ["forget", "clear"])
def test_what_is_forgotten_starts_anew(verb: str) -> None:
    gate = MemoryGate(0.5)
    gate.admits(1, sight(HERE))
    assert not gate.admits(1, sight(FAR))
    gate.forget(1) if verb == "forget" else gate.clear()
    gate.forget(99)
    assert gate.admits(1, sight(FAR))


def test_a_copy_goes_its_own_way() -> None:
    gate = MemoryGate(0.5)
    gate.admits(1, sight(HERE))
    other = gate.copy()
    for _ in range(9):
        other.admits(1, sight(FAR))
    assert other.admits(1, sight(FAR))
    assert not gate.admits(1, sight(FAR))
    assert not other.admits(1, sight(FAR, iou=0.4)), "a copy asks for the same quality"


def test_masks_are_looked_at_in_cells_with_exclusive_right_and_bottom() -> None:
    logits = torch.full((3, 1, 16, 16), -5.0)
    logits[0, 0, 3:6, 8:12] = 2.0
    logits[2, 0, 15, 0] = 0.5
    scores, ious = torch.tensor([[4.0], [-2.0], [0.5]]), torch.tensor([0.75, 0.25, 0.5])
    seen = look_at(Decoded(logits, ious, scores, torch.zeros(3, 8)))
    assert seen == [
        Sight(4.0, 0.75, (8, 3, 12, 6)),
        Sight(-2.0, 0.25, None),
        Sight(0.5, 0.5, (0, 15, 1, 16)),
    ]
