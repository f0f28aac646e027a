"""Which files the redetector takes, and what is said of others."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.config import DinoBackbone, RedetectorConfig
from gest_stream.errors import WeightsError
from gest_stream.models.dino_decoder import HandNet, NetSpec, save_net
from gest_stream.models.redetector import load_redetector
from gest_stream.types import ReinitialisedBy
from tests.models.plain_dino import hollow_official
from tests.models.sam2_nano import nano_weights
from tests.models.test_gest_detectron import hollow_checkpoint
from tests.models.test_redetector import CONFIG, black, frame_of
from tests.models.tiny_hand_net import HAND_RGB, disc, learned, noise


def saved(content: object, folder: Path, name: str = "weights.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def our_file(folder: Path, backbone: DinoBackbone = DinoBackbone.NANO) -> Path:
    torch.manual_seed(3)
    save_net(folder / "ours.pt", HandNet(NetSpec(backbone, width=16, input_size=56)))
    return folder / "ours.pt"


def test_a_trained_checkpoint_is_known_by_itself(tmp_path: Path) -> None:
    trained, _ = learned()
    save_net(tmp_path / "best.pt", trained)
    own = load_redetector(CONFIG, tmp_path / "best.pt")
    assert own.kind is ReinitialisedBy.BUILTIN
    image = noise(np.random.default_rng(2), 80, 120)
    image[disc(80, 120, 30, 40, 22)] = HAND_RGB
    found = own.segment(frame_of(image.clip(0, 255).astype(np.uint8)))
    rows, columns = np.nonzero(found.hand > 0.5)
    assert (columns.mean() + 0.5) * found.scale_xy[0] == pytest.approx(30, abs=3)
    assert (rows.mean() + 0.5) * found.scale_xy[1] == pytest.approx(40, abs=3)


def test_results_call_a_dinov2_backbone_dino(tmp_path: Path) -> None:
    own = load_redetector(CONFIG, our_file(tmp_path, DinoBackbone.VITS14))
    assert own.kind is ReinitialisedBy.DINO
    assert own.segment(black(32, 24)).hand.shape == (12, 16)


def test_gest_detectrons_checkpoint_is_known_by_itself(tmp_path: Path) -> None:
    state = hollow_checkpoint() | {"decoder.8.bias": torch.tensor([-2.0])}
    own = load_redetector(RedetectorConfig(device="cpu", backbone=DinoBackbone.VITB14), saved(state, tmp_path))
    assert own.kind is ReinitialisedBy.DINO
    found = own.segment(black(64, 48))
    assert found.hand.shape == (224, 224)
    np.testing.assert_allclose(found.hand, 1 / (1 + np.exp(2.0)), rtol=1e-5)


@pytest.mark.parametrize("theirs", [True, False])
def test_another_backbone_than_asked_for_is_named_beside_it(theirs: bool, tmp_path: Path) -> None:
    path = saved(hollow_checkpoint(), tmp_path) if theirs else our_file(tmp_path)
    found = r"DINOv2 ViT-B/14 \(768 wide\)" if theirs else r"nano \(192 wide\)"
    config = RedetectorConfig(device="cpu", backbone=DinoBackbone.VITS14)
    message = (
        rf"\.pt: its encoder is {found}; DINOv2 ViT-S/14 \(384 wide\) was asked for; use a checkpoint of DINOv2 Vi"
    )
    with pytest.raises(WeightsError, match=message):
        load_redetector(config, path)


def small_gest_detectron() -> object:
    return hollow_checkpoint(384)


def decoder_alone() -> object:
    return {name: value for name, value in hollow_checkpoint().items() if name.startswith("decoder.")}


def published_encoder() -> object:
    return hollow_official(384, registers=4)


def sam2() -> object:
    return {"model": nano_weights()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (small_gest_detectron, r"its encoder is DINOv2 ViT-S/14 \(384 wide\); .* DINOv2 ViT-B/14 \(768 wide\)"),
        (decoder_alone, "holds a decoder alone; its encoder, .*is missing"),
        (
            published_encoder,
            r"is DINOv2 ViT-S/14 with registers \(384 wide\) as it was published, an encoder without a decoder; train "
            "one on it with 'gest-stream train decoder --backbone-weights .*weights.pt'",
        ),
        (sam2, r"is a checkpoint of SAM 2, which the segmenter takes \(--checkpoint\)"),
        (lambda: {"fc.weight": torch.ones(2)}, r"is no redetector's checkpoint \(it holds fc.weight\); give"),
        (lambda: {"epoch": 3, "state": {}}, "holds no state dict"),
        (lambda: {}, "holds no state dict"),
    ],
)
def test_other_checkpoints_are_named_with_what_to_do(
    content: Callable[[], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=f"weights.pt: {message}"):
        load_redetector(CONFIG, saved(content(), tmp_path))


class Opaque:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is no checkpoint of plain tensors \(the file is empty\)"),
        (b"<html>404</html>", "is no checkpoint of plain tensors"),
        (
            pickle.dumps({"model": Opaque()}),
            "is no checkpoint of plain tensors .*holds Python objects, which are not lo",
        ),
    ],
)
def test_files_that_hold_no_tensors_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"weights.pt: {message}"):
        load_redetector(CONFIG, path)


def test_a_module_saved_whole_is_refused(tmp_path: Path) -> None:
    path = saved(torch.nn.Linear(2, 2), tmp_path)
    with pytest.raises(WeightsError, match="holds Python objects.*save the model's state dict with torch.save"):
        load_redetector(CONFIG, path)


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gone.pt: cannot be read as a checkpoint: No such file.*check the path"):
        load_redetector(CONFIG, tmp_path / "gone.pt")
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint: Is a directory"):
        load_redetector(CONFIG, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_failed_training_are_refused(value: float, tmp_path: Path) -> None:
    net = HandNet(NetSpec(DinoBackbone.NANO, width=16))
    with torch.no_grad():
        net.decoder.narrow.weight[0, 0] = value
    save_net(tmp_path / "net.pt", net)
    with pytest.raises(WeightsError, match="net.pt: holds weights that are not finite: its training went wrong"):
        load_redetector(CONFIG, tmp_path / "net.pt")
