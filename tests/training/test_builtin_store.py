from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gest_stream.errors import ModelError, SinkError, WeightsError
from gest_stream.models.builtin import builtin_path, load_builtin, read_builtin
from gest_stream.training.builtin_store import save_builtin


def test_what_is_saved_is_loaded_with_kernels_in_half_and_vectors_in_full_precision(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    kernel, variance = torch.full((4, 3, 3, 3), 1 / 3), torch.full((4,), 1e-9)
    save_builtin(
        path,
        {"w": kernel, "var": variance, "count": torch.tensor(7)},
        {"preset": "hand-seg", "seed": 3, "sizes": [256, 144]},
    )
    state, metadata = read_builtin(path)
    assert state["w"].dtype == torch.float32
    assert torch.equal(state["w"], kernel.half().float())
    assert torch.equal(state["var"], variance)
    assert int(state["count"]) == 7
    assert metadata == {"preset": "hand-seg", "seed": 3, "sizes": [256, 144]}
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_half_precision_cannot_hold_are_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="body.w: holds a value that is not finite"):
        save_builtin(tmp_path / "net.safetensors", {"body.w": torch.full((2, 2), value)}, {})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_error_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(SinkError):
        save_builtin(tmp_path / "absent" / "net.safetensors", {"w": torch.ones(2, 2)}, {})


def test_an_absent_model_names_the_command_that_trains_it() -> None:
    with pytest.raises(WeightsError, match="gest-stream train builtin --preset no-such-model"):
        load_builtin("no-such-model")
    assert builtin_path("hand-seg").parent.name == "weights"


def test_damage_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    damaged, foreign = tmp_path / "damaged.safetensors", tmp_path / "foreign.safetensors"
    damaged.write_bytes(b"x" * 100)
    save_file({"w": torch.ones(2)}, foreign)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_builtin(damaged)
    with pytest.raises(WeightsError, match="is no file of gest-stream's built-in models"):
        read_builtin(foreign)


def test_weights_that_are_not_finite_are_refused_when_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    save_file({"w": torch.tensor([1.0, float("inf")])}, path, {"format": "gest_stream.builtin"})
    with pytest.raises(WeightsError, match="not finite"):
        read_builtin(path)
