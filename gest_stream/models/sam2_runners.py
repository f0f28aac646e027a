"""How the objects that are tracked on a frame are computed: one by one, batched, or in fixed shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from gest_stream.models.memory_bank import BankView, MemoryBank, Reading, gather
from gest_stream.models.sam2_attention import BatchedAttention, attend_exactly
from gest_stream.models.sam2_model import Decoded, Features, Sam2Model, without_overlap

BUCKETS = (1, 2, 4, 8)
"""Object counts that fixed shapes are made for; beyond the last, its multiples."""

_UNUSED = -1
_NOBODY_LOGIT = -1e4


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What B objects became on a frame.

    Args:
        decoded: Their masks.
        memory: (B, HW, D), what is to be remembered of the frame.
    """

    decoded: Decoded
    memory: torch.Tensor


class StepRunner(Protocol):
    """Computes the objects that are tracked, not prompted, on one frame."""

    def track(
        self, features: Features, bank: MemoryBank, object_ids: Sequence[int], rivals: torch.Tensor | None
    ) -> Tracked:
        """Advance objects by one frame; the bank is read, not written.

        Args:
            features: Of the picture.
            bank: Holds the objects' memories.
            object_ids: At least one.
            rivals: (1, 1, S/4, S/4) highest logit of the objects prompted on this frame; None where there are none.

        Returns:
            In the order of `object_ids`; may be overwritten by the next call.
        """
        ...


class ExactRunner:
    """One object at a time through upstream's own memory attention.

    Args:
        model: The modules.
        non_overlap: What is remembered of the objects does not overlap.
    """

    def __init__(self, model: Sam2Model, non_overlap: bool) -> None:
        self._model = model
        self._non_overlap = non_overlap

    def track(
        self, features: Features, bank: MemoryBank, object_ids: Sequence[int], rivals: torch.Tensor | None
    ) -> Tracked:
        """As `StepRunner.track`."""
        model = self._model
        each = []
        for object_id in object_ids:
            pixels = attend_exactly(model, features, gather(bank, [bank.readable(object_id)]))
            each.append(model.decode(pixels, features))
        decoded = joined(each)
        # Upstream enlarges three candidates and takes one. A single channel would take another kernel in torch, which
        # rounds differently.
        enlarged = torch.cat([model.enlarge(one.logits.repeat(1, 3, 1, 1))[:, :1] for one in each])
        if self._non_overlap:
            enlarged = _own_pixels(model, enlarged, rivals)
        memory = [
            model.remember(features, enlarged[i : i + 1], decoded.score[i : i + 1], certain=False)
            for i in range(len(each))
        ]
        return Tracked(decoded, torch.cat(memory))


class BatchedRunner:
    """All objects in one pass, as large as the fullest memory needs.

    Args:
        model: The modules.
        non_overlap: What is remembered of the objects does not overlap.
    """

    def __init__(self, model: Sam2Model, non_overlap: bool) -> None:
        self._model = model
        self._attention = BatchedAttention(model)
        self._non_overlap = non_overlap

    def track(
        self, features: Features, bank: MemoryBank, object_ids: Sequence[int], rivals: torch.Tensor | None
    ) -> Tracked:
        """As `StepRunner.track`."""
        model = self._model
        view = gather(bank, [bank.readable(object_id) for object_id in object_ids])
        decoded = model.decode(self._attention(features, view), features)
        enlarged = model.enlarge(decoded.logits)
        if self._non_overlap:
            enlarged = _own_pixels(model, enlarged, rivals)
        return Tracked(decoded, model.remember(features, enlarged, decoded.score, certain=False))


@dataclass(frozen=True, slots=True)
class FixedShape:
    """A shape that the fixed step is computed in.

    Args:
        objects: Rows of the bank that take part, from the first.
        conditioning: 1 where every object has one conditioning frame and all other places are full, so that nothing
            has to be masked; None where places are masked. Two shapes for each number of objects are few enough to be
            captured ahead.
    """

    objects: int
    conditioning: int | None


@dataclass(frozen=True, slots=True, eq=False)
class FixedInputs:
    """What changes from frame to frame for the fixed step, besides features and bank.

    Args:
        places: (B, (6 + K) + (15 + K) + 1) int64, one tensor because each costs a copy to the device: for each place of
            a memory frame its row in the table of temporal encodings, for each place of a pointer the frames since
            then, -1 where a place is not read; last, 1 for an object that is tracked, 0 for a row that is computed and
            thrown away.
        rivals: (1, 1, S/4, S/4) highest logit of the objects prompted on this frame, -10000 where there are none.
    """

    places: torch.Tensor
    rivals: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Both."""
        return self.places, self.rivals


FixedStep = Callable[[Features, FixedInputs], Tracked]


class FixedRunner:
    """All objects in one pass whose shapes do not depend on how much is remembered.

    Rows 0 to B - 1 of the bank take part, B being the next bucket; what is not there is masked, which changes no
    result but to rounding. An object that was prompted once and has its six frames and fifteen pointers needs no mask;
    while all are so, a shape without one is used, which lets CUDA take its fastest attention.

    Args:
        model: The modules.
        bank: The bank; the step is bound to its tensors.
        non_overlap: What is remembered of the objects does not overlap.
        wrap: Makes the step that is called from the one that is written here, once for each shape: a compiler, or a
            capture into a CUDA graph.
    """

    def __init__(
        self,
        model: Sam2Model,
        bank: MemoryBank,
        non_overlap: bool,
        wrap: Callable[[FixedStep, FixedShape], FixedStep] | None = None,
    ) -> None:
        self._model = model
        self._bank = bank
        self._attention = BatchedAttention(model)
        self._non_overlap = non_overlap
        self._wrap = wrap
        self._steps: dict[FixedShape, FixedStep] = {}
        side = model.image_size // 4
        self._nobody = torch.full((1, 1, side, side), _NOBODY_LOGIT, device=model.compute.device)

    @property
    def shapes(self) -> tuple[FixedShape, ...]:
        """The shapes that were needed so far."""
        return tuple(self._steps)

    def track(
        self, features: Features, bank: MemoryBank, object_ids: Sequence[int], rivals: torch.Tensor | None
    ) -> Tracked:
        """As `StepRunner.track`; `bank` is the one it was made with."""
        readings = [bank.readable(object_id) for object_id in object_ids]
        shape = self.shape_of(readings)
        tracked = self.step_for(shape)(features, self.inputs(readings, shape, rivals))
        rows: slice | list[int] = [reading.row for reading in readings]
        if rows == list(range(len(readings))):
            rows = slice(len(readings))  # the usual case, which needs no indices on the device
        decoded = tracked.decoded
        chosen = (decoded.logits[rows], decoded.iou[rows], decoded.score[rows], decoded.pointer[rows])
        return Tracked(Decoded(*chosen), tracked.memory[rows])

    def forget_steps(self) -> None:
        """Let go of every step and of what was captured for it; they hold this runner as it holds them."""
        self._steps.clear()

    def shape_of(self, readings: Sequence[Reading]) -> FixedShape:
        """The shape in which these are computed."""
        objects = bucket_of(max(reading.row for reading in readings) + 1, self._bank.shape.objects)
        sizes = self._bank.shape
        counts = {len(reading.frames) - sizes.frames for reading in readings}
        # A prompted frame leaves a gap among the others' places while it is young, though the number read is the same.
        full = counts == {1} and all(
            sum(place < sizes.frames for place, _ in reading.frames) == sizes.frames
            and sum(place < sizes.pointers for place, _ in reading.pointers) == sizes.pointers
            for reading in readings
        )
        return FixedShape(objects, 1 if full else None)

    def inputs(self, readings: Sequence[Reading], shape: FixedShape, rivals: torch.Tensor | None) -> FixedInputs:
        """What the step is told about these objects, on the device."""
        frames, pointers = self._bank.frames.shape[1], self._bank.pointers.shape[1]
        table = np.full((shape.objects, frames + pointers + 1), _UNUSED)
        table[:, 0] = table[:, -1] = 0  # a row without any key would be a softmax over nothing
        for reading in readings:
            row = table[reading.row]
            row[0], row[-1] = _UNUSED, 1
            for place, temporal in reading.frames:
                row[place] = temporal
            for place, distance in reading.pointers:
                row[frames + place] = distance
        places = torch.from_numpy(table).to(self._model.compute.device, non_blocking=True)
        return FixedInputs(places, self._nobody if rivals is None else rivals)

    def step_for(self, shape: FixedShape) -> FixedStep:
        """The step of a shape; made on first use."""
        step = self._steps.get(shape)
        if step is None:

            def written(features: Features, inputs: FixedInputs) -> Tracked:
                return self._step(features, inputs, shape)

            step = written if self._wrap is None else self._wrap(written, shape)
            self._steps[shape] = step
        return step

    def _step(self, features: Features, inputs: FixedInputs, shape: FixedShape) -> Tracked:
        model, sizes = self._model, self._bank.shape
        masked = shape.conditioning is None
        conditioning = sizes.conditioning if shape.conditioning is None else shape.conditioning
        frames, pointers = sizes.frames + conditioning, sizes.pointers + conditioning
        first_pointer = self._bank.frames.shape[1]
        temporal = inputs.places[:, :frames]
        distance = inputs.places[:, first_pointer : first_pointer + pointers]
        view = BankView(
            self._bank.frames[: shape.objects, :frames],
            temporal.clamp(min=0),
            temporal >= 0 if masked else None,
            self._bank.pointers[: shape.objects, :pointers],
            distance.clamp(min=0).float(),
            distance >= 0 if masked else None,
        )
        decoded = model.decode(self._attention(features, view), features)
        enlarged = model.enlarge(decoded.logits)
        if self._non_overlap:
            alone = torch.where((inputs.places[:, -1] > 0)[:, None, None, None], enlarged, _NOBODY_LOGIT)
            enlarged = _own_pixels(model, alone, inputs.rivals)
        return Tracked(decoded, model.remember(features, enlarged, decoded.score, certain=False))


def bucket_of(objects: int, most: int) -> int:
    """The smallest bucket that holds so many objects, at most `most`."""
    largest = BUCKETS[-1]
    fitting = next((size for size in BUCKETS if size >= objects), -(-objects // largest) * largest)
    return min(fitting, most)


def joined(parts: Sequence[Decoded]) -> Decoded:
    """Objects that were decoded apart, in one."""
    return Decoded(
        torch.cat([part.logits for part in parts]),
        torch.cat([part.iou for part in parts]),
        torch.cat([part.score for part in parts]),
        torch.cat([part.pointer for part in parts]),
    )


def _own_pixels(model: Sam2Model, enlarged: torch.Tensor, rivals: torch.Tensor | None) -> torch.Tensor:
    """Enlarged logits without the pixels that another object, tracked or prompted, has more of a claim to."""
    if rivals is None:
        return without_overlap(enlarged)
    return without_overlap(torch.cat([enlarged, model.enlarge(rivals)]))[:-1]
