"""Our decoder: its geometry, what learns and what stays frozen, and its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gest_stream.config import DinoBackbone
from gest_stream.errors import ConfigError, WeightsError
from gest_stream.models.dino_decoder import HandNet, NetSpec, fit_to_input, load_net, normalise, save_net
from tests.models.tiny_hand_net import SPEC, learned


def nano(**changes: Any) -> HandNet:
    torch.manual_seed(1)
    return HandNet(NetSpec(DinoBackbone.NANO, **{"width": 16, **changes})).eval()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vitx14"}, "backbone: 'vitx14' is not known; did you mean"),
        ({"classes": ("forearm",)}, "classes: expected different names, hand among them"),
        ({"classes": ("hand", "hand")}, "classes"),
        ({"classes": ()}, "classes"),
        ({"levels": (4,)}, "levels: expected ascending blocks of 0 to 3"),
        ({"levels": (2, 1)}, "levels"),
        ({"levels": (1.0,)}, "levels"),
        ({"width": 24}, "width: expected a multiple of 16 from 16 to 1024, got 24"),
        ({"width": 0}, "width"),
        ({"input_size": 55}, "input_size: expected 56 to 2044, got 55"),
    ],
)
def test_a_spec_without_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetSpec(**{"backbone": DinoBackbone.NANO, **changes})


def test_levels_are_four_evenly_spaced_blocks_unless_given() -> None:
    assert NetSpec(DinoBackbone.NANO).blocks == (0, 1, 2, 3)
    assert NetSpec(DinoBackbone.VITB14).blocks == (2, 5, 8, 11)
    assert NetSpec(DinoBackbone.VITB14, levels=(3, 11)).blocks == (3, 11)
    assert NetSpec("vits14").backbone is DinoBackbone.VITS14  # type: ignore[arg-type]  # as files spell it


@pytest.mark.parametrize(
    ("frame_size", "input_size", "resized", "padded"),
    [
        ((640, 480), 448, (448, 336), (448, 336)),
        ((640, 360), 448, (448, 252), (448, 252)),
        ((1920, 1080), 518, (518, 291), (518, 294)),
        ((100, 333), 448, (135, 448), (140, 448)),
        ((14, 14), 450, (448, 448), (448, 448)),  # 450 is nearest to 32 patches
        ((3000, 1), 56, (56, 1), (56, 14)),
        ((1, 3000), 5, (1, 14), (14, 14)),
    ],
)
def test_a_frame_keeps_its_aspect_and_is_padded_to_whole_patches(
    frame_size: tuple[int, int], input_size: int, resized: tuple[int, int], padded: tuple[int, int]
) -> None:
    assert fit_to_input(frame_size, input_size) == (resized, padded)


def test_pictures_are_normalised_as_imagenets() -> None:
    images = torch.tensor([0, 127, 255], dtype=torch.uint8).expand(1, 2, 4, 3)
    found = normalise(images)
    assert (found.shape, found.dtype) == ((1, 3, 2, 4), torch.float32)
    expected = [(0 - 0.485) / 0.229, (127 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(found[0, :, 1, 2].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(56, 56), (14, 70), (84, 42)])
@pytest.mark.parametrize("classes", [("hand",), ("hand", "forearm")])
def test_a_patch_has_four_by_four_cells_and_a_class_a_channel(
    height: int, width: int, classes: tuple[str, ...]
) -> None:
    net = nano(classes=classes, levels=(1, 3))
    with torch.inference_mode():
        logits = net(torch.randn(2, 3, height, width))
    assert (logits.shape, logits.dtype) == ((2, 1 + len(classes), height * 4 // 14, width * 4 // 14), torch.float32)


def test_cells_lie_where_their_token_and_their_pixels_are() -> None:
    """Neither path shifts, mirrors or transposes: the change that one place makes is centred on it."""
    net, place = nano(), (4, 9)
    centre = torch.tensor([4 * place[0] + 1.5, 4 * place[1] + 1.5])
    tokens = torch.randn(1, 192, 12, 16)
    louder = tokens.clone()
    louder[:, :, place[0], place[1]] *= -1.0
    images = torch.zeros(1, 3, 12 * 14, 16 * 14)
    brighter = images.clone()
    brighter[:, :, place[0] * 14 : place[0] * 14 + 14, place[1] * 14 : place[1] * 14 + 14] = 1.0
    with torch.inference_mode():
        before = net.decoder([tokens] * 4, images)
        for after in (net.decoder([louder] * 4, images), net.decoder([tokens] * 4, brighter)):
            change = (after - before).square().sum(dim=1)[0]
            change[change < 0.1 * change.max()] = 0.0
            rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in change.shape), indexing="ij")
            found = torch.stack([(rows * change).sum(), (columns * change).sum()]) / change.sum()
            assert float((found - centre).abs().max()) < 1.0


def test_every_level_and_the_picture_have_a_say() -> None:
    net = nano()
    levels = [torch.randn(1, 192, 3, 5) for _ in range(4)]
    images = torch.randn(1, 3, 42, 70)
    with torch.inference_mode():
        before = net.decoder(levels, images)
        for index in range(4):
            other = [torch.randn_like(one) if k == index else one for k, one in enumerate(levels)]
            assert float((net.decoder(other, images) - before).abs().max()) > 1e-3
        assert float((net.decoder(levels, torch.randn_like(images)) - before).abs().max()) > 1e-3


def kept_values(net: HandNet, images: torch.Tensor) -> tuple[int, torch.Tensor]:
    """How many values a forward pass keeps for gradients, and its logits."""
    kept: list[int] = []

    def keep(values: torch.Tensor) -> torch.Tensor:
        kept.append(values.numel())
        return values

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        logits: torch.Tensor = net(images)
    return sum(kept), logits


def test_a_frozen_backbone_gets_no_gradient_and_keeps_no_graph() -> None:
    net = nano().train()
    images, kept = torch.randn(1, 3, 28, 28), []
    for trains in (True, False, True):
        net.zero_grad(set_to_none=True)
        net.train_backbone(trains)
        count, logits = kept_values(net, images)
        kept.append(count)
        logits.square().sum().backward()  # type: ignore[no-untyped-call]
        assert all((one.grad is not None) == trains for one in net.encoder.vit.blocks.parameters())
        assert all(one.requires_grad == trains for one in net.encoder.parameters())
        assert all(one.grad is not None for one in net.decoder.parameters())
    assert kept[1] < 0.5 * kept[0]
    assert kept[2] == kept[0]


def test_it_learns_from_scratch_in_forty_five_steps() -> None:
    _, losses = learned()
    assert losses[0] > 1.0
    assert np.mean(losses[-5:]) < 0.25


def test_a_decoder_has_about_a_million_weights() -> None:
    with torch.device("meta"):
        net = HandNet(NetSpec(DinoBackbone.VITB14))
    count = sum(one.numel() for one in net.decoder.parameters())
    assert 0.8e6 < count < 1.2e6
    assert sum(one.numel() for one in nano().decoder.parameters()) < 0.1 * count


def test_a_saved_net_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "net.pt"
    net = nano(classes=("hand",), levels=(0, 3), width=32, input_size=280).train()
    save_net(path, net)
    drawn = torch.get_rng_state()
    loaded = load_net(path)
    assert torch.equal(drawn, torch.get_rng_state())  # loading draws no weights
    assert loaded.spec == net.spec
    assert not loaded.training
    images = torch.randn(1, 3, 28, 42)
    with torch.inference_mode():
        assert torch.equal(loaded(images), net.eval()(images))
    assert [one.name for one in path.parent.iterdir()] == ["net.pt"]
    loaded(images).sum().backward()  # and can be trained on
    assert loaded.encoder.vit.pos_embed.grad is not None


def test_a_net_saved_in_half_precision_loads_in_float32(tmp_path: Path) -> None:
    save_net(tmp_path / "net.pt", nano().bfloat16())
    loaded = load_net(tmp_path / "net.pt")
    assert {one.dtype for one in loaded.parameters()} == {torch.float32}


def test_saving_that_fails_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pt"
    save_net(path, nano())

    def full_disk(content: object, to: Path) -> None:
        to.write_bytes(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_net(path, nano())
    assert [one.name for one in tmp_path.iterdir()] == ["net.pt"]
    assert load_net(path).spec.width == 16


def spec_of(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["spec"] |= changes

    return change


def without(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for name in names[:-1]:
            content = content[name]
        del content[names[-1]]

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content.update(format="other"), "was not written by gest-stream train decoder"),
        (lambda content: content.update(v=2), "has version 2 of its format, and this gest_stream reads 1; update it"),
        (without("spec"), "does not say how its network is built"),
        (without("spec", "levels"), "cannot build.*levels"),
        (spec_of(backbone="vitz14"), "cannot build.*'vitz14' is not known"),
        (spec_of(width="wide"), "cannot build"),
        (spec_of(levels=None), "cannot build"),
        (spec_of(colour="red"), "cannot build.*colour"),
        (without("model"), "holds no state dict"),
        (
            spec_of(width=32),
            r"looks like a decoder on nano \(192 wide\), but \d+ weights do not fit it, for example "
            r"decoder.inlets.0.1.bias: \(16,\) in the file, \(32,\) in the network",
        ),
        (spec_of(backbone="vits14"), r"a decoder on DINOv2 ViT-S/14 \(384 wide\), but \d+ weights do not fit"),
        (
            without("model", "encoder.vit.cls_token"),
            "1 weights do not fit it, for example encoder.vit.cls_token: absent",
        ),
    ],
)
def test_a_spoilt_checkpoint_is_named_with_what_is_wrong(
    spoil: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.pt"
    save_net(path, nano())
    content = torch.load(path, weights_only=True)
    spoil(content)
    torch.save(content, path)
    with pytest.raises(WeightsError, match=f"net.pt: .*{message}"):
        load_net(path)


def test_the_tiny_nets_spec_survives_its_file(tmp_path: Path) -> None:
    net, _ = learned()
    save_net(tmp_path / "tiny.pt", net)
    loaded = load_net(tmp_path / "tiny.pt")
    assert loaded.spec == SPEC
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in net.state_dict().items())
