"""What a fine-tuning of SAM2 leaves on disk: the best checkpoint, the state to go on from, the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from gest_stream.errors import WeightsError
from gest_stream.training.files import read_training, write_history, write_tensors
from gest_stream.training.progress import Measurement
from gest_stream.training.sam2_config import Sam2Training
from gest_stream.training.sam2_step import Progress

_FORMAT: Final = "gest_stream.sam2.training"
_VERSION: Final = 1
_PACKAGES: Final = ("gest-stream", "torch", "sam2", "numpy", "opencv-contrib-python")


@dataclass(slots=True)
class Sam2State:
    """Where a training stands.

    Args:
        settings: What the loss curve follows from, from `curve_settings`.
        progress: Steps, time, running means.
        losses: Of every step; NaN where no weight was changed.
        measurements: In their order.
        since_best: Measurements since the best one.
        finished: It ended by itself.
        model: The model's state dict.
        optimizer: The optimizer's.
    """

    settings: Mapping[str, Any]
    progress: Progress = field(default_factory=Progress)
    losses: list[float] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    since_best: int = 0
    finished: bool = False
    model: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Steps made."""
        return self.progress.step

    @step.setter
    def step(self, value: int) -> None:
        self.progress.step = value

    @property
    def elapsed_s(self) -> float:
        """Time that they and the measurements took."""
        return self.progress.elapsed_s

    @elapsed_s.setter
    def elapsed_s(self, value: float) -> None:
        self.progress.elapsed_s = value

    @property
    def best(self) -> Measurement | None:
        """The best measurement; of equal ones the first."""
        return max(self.measurements, key=lambda one: one.score, default=None)


def curve_settings(config: Sam2Training, clips: str) -> dict[str, Any]:
    """The settings that the loss curve follows from; `clips` is the fingerprint of the clips."""
    names = (
        *("image_size", "frames", "batch", "max_objects", "max_stride", "min_area", "corrected", "max_clicks"),
        *("rate", "encoder_rate", "weight_decay", "warm_up_steps", "max_norm", "unfreeze_encoder", "seed"),
    )
    return {
        "data": clips,
        "size": str(config.size),
        "train": [str(part) for part in config.train],
        "overrides": list(config.overrides),
        **{name: getattr(config, name) for name in names},
    }


def write_sam2_state(path: Path, state: Sam2State) -> None:
    """Write the state.

    Raises:
        SinkError: It cannot be written.
    """
    content = {
        "format": _FORMAT,
        "v": _VERSION,
        **{name: getattr(state, name) for name in ("losses", "since_best", "finished", "model", "optimizer")},
        "settings": dict(state.settings),
        "progress": asdict(state.progress),
        "measurements": [asdict(one) for one in state.measurements],
    }
    write_tensors(path, content)


def read_sam2_state(path: Path) -> Sam2State:
    """What `write_sam2_state` wrote.

    Raises:
        ConfigError: There is no such file.
        WeightsError: It cannot be read or is something else.
    """
    content = read_training(path, _FORMAT, _VERSION)
    try:
        return Sam2State(
            content["settings"],
            Progress(**content["progress"]),
            list(content["losses"]),
            [Measurement(**one) for one in content["measurements"]],
            content["since_best"],
            content["finished"],
            content["model"],
            content["optimizer"],
        )
    except (KeyError, TypeError) as exc:
        raise WeightsError(f"{path}: is damaged ({exc!r}); start anew with --overwrite") from exc


def write_sam2_history(config: Sam2Training, state: Sam2State) -> None:
    """Write losses, measurements, settings and versions as JSON beside the checkpoint.

    Raises:
        SinkError: It cannot be written.
    """
    write_history(
        config.out,
        elapsed_s=state.elapsed_s,
        finished=state.finished,
        losses=state.losses,
        measurements=state.measurements,
        best=state.best,
        told={"settings": asdict(config)},
        packages=_PACKAGES,
    )
