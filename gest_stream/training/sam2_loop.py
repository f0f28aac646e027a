"""The steps of a fine-tuning of SAM2, its measurements, and what is kept of them."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from gest_stream.errors import ConfigError, ModelError
from gest_stream.models.sam2_device import Compute
from gest_stream.training.files import state_path, write_tensors
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress
from gest_stream.training.run import TrainingRun
from gest_stream.training.sam2_batch import Batch
from gest_stream.training.sam2_config import DEFAULT_STEPS, Sam2Training
from gest_stream.training.sam2_data import TrainingClips, batches
from gest_stream.training.sam2_measure import measure
from gest_stream.training.sam2_parts import make_optimizer, set_rate, training_mode, unfreeze
from gest_stream.training.sam2_state import Sam2State, write_sam2_history, write_sam2_state
from gest_stream.training.sam2_step import train_step
from gest_stream.training.schedule import Schedule

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_MOST_SPOILT: Final = 5
"""Steps in a row whose loss is no number, after which there is no hope."""


def schedule_of(config: Sam2Training) -> Schedule:
    """The limits of these settings."""
    steps: float = math.inf if config.steps is None else config.steps
    if config.steps is None and config.minutes is None:
        steps = DEFAULT_STEPS
    warm_up = min(config.warm_up_steps, int(steps / 10)) if math.isfinite(steps) else config.warm_up_steps
    return Schedule(steps, math.inf if config.minutes is None else 60.0 * config.minutes, warm_up)


class TrainingLoop(TrainingRun[Batch]):
    """A fine-tuning of SAM2.

    Args:
        config: Settings.
        model: On the CPU, with the weights to start from; belongs to the loop from now on.
        clips: What is learnt from and measured with.
        state: Where it stands; it is changed.
        compute: Where it computes.
        tell: Is told how far it is.
    """

    def __init__(
        self,
        config: Sam2Training,
        model: SAM2Base,
        clips: TrainingClips,
        state: Sam2State,
        compute: Compute,
        tell: OnProgress,
    ) -> None:
        super().__init__(config, state, schedule_of(config), tell)
        self._config, self._clips, self._state, self._compute = config, clips, state, compute
        self._model = model.to(compute.device)
        unfreeze(self._model, config.trained)
        self._optimizer = make_optimizer(self._model, config.rate, config.encoder_rate, config.weight_decay)
        if state.optimizer:
            self._take_optimizer()

    def _take_optimizer(self) -> None:
        try:
            self._optimizer.load_state_dict(self._state.optimizer)
        except (KeyError, ValueError, RuntimeError) as exc:
            path = state_path(self._config.out)
            raise ConfigError(f"{path}: cannot be gone on with ({exc}); start anew with --overwrite") from exc

    def _measures_first(self) -> bool:
        return True

    def _shown_loss(self) -> float | None:
        loss = self._state.progress.loss
        return loss if math.isfinite(loss) else None

    def _batches(self, first: int) -> Generator[Batch, None, None]:
        return batches(self._clips.learnt, self._config, first)

    def _learn(self, batch: Batch, rate_share: float) -> float:
        state, progress = self._state, self._state.progress
        set_rate(self._optimizer, rate_share)
        # dropout, too, follows from seed and step alone
        torch.manual_seed(int(np.random.SeedSequence((self._config.seed, progress.step)).generate_state(1)[0]))
        training_mode(self._model)
        on_device = batch.to(self._compute.device)
        loss, *ious = train_step(self._model, self._optimizer, on_device, self._config.max_norm, self._compute.dtype)
        last = [*state.losses[1 - _MOST_SPOILT :], loss]
        if math.isfinite(loss):
            progress.note(loss, *ious)
        elif len(last) >= _MOST_SPOILT and not any(map(math.isfinite, last)):
            raise ModelError(
                f"step {progress.step}: the loss is no number any more; start again and learn slower: "
                f"--overwrite --rate {self._config.rate / 10:g}"
            )
        return loss

    def _look(self) -> tuple[dict[str, float], float]:
        kept, config = self._clips.kept, self._config

        def tell(done: int) -> None:
            self._tell(TrainingProgress(Stage.MEASURING, done, len(kept)))

        iou = measure(self._model, kept, config.val_frames, self._compute.device, self._compute.dtype, tell)
        return iou, iou["tracked"]

    def _keep_best(self) -> None:
        write_tensors(self._config.out, {"model": self._weights()})

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().cpu() for name, value in self._model.state_dict().items()}

    def _write(self) -> None:
        state = self._state
        state.model, state.optimizer = self._weights(), self._optimizer.state_dict()
        write_sam2_state(state_path(self._config.out), state)
        write_sam2_history(self._config, state)
