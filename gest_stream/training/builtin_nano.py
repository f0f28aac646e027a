"""Trains `sam2-nano` from nothing: `gest-stream train builtin --preset sam2-nano`.

Batches, loss and step are those of `gest-stream train sam2`. What is here is how a model without weights is brought
up: everything is trained, on single frames first, then on longer and longer sequences with memory, and on pictures of
half the size first, which cost a quarter.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from gest_stream.config import Precision, Sam2Size
from gest_stream.config.sam2 import trained_side
from gest_stream.models.sam2_device import Compute
from gest_stream.models.sam2_nano import NANO_NAME
from gest_stream.models.sam2_weights import build_modules
from gest_stream.models.torch_threads import torch_threads
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_nano_clips import KIND_SHARES, NanoClips
from gest_stream.training.builtin_store import save_builtin
from gest_stream.training.progress import OnProgress, TrainingResult
from gest_stream.training.run import state_to_start_with
from gest_stream.training.sam2_batch import Batch, SampleRules, draw_batch
from gest_stream.training.sam2_loop import Sam2Run
from gest_stream.training.sam2_loss import LossRules
from gest_stream.training.sam2_parts import make_optimizer, set_rate
from gest_stream.training.sam2_prompting import draw_kind
from gest_stream.training.sam2_step import train_step
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import BUILTIN, TrainingState

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

DEFAULT_STEPS: Final = 3000
PEAK_RATE: Final = 1e-3
PHASES: Final = ((0.35, 128, 1, 16), (0.5, 128, 3, 8), (0.65, 256, 1, 8), (1.0, 256, 4, 2))
"""(until this share of the training, side of a picture, frames a sequence, clips a batch); `--batch` scales the clips
against the first phase's."""

RULES: Final = SampleRules(max_objects=2, again=0.15, refined=0.1, corrected=0.15, outside_is_void=True)

_WINDOWS: Final = {128: ("model.image_encoder.trunk.window_spec=[8,4,8,4]",)}
"""Where the later stages' windows would be larger than what they look at; they have no weights of their own."""

_STARTED_SHARE: Final = 0.003
"""Of the picture that a hand must cover to be followed."""

_WEIGHT_DECAY: Final = 0.02
_WARM_UP_STEPS: Final = 200
_FRAMES_MEASURED: Final = 6
_LOOK_AGAIN_STEPS: Final = 100
_SEEN_AT_FIRST: Final = 2.0
"""Bias of the object score; one below 0 blanks the masks, and nothing would be learnt from them."""

_ALONE: Final = LossRules(every_candidate=True, iou=0.0, score=0.0)
_IN_SEQUENCE: Final = LossRules(every_candidate=True)


def train_sam2_nano(
    config: BuiltinTraining, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> TrainingResult:
    """Train, measure and keep the best weights; a `TrainBuiltin`.

    Raises:
        ConfigError: Settings contradict the training that is to go on.
        InvalidInputError: There are no clips, or one is damaged.
        DeviceError: The device is absent.
        ModelError: The loss is no number any more.
        SinkError: An output cannot be written.
        MissingDependencyError: The package sam2 is not installed.
    """
    state = state_to_start_with(config, BUILTIN, _curve_settings(config))
    device = Compute.choose(config.device, Precision.FLOAT32).device
    with torch_threads(config.threads), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        return NanoTraining(config, state, device, on_progress).run(should_stop)


def _curve_settings(config: BuiltinTraining) -> dict[str, Any]:
    """What the loss curve follows from, beside the clips and the limits."""
    return {
        "batch": config.batch,
        "rate": config.rate or PEAK_RATE,
        "seed": config.seed,
        "phases": [list(phase) for phase in PHASES],
        "kinds": {str(kind): share for kind, share in KIND_SHARES.items()},
        **{f"rules.{name}": value for name, value in asdict(RULES).items()},
    }


class NanoTraining(Sam2Run[BuiltinTraining]):
    """The training of one `sam2-nano`.

    Args:
        config: Settings.
        state: Where it stands; it is changed.
        device: Where it computes.
        tell: Is told how far it is.
    """

    def __init__(self, config: BuiltinTraining, state: TrainingState, device: torch.device, tell: OnProgress) -> None:
        schedule = Schedule.limited(config.steps, config.minutes, _WARM_UP_STEPS, DEFAULT_STEPS)
        super().__init__(config, state, schedule, tell)
        self._device = device
        self._side = trained_side(Sam2Size.NANO)
        self._clips = NanoClips.find(config.data, config.val_limit)
        self._kept = self._clips.measured(self._side)
        self.model: SAM2Base = build_modules(Sam2Size.NANO, self._side).requires_grad_(True)
        torch.nn.init.constant_(self.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, _SEEN_AT_FIRST)
        self.model.to(device)
        self._models = {self._side: self.model} | {side: _sharing(self.model, side) for side in _WINDOWS}
        self._rate = config.rate or PEAK_RATE
        self._optimizer = make_optimizer(self.model, self._rate, self._rate, _WEIGHT_DECAY)

    def _batches(self, first: int) -> Generator[Batch, None, None]:
        for step in count(first):
            if step % _LOOK_AGAIN_STEPS == 0:  # shards may still be written
                self._clips = NanoClips.find(self._config.data, self._config.val_limit)
            share = self._schedule.share_done(step, self._state.elapsed_s)
            side, frames, clips = next(phase[1:] for phase in PHASES if share <= phase[0])
            if self._config.batch is not None:
                clips = max(1, round(clips * self._config.batch / PHASES[0][3]))
            yield self._drawn(side, frames, clips, np.random.default_rng((self._config.seed, step)))

    def _drawn(self, side: int, frames: int, clips: int, rng: np.random.Generator) -> Batch:
        """The batch of a step; clips that show no hand are drawn again."""
        rules = replace(RULES, min_started_px=round(_STARTED_SHARE * side**2))
        while True:
            kind = draw_kind(frames, rng)
            found = [clip for _ in range(clips) if (clip := self._clips.draw(frames, side, rng)) is not None]
            batch = draw_batch(found, frames, kind, rng, rules=rules) if found else None
            if batch is not None:
                return batch

    def _learn(self, batch: Batch, rate_share: float) -> float:
        set_rate(self._optimizer, rate_share)
        model = self._models[batch.images.shape[-1]].train()
        learnt = _ALONE if len(batch.images) == 1 else _IN_SEQUENCE
        return self._hopeful(train_step(model, self._optimizer, batch.to(self._device), rules=learnt), self._rate)

    def _look(self) -> tuple[dict[str, float], float]:
        return self._measured(self.model, self._kept, _FRAMES_MEASURED, self._device, torch.float32)

    def _keep_best(self) -> None:
        metadata = {
            "preset": NANO_NAME,
            "seed": self._config.seed,
            "steps": self._state.step,
            "image_size": self._side,
            "elapsed_s": round(self._state.elapsed_s, 1),
        }
        save_builtin(self._config.out, self.model.state_dict(), metadata)

    def _values(self) -> dict[str, Any]:
        model = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        return {"model": model, "optimizer": self._optimizer.state_dict()}

    def _take(self, values: Mapping[str, Any]) -> None:
        self.model.load_state_dict(values["model"])
        self._optimizer.load_state_dict(values["optimizer"])


def _sharing(model: SAM2Base, side: int) -> SAM2Base:
    """The same weights, not copies of them, in modules for pictures of another size."""
    other: SAM2Base = build_modules(Sam2Size.NANO, side, _WINDOWS[side])
    for name, module in model.named_modules():
        twin = other.get_submodule(name)
        twin._parameters, twin._buffers = module._parameters, module._buffers
    return other
