"""The bank holds what upstream would read of each object, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gest_stream.config import ConditioningKeep
from gest_stream.errors import InvalidInputError
from gest_stream.models.memory_bank import BankShape, MemoryBank, gather

CPU = torch.device("cpu")
Read = tuple[list[tuple[int, int]], list[tuple[int, int]]]
"""(row of temporal encodings, frame number) of memory frames, (distance, frame number) of pointers, in order."""


def make_bank(
    objects: int = 3, conditioning: int = 4, keep: ConditioningKeep = ConditioningKeep.RECENT, tokens: int = 2
) -> MemoryBank:
    return MemoryBank(BankShape(objects, conditioning, 6, 15, tokens, 3, 4), CPU, keep, torch.float32)


def write(bank: MemoryBank, object_id: int, prompted: bool) -> None:
    """Remember a frame whose values are its number, with the object's id in the pointer."""
    clock = float(bank._records[object_id].clock)
    pointer = torch.full((4,), clock)
    pointer[0] = object_id
    bank.write(object_id, torch.full((2, 3), clock), pointer, prompted)


def stream(bank: MemoryBank, object_id: int, prompted: Sequence[bool]) -> None:
    bank.add(object_id)
    for one in prompted:
        write(bank, object_id, one)


def read(bank: MemoryBank, object_id: int) -> Read:
    """What attention would get, told from the values in the tensors."""
    view = gather(bank, [bank.readable(object_id)])
    assert view.frame_valid is None
    assert view.pointer_valid is None
    assert (view.frames == view.frames[..., :1, :1]).all(), "a memory frame is a mixture of two"
    assert (view.pointers[0, :, 0] == object_id).all(), "a pointer of another object"
    frames = zip(view.temporal[0].tolist(), view.frames[0, :, 0, 0].int().tolist(), strict=True)
    pointers = zip(view.distance[0].int().tolist(), view.pointers[0, :, 1].int().tolist(), strict=True)
    return list(frames), list(pointers)


def upstream_reads(prompted: Sequence[bool], most: int) -> Read:
    """SAM2Base._prepare_memory_conditioned_features on the frame after these, with upstream's own selection."""
    from sam2.modeling.sam2_utils import select_closest_cond_frames

    now = len(prompted)
    others = {number for number, one in enumerate(prompted) if not one}
    chosen, dropped = select_closest_cond_frames(now, {n: n for n, one in enumerate(prompted) if one}, most)
    readable = others | set(dropped)
    frames = [(6, number) for number in chosen] + [(age - 1, now - age) for age in range(6, 0, -1)]
    pointers = [(now - number, number) for number in chosen] + [(age, now - age) for age in range(1, 16)]
    count = len(chosen)
    return (
        frames[:count] + [one for one in frames[count:] if one[1] in readable],
        pointers[:count] + [one for one in pointers[count:] if one[1] in readable],
    )


@pytest.mark.parametrize("tracked", [0, 1, 5, 6, 7, 14, 15, 16, 40])
def test_frames_of_ages_1_to_6_and_pointers_of_ages_1_to_15_are_read(tracked: int) -> None:
    bank = make_bank()
    stream(bank, 7, [True] + [False] * tracked)
    now = tracked + 1
    frames, pointers = read(bank, 7)
    assert frames == [(6, 0)] + [(age - 1, now - age) for age in range(min(6, tracked), 0, -1)]
    assert pointers == [(now, 0)] + [(age, now - age) for age in range(1, min(15, tracked) + 1)]


def test_a_prompted_frame_is_read_as_conditioning_alone_while_it_is_one() -> None:
    bank = make_bank()
    stream(bank, 1, [index in (0, 18) for index in range(20)])
    frames, pointers = read(bank, 1)
    assert frames == [(6, 0), (6, 18), (5, 14), (4, 15), (3, 16), (2, 17), (0, 19)]
    assert [distance for distance, _ in pointers] == [20, 2, 1, *range(3, 16)]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        # 3 had to go, is 3 frames old on frame 6, and is read as any other of that age; the rest is read newest first
        (ConditioningKeep.ANCHOR, [(6, 5), (6, 0), (4, 1), (3, 2), (2, 3), (1, 4)]),
        (ConditioningKeep.RECENT, [(6, 5), (6, 3), (5, 0), (4, 1), (3, 2), (1, 4)]),
    ],
)
def test_an_evicted_prompted_frame_stays_as_an_ordinary_one_while_it_is_young(
    keep: ConditioningKeep, expected: list[tuple[int, int]]
) -> None:
    bank = make_bank(conditioning=2, keep=keep)
    stream(bank, 1, [index in (0, 3, 5) for index in range(6)])
    frames, pointers = read(bank, 1)
    assert frames == expected
    assert pointers[:2] == [(6 - number, number) for _, number in expected[:2]]
    assert sorted(number for _, number in pointers) == [0, 1, 2, 3, 4, 5]


def test_an_evicted_frame_leaves_the_frame_window_before_the_pointer_window() -> None:
    bank = make_bank(conditioning=2)
    stream(bank, 1, [index in (0, 8, 10) for index in range(11)])
    frames, pointers = read(bank, 1)
    assert 0 not in [number for _, number in frames]
    assert (11, 0) in pointers[2:]
    for _ in range(5):
        write(bank, 1, False)
    assert 0 not in [number for _, number in read(bank, 1)[1]]


@pytest.mark.parametrize("last", range(3, 20))
def test_a_frame_evicted_at_any_age_is_read_as_upstream_reads_it(last: int) -> None:
    """Up to the edges of both windows: evicted when it is 4 to 20 frames old, as the next frame sees it."""
    prompted = [index in (0, 2, last) for index in range(last + 1)]
    bank = make_bank(conditioning=2)
    stream(bank, 1, prompted)
    for _ in range(16):
        assert read(bank, 1) == upstream_reads(prompted, 2)
        write(bank, 1, False)
        prompted.append(False)


def test_anchor_keeps_the_first_prompt_for_ever_and_recent_does_not() -> None:
    prompts = [index % 20 == 0 for index in range(95)]
    for keep, kept in ((ConditioningKeep.ANCHOR, [80, 60, 0]), (ConditioningKeep.RECENT, [80, 60, 40])):
        bank = make_bank(conditioning=3, keep=keep)
        stream(bank, 1, prompts)
        assert [number for row, number in read(bank, 1)[0] if row == 6] == kept


def test_a_single_conditioning_place_holds_the_newest_prompt() -> None:
    bank = make_bank(conditioning=1)
    stream(bank, 1, [index in (0, 30) for index in range(40)])
    assert read(bank, 1)[0][0] == (6, 30)


@given(prompted=st.lists(st.booleans(), min_size=12, max_size=60), most=st.integers(2, 4))
@settings(deadline=None, max_examples=60)
def test_every_history_is_read_as_upstream_reads_it(prompted: list[bool], most: int) -> None:
    bank = make_bank(conditioning=most)
    bank.add(1)
    history: list[bool] = []
    for one in [True, *prompted]:
        write(bank, 1, one)
        history.append(one)
        assert read(bank, 1) == upstream_reads(history, most)


@given(events=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.booleans()), max_size=80))
@settings(deadline=None, max_examples=60)
def test_objects_that_come_and_go_never_touch_one_another(events: list[tuple[int, int, bool]]) -> None:
    """Event 0 removes the object, anything else writes, to an object that starts where there is room."""
    bank, histories = make_bank(objects=3), dict[int, list[bool]]()
    for kind, object_id, prompted in events:
        if kind == 0:
            if histories.pop(object_id, None) is not None:
                bank.remove(object_id)
        elif object_id in histories or len(histories) < 3:
            if object_id not in histories:
                bank.add(object_id)
            first = not histories.setdefault(object_id, [])
            write(bank, object_id, prompted or first)
            histories[object_id].append(prompted or first)
        assert set(bank.object_ids) == set(histories)
        assert sorted(bank.readable(one).row for one in histories) == list(range(len(histories)))
        for one, history in histories.items():
            assert read(bank, one) == upstream_reads(history, 4)


def test_the_last_row_moves_into_the_place_of_a_removed_one() -> None:
    bank = make_bank()
    for object_id, length in ((10, 4), (20, 9), (30, 25)):
        stream(bank, object_id, [True] + [False] * length)
    before = {object_id: read(bank, object_id) for object_id in (20, 30)}
    bank.remove(10)
    assert bank.object_ids == (30, 20)
    assert {object_id: read(bank, object_id) for object_id in (20, 30)} == before


def test_an_object_that_is_added_again_starts_empty() -> None:
    bank = make_bank()
    stream(bank, 1, [True] + [False] * 30)
    bank.remove(1)
    bank.add(1)
    assert (bank.readable(1).frames, bank.readable(1).pointers) == ((), ())
    write(bank, 1, True)
    assert read(bank, 1) == ([(6, 0)], [(1, 0)])


def test_a_full_bank_refuses_and_stays_as_it_was() -> None:
    bank = make_bank(objects=2)
    stream(bank, 1, [True])
    stream(bank, 2, [True])
    with pytest.raises(InvalidInputError, match="object 3: 2 objects are remembered already.*forget one"):
        bank.add(3)
    assert (bank.object_ids, len(bank), 3 in bank) == ((1, 2), 2, False)


def test_its_bytes_are_those_of_its_places_and_never_change() -> None:
    bank = make_bank(objects=3, conditioning=4, tokens=2)
    expected = 3 * ((6 + 4) * 2 * 3 + (15 + 4) * 4) * 4
    addresses = bank.frames.data_ptr(), bank.pointers.data_ptr()
    assert bank.nbytes == expected
    stream(bank, 1, [True, False] * 30)
    bank.clear()
    assert len(bank) == 0
    assert (bank.nbytes, bank.frames.data_ptr(), bank.pointers.data_ptr()) == (expected, *addresses)


def test_memory_frames_are_stored_in_bfloat16_as_upstream_does() -> None:
    bank = MemoryBank(BankShape(1, 1, 6, 15, 2, 3, 4), CPU)
    assert (bank.frames.dtype, bank.pointers.dtype) == (torch.bfloat16, torch.float32)


def test_a_snapshot_is_restored_any_number_of_times_and_later_writes_leave_it_alone() -> None:
    bank = make_bank(conditioning=2)
    stream(bank, 1, [index in (0, 3, 5) for index in range(12)])
    stream(bank, 2, [True] + [False] * 20)
    before = {object_id: read(bank, object_id) for object_id in (1, 2)}
    kept = bank.snapshot()
    for _ in range(2):
        for _ in range(9):
            write(bank, 2, True)
        bank.remove(1)
        stream(bank, 3, [True] * 9)
        bank.restore(kept)
        assert bank.object_ids == (1, 2)
        assert {object_id: read(bank, object_id) for object_id in (1, 2)} == before


def test_objects_with_shorter_memories_are_filled_up_and_marked() -> None:
    bank = make_bank()
    stream(bank, 1, [True] + [False] * 20)
    stream(bank, 2, [True, False])
    view = gather(bank, [bank.readable(2), bank.readable(1)])
    assert view.frame_valid is not None
    assert view.pointer_valid is not None
    assert view.frame_valid.tolist() == [[True] * 2 + [False] * 5, [True] * 7]
    assert view.pointer_valid.sum(dim=1).tolist() == [2, 16]
    assert view.frames[0, :2, 0, 0].tolist() == [0.0, 1.0]
    assert view.frames[1, :, 0, 0].tolist() == [0.0, 15.0, 16.0, 17.0, 18.0, 19.0, 20.0]
