"""Writes the weights of built-in models as safetensors; models/builtin.py reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gest_stream.errors import ModelError
from gest_stream.models.builtin import FORMAT
from gest_stream.training.files import replace_file


def save_builtin(path: Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write weights under another name and rename, so that no reader sees half of them.

    Matrices and kernels are stored in half precision. Vectors (biases, scales, running variances) and scalars stay
    as they are: they weigh next to nothing, and a variance may be below what half precision resolves.

    Args:
        path: NAME.safetensors; the folder must be there.
        state: State dict; tensors may lie anywhere.
        metadata: What the network is made from and how it was trained: preset, seed, steps, sizes, …; values that
            JSON holds. The key `format` is taken.

    Raises:
        ModelError: A value is not finite, or too large for half precision.
        SinkError: The file cannot be written.
    """
    from safetensors.torch import save

    stored = {name: _stored(name, value) for name, value in state.items()}
    noted = {name: json.dumps(value) for name, value in metadata.items()} | {"format": FORMAT}
    content = save(stored, noted)
    replace_file(path, lambda unfinished: unfinished.write_bytes(content))


def _stored(name: str, value: torch.Tensor) -> torch.Tensor:
    value = value.detach().to("cpu")
    if value.is_floating_point() and value.ndim >= 2:
        value = value.half()
    if not bool(value.isfinite().all()):
        raise ModelError(f"{name}: holds a value that is not finite in half precision; its training went wrong")
    return value.contiguous().clone()  # safetensors refuses tensors that share memory
