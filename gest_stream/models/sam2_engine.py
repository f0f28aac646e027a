"""SAM2 on an endless stream: a frame at a time, any number of prompts at any frame, memory that does not grow.

    encoded = engine.encode(image)            # the picture alone; may run ahead, on another thread
    masks = engine.step(encoded, {7: prompt})  # every object one frame further; prompts come with their frame
    engine.forget(7)

Where it differs from upstream's `SAM2VideoPredictor`, on purpose:

- Upstream keeps all prompted frames for ever and reads them all; here at most `conditioning_frames` stay (the same
  masks up to that many prompts, and the same as upstream's `max_cond_frames_in_attn` beyond).
- Upstream gives a correction of a tracked frame no effect on later frames unless
  `add_all_frames_to_correct_as_cond` is set; here it always has one.
- Upstream shortens the pointers' time code on clips of fewer than 16 frames; a stream has no end, so this never does.
- Upstream runs objects one by one, so that its non-overlap of memories never acts; here it does (`non_overlap`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.clock import now_ns
from gest_stream.config import MemoryPolicy, Sam2Config, Sam2Runner
from gest_stream.errors import InvalidInputError
from gest_stream.models.memory_bank import BankSnapshot, MemoryBank, gather
from gest_stream.models.sam2_attention import BatchedAttention, attend_exactly
from gest_stream.models.sam2_device import choose_compute, out_of_memory_is_an_error, runner_of
from gest_stream.models.sam2_frames import FrameUpload, check_image
from gest_stream.models.sam2_graphs import Capturer, GraphEncoder, GraphSteps, ImageEncoder
from gest_stream.models.sam2_memory_gate import MemoryGate, look_at
from gest_stream.models.sam2_model import Decoded, Features, Sam2Model, without_overlap
from gest_stream.models.sam2_prompts import Clicks, PromptsById, check_prompts, clicks_of, square_mask
from gest_stream.models.sam2_runners import (
    BatchedRunner,
    ExactRunner,
    FixedRunner,
    StepRunner,
    Tracked,
    bucket_of,
    joined,
)
from gest_stream.types import Prompt, PromptMode

_log = logging.getLogger(__name__)

_CLAMP_LOGIT = 32.0


@dataclass(frozen=True, slots=True, eq=False)
class Sam2Encoded:
    """What `Sam2Engine.step` needs of one picture.

    Args:
        features: The encoder's, on the device.
        frame_size: (width, height) of the frame in pixels.
        ready: On CUDA, when the features are there.
    """

    features: Features
    frame_size: tuple[int, int]
    ready: torch.cuda.Event | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sam2Masks:
    """The masks of one frame, still on the device.

    Args:
        object_ids: The objects, in no particular order; empty where none is known.
        decoded: Their logits (N, 1, S/4, S/4), predicted IoU (N,), object scores (N, 1) and pointers; None for none.
        frame_size: (width, height) of the frame in pixels.
    """

    object_ids: tuple[int, ...]
    decoded: Decoded | None
    frame_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How the warm-up went.

    Args:
        seconds: How long it took.
        graphs: CUDA graphs that were captured.
        fallback: Why there are none where there should be; "" else.
    """

    seconds: float
    graphs: int
    fallback: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sam2Snapshot:
    """Everything an engine remembered at one moment."""

    bank: BankSnapshot
    gate: MemoryGate
    retired: frozenset[int]
    frame_size: tuple[int, int] | None


class Sam2Engine:
    """Streaming SAM2. `encode` may run on another thread than the rest; all else is called by one thread at a time.

    The tensors that outlive a step are allocated once. All that grows is the set of forgotten ids, a number each.

    Args:
        modules: A `SAM2Base` with its weights (sam2_weights.py), which belongs to the engine from now on; or a
            `Sam2Model`, which other engines may use, too (sam2_shared.py): then that says where it computes.
        config: Device, precision, runner and memory.
        max_objects: Objects it has room for.
        encoder: What it encodes with; None for an encoder of its own.
        capturer: How its steps are captured, if not on a stream of its own.

    Raises:
        DeviceError: The device is not there, or has too little memory.
        WeightsError: The modules are built in a way that the engine does not follow.
    """

    def __init__(
        self,
        modules: Any,
        config: Sam2Config | None = None,
        max_objects: int = 8,
        encoder: ImageEncoder | None = None,
        capturer: Capturer | None = None,
    ) -> None:
        config = config if config is not None else Sam2Config()
        self.config = config
        shared = isinstance(modules, Sam2Model)
        self.compute = modules.compute if shared else choose_compute(config)
        self._kind = runner_of(config, self.compute)
        with self._out_of_memory_is_an_error("loading the model" if not shared else "making room for a session"):
            self.model = modules if shared else Sam2Model(modules, self.compute)
            shape = self.model.bank_shape(max_objects, config.conditioning_frames)
            self._bank = MemoryBank(shape, self.compute.device, config.keep)
            self._upload = FrameUpload(self.compute, self.model.image_size)
            self._attention = BatchedAttention(self.model)
        self.compute.synchronize()  # the encoder has a stream of its own, which does not wait for what was asked here
        self._gate = MemoryGate(config.min_memory_iou)
        self._retired: set[int] = set()
        self._frame_size: tuple[int, int] | None = None
        graphs = self._kind is Sam2Runner.GRAPH
        self._encode_image = encoder if encoder is not None else GraphEncoder(self.model, graphs, config.compile)
        self._graphs = GraphSteps(self.model, graphs, config.compile, capturer)
        self._runner = self._make_runner()

    def _make_runner(self) -> StepRunner:
        non_overlap = self.config.non_overlap
        if self._kind is Sam2Runner.EXACT:
            return ExactRunner(self.model, non_overlap)
        if self._kind is Sam2Runner.BATCHED:
            return BatchedRunner(self.model, non_overlap)
        return FixedRunner(self.model, self._bank, non_overlap, self._graphs.wrap)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that are remembered."""
        return self._bank.object_ids

    @property
    def state_bytes(self) -> int:
        """Bytes of the tensors that outlive a step; does not change."""
        return self._bank.nbytes

    def encode(self, image: NDArray[np.uint8]) -> Sam2Encoded:
        """The features of a picture; touches nothing that is remembered.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            InvalidInputError: It is not that.
            DeviceError: The GPU's memory is full.
        """
        image = check_image(image)
        size = (image.shape[1], image.shape[0])
        with self._out_of_memory_is_an_error("encoding a frame"), self.compute.active():
            features, ready = self._encode_image(self._upload, image)
        return Sam2Encoded(features, size, ready)

    def step(self, encoded: Sam2Encoded, prompts: PromptsById | None = None) -> Sam2Masks:
        """Advance every object by one frame.

        Args:
            encoded: From `encode`; frames come in order.
            prompts: By object, one prompt or several in the order they were made. `reset` starts the object anew,
                `append` adds this frame to what is surely known of it, `refine` corrects the mask that it has on this
                frame. An unknown id is a new object.

        Returns:
            A mask for every object; none before any prompt.

        Raises:
            InvalidInputError: A prompt or the frame's size does not fit; nothing was changed.
            DeviceError: The GPU's memory is full; nothing was changed.
        """
        if self._frame_size not in (None, encoded.frame_size):
            raise InvalidInputError(
                f"frame: its size changed from {self._frame_size} to {encoded.frame_size}; call reset() first"
            )
        checked = check_prompts(prompts or {}, encoded.frame_size, self._bank.object_ids, self._retired)
        self._check_room(checked)
        if encoded.ready is not None:
            torch.cuda.current_stream(self.compute.device).wait_event(encoded.ready)
            for tensor in encoded.features.tensors():
                tensor.record_stream(torch.cuda.current_stream(self.compute.device))
        with self._out_of_memory_is_an_error("tracking"), self.compute.active():
            return self._advance(encoded, checked)

    def _check_room(self, prompts: dict[int, tuple[Prompt, ...]]) -> None:
        new = [object_id for object_id in prompts if object_id not in self._bank]
        room = self._bank.shape.objects - len(self._bank)
        if len(new) > room:
            raise InvalidInputError(
                f"objects {new}: {len(self._bank)} of at most {self._bank.shape.objects} objects are remembered; "
                "forget some, or make the engine with a larger max_objects"
            )

    def _advance(self, encoded: Sam2Encoded, prompts: dict[int, tuple[Prompt, ...]]) -> Sam2Masks:
        """Compute everything, then write what is to be remembered: an error before leaves no trace."""
        features = encoded.features
        prompted = {object_id: self._prompted(encoded, object_id, seq) for object_id, seq in prompts.items()}
        tracked_ids = [object_id for object_id in self._bank.object_ids if object_id not in prompted]
        certain = joined(list(prompted.values())) if prompted else None
        tracked: Tracked | None = None
        if tracked_ids:
            rivals = certain.logits.amax(dim=0, keepdim=True) if certain is not None else None
            tracked = self._runner.track(features, self._bank, tracked_ids, rivals)
        memories = self._memories_of(certain, tracked, features) if certain is not None else []
        parts = [part for part in (tracked.decoded if tracked is not None else None, certain) if part is not None]
        masks = Sam2Masks((*tracked_ids, *prompted), joined(parts) if parts else None, encoded.frame_size)
        kept = self._kept(tracked_ids, tracked) if tracked is not None else []
        self._frame_size = encoded.frame_size
        if tracked is not None:
            for index in kept:
                memory, pointer = tracked.memory[index], tracked.decoded.pointer[index]
                self._bank.write(tracked_ids[index], memory, pointer, conditioning=False)
        for object_id, decoded, memory in zip(prompted, prompted.values(), memories, strict=True):
            self._remember_prompted(object_id, decoded, memory, prompts[object_id])
        return masks

    def _prompted(self, encoded: Sam2Encoded, object_id: int, sequence: Sequence[Prompt]) -> Decoded:
        """The object's mask after all prompts of this frame."""
        model, features, device = self.model, encoded.features, self.compute.device
        pixels, clicks, decoded = model.unconditioned(features), None, None
        if sequence[0].mode is PromptMode.REFINE:
            pixels = self._conditioned(features, object_id)
            decoded = model.decode(pixels, features)
        for prompt in sequence:
            if prompt.mode is not PromptMode.REFINE:
                pixels, clicks, decoded = model.unconditioned(features), None, None
            if prompt.mask is not None:
                clicks, decoded = None, model.adopt_mask(square_mask(prompt, model.image_size, device), features)
                continue
            clicks = clicks_of(prompt, encoded.frame_size, model.image_size, device).after(clicks)
            decoded = self._clicked(pixels, features, clicks, decoded)
        assert decoded is not None
        return decoded

    def _conditioned(self, features: Features, object_id: int) -> torch.Tensor:
        view = gather(self._bank, [self._bank.readable(object_id)])
        if self._kind is Sam2Runner.EXACT:
            return attend_exactly(self.model, features, view)
        return self._attention(features, view)

    def _clicked(self, pixels: torch.Tensor, features: Features, clicks: Clicks, before: Decoded | None) -> Decoded:
        start = before.logits.clamp(-_CLAMP_LOGIT, _CLAMP_LOGIT) if before is not None else None
        prompt = self.model.embed_points(clicks.points, clicks.labels, start)
        return self.model.decode(pixels, features, prompt, multimask=clicks.leave_doubt)

    def _memories_of(self, certain: Decoded, tracked: Tracked | None, features: Features) -> list[torch.Tensor]:
        """A memory frame for each prompted object; one by one, as upstream, because prompts are rare."""
        model, count = self.model, certain.logits.shape[0]
        enlarged = torch.cat([model.enlarge(certain.logits[i : i + 1]) for i in range(count)])
        if self.config.non_overlap:
            others = [] if tracked is None else [model.enlarge(tracked.decoded.logits.amax(dim=0, keepdim=True))]
            enlarged = without_overlap(torch.cat([enlarged, *others]))
        return [
            model.remember(features, enlarged[i : i + 1], certain.score[i : i + 1], certain=True)[0]
            for i in range(count)
        ]

    def _kept(self, object_ids: Sequence[int], tracked: Tracked) -> list[int]:
        """Which of the tracked objects' frames are to be remembered."""
        if self.config.memory is MemoryPolicy.EVERY:
            return list(range(len(object_ids)))
        sights = look_at(tracked.decoded)
        return [index for index, object_id in enumerate(object_ids) if self._gate.admits(object_id, sights[index])]

    def _remember_prompted(
        self, object_id: int, decoded: Decoded, memory: torch.Tensor, sequence: Sequence[Prompt]
    ) -> None:
        if object_id in self._bank and any(prompt.mode is PromptMode.RESET for prompt in sequence):
            self._bank.remove(object_id)
        if object_id not in self._bank:
            self._bank.add(object_id)
        self._gate.forget(object_id)
        self._bank.write(object_id, memory, decoded.pointer[0], conditioning=True)

    def forget(self, object_id: int) -> None:
        """Drop an object; its id is not used again.

        Raises:
            InvalidInputError: There is no such object.
        """
        if object_id not in self._bank:
            known = ", ".join(map(str, self._bank.object_ids)) or "none"
            raise InvalidInputError(f"object {object_id}: unknown; known are {known}")
        self._bank.remove(object_id)
        self._gate.forget(object_id)
        self._retired.add(object_id)

    def reset(self) -> None:
        """Drop every object: the stream was cut or changed size. Their ids may be prompted again."""
        self._bank.clear()
        self._gate.clear()
        self._frame_size = None

    def close(self) -> None:
        """Drop everything, graphs too, once the device is done; the bank goes with the last reference to the engine."""
        self.compute.synchronize()
        self.reset()
        if isinstance(self._runner, FixedRunner):
            self._runner.forget_steps()

    def snapshot(self) -> Sam2Snapshot:
        """A copy of everything that is remembered, on the device."""
        return Sam2Snapshot(self._bank.snapshot(), self._gate.copy(), frozenset(self._retired), self._frame_size)

    def restore(self, snapshot: Sam2Snapshot) -> None:
        """Go back to a snapshot of this engine; it can be restored any number of times."""
        self._bank.restore(snapshot.bank)
        self._gate = snapshot.gate.copy()
        self._retired = set(snapshot.retired)
        self._frame_size = snapshot.frame_size

    def warmup(self, frame_size: tuple[int, int] = (1280, 720), objects: int = 2) -> WarmUp:
        """Run everything once for up to so many objects, so that no later frame pays for it; forgets every object.

        Args:
            frame_size: (width, height) of the frames to come, in pixels.
            objects: Shapes for up to so many objects are captured; others are when they come. Objects that are out of
                sight count as well, as long as they are not forgotten.
        """
        start = now_ns()
        width, height = frame_size
        image = np.zeros((height, width, 3), np.uint8)
        middle, one = np.array([[width / 2, height / 2]], np.float32), np.ones(1, np.int32)
        whole = (0.0, 0.0, float(width), float(height))
        most = min(objects, self._bank.shape.objects)
        for count in sorted({bucket_of(number, most) for number in range(1, most + 1)}):
            self.reset()
            encoded = self.encode(image)
            self.step(encoded, {-1 - index: Prompt(middle, one) for index in range(count)})
            self.step(encoded, {-1: Prompt(middle, one, whole)})
            self.step(encoded)
            if isinstance(self._runner, FixedRunner):
                self._fill_memories()
                self.step(encoded)
        self.reset()
        self.compute.synchronize()
        captured = self._graphs.captured + self._encode_image.captured
        warm = WarmUp((now_ns() - start) / 1e9, captured, self._graphs.failure or self._encode_image.failure)
        _log.info("sam2 warmed up in %.1f s on %s, %d CUDA graphs", warm.seconds, self.compute.device, warm.graphs)
        return warm

    def _fill_memories(self) -> None:
        """Every place of every object, so that the shape without masks comes up; steps may refuse to fill them."""
        frame = torch.zeros(self.model.tokens, self.model.memory_dim, device=self.compute.device)
        pointer = torch.zeros(self.model.hidden_dim, device=self.compute.device)
        for object_id in self._bank.object_ids:
            for _ in range(self.model.pointer_frames):
                self._bank.write(object_id, frame, pointer, conditioning=False)

    def _out_of_memory_is_an_error(self, doing: str) -> AbstractContextManager[None]:
        return out_of_memory_is_an_error(self.compute.device, self.config, doing)
