from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gest_stream.config import DinoBackbone
from gest_stream.errors import ConfigError, WeightsError
from gest_stream.models.dino import DinoEncoder
from gest_stream.models.dino_decoder import HandNet, NetSpec, save_net
from gest_stream.models.store import ModelStore
from gest_stream.training.config import DecoderTraining
from gest_stream.training.network import make_net, official_file
from tests.training.made_data import folder_source, small_training


@pytest.fixture
def config(tmp_path: Path) -> DecoderTraining:
    return replace(small_training(tmp_path, [folder_source(tmp_path)]), backbone=None, input_size=0)


def official(kind: DinoBackbone) -> dict[str, torch.Tensor]:
    """Seeded weights under facebookresearch's names, of a backbone without registers."""
    torch.manual_seed(1)
    return {**DinoEncoder(kind).vit.state_dict(), "mask_token": torch.zeros(1, 384)}


def test_the_seed_alone_decides_a_new_network(config: DecoderTraining) -> None:
    config = replace(config, backbone=DinoBackbone.NANO)
    first, again, other = (make_net(replace(config, seed=seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.vit.patch_embed.proj.weight"], other["encoder.vit.patch_embed.proj.weight"])


def test_it_tells_hands_and_forearms_at_448_pixels_where_nothing_else_is_said(config: DecoderTraining) -> None:
    nano = replace(config, backbone=DinoBackbone.NANO)
    assert make_net(nano).spec == NetSpec(DinoBackbone.NANO, ("hand", "forearm"), input_size=448)
    assert make_net(replace(nano, classes=("hand",), input_size=224)).spec == NetSpec(
        DinoBackbone.NANO, ("hand",), input_size=224
    )


def test_official_weights_are_put_into_the_encoder(config: DecoderTraining, tmp_path: Path) -> None:
    weights = official(DinoBackbone.VITS14)
    torch.save(weights, tmp_path / "vits14.pth")
    net = make_net(replace(config, backbone_weights=tmp_path / "vits14.pth"))
    assert net.spec.backbone is DinoBackbone.VITS14
    assert torch.equal(net.encoder.vit.blocks[3].mlp.fc1.weight, weights["blocks.3.mlp.fc1.weight"])


def test_official_weights_of_another_backbone_name_both(config: DecoderTraining, tmp_path: Path) -> None:
    torch.save(official(DinoBackbone.VITS14), tmp_path / "vits14.pth")
    with pytest.raises(
        WeightsError, match=r"vits14\.pth: is DINOv2 ViT-S/14 .*; DINOv2 ViT-S/14 with reg.* was expected"
    ):
        make_net(replace(config, backbone=DinoBackbone.VITS14_REG, backbone_weights=tmp_path / "vits14.pth"))


def test_vits14_comes_from_the_store(config: DecoderTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(self: ModelStore, name: str) -> Path:
        asked.append(name)
        torch.save(official(DinoBackbone.VITS14), tmp_path / "vits14.pth")
        return tmp_path / "vits14.pth"

    monkeypatch.setattr(ModelStore, "fetch", fetch)
    make_net(config)
    assert asked == ["dinov2-vits14"] == [official_file(config)]


@pytest.mark.parametrize("backbone", [DinoBackbone.VITB14, DinoBackbone.VITS14_REG, DinoBackbone.VITB14_REG])
def test_where_no_address_is_known_the_file_is_asked_for(config: DecoderTraining, backbone: DinoBackbone) -> None:
    with pytest.raises(ConfigError, match=f"backbone {backbone}: .* --backbone-weights FILE"):
        make_net(replace(config, backbone=backbone))


def test_nothing_is_fetched_for_a_checkpoint_or_nano(config: DecoderTraining, tmp_path: Path) -> None:
    for changes in (
        {"backbone": DinoBackbone.NANO},
        {"init": tmp_path / "net.pt"},
        {"backbone_weights": tmp_path / "vits14.pth"},
        {"resume": True},
    ):
        assert official_file(replace(config, **changes)) is None


def test_a_checkpoint_brings_its_own_network(config: DecoderTraining, tmp_path: Path) -> None:
    spec = NetSpec(DinoBackbone.NANO, ("hand",), width=32, input_size=140)
    torch.manual_seed(5)
    stored = HandNet(spec)
    save_net(tmp_path / "net.pt", stored)
    init = replace(config, init=tmp_path / "net.pt")
    net = make_net(init)
    assert net.spec == spec
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), stored.parameters(), strict=True))
    assert make_net(replace(init, input_size=196)).spec == replace(spec, input_size=196)
    with pytest.raises(WeightsError, match=r"net\.pt: has the backbone nano .*, not DINOv2 ViT-B/14 .*--backbone nano"):
        make_net(replace(init, backbone=DinoBackbone.VITB14))
    with pytest.raises(ConfigError, match=r"net\.pt: tells hand apart, not hand and forearm; say --classes hand"):
        make_net(replace(init, classes=("hand", "forearm")))


def test_a_file_that_is_no_checkpoint_of_ours_is_refused(config: DecoderTraining, tmp_path: Path) -> None:
    torch.save(official(DinoBackbone.VITS14), tmp_path / "vits14.pth")
    with pytest.raises(WeightsError, match=r"vits14\.pth: was not written by gest-stream train decoder"):
        make_net(replace(config, init=tmp_path / "vits14.pth"))
