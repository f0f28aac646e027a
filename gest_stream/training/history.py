"""The history of a training as JSON: what it was told, how its loss fell, how good it became."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from gest_stream.errors import SinkError
from gest_stream.training.config import DecoderTraining
from gest_stream.training.state import TrainingState

_PACKAGES = ("gest-stream", "torch", "timm", "numpy", "opencv-contrib-python")


def history_path(out: Path) -> Path:
    """Where the history of the training of `out` lies."""
    return out.with_suffix(".json")


def check_history_place(out: Path) -> None:
    """Refuse to write a history over a file that is none, such as a COCO file of the same name.

    Raises:
        SinkError: It is another file.
    """
    path = history_path(out)
    if not path.exists():
        return
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or not {"losses", "measurements"} <= content.keys():
        raise SinkError(
            f"{path}: the history of the training would be written there, and it is another file; choose another --out"
        )


def write_history(config: DecoderTraining, state: TrainingState) -> None:
    """Write it beside the checkpoint, under another name first.

    Raises:
        OSError: It cannot be written.
    """
    best = state.best
    record = {
        "v": 1,
        "steps": state.step,
        "elapsed_s": round(state.elapsed_s, 3),
        "finished": state.finished,
        "best": asdict(best) if best is not None else None,
        "measurements": [asdict(one) for one in state.measurements],
        "losses": [round(loss, 6) for loss in state.losses],
        "network": asdict(state.spec),
        "settings": asdict(config),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }
    path = history_path(config.out)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(json.dumps(record, indent=1, default=_plain) + "\n")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no place in JSON")
