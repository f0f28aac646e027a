"""What SAM2 remembers of each object: a fixed number of places, allocated once.

For each object there are places for K conditioning frames (the prompted ones) and for the newest six others, and for
the object pointers of K conditioning frames and of the newest fifteen others. That is all that upstream ever reads
again (SAM2Base._prepare_memory_conditioned_features); here nothing else survives a step.

Time is counted by each object's own clock, which ticks with every frame that is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from gest_stream.config import ConditioningKeep
from gest_stream.errors import InvalidInputError

_NEVER = -1


@dataclass(frozen=True, slots=True)
class BankShape:
    """How large a bank is.

    Args:
        objects: Objects it has room for.
        conditioning: Prompted frames of each, K.
        frames: Other frames of each (6 in SAM2).
        pointers: Object pointers of other frames of each (15 in SAM2).
        tokens: Tokens of a memory frame, S/16 * S/16.
        memory_dim: Channels of a token, D.
        pointer_dim: Channels of an object pointer, C.
    """

    objects: int
    conditioning: int
    frames: int
    pointers: int
    tokens: int
    memory_dim: int
    pointer_dim: int


@dataclass(frozen=True, slots=True, eq=False)
class BankView:
    """What B objects remember, as attention reads it.

    Args:
        frames: (B, n, HW, D) memory frames.
        temporal: (B, n) int64 rows of the table of temporal encodings: 0 is the last frame, 6 a conditioning one.
        frame_valid: (B, n) bool; None where all are valid.
        pointers: (B, p, C) object pointers.
        distance: (B, p) float32, how many frames ago each is from.
        pointer_valid: (B, p) bool; None where all are valid.
    """

    frames: torch.Tensor
    temporal: torch.Tensor
    frame_valid: torch.Tensor | None
    pointers: torch.Tensor
    distance: torch.Tensor
    pointer_valid: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Where attention finds what one object remembers.

    Args:
        row: The object's row.
        frames: (place, row of the table of temporal encodings) of each memory frame.
        pointers: (place, distance in frames) of each object pointer.
    """

    row: int
    frames: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class ObjectRecord:
    """Which frames one object remembers, and where in the bank they are.

    Args:
        row: The object's row in the bank's tensors.
        clock: Frames remembered so far; the next one is number `clock`.
        conditioning: Number of each conditioning frame, in the order they came; at most K.
        places: Which of the K conditioning places each of them has.
        frames: Number of the frame in each other place, -1 where there is none.
        pointers: The same for pointers.
        evicted: A conditioning frame had to go; upstream reads the rest newest first from then on.
    """

    row: int
    clock: int = 0
    conditioning: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    pointers: list[int] = field(default_factory=list)
    evicted: bool = False

    def copy(self) -> ObjectRecord:
        """An independent one."""
        lists = (list(self.conditioning), list(self.places), list(self.frames), list(self.pointers))
        return ObjectRecord(self.row, self.clock, *lists, self.evicted)


@dataclass(frozen=True, slots=True, eq=False)
class BankSnapshot:
    """A copy of what a bank held."""

    records: dict[int, ObjectRecord]
    frames: torch.Tensor
    pointers: torch.Tensor


class MemoryBank:
    """The memories of up to `shape.objects` objects, in rows 0, 1, … without gaps.

    Args:
        shape: Its size.
        device: Where the tensors lie.
        keep: Which conditioning frames stay when there are too many.
        dtype: Of memory frames; upstream stores bfloat16, in float32 runs too.
    """

    def __init__(
        self,
        shape: BankShape,
        device: torch.device,
        keep: ConditioningKeep = ConditioningKeep.RECENT,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.shape = shape
        self._keep = keep
        self._records: dict[int, ObjectRecord] = {}
        # The rings come first, so that a bank with few conditioning frames is read as one slice.
        slots = shape.frames + shape.conditioning
        self.frames = torch.zeros(shape.objects, slots, shape.tokens, shape.memory_dim, device=device, dtype=dtype)
        slots = shape.pointers + shape.conditioning
        self.pointers = torch.zeros(shape.objects, slots, shape.pointer_dim, device=device)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects, ordered by row."""
        return tuple(sorted(self._records, key=lambda object_id: self._records[object_id].row))

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors; never changes."""
        return self.frames.nbytes + self.pointers.nbytes

    def __contains__(self, object_id: int) -> bool:
        return object_id in self._records

    def __len__(self) -> int:
        return len(self._records)

    def add(self, object_id: int) -> None:
        """Make room for an object that has no memory yet.

        Raises:
            InvalidInputError: The bank is full.
        """
        if len(self._records) == self.shape.objects:
            raise InvalidInputError(
                f"object {object_id}: {self.shape.objects} objects are remembered already and there is room for no "
                "more; forget one, or make the engine with a larger max_objects"
            )
        record = ObjectRecord(len(self._records))
        record.frames = [_NEVER] * self.shape.frames
        record.pointers = [_NEVER] * self.shape.pointers
        self._records[object_id] = record

    def remove(self, object_id: int) -> None:
        """Forget an object; the last row moves into its place, so that rows stay without gaps."""
        record = self._records.pop(object_id)
        last = next((other for other in self._records.values() if other.row == len(self._records)), None)
        if last is not None:
            self.frames[record.row].copy_(self.frames[last.row])
            self.pointers[record.row].copy_(self.pointers[last.row])
            last.row = record.row

    def clear(self) -> None:
        """Forget every object."""
        self._records.clear()

    def write(self, object_id: int, frame: torch.Tensor, pointer: torch.Tensor, conditioning: bool) -> None:
        """Remember one frame of one object; its clock ticks.

        Args:
            object_id: A known object.
            frame: (HW, D).
            pointer: (C,).
            conditioning: The frame was prompted.
        """
        record, shape = self._records[object_id], self.shape
        if conditioning:
            index = self._conditioning_place(record)
            record.conditioning.append(record.clock)
            record.places.append(index)
            place, pointer_place = shape.frames + index, shape.pointers + index
        else:
            place, pointer_place = record.clock % shape.frames, record.clock % shape.pointers
            record.frames[place] = record.pointers[pointer_place] = record.clock
        self.frames[record.row, place].copy_(frame)
        self.pointers[record.row, pointer_place].copy_(pointer)
        record.clock += 1

    def _conditioning_place(self, record: ObjectRecord) -> int:
        """A free conditioning place; the frame that has to go stays as an ordinary one while it is young."""
        shape = self.shape
        if len(record.conditioning) < shape.conditioning:
            return next(place for place in range(shape.conditioning) if place not in record.places)
        leaving = 0 if self._keep is ConditioningKeep.RECENT else 1
        clock, index = record.conditioning.pop(leaving), record.places.pop(leaving)
        record.evicted = True
        age = record.clock + 1 - clock  # as the next frame will see it
        if age <= shape.frames:
            ring = clock % shape.frames
            record.frames[ring] = clock
            self.frames[record.row, ring].copy_(self.frames[record.row, shape.frames + index])
        if age <= shape.pointers:
            ring = clock % shape.pointers
            record.pointers[ring] = clock
            self.pointers[record.row, ring].copy_(self.pointers[record.row, shape.pointers + index])
        return index

    def readable(self, object_id: int) -> Reading:
        """What attention reads of an object on the frame that comes now, in upstream's order."""
        record, shape = self._records[object_id], self.shape
        conditioning = list(zip(record.places, record.conditioning, strict=True))
        if record.evicted:
            conditioning.reverse()
        frames = [(shape.frames + index, shape.frames) for index, _ in conditioning]
        for age in range(shape.frames, 0, -1):
            ring = (record.clock - age) % shape.frames
            if record.clock >= age and record.frames[ring] == record.clock - age:
                frames.append((ring, age - 1))
        pointers = [(shape.pointers + index, record.clock - clock) for index, clock in conditioning]
        for age in range(1, shape.pointers + 1):
            ring = (record.clock - age) % shape.pointers
            if record.clock >= age and record.pointers[ring] == record.clock - age:
                pointers.append((ring, age))
        return Reading(record.row, tuple(frames), tuple(pointers))

    def snapshot(self) -> BankSnapshot:
        """A copy of everything that is remembered."""
        count = len(self._records)
        records = {object_id: record.copy() for object_id, record in self._records.items()}
        return BankSnapshot(records, self.frames[:count].clone(), self.pointers[:count].clone())

    def restore(self, snapshot: BankSnapshot) -> None:
        """Go back to what was remembered then."""
        count = len(snapshot.records)
        self.frames[:count].copy_(snapshot.frames)
        self.pointers[:count].copy_(snapshot.pointers)
        self._records = {object_id: record.copy() for object_id, record in snapshot.records.items()}


def gather(bank: MemoryBank, readings: Sequence[Reading]) -> BankView:
    """Exactly what the readings name, in their order; shorter ones are filled up and marked not valid."""
    device = bank.frames.device
    rows = torch.tensor([reading.row for reading in readings], device=device)[:, None]
    places, temporal, frame_valid = _padded([reading.frames for reading in readings])
    pointer_places, distance, pointer_valid = _padded([reading.pointers for reading in readings])
    uniform = bool(frame_valid.all() and pointer_valid.all())
    return BankView(
        bank.frames[rows, torch.from_numpy(places).to(device)],
        torch.from_numpy(temporal).to(device),
        None if uniform else torch.from_numpy(frame_valid).to(device),
        bank.pointers[rows, torch.from_numpy(pointer_places).to(device)],
        torch.from_numpy(distance).to(device, torch.float32),
        None if uniform else torch.from_numpy(pointer_valid).to(device),
    )


def _padded(
    entries: Sequence[tuple[tuple[int, int], ...]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B, n) places, values and validity of lists of (place, value) of different lengths."""
    longest = max(len(row) for row in entries)
    table = np.zeros((len(entries), longest, 2), np.int64)
    valid = np.zeros((len(entries), longest), bool)
    for index, row in enumerate(entries):
        table[index, : len(row)] = row
        valid[index, : len(row)] = True
    return table[..., 0].copy(), table[..., 1].copy(), valid
