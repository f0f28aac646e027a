"""A training from its first step to its last: limits, measurements, the best network, what is kept to go on from.

What is learnt, and from what, is the subclass's.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Generic, Protocol, TypeVar

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


class _RunSettings(Protocol):
    """What a run must be told."""

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


class _RunState(Protocol):
    """Where a run stands."""

    step: int
    elapsed_s: float
    losses: list[float]
    measurements: list[Measurement]
    since_best: int
    finished: bool

    @property
    def best(self) -> Measurement | None: ...


BatchT = TypeVar("BatchT")
StateT = TypeVar("StateT", bound=_RunState)


def stored_state(config: _RunSettings, read: Callable[[Path], StateT]) -> StateT | None:
    """The state to go on from; None for a new training.

    Args:
        config: Settings.
        read: Reads a state file.

    Raises:
        ConfigError: An unfinished training would be given up without a word.
        SinkError: The outputs cannot lie where they should.
        WeightsError: A state is damaged.
    """
    check_output_file(config.out, str(config.init) if config.init is not None else "")
    check_history_place(config.out)
    path = state_path(config.out)
    if config.resume:
        state = read(path)
        state.finished = False
        return state
    if path.exists() and not config.overwrite and not read(path).finished:
        raise ConfigError(
            f"{path}: an unfinished training of {config.out.name} lies there; go on with --resume, give it up with "
            "--overwrite, or choose another --out"
        )
    return None


def memory_is_short(exc: RuntimeError) -> bool:
    """Whether torch ran out of memory: on a GPU, or, where it tells by its text alone, on the CPU."""
    return isinstance(exc, torch.OutOfMemoryError) or "can't allocate memory" in str(exc)


class TrainingRun(ABC, Generic[BatchT]):
    """The steps of a training.

    Args:
        config: Settings.
        state: Where it stands; it is changed.
        schedule: Limits and learning rate.
        tell: Is told how far it is.
    """

    def __init__(self, config: _RunSettings, state: _RunState, schedule: Schedule, tell: OnProgress) -> None:
        self._settings, self._where, self._schedule, self._tell = config, state, schedule, tell
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
    def _write(self) -> None:
        """Write state and history."""

    def _measures_first(self) -> bool:
        """Whether what it starts with is measured: a training that makes it worse leaves the start behind."""
        return self._settings.init is not None

    def _shown_loss(self) -> float | None:
        """The loss that is told."""
        return self._where.losses[-1] if self._where.losses else None

    def run(self, should_stop: Callable[[], bool]) -> TrainingResult:
        """Step until a limit is met."""
        state, config = self._where, self._settings
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
        state, schedule = self._where, self._schedule
        if self._settings.patience and state.since_best >= self._settings.patience:
            return StopReason.PATIENCE
        if state.step >= schedule.steps:
            return StopReason.STEPS
        return StopReason.TIME if state.elapsed_s >= schedule.seconds else None

    def _step(self, batch: BatchT) -> None:
        state = self._where
        loss = self._learn(batch, self._schedule.rate_share(state.step, state.elapsed_s))
        state.losses.append(loss)
        state.step += 1
        state.elapsed_s = time.monotonic() - self._began
        self._tell_step()

    def _tell_step(self, measured: Measurement | None = None) -> None:
        state, schedule = self._where, self._schedule
        total = int(schedule.steps) if math.isfinite(schedule.steps) else 0
        share = schedule.share_done(state.step, state.elapsed_s)
        loss = self._shown_loss()
        self._tell(TrainingProgress(Stage.TRAINING, state.step, total, share=share, loss=loss, measured=measured))

    def _measure(self) -> None:
        """Measure, and keep the network where it is the best so far."""
        state, before = self._where, self._where.best
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
            best=before is None or score > before.score,
        )
        state.since_best = 0 if found.best else state.since_best + 1
        if found.best:
            self._keep_best()
        state.measurements.append(found)
        self._tell_step(found)

    def _save(self) -> None:
        self._write()
        self._saved_step = self._where.step

    def _result(self, reason: StopReason) -> TrainingResult:
        state, out = self._where, self._settings.out
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
