"""The project's own weights, which lie in the package: weights/NAME.safetensors, with a model card beside each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gest_stream.errors import MissingDependencyError, WeightsError

if TYPE_CHECKING:
    import torch

FORMAT: Final = "gest_stream.builtin"
"""What a file calls itself under the metadata key `format`."""

BUILTIN_NAMES: Final = ("hand-seg", "refiner", "sam2-nano")
"""The models that the package has weights of."""


def builtin_path(name: str) -> Path:
    """Where the weights of the built-in model `name` lie, whether they are there or not."""
    return Path(str(resources.files("gest_stream"))) / "weights" / f"{name}.safetensors"


def load_builtin(name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights of a built-in model.

    Args:
        name: `hand-seg` for gest_stream/weights/hand-seg.safetensors.

    Returns:
        State dict, floating point as float32, on the CPU; and what its training noted.

    Raises:
        WeightsError: The installation lacks the file, or it is damaged.
        MissingDependencyError: safetensors is not installed.
    """
    return read_builtin(builtin_path(name))


def read_builtin(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `training.builtin_store.save_builtin` wrote; as `load_builtin`, of a file anywhere.

    Raises:
        WeightsError: The file is absent, damaged, of another program, or holds values that are not finite.
        MissingDependencyError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as exc:
        raise MissingDependencyError("pip install safetensors") from exc
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = _noted(file.metadata(), path)
            state = {name: _widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError as exc:
        raise WeightsError(
            f"{path}: is not there; install gest-stream anew, or train it: "
            f"gest-stream train builtin --preset {path.stem}"
        ) from exc
    except (OSError, SafetensorError) as exc:
        raise WeightsError(f"{path}: cannot be read as safetensors ({exc}); install gest-stream anew") from exc
    if not all(bool(value.isfinite().all()) for value in state.values()):
        raise WeightsError(f"{path}: holds weights that are not finite: its training went wrong; train it anew")
    return state, metadata


def _noted(metadata: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    """The metadata with its values parsed; safetensors itself knows only text."""
    found = dict(metadata or {})
    if found.pop("format", None) != FORMAT:
        raise WeightsError(
            f"{path}: is no file of gest-stream's built-in models; give one that 'gest-stream train builtin' wrote"
        )
    try:
        return {name: json.loads(text) for name, text in found.items()}
    except ValueError as exc:
        raise WeightsError(
            f"{path}: its metadata is damaged ({exc}); train it anew or install gest-stream anew"
        ) from exc


def _widened(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value
