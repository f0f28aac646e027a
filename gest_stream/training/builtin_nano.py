"""Trains `sam2-nano` from nothing: `gest-stream train builtin --preset sam2-nano`.

Batches, loss and step are those of `gest-stream train sam2`. What is here is how a model without weights is brought
up: everything is trained, on single frames first, then on longer and longer sequences with memory, and on pictures of
half the size first, which cost a quarter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from gest_stream.config import Precision, Sam2Size
from gest_stream.config.sam2 import trained_side
from gest_stream.errors import ConfigError, ModelError
from gest_stream.models.sam2_device import Compute
from gest_stream.models.sam2_nano import NANO_NAME
from gest_stream.models.sam2_weights import build_modules
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_nano_clips import KIND_SHARES, NanoClips
from gest_stream.training.builtin_state import (
    BuiltinState,
    read_builtin_state,
    write_builtin_history,
    write_builtin_state,
)
from gest_stream.training.builtin_store import save_builtin
from gest_stream.training.files import state_path
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress, TrainingResult
from gest_stream.training.run import TrainingRun, stored_state
from gest_stream.training.sam2_batch import Batch, SampleRules, draw_batch
from gest_stream.training.sam2_loss import LossRules
from gest_stream.training.sam2_measure import measure
from gest_stream.training.sam2_parts import make_optimizer, set_rate
from gest_stream.training.sam2_prompting import draw_kind
from gest_stream.training.sam2_step import Progress, train_step
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import check_same_settings

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

_MOST_SPOILT: Final = 5


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
    stored = stored_state(config, read_builtin_state)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = Compute.choose(config.device, Precision.FLOAT32).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        settings = {
            "batch": config.batch,
            "rate": config.rate or PEAK_RATE,
            "seed": config.seed,
            "phases": [list(phase) for phase in PHASES],
            "kinds": {str(kind): share for kind, share in KIND_SHARES.items()},
            **{f"rules.{name}": value for name, value in asdict(RULES).items()},
        }
        if stored is not None:
            check_same_settings(state_path(config.out), stored.settings, settings)
        state = stored if stored is not None else BuiltinState(settings)
        return NanoTraining(config, state, device, on_progress).run(should_stop)


class NanoTraining(TrainingRun[Batch]):
    """The training of one `sam2-nano`.

    Args:
        config: Settings.
        state: Where it stands; it is changed.
        device: Where it computes.
        tell: Is told how far it is.
    """

    def __init__(self, config: BuiltinTraining, state: BuiltinState, device: torch.device, tell: OnProgress) -> None:
        steps: float = math.inf if config.steps is None else config.steps
        if config.steps is None and config.minutes is None:
            steps = DEFAULT_STEPS
        warm_up = min(_WARM_UP_STEPS, int(steps / 10)) if math.isfinite(steps) else _WARM_UP_STEPS
        seconds = math.inf if config.minutes is None else 60.0 * config.minutes
        super().__init__(config, state, Schedule(steps, seconds, warm_up), tell)
        self._config, self._state, self._device = config, state, device
        self._side = trained_side(Sam2Size.NANO)
        self._clips = NanoClips.find(config.data, config.val_limit)
        self._kept = self._clips.measured(self._side)
        self.model: SAM2Base = build_modules(Sam2Size.NANO, self._side).requires_grad_(True)
        torch.nn.init.constant_(self.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, _SEEN_AT_FIRST)
        if state.values:
            self.model.load_state_dict(state.values["model"])
        self.model.to(device)
        self._models = {self._side: self.model} | {side: _sharing(self.model, side) for side in _WINDOWS}
        rate = config.rate or PEAK_RATE
        self._optimizer = make_optimizer(self.model, rate, rate, _WEIGHT_DECAY)
        self.progress = Progress()
        if state.values:
            self._take_optimizer()

    def _take_optimizer(self) -> None:
        try:
            self._optimizer.load_state_dict(self._state.values["optimizer"])
        except (KeyError, ValueError, RuntimeError) as exc:
            path = state_path(self._config.out)
            raise ConfigError(f"{path}: cannot be gone on with ({exc}); start anew with --overwrite") from exc

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
        loss, *ious = train_step(model, self._optimizer, batch.to(self._device), rules=learnt)
        last = [*self._state.losses[1 - _MOST_SPOILT :], loss]
        if math.isfinite(loss):
            self.progress.note(loss, *ious)
        elif len(last) >= _MOST_SPOILT and not any(map(math.isfinite, last)):
            raise ModelError(f"step {self._state.step}: the loss is no number any more; start anew with a lower --rate")
        return loss

    def _shown_loss(self) -> float | None:
        return self.progress.loss if math.isfinite(self.progress.loss) else None

    def _look(self) -> tuple[dict[str, float], float]:
        kept = self._kept

        def tell(done: int) -> None:
            self._tell(TrainingProgress(Stage.MEASURING, done, len(kept)))

        iou = measure(self.model, kept, _FRAMES_MEASURED, self._device, torch.float32, tell)
        return iou, iou["tracked"]

    def _keep_best(self) -> None:
        metadata = {
            "preset": NANO_NAME,
            "seed": self._config.seed,
            "steps": self._state.step,
            "image_size": self._side,
            "elapsed_s": round(self._state.elapsed_s, 1),
        }
        save_builtin(self._config.out, self.model.state_dict(), metadata)

    def _write(self) -> None:
        model = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        self._state.values = {"model": model, "optimizer": self._optimizer.state_dict()}
        write_builtin_state(state_path(self._config.out), self._state)
        write_builtin_history(self._config, self._state)


def _sharing(model: SAM2Base, side: int) -> SAM2Base:
    """The same weights, not copies of them, in modules for pictures of another size."""
    other: SAM2Base = build_modules(Sam2Size.NANO, side, _WINDOWS[side])
    for name, module in model.named_modules():
        twin = other.get_submodule(name)
        twin._parameters, twin._buffers = module._parameters, module._buffers
    return other
