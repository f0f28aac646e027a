"""The mean of two trainings' weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gest_stream.errors import WeightsError
from gest_stream.models.builtin import read_builtin
from gest_stream.training.builtin_store import save_builtin
from gest_stream.training.mean_weights import main, mean_weights


def written(path: Path, value: float, shape: tuple[int, ...] = (2, 3)) -> Path:
    save_builtin(path, {"kernel": torch.full(shape, value), "bias": torch.full((2,), 2 * value)}, {"steps": int(value)})
    return path


def test_it_lies_in_the_middle_and_says_of_what(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.safetensors", 1.0), written(tmp_path / "b.safetensors", 4.0)
    assert main([str(first), str(second), "--out", str(tmp_path / "mean.safetensors")]) == 0
    state, noted = read_builtin(tmp_path / "mean.safetensors")
    assert torch.equal(state["kernel"], torch.full((2, 3), 2.5)) and torch.equal(state["bias"], torch.full((2,), 5.0))
    assert noted["steps"] == 4 and noted["mean_of"] == ["a.safetensors", "b.safetensors"]


def test_weights_of_different_networks_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = written(tmp_path / "a.safetensors", 1.0), written(tmp_path / "b.safetensors", 1.0, (3, 2))
    with pytest.raises(WeightsError, match=r"b\.safetensors: is another network than .*a\.safetensors"):
        mean_weights(first, second)
    assert main([str(first), str(second), "--out", str(tmp_path / "mean.safetensors")]) == 1
    assert "mean_weights: " in capsys.readouterr().err and not (tmp_path / "mean.safetensors").exists()
