"""What every training leaves beside its checkpoint, written so that no reader sees half of it."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from gest_stream.errors import ConfigError, SinkError, WeightsError
from gest_stream.models.checkpoint import read_content
from gest_stream.sinks.output_path import explain_os_error
from gest_stream.training.progress import Measurement


def state_path(out: Path) -> Path:
    """Where the state of the training of `out` lies."""
    return out.with_suffix(".train.pt")


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


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write with torch.save under another name and rename.

    Raises:
        SinkError: It cannot be written.
    """
    replace_file(path, lambda unfinished: torch.save(dict(content), unfinished))


def read_training(path: Path, form: str, version: int) -> dict[str, Any]:
    """What a state file holds.

    Args:
        path: The file.
        form: What it must call itself under "format".
        version: And under "v".

    Raises:
        ConfigError: There is no such file.
        WeightsError: It cannot be read or is something else.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no training to go on with; leave --resume out, or name its --out")
    content = read_content(path)
    if not isinstance(content, dict) or content.get("format") != form or content.get("v") != version:
        raise WeightsError(f"{path}: is not the state of a training of this version; start anew with --overwrite")
    return content


def write_history(
    out: Path,
    *,
    elapsed_s: float,
    finished: bool,
    losses: Sequence[float],
    measurements: Sequence[Measurement],
    best: Measurement | None,
    told: Mapping[str, Any],
    packages: Sequence[str],
) -> None:
    """Write a history as JSON: what the training was told, how its loss fell, how good it became.

    Args:
        out: The checkpoint beside which it lies.
        elapsed_s: Time of all steps and measurements.
        finished: The training ended by itself.
        losses: Of every step; nan becomes null.
        measurements: In their order.
        best: The best of them.
        told: Settings and what else it follows from.
        packages: Whose versions are noted.

    Raises:
        SinkError: It cannot be written.
    """
    record = {
        "v": 1,
        "steps": len(losses),
        "elapsed_s": round(elapsed_s, 3),
        "finished": finished,
        "best": asdict(best) if best is not None else None,
        "measurements": [asdict(one) for one in measurements],
        "losses": [round(loss, 6) if math.isfinite(loss) else None for loss in losses],
        **told,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
    }
    text = json.dumps(record, indent=1, default=_plain) + "\n"
    replace_file(history_path(out), lambda unfinished: unfinished.write_text(text))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a file under another name, and rename it.

    Raises:
        SinkError: It cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as exc:  # torch tells of a full disk by a RuntimeError
        raise SinkError(explain_os_error(path, exc)) from exc
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
