"""gest_detectron's checkpoint: the same logits as its layout gives, computed plainly."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gest_stream.errors import WeightsError
from gest_stream.models.gest_detectron import load_gest_detectron
from tests.models.plain_dino import State, hollow, official_state, plain_tokens

CHANNELS = {0: (256, 768, 3), 2: (128, 256, 3), 4: (64, 128, 3), 6: (32, 64, 3), 8: (1, 32, 1)}


def checkpoint(width: int = 768, seed: int = 0) -> State:
    """Seeded weights as gest_detectron's file lays them out; the logits have a deviation of about 5."""
    draw = torch.Generator().manual_seed(seed + 1)
    state = {f"dinov2.{name}": value for name, value in official_state(width, seed=seed).items()}
    for index, (outputs, inputs, side) in CHANNELS.items():
        shape = (outputs, width if index == 0 else inputs, side, side)
        std = 2.0 * (shape[1] * side * side) ** -0.5
        state[f"decoder.{index}.weight"] = torch.randn(shape, generator=draw) * std
        state[f"decoder.{index}.bias"] = torch.randn(outputs, generator=draw) * 0.3
    return state


@lru_cache
def _hollow_checkpoint(width: int) -> State:
    return hollow(checkpoint(width))


def hollow_checkpoint(width: int = 768) -> State:
    """`checkpoint` without its values, so that a file of it is small."""
    return dict(_hollow_checkpoint(width))


def plain_logits(state: State, images: torch.Tensor) -> torch.Tensor:
    """(B, 1, 224, 224) from (B, 3, 224, 224), after MODELS.md."""
    encoder = {name.removeprefix("dinov2."): value for name, value in state.items() if name.startswith("dinov2.")}
    *_, values = plain_tokens(encoder, images)
    for index, (*_, side) in CHANNELS.items():
        values = F.conv2d(values, state[f"decoder.{index}.weight"], state[f"decoder.{index}.bias"], padding=side // 2)
        size = {0: 32, 2: 64, 4: 128, 6: 224}.get(index)
        if size is not None:
            values = F.interpolate(values, size=(size, size), mode="bilinear", align_corners=True)
    return values


def saved(content: object, folder: Path) -> Path:
    path = folder / "gest.pth"
    torch.save(content, path)
    return path


def test_the_logits_are_those_of_the_layout_computed_plainly(tmp_path: Path) -> None:
    state = checkpoint(seed=7)
    path = saved(state, tmp_path)
    net = load_gest_detectron(path)
    path.unlink()  # 350 MB
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.inference_mode():
        expected, found = plain_logits(state, images), net(images)
    assert (found.shape, found.dtype) == ((1, 1, 224, 224), torch.float32)
    assert float(expected.std()) > 1.0
    assert float((found - expected).abs().max()) <= 1e-4
    assert not net.training


def test_a_whole_checkpoint_loads_also_as_model(tmp_path: Path) -> None:
    net = load_gest_detectron(saved({"model": hollow_checkpoint()}, tmp_path))
    assert not any(bool(value.any()) for value in net.state_dict().values())


def part(prefix: str) -> State:
    return {name: value for name, value in hollow_checkpoint().items() if name.startswith(prefix)}


def test_a_decoder_alone_is_told_what_is_missing(tmp_path: Path) -> None:
    message = (
        r"gest.pth: holds a decoder alone; its encoder, DINOv2 ViT-B/14 \(768 wide\) under the names dinov2.…, is "
        "missing; give gest_detectron's whole file.*models fetch gest-detectron.*or train a decoder"
    )
    with pytest.raises(WeightsError, match=message):
        load_gest_detectron(saved(part("decoder."), tmp_path))


def test_an_encoder_alone_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds the encoder of gest_detectron alone, no decoder; give its whole"):
        load_gest_detectron(saved(part("dinov2."), tmp_path))


def test_an_encoder_of_another_size_is_named_beside_the_right_one(tmp_path: Path) -> None:
    message = (
        r"its encoder is DINOv2 ViT-S/14 \(384 wide\); gest_detectron's decoder stands on DINOv2 ViT-B/14 \(768 wide\)"
    )
    with pytest.raises(WeightsError, match=message):
        load_gest_detectron(saved(hollow_checkpoint(384), tmp_path))
    foreign = part("decoder.") | {"dinov2.conv1.weight": torch.ones(2)}
    with pytest.raises(WeightsError, match=r"its encoder is none of DINOv2; .* stands on DINOv2 ViT-B/14 \(768 wide"):
        load_gest_detectron(saved(foreign, tmp_path))


def test_a_decoder_of_another_shape_is_quoted_from_both_sides(tmp_path: Path) -> None:
    state = hollow_checkpoint() | {"decoder.4.weight": torch.zeros(()).expand(64, 100, 3, 3)}
    message = (
        r"looks like gest_detectron's decoder, but 1 weights do not fit it, for example 4.weight: "
        r"\(64, 100, 3, 3\) in the file, \(64, 128, 3, 3\) in the network"
    )
    with pytest.raises(WeightsError, match=message):
        load_gest_detectron(saved(state, tmp_path))


def test_other_names_are_not_laid_out_so(tmp_path: Path) -> None:
    state = part("decoder.") | {"head.weight": torch.ones(2)}
    message = "is not laid out as gest_detectron's checkpoint, .* dinov2.… or decoder.…: it holds head.weight"
    with pytest.raises(WeightsError, match=message):
        load_gest_detectron(saved(state, tmp_path))
