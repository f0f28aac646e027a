"""The steps of a fine-tuning of SAM2, its measurements, and what is kept of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from gest_stream.errors import ConfigError, ModelError
from gest_stream.models.sam2_device import Compute
from gest_stream.training.history import history_path
from gest_stream.training.progress import (
    Measurement,
    OnProgress,
    Stage,
    StopReason,
    TrainingProgress,
    TrainingResult,
)
from gest_stream.training.sam2_batch import Batch
from gest_stream.training.sam2_config import DEFAULT_STEPS, Sam2Training
from gest_stream.training.sam2_data import TrainingClips, batches
from gest_stream.training.sam2_measure import measure
from gest_stream.training.sam2_parts import make_optimizer, set_rate, training_mode, unfreeze
from gest_stream.training.sam2_state import Sam2State, save_tensors, write_sam2_history, write_sam2_state
from gest_stream.training.sam2_step import train_step
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import state_path

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


class TrainingLoop:
    """The steps.

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
        self._config, self._clips, self._state, self._compute, self._tell = config, clips, state, compute, tell
        self._schedule = schedule_of(config)
        self._model = model.to(compute.device)
        unfreeze(self._model, config.trained)
        self._optimizer = make_optimizer(self._model, config.rate, config.encoder_rate, config.weight_decay)
        if state.optimizer:
            self._take_optimizer()
        self._saved_step = state.progress.step
        self._began = time.monotonic() - state.progress.elapsed_s

    def _take_optimizer(self) -> None:
        try:
            self._optimizer.load_state_dict(self._state.optimizer)
        except (KeyError, ValueError, RuntimeError) as exc:
            path = state_path(self._config.out)
            raise ConfigError(f"{path}: cannot be gone on with ({exc}); start anew with --overwrite") from exc

    def run(self, should_stop: Callable[[], bool]) -> TrainingResult:
        """Step until a limit is met."""
        state, config = self._state, self._config
        if not state.measurements:
            self._measure()  # the start counts: a fine-tuning that makes it worse leaves the start behind
            self._began = time.monotonic()
        state.progress.elapsed_s = time.monotonic() - self._began
        reason = self._limit_met()
        with closing(batches(self._clips.learnt, config, state.progress.step)) as stream:
            while reason is None:
                self._step(next(stream))
                if state.progress.step % config.val_every == 0:
                    self._measure()
                reason = StopReason.INTERRUPTED if should_stop() else self._limit_met()
                if reason is None and state.progress.step - self._saved_step >= config.save_every:
                    self._save()
        if reason is not StopReason.INTERRUPTED:
            if state.measurements[-1].step != state.progress.step:
                self._measure()
            state.finished = True
        self._save()
        return self._result(reason)

    def _limit_met(self) -> StopReason | None:
        state, schedule = self._state, self._schedule
        if self._config.patience and state.since_best >= self._config.patience:
            return StopReason.PATIENCE
        if state.progress.step >= schedule.steps:
            return StopReason.STEPS
        return StopReason.TIME if state.progress.elapsed_s >= schedule.seconds else None

    def _step(self, batch: Batch) -> None:
        state, progress = self._state, self._state.progress
        set_rate(self._optimizer, self._schedule.rate_share(progress.step, progress.elapsed_s))
        # dropout, too, follows from seed and step alone
        torch.manual_seed(int(np.random.SeedSequence((self._config.seed, progress.step)).generate_state(1)[0]))
        training_mode(self._model)
        on_device = batch.to(self._compute.device)
        loss, *ious = train_step(self._model, self._optimizer, on_device, self._config.max_norm, self._compute.dtype)
        state.losses.append(loss)
        if math.isfinite(loss):
            progress.note(loss, *ious)
        elif len(state.losses) >= _MOST_SPOILT and not any(map(math.isfinite, state.losses[-_MOST_SPOILT:])):
            raise ModelError(
                f"step {progress.step}: the loss is no number any more; start again and learn slower: "
                f"--overwrite --rate {self._config.rate / 10:g}"
            )
        progress.step += 1
        progress.elapsed_s = time.monotonic() - self._began
        self._tell_step()

    def _tell_step(self, measured: Measurement | None = None) -> None:
        progress, schedule = self._state.progress, self._schedule
        total = int(schedule.steps) if math.isfinite(schedule.steps) else 0
        share = schedule.share_done(progress.step, progress.elapsed_s)
        loss = progress.loss if math.isfinite(progress.loss) else None
        told = TrainingProgress(Stage.TRAINING, progress.step, total, share=share, loss=loss, measured=measured)
        self._tell(told)

    def _measure(self) -> None:
        """Measure, and keep the weights where they are the best so far."""
        state, config, progress = self._state, self._config, self._state.progress
        kept = self._clips.kept

        def tell(done: int) -> None:
            self._tell(TrainingProgress(Stage.MEASURING, done, len(kept)))

        iou = measure(self._model, kept, config.val_frames, self._compute.device, self._compute.dtype, tell)
        before, since = state.best, state.measurements[-1].step if state.measurements else 0
        losses = [loss for loss in state.losses[since:] if math.isfinite(loss)]
        progress.elapsed_s = time.monotonic() - self._began
        found = Measurement(
            step=progress.step,
            iou=iou,
            score=iou["tracked"],
            loss=sum(losses) / len(losses) if losses else None,
            rate_share=self._schedule.rate_share(max(progress.step - 1, 0), progress.elapsed_s),
            elapsed_s=progress.elapsed_s,
            best=before is None or iou["tracked"] > before.score,
        )
        state.since_best = 0 if found.best else state.since_best + 1
        if found.best:
            save_tensors(config.out, {"model": self._weights()})
        state.measurements.append(found)
        self._tell_step(found)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().cpu() for name, value in self._model.state_dict().items()}

    def _save(self) -> None:
        """Write state and history."""
        state = self._state
        state.model, state.optimizer = self._weights(), self._optimizer.state_dict()
        write_sam2_state(state_path(self._config.out), state)
        write_sam2_history(self._config, state)
        self._saved_step = state.progress.step

    def _result(self, reason: StopReason) -> TrainingResult:
        state, out = self._state, self._config.out
        return TrainingResult(
            checkpoint=out,
            state=state_path(out),
            history=history_path(out),
            steps=state.progress.step,
            losses=tuple(state.losses),
            measurements=tuple(state.measurements),
            best=state.best,
            stopped=reason,
            elapsed_s=state.progress.elapsed_s,
        )
