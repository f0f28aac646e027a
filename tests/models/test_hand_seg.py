"""The built-in redetector: where it says that hands are, and what it leaves as it was."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.config import Precision, RedetectorConfig
from gest_stream.errors import DeviceError, ModelError, WeightsError
from gest_stream.interfaces import Redetector
from gest_stream.models.hand_seg import HandSegRedetector, load_hand_seg
from gest_stream.models.hand_seg_net import ARCHITECTURE, CELL_PX, HandSegNet, fit_frame
from gest_stream.synthetic import ClipRenderer, preset
from gest_stream.training.builtin_store import save_builtin
from gest_stream.types import Frame, ReinitialisedBy

CONFIG = RedetectorConfig(device="cpu")
SIZES = [(640, 480), (640, 360), (100, 333), (333, 100), (30, 30), (1920, 1080), (1001, 77)]


class Reds(HandSegNet):
    """Takes red for hand and blue for forearm, cell by cell; black is background."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []
        self.threads: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(images.shape))
        self.threads.append(torch.get_num_threads())
        cells = F.avg_pool2d(images.permute(0, 3, 1, 2).float() / 255.0, CELL_PX)
        return 20 * torch.cat([torch.full_like(cells[:, :1], 0.5), cells[:, [0, 2]]], dim=1)


def frame_of(image: NDArray[np.uint8]) -> Frame:
    return Frame(image, 0, Fraction(1, 30), 0)


def black(width: int, height: int) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def used(net: HandSegNet) -> HandSegNet:
    """With running means and scales as after a training, not those it is made with."""
    torch.manual_seed(0)
    net.train()
    for value in net.parameters():
        torch.nn.init.normal_(value, std=0.1)
    for _ in range(2):
        net(torch.randint(0, 256, (4, 64, 96, 3), dtype=torch.uint8))
    return net


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("place", [(0.12, 0.3, 0.4, 0.8), (0.6, 0.2, 1.0, 0.7), (0.3, 0.5, 0.9, 1.0)])
def test_a_hand_is_where_it_is_to_a_cell(width: int, height: int, place: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = (round(share * side) for share, side in zip(place, (width, height) * 2, strict=True))
    image = black(width, height)
    image[top:bottom, left:right] = (255, 0, 0)
    found = HandSegRedetector(Reds(), CONFIG).segment(frame_of(image))
    assert found.frame_size == (width, height)
    rows, columns = np.nonzero(found.hand > 0.5)
    scale_x, scale_y = found.scale_xy
    assert columns.min() * scale_x == pytest.approx(left, abs=scale_x)
    assert (columns.max() + 1) * scale_x == pytest.approx(right, abs=scale_x)
    assert rows.min() * scale_y == pytest.approx(top, abs=scale_y)
    assert (rows.max() + 1) * scale_y == pytest.approx(bottom, abs=scale_y)
    assert found.forearm is not None and float(found.forearm.max()) < 0.1


def test_hand_and_forearm_are_told_apart() -> None:
    image = black(640, 480)
    image[:240, :320], image[240:, 320:] = (255, 0, 0), (0, 0, 255)
    found = HandSegRedetector(Reds(), CONFIG).segment(frame_of(image))
    assert found.forearm is not None and found.hand.shape == (96, 128)
    assert float(found.hand[:47, :63].min()) > 0.99 and float(found.hand[49:].max()) < 0.1
    assert float(found.forearm[49:, 65:].min()) > 0.99 and float(found.forearm[:47].max()) < 0.1


@pytest.mark.parametrize(
    ("config", "seen"), [(CONFIG, (1, 160, 256, 3)), (RedetectorConfig(device="cpu", input_size=384), (1, 224, 384, 3))]
)
def test_the_network_sees_the_frame_in_the_size_of_the_settings(
    config: RedetectorConfig, seen: tuple[int, ...]
) -> None:
    net = Reds()
    HandSegRedetector(net, config).segment(frame_of(black(1280, 720)))
    assert net.seen == [seen]


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_fitted_in_whole_cells_and_padded_to_the_networks_stride(size: tuple[int, int]) -> None:
    fitted, padded = fit_frame(size)
    assert max(fitted) == 256
    for own, whole in zip(fitted, padded, strict=True):
        assert own % CELL_PX == 0 and whole % 32 == 0 and 0 <= whole - own < 32


def test_folding_the_normalisation_leaves_the_answers() -> None:
    net = used(HandSegNet()).eval()
    images = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before = net(images)
        net.fold()
        after = net(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    assert float(before.std()) > 0.01
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_bfloat16_answers_nearly_the_same() -> None:
    frame = frame_of(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8))
    exact, rough = (
        HandSegRedetector(used(HandSegNet()), RedetectorConfig(device="cpu", precision=precision)).segment(frame)
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    assert 0.0 < float(np.abs(exact.hand - rough.hand).max()) < 0.05


@pytest.mark.parametrize(
    ("matrices", "vectors", "dtype"),
    [(False, False, torch.float32), (True, False, torch.bfloat16), (False, True, torch.bfloat16)],
)
def test_it_computes_in_bfloat16_where_the_cpu_multiplies_that_by_itself(
    monkeypatch: pytest.MonkeyPatch, matrices: bool, vectors: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    net = HandSegNet()
    HandSegRedetector(net, CONFIG)
    assert net.stem.conv.weight.dtype is dtype


def test_it_takes_its_threads_and_gives_them_back() -> None:
    before, net = torch.get_num_threads(), Reds()
    wanted = before + 1
    HandSegRedetector(net, RedetectorConfig(device="cpu", threads=wanted)).segment(frame_of(black(64, 48)))
    assert net.threads == [wanted] and torch.get_num_threads() == before


def test_it_is_a_redetector_that_results_call_builtin() -> None:
    found: Redetector = HandSegRedetector(HandSegNet(), CONFIG)
    assert found.kind is ReinitialisedBy.BUILTIN
    found.close()
    found.close()
    with pytest.raises(ModelError, match="it was closed"):
        found.segment(frame_of(black(64, 48)))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="redetector: .*redetector.device=cpu"):
        HandSegRedetector(HandSegNet(), RedetectorConfig(device="cuda:99"))


def test_weights_are_loaded_from_a_file(tmp_path: Path) -> None:
    net, frame = used(HandSegNet()), frame_of(np.full((48, 64, 3), 90, np.uint8))
    save_builtin(tmp_path / "own.safetensors", net.state_dict(), {"architecture": ARCHITECTURE})
    loaded = load_hand_seg(CONFIG, tmp_path / "own.safetensors").segment(frame)
    np.testing.assert_allclose(loaded.hand, HandSegRedetector(net, CONFIG).segment(frame).hand, atol=0.01)


@pytest.mark.parametrize(
    ("metadata", "state", "message"),
    [
        ({"architecture": "refiner/1"}, HandSegNet().state_dict(), "holds weights of refiner/1, not of hand-seg/1"),
        ({}, HandSegNet().state_dict(), "holds weights of something else"),
        ({"architecture": ARCHITECTURE}, {"head.bias": torch.zeros(3)}, "does not fit hand-seg/1"),
    ],
)
def test_weights_of_another_model_are_refused(
    metadata: dict[str, Any], state: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    save_builtin(tmp_path / "other.safetensors", state, metadata)
    with pytest.raises(WeightsError, match=message):
        load_hand_seg(CONFIG, tmp_path / "other.safetensors")


def test_the_packages_weights_tell_rendered_hands_from_their_surroundings() -> None:
    """On frames of the synthetic source, which it was not trained on, a second and more apart."""
    redetector = load_hand_seg(CONFIG)
    renderer = ClipRenderer(preset("easy"))
    inside, outside = [], []
    for seq in (0, 40, 80):
        shown = renderer.frame(seq)
        truth = np.zeros(shown.frame.image.shape[:2], np.float32)
        for hand in shown.hands:
            (left, top), own = hand.hand_mask.origin_xy_px, hand.hand_mask.inside
            truth[top : top + own.shape[0], left : left + own.shape[1]][own] = 1.0
        found = redetector.segment(shown.frame).hand
        cells = cv2.resize(truth, found.shape[::-1], interpolation=cv2.INTER_AREA)
        inside.append(float(found[cells > 0.9].mean()))
        outside.append(float(found[cells == 0.0].mean()))
    assert np.mean(inside) > 0.6 and np.mean(outside) < 0.1
