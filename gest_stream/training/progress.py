"""What a training tells while it goes on, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Stage(StrEnum):
    """What is being done."""

    RENDERING = "rendering"
    READING = "reading"
    TRAINING = "training"
    MEASURING = "measuring"


class StopReason(StrEnum):
    """Why a training ended."""

    STEPS = "steps"
    """It made all its steps."""
    TIME = "time"
    """Its minutes are over."""
    PATIENCE = "patience"
    """It did not get better any more."""
    INTERRUPTED = "interrupted"
    """It was told to; it can go on."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How good the network is on the pictures that were kept back.

    Args:
        step: Steps made.
        iou: Intersection over union by class, over all pixels of all pictures; a class that none of them has is absent.
        score: The mean of `iou`, which the best checkpoint is chosen by.
        loss: Mean loss of the steps since the last measurement; None before the first step.
        rate_share: Where the learning rate stands, as a share of its peak.
        elapsed_s: Time since the first step, without pauses.
        best: It is the best so far.
    """

    step: int
    iou: Mapping[str, float]
    score: float
    loss: float | None
    rate_share: float
    elapsed_s: float
    best: bool


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a training stands.

    Args:
        stage: What is being done.
        done: Pictures or steps that are done.
        total: Of how many; 0 where time alone is the limit.
        title: The set that is read.
        share: How far the training is, 0 to 1.
        loss: Of the last step.
        measured: Comes once with every measurement.
    """

    stage: Stage
    done: int
    total: int
    title: str = ""
    share: float = 0.0
    loss: float | None = None
    measured: Measurement | None = None


OnProgress = Callable[[TrainingProgress], None]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training left.

    Args:
        checkpoint: The best network, which `--redetector-checkpoint` takes; absent where it was interrupted before the
            first measurement.
        state: What `resume` goes on from.
        history: Losses, measurements, settings and versions, JSON.
        steps: Steps made, those before a pause included.
        losses: Of every step.
        measurements: In their order.
        best: The best of them.
        stopped: Why it ended.
        elapsed_s: Time of all steps and measurements.
    """

    checkpoint: Path
    state: Path
    history: Path
    steps: int
    losses: tuple[float, ...]
    measurements: tuple[Measurement, ...]
    best: Measurement | None
    stopped: StopReason
    elapsed_s: float
