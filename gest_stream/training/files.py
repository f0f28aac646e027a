"""Where the files of a training lie, and how they are written so that no reader sees half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from gest_stream.errors import SinkError
from gest_stream.sinks.output_path import explain_os_error


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
