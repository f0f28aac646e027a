"""The steps of a fine-tuning of SAM2, its measurements, and what is kept of them."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from gest_stream.errors import ModelError
from gest_stream.models.sam2_device import Compute
from gest_stream.training.files import write_tensors
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress
from gest_stream.training.run import ConfigT, TrainingRun
from gest_stream.training.sam2_batch import Batch
from gest_stream.training.sam2_clip import ClipSource
from gest_stream.training.sam2_config import DEFAULT_STEPS, Sam2Training
from gest_stream.training.sam2_data import TrainingClips, batches
from gest_stream.training.sam2_measure import measure
from gest_stream.training.sam2_parts import make_optimizer, set_rate, training_mode, unfreeze
from gest_stream.training.sam2_step import train_step
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import TrainingState

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_MOST_SPOILT: Final = 5
"""Steps in a row whose loss is no number, after which there is no hope."""

_SHOWN_STEPS: Final = 100
"""Whose mean loss is told: the losses of single steps differ much."""


def schedule_of(config: Sam2Training) -> Schedule:
    """The limits of these settings."""
    return Schedule.limited(config.steps, config.minutes, config.warm_up_steps, DEFAULT_STEPS)


class Sam2Run(TrainingRun[ConfigT, Batch]):
    """What the trainings of SAM2's modules have in common: spoilt steps, the loss that is told, the measurement."""

    def _shown_loss(self) -> float | None:
        recent = [loss for loss in self._state.losses[-_SHOWN_STEPS:] if math.isfinite(loss)]
        return sum(recent) / len(recent) if recent else None

    def _hopeful(self, loss: float, rate: float) -> float:
        """The loss of a step, which changed nothing if it is no number.

        Raises:
            ModelError: Several in a row were none.
        """
        last = [*self._state.losses[1 - _MOST_SPOILT :], loss]
        if len(last) >= _MOST_SPOILT and not any(map(math.isfinite, last)):
            raise ModelError(
                f"step {self._state.step}: the loss is no number any more; start again and learn slower: "
                f"--overwrite --rate {rate / 10:g}"
            )
        return loss

    def _measured(
        self, model: SAM2Base, kept: Sequence[ClipSource], frames: int, device: torch.device, dtype: torch.dtype
    ) -> tuple[dict[str, float], float]:
        """IoU on the clips that were kept back, and the score: that of objects that are followed."""

        def tell(done: int) -> None:
            self._tell(TrainingProgress(Stage.MEASURING, done, len(kept)))

        iou = measure(model, kept, frames, device, dtype, tell)
        return iou, iou["tracked"]


class TrainingLoop(Sam2Run[Sam2Training]):
    """A fine-tuning of SAM2.

    Args:
        config: Settings.
        model: On the CPU, with the weights that a new training starts from; belongs to the loop from now on.
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
        state: TrainingState,
        compute: Compute,
        tell: OnProgress,
    ) -> None:
        super().__init__(config, state, schedule_of(config), tell)
        self._clips, self._compute = clips, compute
        self._model = model.to(compute.device)
        unfreeze(self._model, config.trained)
        self._optimizer = make_optimizer(self._model, config.rate, config.encoder_rate, config.weight_decay)

    def _measures_first(self) -> bool:
        return True

    def _batches(self, first: int) -> Generator[Batch, None, None]:
        return batches(self._clips.learnt, self._config, first)

    def _learn(self, batch: Batch, rate_share: float) -> float:
        set_rate(self._optimizer, rate_share)
        # dropout, too, follows from seed and step alone
        torch.manual_seed(int(np.random.SeedSequence((self._config.seed, self._state.step)).generate_state(1)[0]))
        training_mode(self._model)
        on_device = batch.to(self._compute.device)
        loss = train_step(self._model, self._optimizer, on_device, self._config.max_norm, self._compute.dtype)
        return self._hopeful(loss, self._config.rate)

    def _look(self) -> tuple[dict[str, float], float]:
        frames, compute = self._config.val_frames, self._compute
        return self._measured(self._model, self._clips.kept, frames, compute.device, compute.dtype)

    def _keep_best(self) -> None:
        write_tensors(self._config.out, {"model": self._weights()})

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().cpu() for name, value in self._model.state_dict().items()}

    def _values(self) -> dict[str, Any]:
        return {"model": self._weights(), "optimizer": self._optimizer.state_dict()}

    def _take(self, values: Mapping[str, Any]) -> None:
        self._model.load_state_dict(values["model"])
        self._optimizer.load_state_dict(values["optimizer"])
