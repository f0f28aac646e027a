"""The encoder: facebookresearch's numbers from facebookresearch's files, and what is said of other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.config import DinoBackbone
from gest_stream.errors import InvalidInputError, WeightsError
from gest_stream.models.dino import DinoEncoder, load_official, resize_positions
from tests.models.plain_dino import GRID, State, hollow_official, official_state, plain_tokens


def saved(content: object, folder: Path) -> Path:
    path = folder / "dino.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(("kind", "registers"), [(DinoBackbone.VITS14, 0), (DinoBackbone.VITS14_REG, 4)])
def test_tokens_of_every_level_are_the_official_layouts(kind: DinoBackbone, registers: int, tmp_path: Path) -> None:
    state = official_state(384, registers=registers, seed=3)
    encoder = DinoEncoder(kind).eval()
    load_official(encoder, saved(state, tmp_path))
    images = torch.randn(2, 3, 70, 98, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = list(plain_tokens(state, images))
        found = encoder(images, (0, 5, 11))
    assert [one.shape for one in found] == [(2, 384, 5, 7)] * 3
    for level, one in zip((0, 5, 11), found, strict=True):
        assert float(expected[level].abs().mean()) > 0.3
        assert float((one - expected[level]).abs().max()) <= 1e-4


def test_the_trained_size_uses_the_positions_as_they_are() -> None:
    positions = torch.randn(1, GRID * GRID, 8)
    for with_registers in (False, True):
        assert torch.equal(resize_positions(positions, GRID, GRID, with_registers), positions)
    assert not torch.equal(resize_positions(positions, GRID, GRID - 1, False)[:, :36], positions[:, :36])


def cubic(at: np.ndarray, sharpness: float) -> np.ndarray:
    """Keys' kernel."""
    x, a = np.abs(at), sharpness
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    return np.where(x <= 1, near, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0.0))


def taps(count: int, with_registers: bool) -> np.ndarray:
    """(count, 37): how much each old position counts for each new one."""
    old, weights = np.arange(GRID), np.zeros((count, GRID))
    for new in range(count):
        if with_registers:  # to the size, the kernel widened where it shrinks and cut at the border
            step = GRID / count
            weights[new] = cubic((old + 0.5 - (new + 0.5) * step) / max(step, 1.0), -0.5)
            weights[new] /= weights[new].sum()
            continue
        centre = (new + 0.5) * GRID / (count + 0.1) - 0.5  # the border's values go on outside
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[new, min(max(tap, 0), GRID - 1)] += cubic(np.array(tap - centre), -0.75)
    return weights


@pytest.mark.parametrize("with_registers", [False, True])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 32), (37, 50), (3, 2)])
def test_positions_are_resized_as_facebookresearch_does(height: int, width: int, with_registers: bool) -> None:
    positions = torch.randn(1, GRID * GRID, 3, generator=torch.Generator().manual_seed(0))
    grid = positions[0].double().numpy().reshape(GRID, GRID, 3)
    expected = np.einsum("yi,xj,ijc->yxc", taps(height, with_registers), taps(width, with_registers), grid)
    found = resize_positions(positions, height, width, with_registers)
    assert found.shape == (1, height * width, 3)
    np.testing.assert_allclose(found[0].numpy().reshape(height, width, 3), expected, atol=2e-5)
    other = resize_positions(positions, height, width, not with_registers)
    assert float((other - found).abs().max()) > 1e-2


def test_a_patch_of_the_picture_is_the_token_at_its_place() -> None:
    torch.manual_seed(0)
    encoder = DinoEncoder(DinoBackbone.NANO).eval()
    for block in encoder.vit.blocks:  # no token sees another
        torch.nn.init.zeros_(block.ls1.gamma)
    image = torch.zeros(1, 3, 5 * 14, 9 * 14)
    changed = image.clone()
    changed[:, :, 3 * 14 : 4 * 14, 7 * 14 : 8 * 14] = 1.0
    with torch.inference_mode():
        (before,), (after,) = encoder(image, (3,)), encoder(changed, (3,))
    moved = (after - before).abs().amax(dim=1)[0] > 1e-4
    assert moved.nonzero().tolist() == [[3, 7]]


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 1, 28, 28), (1, 3, 28, 30), (1, 3, 15, 28), (1, 3, 0, 14)])
def test_pictures_that_are_not_whole_patches_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="images: expected .* multiples of 14, got"):
        DinoEncoder(DinoBackbone.NANO)(torch.zeros(shape), (3,))


@pytest.mark.parametrize("levels", [(), (4,), (-1,), (2, 1), (1, 1)])
def test_levels_that_are_not_there_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="levels: expected ascending blocks of 0 to 3"):
        DinoEncoder(DinoBackbone.NANO)(torch.zeros(1, 3, 28, 28), levels)


def test_weights_come_from_the_callers_seed_alone() -> None:
    encoders = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        encoders.append(DinoEncoder(DinoBackbone.NANO).state_dict())
    one, same, other = encoders
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["vit.blocks.2.mlp.fc1.weight"], other["vit.blocks.2.mlp.fc1.weight"])
    torch.manual_seed(5)
    DinoEncoder(DinoBackbone.NANO)
    drawn = torch.rand(3)
    torch.manual_seed(6)
    DinoEncoder(DinoBackbone.NANO)
    assert not torch.equal(drawn, torch.rand(3))


SMALL, BASE = "DINOv2 ViT-S/14", "DINOv2 ViT-B/14"


@pytest.fixture(scope="module")
def small() -> DinoEncoder:
    return DinoEncoder(DinoBackbone.VITS14)


@pytest.mark.parametrize(
    ("width", "depth", "registers", "found"),
    [
        (768, 12, 0, rf"{BASE} \(768 wide\).*, or the backbone vitb14$"),
        (384, 12, 4, rf"{SMALL} with registers \(384 wide\).*, or the backbone vits14_reg$"),
        (768, 12, 4, rf"{BASE} with registers \(768 wide\).*, or the backbone vitb14_reg$"),
        (1024, 24, 0, r"DINOv2 ViT-L/14 \(1024 wide\).*; use weights of DINOv2 ViT-S/14$"),
        (384, 5, 0, r"DINOv2 model of 5 blocks \(384 wide\)"),
    ],
)
def test_weights_of_another_size_are_named_beside_the_expected_one(
    width: int, depth: int, registers: int, found: str, small: DinoEncoder, tmp_path: Path
) -> None:
    state = hollow_official(2, depth, registers) | {"patch_embed.proj.weight": torch.zeros(()).expand(width, 3, 14, 14)}
    with pytest.raises(WeightsError, match=f"dino.pth: is {found}") as error:
        load_official(small, saved(state, tmp_path))
    assert f"; {SMALL} (384 wide) was expected; use weights of {SMALL}" in str(error.value)


def test_weights_without_registers_are_refused_where_registers_are_expected(tmp_path: Path) -> None:
    state = hollow_official(384)
    message = rf"is {SMALL} \(384 wide\); {SMALL} with registers \(384 wide\) was expected"
    with pytest.raises(WeightsError, match=message):
        load_official(DinoEncoder(DinoBackbone.VITS14_REG), saved(state, tmp_path))


def test_nano_takes_no_official_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"is {SMALL} \(384 wide\); nano \(192 wide\) was expected"):
        load_official(DinoEncoder(DinoBackbone.NANO), saved(hollow_official(384), tmp_path))


@pytest.mark.parametrize("content", [{"fc.weight": torch.ones(2, 2)}, {"model": {"pos_embed": torch.ones(1, 5, 8)}}])
def test_a_file_of_something_else_is_said_to_be_no_encoder(
    content: dict[str, object], small: DinoEncoder, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=rf"holds no DINOv2 encoder; {SMALL} \(384 wide\) was expected"):
        load_official(small, saved(content, tmp_path))


def lacking(state: State) -> None:
    del state["blocks.7.mlp.fc2.bias"]


def foreign(state: State) -> None:
    state["head.weight"] = torch.ones(2)


def smaller_grid(state: State) -> None:
    state["pos_embed"] = torch.ones(1, 257, 384)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacking, r"blocks.7.mlp.fc2.bias: absent in the file, \(384,\) in the network"),
        (foreign, r"head.weight: \(2,\) in the file, absent in the network"),
        (smaller_grid, r"pos_embed: \(1, 257, 384\) in the file, \(1, 1370, 384\) in the network"),
    ],
)
def test_a_file_with_one_wrong_weight_is_refused_whole(
    spoil: object, message: str, small: DinoEncoder, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in small.state_dict().items()}
    state = hollow_official(384)
    assert callable(spoil)
    spoil(state)
    with pytest.raises(WeightsError, match=f"looks like {SMALL}.*1 weights do not fit it, for example {message}"):
        load_official(small, saved(state, tmp_path))
    assert all(torch.equal(before[name], value) for name, value in small.state_dict().items())
