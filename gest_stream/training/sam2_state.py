"""What a fine-tuning of SAM2 leaves on disk: the best checkpoint, the state to go on from, the history."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from gest_stream.errors import ConfigError, SinkError, WeightsError
from gest_stream.models.checkpoint import read_content
from gest_stream.sinks.output_path import explain_os_error
from gest_stream.training.history import history_path
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


def save_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write with torch.save under another name and rename, so that a reader never sees half a file.

    Raises:
        SinkError: It cannot be written.
    """
    _replace(path, lambda unfinished: torch.save(dict(content), unfinished))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as exc:  # torch tells of a full disk by a RuntimeError
        raise SinkError(explain_os_error(path, exc)) from exc
    finally:
        unfinished.unlink(missing_ok=True)


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
    save_tensors(path, content)


def read_sam2_state(path: Path) -> Sam2State:
    """What `write_sam2_state` wrote.

    Raises:
        ConfigError: There is no such file.
        WeightsError: It cannot be read or is something else.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no training to go on with; leave --resume out, or name its --out")
    content = read_content(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("v") != _VERSION:
        raise WeightsError(f"{path}: is not the state of a training of this version; start anew with --overwrite")
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
    best = state.best
    record = {
        "v": 1,
        "steps": state.progress.step,
        "elapsed_s": round(state.progress.elapsed_s, 3),
        "finished": state.finished,
        "best": asdict(best) if best is not None else None,
        "measurements": [asdict(one) for one in state.measurements],
        "losses": [round(loss, 6) if loss == loss else None for loss in state.losses],
        "settings": asdict(config),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }
    text = json.dumps(record, indent=1, default=str) + "\n"
    _replace(history_path(config.out), lambda unfinished: unfinished.write_text(text))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
