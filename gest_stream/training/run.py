"""A training from its first step to its last: limits, measurements, the best network, what is kept to go on from.

What is learnt, and from what, is the subclass's.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch

from gest_stream.errors import ConfigError
from gest_stream.sinks.output_path import check_output_file
from gest_stream.training.files import check_history_place, history_path, state_path
from gest_stream.training.progress import (
    Measurement,
    OnProgress,
    Stage,
    StopReason,
    TrainingProgress,
    TrainingResult,
)
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import (
    StateForm,
    TrainingState,
    check_same_settings,
    fitting_values,
    read_state,
    write_history,
    write_state,
)


class _RunSettings(Protocol):
    """What a run must be told; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def out(self) -> Path: ...

    @property
    def init(self) -> Path | None: ...

    @property
    def patience(self) -> int: ...

    @property
    def val_every(self) -> int: ...

    @property
    def save_every(self) -> int: ...

    @property
    def resume(self) -> bool: ...

    @property
    def overwrite(self) -> bool: ...


BatchT = TypeVar("BatchT")
ConfigT = TypeVar("ConfigT", bound=_RunSettings)


def stored_state(config: _RunSettings, form: StateForm) -> TrainingState | None:
    """The state to go on from; None for a new training.

    Args:
        config: Settings.
        form: Of its file.

    Raises:
        ConfigError: An unfinished training would be given up without a word.
        SinkError: The outputs cannot lie where they should.
        WeightsError: A state is damaged.
    """
    check_output_file(config.out, str(config.init) if config.init is not None else "")
    check_history_place(config.out)
    path = state_path(config.out)
    if config.resume:
        state = read_state(path, form)
        state.finished = False
        return state
    if path.exists() and not config.overwrite and not read_state(path, form).finished:
        raise ConfigError(
            f"{path}: an unfinished training of {config.out.name} lies there; go on with --resume, give it up with "
            "--overwrite, or choose another --out"
        )
    return None


def state_to_start_with(config: _RunSettings, form: StateForm, settings: Mapping[str, Any]) -> TrainingState:
    """The stored state of a training that is gone on with, else a new one.

    Args:
        config: Settings.
        form: Of its file.
        settings: What the loss curve follows from.

    Raises:
        ConfigError: An unfinished training would be given up without a word, or was begun with other settings.
        SinkError: The outputs cannot lie where they should.
        WeightsError: A state is damaged.
    """
    stored = stored_state(config, form)
    if stored is None:
        return TrainingState(form, settings)
    check_same_settings(state_path(config.out), stored.settings, settings)
    return stored


def memory_is_short(exc: RuntimeError) -> bool:
    """Whether torch ran out of memory: on a GPU, or, where it tells by its text alone, on the CPU."""
    return isinstance(exc, torch.OutOfMemoryError) or "can't allocate memory" in str(exc)


class TrainingRun(ABC, Generic[ConfigT, BatchT]):
    """The steps of a training.

    Args:
        config: Settings.
        state: Where it stands; it is changed.
        schedule: Limits and learning rate.
        tell: Is told how far it is.
    """

    def __init__(self, config: ConfigT, state: TrainingState, schedule: Schedule, tell: OnProgress) -> None:
        self._config, self._state, self._schedule, self._tell = config, state, schedule, tell
        self._saved_step = state.step
        self._began = 0.0

    @abstractmethod
    def _batches(self, first: int) -> Generator[BatchT, None, None]:
        """Batches without end, from step `first` on."""

    @abstractmethod
    def _learn(self, batch: BatchT, rate_share: float) -> float:
        """Make one step and return its loss, which may be nan where that does no harm."""

    @abstractmethod
    def _look(self) -> tuple[dict[str, float], float]:
        """IoU by name of what was kept back, and the score that the best is chosen by."""

    @abstractmethod
    def _keep_best(self) -> None:
        """Write the network as it is now."""

    @abstractmethod
    def _values(self) -> dict[str, Any]:
        """What the training goes on from after a break."""

    @abstractmethod
    def _take(self, values: Mapping[str, Any]) -> None:
        """Put back what `_values` gave; a KeyError, ValueError or RuntimeError tells that it does not fit."""

    def _measures_first(self) -> bool:
        """Whether what it starts with is measured: a training that makes it worse leaves the start behind."""
        return self._config.init is not None

    def _shown_loss(self) -> float | None:
        """The loss that is told."""
        return self._state.losses[-1] if self._state.losses else None

    def run(self, should_stop: Callable[[], bool]) -> TrainingResult:
        """Step until a limit is met."""
        state, config = self._state, self._config
        if state.values:
            with fitting_values(state_path(config.out)):
                self._take(state.values)
        self._began = time.monotonic() - state.elapsed_s
        if state.step == 0 and not state.measurements and self._measures_first():
            self._measure()
            state.elapsed_s, self._began = 0.0, time.monotonic()  # what comes before the first step does not count
        reason = self._limit_met()
        with closing(self._batches(state.step)) as stream:
            while reason is None:
                self._step(next(stream))
                if state.step % config.val_every == 0:
                    self._measure()
                reason = StopReason.INTERRUPTED if should_stop() else self._limit_met()
                if reason is None and state.step - self._saved_step >= config.save_every:
                    self._save()
        if reason is not StopReason.INTERRUPTED:
            if not state.measurements or state.measurements[-1].step != state.step:
                self._measure()
            state.finished = True
        self._save()
        return self._result(reason)

    def _limit_met(self) -> StopReason | None:
        state, schedule = self._state, self._schedule
        if self._config.patience and state.since_best >= self._config.patience:
            return StopReason.PATIENCE
        if state.step >= schedule.steps:
            return StopReason.STEPS
        return StopReason.TIME if state.elapsed_s >= schedule.seconds else None

    def _step(self, batch: BatchT) -> None:
        state = self._state
        loss = self._learn(batch, self._schedule.rate_share(state.step, state.elapsed_s))
        state.losses.append(loss)
        state.step += 1
        state.elapsed_s = time.monotonic() - self._began
        self._tell_step()

    def _tell_step(self, measured: Measurement | None = None) -> None:
        state, schedule = self._state, self._schedule
        total = int(schedule.steps) if math.isfinite(schedule.steps) else 0
        share = schedule.share_done(state.step, state.elapsed_s)
        loss = self._shown_loss()
        self._tell(TrainingProgress(Stage.TRAINING, state.step, total, share=share, loss=loss, measured=measured))

    def _measure(self) -> None:
        """Measure, and keep the network where it is the best of those that were measured with the same."""
        state = self._state
        since = state.measurements[-1].step if state.measurements else 0
        losses = [loss for loss in state.losses[since:] if math.isfinite(loss)]
        iou, score = self._look()
        state.elapsed_s = time.monotonic() - self._began
        found = Measurement(
            step=state.step,
            iou=iou,
            score=score,
            loss=sum(losses) / len(losses) if losses else None,
            rate_share=self._schedule.rate_share(max(state.step - 1, 0), state.elapsed_s),
            elapsed_s=state.elapsed_s,
            best=all(score > one.score for one in state.measurements if one.iou.keys() == iou.keys()),
        )
        if found.best:
            self._keep_best()
        state.measurements.append(found)
        self._tell_step(found)

    def _save(self) -> None:
        state, config = self._state, self._config
        state.values = self._values()
        write_state(state_path(config.out), state)
        write_history(config.out, state, asdict(config))
        self._saved_step = state.step

    def _result(self, reason: StopReason) -> TrainingResult:
        state, out = self._state, self._config.out
        return TrainingResult(
            checkpoint=out,
            state=state_path(out),
            history=history_path(out),
            steps=state.step,
            losses=tuple(state.losses),
            measurements=tuple(state.measurements),
            best=state.best,
            stopped=reason,
            elapsed_s=state.elapsed_s,
        )
