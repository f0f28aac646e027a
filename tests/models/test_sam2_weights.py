"""Checkpoints: what loads, and what is said of files that do not."""

from __future__ import annotations

import os
import pickle
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from gest_stream.config import Sam2Size
from gest_stream.errors import WeightsError
from gest_stream.models.sam2_model import Sam2Model
from gest_stream.models.sam2_weights import build_modules, load_checkpoint, size_overrides
from tests.models.sam2_nano import CPU, NANO, SIDE, nano_modules, nano_weights


@pytest.fixture(scope="module")
def nano() -> Any:
    return nano_modules()


@lru_cache(maxsize=2)
def official(size: Sam2Size) -> dict[str, torch.Tensor]:
    """Names and shapes of an official size: views of one zero, so that a file of them is small."""
    own: dict[str, torch.Tensor] = build_modules(size, 64).state_dict()
    return {name: torch.zeros(()).expand(value.shape) for name, value in own.items()}


def saved(content: Any, folder: Path) -> Path:
    path = folder / "weights.pt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_state_dict_loads_bare_and_as_the_official_files_wrap_it(wrapped: bool, tmp_path: Path) -> None:
    state = {name: value + 1 if value.is_floating_point() else value for name, value in nano_weights().items()}
    modules = build_modules(Sam2Size.TINY, SIDE, NANO)
    load_checkpoint(modules, saved({"model": state} if wrapped else state, tmp_path), "nano")
    loaded = modules.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_missing_file_is_named(tmp_path: Path, nano: Any) -> None:
    with pytest.raises(WeightsError, match="absent.pt: cannot be read as a checkpoint: No such file.*check the path"):
        load_checkpoint(nano, tmp_path / "absent.pt", "nano")
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        load_checkpoint(nano, tmp_path, "nano")


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"<html>404: Not Found</html>", b"PK\x03\x04" + bytes(200), pickle.dumps([1, 2])]
)
def test_a_file_that_is_no_checkpoint_is_said_to_be_none(content: bytes, tmp_path: Path, nano: Any) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights.pt: (is no checkpoint of plain tensors|holds no state dict)"):
        load_checkpoint(nano, path, "nano")


def test_damage_of_any_kind_is_a_weights_error(tmp_path: Path, nano: Any) -> None:
    """IndexError, struct.error and AssertionError come out of torch for some of these."""
    path, draw = tmp_path / "weights.pt", random.Random(0)
    content = {"model": {"a": torch.ones(30)}}
    torch.save(content, path)
    whole = [path.read_bytes()]
    torch.save(content, path, _use_new_zipfile_serialization=False)
    whole.append(path.read_bytes())
    for index in range(250):
        damaged = bytearray(whole[index % 2])
        if draw.random() < 0.4:
            del damaged[draw.randrange(len(damaged)) :]
        for _ in range(3):
            if damaged:
                damaged[draw.randrange(min(len(damaged), 400))] = draw.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(WeightsError):
            load_checkpoint(nano, path, "nano")


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, nano: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (saved({"model": _Runs()}, tmp_path), tmp_path / "plain.pkl"):
        if not path.exists():
            path.write_bytes(pickle.dumps({"model": _Runs()}))
        with pytest.raises(WeightsError, match="is no checkpoint of plain tensors.*torch.save"):
            load_checkpoint(nano, path, "nano")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [{}, {"model": {}}, {"model": 3}, {"a": 3}, [torch.ones(2)], torch.ones(2), {"model": {"a": [1.0]}}]
)
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path, nano: Any) -> None:
    with pytest.raises(WeightsError, match="holds no state dict; expected {'model': name to tensor}"):
        load_checkpoint(nano, saved(content, tmp_path), "nano")


@pytest.mark.parametrize(
    ("of", "into"), [(Sam2Size.SMALL, Sam2Size.TINY), (Sam2Size.TINY, Sam2Size.SMALL)], ids=["small", "tiny"]
)
def test_weights_of_another_size_are_named_with_the_way_out(of: Sam2Size, into: Sam2Size, tmp_path: Path) -> None:
    path = saved({"model": official(of)}, tmp_path)
    message = f"weights.pt: does not fit sam2.1 {into}: .*; it looks like {of}; use --size {of}$"
    with pytest.raises(WeightsError, match=message) as error:
        load_checkpoint(build_modules(into, 64), path, f"sam2.1 {into}")
    assert "image_encoder.trunk.blocks." in str(error.value)


def test_shapes_that_differ_are_quoted_from_both_sides(tmp_path: Path, nano: Any) -> None:
    name = "maskmem_tpos_enc"
    state = nano_weights() | {name: torch.zeros(5, 1, 1, 8)}
    message = rf"{name} is \(5, 1, 1, 8\) in the file and \(7, 1, 1, 8\) in the model; its trunk has width 16 and 5 blo"
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(nano, saved(state, tmp_path), "nano")


def test_a_sam_2_0_checkpoint_is_told_from_2_1(tmp_path: Path) -> None:
    added = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
    state = {name: value for name, value in official(Sam2Size.TINY).items() if name not in added}
    message = "3 weights are not in the file, for example no_obj_emb.*it looks like SAM 2.0 tiny; use a SAM 2.1 checkpo"
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(build_modules(Sam2Size.TINY, 64), saved({"model": state}, tmp_path), "sam2.1 tiny")


def test_a_checkpoint_of_something_else_is_no_sam2(tmp_path: Path, nano: Any) -> None:
    message = "1 weights of the file are not in the model, for example fc.weight; it is not a checkpoint of SAM 2"
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(nano, saved({"fc.weight": torch.ones(2, 2)}, tmp_path), "nano")


def test_a_refused_checkpoint_leaves_the_model_as_it_was(tmp_path: Path, nano: Any) -> None:
    before = {name: value.clone() for name, value in nano.state_dict().items()}
    state = {name: value + 1 for name, value in nano_weights().items()}
    del state["no_mem_embed"]
    with pytest.raises(WeightsError, match="1 weights are not in the file, for example no_mem_embed"):
        load_checkpoint(nano, saved(state, tmp_path), "nano")
    assert all(torch.equal(before[name], value) for name, value in nano.state_dict().items())


@pytest.mark.parametrize("size", [64, 1024])
def test_the_config_is_upstreams_for_video_at_the_asked_for_size(size: int) -> None:
    modules = build_modules(Sam2Size.TINY, size)
    layer = modules.memory_attention.layers[0]
    assert modules.image_size == size
    assert layer.self_attn.freqs_cis.shape[0] == layer.cross_attn_image.freqs_cis.shape[0] == (size // 16) ** 2
    assert modules.binarize_mask_from_pts_for_mem_enc
    assert modules.sam_mask_decoder.dynamic_multimask_via_stability
    assert (modules.sam_mask_decoder.dynamic_multimask_stability_thresh, modules.training) == (0.98, False)
    assert not any(value.requires_grad for value in modules.parameters())
    assert size_overrides(size)[1].endswith(f"feat_sizes=[{size // 16},{size // 16}]")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.soft_no_obj_ptr=true",
            "SAM2 config: soft_no_obj_ptr is True, but .* follows SAM 2.1, where it is False",
        ),
        ("model.memory_temporal_stride_for_eval=2", "memory_temporal_stride_for_eval is 2, .* where it is 1"),
        ("model.no_obj_embed_spatial=false", "no_obj_embed_spatial is False"),
        ("model.image_encoder.neck.fpn_interp_model=bilinear", "fpn_interp_model is bilinear.*where it is nearest"),
    ],
)
def test_an_architecture_that_is_not_followed_is_refused(override: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        Sam2Model(build_modules(Sam2Size.TINY, SIDE, (*NANO, override)), CPU)
