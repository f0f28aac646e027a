"""Settings of `gest-stream train builtin`; what they mean beyond this is each preset's own module."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gest_stream.config.check import require
from gest_stream.config.device import device_is_known
from gest_stream.errors import ConfigError
from gest_stream.training.progress import OnProgress, TrainingResult

DEFAULT_DATA: Final = Path("~/.cache/gest_stream/training/wide")
"""Where the clips lie that wide_clips.py writes."""


@dataclass(frozen=True, slots=True)
class BuiltinTraining:
    """How one of the built-in models is trained.

    Args:
        preset: Its name, which its weights carry as well.
        data: Folder with the clips, in `rendered`, `composited` and `real`.
        out: The weights that are written, .safetensors; state and history lie beside them.
        steps: Batches at most; None takes the preset's own number, or none where `minutes` is given.
        minutes: Time at most.
        batch: Samples a step; None takes the preset's own number.
        rate: Learning rate at its peak; None takes the preset's own.
        seed: Of everything drawn by chance.
        threads: CPU threads that torch computes with; 0 leaves that to torch.
        device: Where it computes: auto, cpu, cuda, cuda:N or mps.
        val_every: Steps between measurements.
        save_every: Steps between state files.
        val_limit: Held-out samples that are measured.
        resume: Go on with the training of `out`.
        overwrite: Give up an unfinished training of `out`.
        init: Weights of the same preset to begin with, hand-seg or refiner; None draws them from the seed.
        patience: Always 0: it ends with its steps or its time.
    """

    preset: str
    data: Path = DEFAULT_DATA
    out: Path = Path("builtin.safetensors")
    steps: int | None = None
    minutes: float | None = None
    batch: int | None = None
    rate: float | None = None
    seed: int = 0
    threads: int = 0
    device: str = "auto"
    val_every: int = 500
    save_every: int = 250
    val_limit: int = 256
    resume: bool = False
    overwrite: bool = False
    init: Path | None = None
    patience: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.out.suffix != ".safetensors":
            raise ConfigError(f"{self.out}: the name of built-in weights ends in .safetensors; call it {self.out.stem}")
        if self.resume and self.overwrite:
            raise ConfigError("to go on with a training and to give it up exclude each other; resume or overwrite")
        if self.init is not None and (self.resume or self.preset not in ("hand-seg", "refiner")):
            raise ConfigError(
                "weights to begin with are for a new training of hand-seg or the refiner only; leave --init out"
            )
        require(self.steps is None or self.steps >= 1, "steps", "1 or more", self.steps)
        sound = self.minutes is None or (math.isfinite(self.minutes) and self.minutes > 0)
        require(sound, "minutes", "a number above 0", self.minutes)
        require(self.batch is None or 1 <= self.batch <= 4096, "batch", "1 to 4096", self.batch)
        require(self.rate is None or 0.0 < self.rate <= 1.0, "rate", "above 0, up to 1", self.rate)
        require(0 <= self.seed < 2**32, "seed", "0 to 4294967295", self.seed)
        require(0 <= self.threads <= 1024, "threads", "0 to 1024", self.threads)
        for name in ("val_every", "save_every", "val_limit"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        require(device_is_known(self.device), "device", "auto, cpu, cuda, cuda:N or mps", self.device)

    @property
    def begun_with(self) -> dict[str, str | None]:
        """`init` among what the loss curve follows from; of a training that goes on its state knows it already."""
        if self.resume:
            return {}
        return {"init": self.init.name if self.init is not None else None}


TrainBuiltin = Callable[[BuiltinTraining, OnProgress, Callable[[], bool]], TrainingResult]
"""Trains one preset: settings, what is told how far it is, what says whether to stop."""
