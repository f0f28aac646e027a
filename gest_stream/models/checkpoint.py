"""Files of torch.save, read so that nothing in them runs."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from gest_stream.errors import WeightsError


def read_content(path: Path) -> Any:
    """What a file of torch.save holds; only tensors and plain values are unpickled.

    Raises:
        WeightsError: The file cannot be read, or holds anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, of files that then fail to load
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as exc:
        raise WeightsError(f"{path}: cannot be read as a checkpoint: {exc.strerror or exc}; check the path") from exc
    except Exception as exc:  # torch's unpickler meets damage with whatever Python raises: IndexError, struct.error, …
        raise WeightsError(
            f"{path}: is no checkpoint of plain tensors ({_why(exc, path)}); "
            "save the model's state dict with torch.save({'model': model.state_dict()}, path)"
        ) from exc


def state_in(content: object, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in what a file holds: {"model": state dict} or the state dict itself.

    Args:
        content: From `read_content`.
        path: Where it was read, for messages.

    Raises:
        WeightsError: There is none.
    """
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no state dict; expected {{'model': name to tensor}}")
    return state


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint, on the CPU.

    Raises:
        WeightsError: The file cannot be read, or is no checkpoint.
    """
    return state_in(read_content(path), path)


def _why(exc: Exception, path: Path) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(exc, pickle.UnpicklingError):  # torch's own text advises to run whatever is in the file
        return "it is of another format, damaged, or holds Python objects, which are not loaded: they could run code"
    return (str(exc).splitlines() or [type(exc).__name__])[0]
