"""The redetector: where it says that hands are, and what it leaves as it was."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.config import DinoBackbone, Precision, RedetectorConfig
from gest_stream.errors import DeviceError, ModelError
from gest_stream.interfaces import Redetector
from gest_stream.models.dino_decoder import HandNet, NetSpec
from gest_stream.models.gest_detectron import GestDetectronNet
from gest_stream.models.redetector import DinoRedetector
from gest_stream.types import Frame, ReinitialisedBy
from tests.models.tiny_hand_net import FOREARM_RGB, HAND_RGB, disc, learned, noise

CONFIG = RedetectorConfig(device="cpu", precision=Precision.FLOAT32)


def frame_of(image: NDArray[np.uint8]) -> Frame:
    return Frame(image, 0, Fraction(1, 30), 0)


def black(width: int, height: int) -> Frame:
    return frame_of(np.zeros((height, width, 3), np.uint8))


class Reds(HandNet):
    """Takes red for hand and blue for forearm, cell by cell; whatever is padding stays background."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(NetSpec(DinoBackbone.NANO, **{"width": 16, **spec}))
        self.seen: list[torch.Tensor] = []
        self.threads: list[int] = []
        self.inference: list[bool] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        self.threads.append(torch.get_num_threads())
        self.inference.append(torch.is_inference_mode_enabled())
        height, width = images.shape[-2] // 14 * 4, images.shape[-1] // 14 * 4
        cells = F.interpolate(images[:, [0, 2]], size=(height, width), mode="area")
        return torch.cat([torch.zeros_like(cells[:, :1]), 20 * cells], dim=1)[:, : 1 + len(self.spec.classes)]


def redetector(net: HandNet | GestDetectronNet, config: RedetectorConfig = CONFIG) -> DinoRedetector:
    return DinoRedetector(net, config, ReinitialisedBy.DINO)


SIZES = [(640, 480), (640, 360), (100, 333), (333, 100), (30, 30), (1920, 1080), (1001, 77)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("place", [(0.12, 0.3, 0.4, 0.8), (0.6, 0.2, 1.0, 0.7), (0.3, 0.5, 0.9, 1.0)])
def test_a_hand_is_where_it_is_to_a_cell(width: int, height: int, place: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = (round(share * side) for share, side in zip(place, (width, height) * 2, strict=True))
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = (255, 0, 0)
    found = redetector(Reds()).segment(frame_of(image))
    assert found.frame_size == (width, height)
    rows, columns = np.nonzero(found.hand > 0.5)
    scale_x, scale_y = found.scale_xy
    # cells of the frame alone: 3.5 pixels of the 448 that the network sees
    assert scale_x == pytest.approx(3.5 * max(width, height) / 448, rel=0.08)
    assert scale_y == pytest.approx(3.5 * max(width, height) / 448, rel=0.08)
    assert columns.min() * scale_x == pytest.approx(left, abs=scale_x)
    assert (columns.max() + 1) * scale_x == pytest.approx(right, abs=scale_x)
    assert rows.min() * scale_y == pytest.approx(top, abs=scale_y)
    assert (rows.max() + 1) * scale_y == pytest.approx(bottom, abs=scale_y)
    assert float(found.hand[rows, columns].mean()) > 0.9


@pytest.mark.parametrize(("width", "height"), [(640, 360), (100, 333)])
def test_the_middle_of_a_hand_is_exact_to_a_fraction_of_a_cell(width: int, height: int) -> None:
    """An edge that is cut off at a whole cell would shift everything towards it."""
    image = np.zeros((height, width, 3), np.uint8)
    x, y, radius = 0.72 * width, 0.77 * height, 0.15 * min(width, height)
    image[disc(height, width, x, y, radius)] = (255, 0, 0)
    found = redetector(Reds()).segment(frame_of(image))
    rows, columns = np.nonzero(found.hand > 0.5)
    scale_x, scale_y = found.scale_xy
    assert (columns.mean() + 0.5) * scale_x == pytest.approx(x, abs=0.25 * scale_x)
    assert (rows.mean() + 0.5) * scale_y == pytest.approx(y, abs=0.25 * scale_y)


PLACES = (0.3, 0.4), (0.64, 0.65)
"""Of hand and forearm, as shares of width and height; not symmetric in any way."""


@pytest.mark.parametrize(("width", "height"), [(640, 360), (100, 333)])
def test_a_net_that_learned_finds_hand_and_forearm_in_their_places(width: int, height: int) -> None:
    rng = np.random.default_rng(4)
    picture = noise(rng, height, width)
    radius = 0.33 * min(width, height)
    hand, forearm = (disc(height, width, a * width, b * height, radius) for a, b in PLACES)
    picture[hand], picture[forearm] = HAND_RGB, FOREARM_RGB
    trained, _ = learned()
    net = HandNet(trained.spec)
    net.load_state_dict(trained.state_dict())
    config = RedetectorConfig(device="cpu", precision=Precision.FLOAT32, input_size=224)
    found = redetector(net, config).segment(frame_of(picture.clip(0, 255).astype(np.uint8)))
    assert found.forearm is not None
    assert float((found.hand + found.forearm).max()) <= 1.0 + 1e-5
    for values, (a, b) in zip((found.hand, found.forearm), PLACES, strict=True):
        rows, columns = np.nonzero(values > 0.5)
        scale_x, scale_y = found.scale_xy
        assert (columns.mean() + 0.5) * scale_x == pytest.approx(a * width, abs=scale_x)
        assert (rows.mean() + 0.5) * scale_y == pytest.approx(b * height, abs=scale_y)
        area = len(rows) * scale_x * scale_y
        assert area == pytest.approx(np.pi * radius**2, rel=0.3)


def test_a_frame_is_seen_at_the_trained_size_and_at_the_asked_for_one() -> None:
    for config, size in ((0, (1, 3, 126, 224)), (100, (1, 3, 56, 98))):
        net = Reds(input_size=224)
        redetector(net, RedetectorConfig(device="cpu", input_size=config)).segment(black(640, 360))
        assert [one.shape for one in net.seen] == [size]


def test_what_is_padded_is_black_and_the_picture_lies_at_the_top_left() -> None:
    net = Reds(input_size=112)
    redetector(net).segment(frame_of(np.full((100, 333, 3), 255, np.uint8)))
    (seen,) = net.seen
    assert seen.shape == (1, 3, 42, 112)
    white, dark = (((value - 0.485) / 0.229) for value in (1.0, 0.0))
    np.testing.assert_allclose(seen[0, 0, :34].numpy(), white, rtol=1e-5)
    np.testing.assert_allclose(seen[0, 0, 34:].numpy(), dark, rtol=1e-5)


def test_a_net_that_knows_no_forearms_says_nothing_of_them() -> None:
    found = redetector(Reds(classes=("hand",))).segment(black(64, 48))
    assert found.forearm is None
    swapped = redetector(Reds(classes=("forearm", "hand")))
    found = swapped.segment(frame_of(np.full((48, 64, 3), (255, 0, 0), np.uint8)))  # its first class is red's
    assert found.forearm is not None
    assert float(found.forearm.min()) > 0.9
    assert float(found.hand.max()) < 0.1


class Looks(GestDetectronNet):
    """Answers with what it sees in red, so that nothing but the way in and out counts."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return 20 * images[:, :1]


def test_gest_detectrons_net_sees_the_whole_frame_as_a_square() -> None:
    image = np.zeros((360, 640, 3), np.uint8)
    image[90:180, 320:480] = (255, 0, 51)
    net = Looks()
    found = redetector(net).segment(frame_of(image))
    (seen,) = net.seen
    assert seen.shape == (1, 3, 224, 224)
    np.testing.assert_allclose(seen[0, :, 84, 140].numpy(), [1.0, -1.0, 51 / 255 * 2 - 1], atol=1e-6)
    assert (found.hand.shape, found.forearm, found.frame_size) == ((224, 224), None, (640, 360))
    rows, columns = np.nonzero(found.hand > 0.5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (56, 111, 112, 167)
    assert float(found.hand[80, 140]) == pytest.approx(1 / (1 + np.exp(-20)))


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (14, 14)])
def test_frames_of_any_shape_are_seen(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    for net in (HandNet(NetSpec(DinoBackbone.NANO, width=16, input_size=56)), Looks()):
        found = redetector(net).segment(black(*size))
        assert found.frame_size == size
        assert np.isfinite(found.hand).all()


def test_the_frame_is_left_as_it_was() -> None:
    image = np.full((32, 48, 3), 7, np.uint8)
    image.setflags(write=False)
    redetector(Reds()).segment(frame_of(image))
    assert (image == 7).all()


@pytest.mark.parametrize(("threads", "meanwhile"), [(1, 1), (3, 3), (0, 2)])
def test_threads_are_as_configured_meanwhile_and_as_before_afterwards(threads: int, meanwhile: int) -> None:
    net = Reds(input_size=56)
    own = redetector(net, RedetectorConfig(device="cpu", precision=Precision.FLOAT32, threads=threads))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        own.segment(black(32, 32))
        assert net.threads == [meanwhile]
        assert torch.get_num_threads() == 2
        net.spec = NetSpec(DinoBackbone.NANO, classes=("hand",), levels=(0,))
        net.forward = broken  # type: ignore[method-assign]
        with pytest.raises(ValueError, match="broken"):
            own.segment(black(32, 32))
        found: list[int] = []
        newcomer = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        newcomer.start()
        newcomer.join()
        assert [torch.get_num_threads(), *found] == [2, 2]
    finally:
        torch.set_num_threads(before)


def broken(images: torch.Tensor) -> torch.Tensor:
    raise ValueError("broken")


def test_no_gradient_is_kept_and_inference_mode_ends_with_the_call() -> None:
    net = Reds(input_size=56)
    redetector(net).segment(black(32, 32))
    assert net.inference == [True]
    assert not torch.is_inference_mode_enabled()
    assert not any(one.requires_grad for one in net.parameters())


def test_bfloat16_sees_what_float32_sees() -> None:
    trained, _ = learned()
    image = noise(np.random.default_rng(1), 96, 96)
    image[disc(96, 96, 60, 30, 20)] = HAND_RGB
    maps = []
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        net = HandNet(trained.spec)
        net.load_state_dict(trained.state_dict())
        config = RedetectorConfig(device="cpu", precision=precision)
        maps.append(redetector(net, config).segment(frame_of(image.clip(0, 255).astype(np.uint8))).hand)
    assert net.encoder.vit.blocks[0].attn.qkv.weight.dtype is torch.bfloat16
    one, other = (values > 0.5 for values in maps)
    assert one.sum() > 20
    assert (one & other).sum() / (one | other).sum() > 0.9


def test_a_lack_of_memory_names_the_frame_and_the_way_out() -> None:
    net = Reds()

    def exhausted(images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    net.forward = exhausted  # type: ignore[method-assign]
    message = (
        "redetector: cpu is out of memory while looking at a frame of 64x48; use a smaller redetector.input_size or "
        "--set redetector.device=cpu"
    )
    with pytest.raises(DeviceError, match=message):
        redetector(net).segment(black(64, 48))

    def no_room(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    net = Reds()
    net.to = no_room  # type: ignore[assignment, method-assign]
    with pytest.raises(DeviceError, match="redetector: cpu is out of memory while loading its weights"):
        redetector(net)


def test_an_absent_device_names_the_redetectors_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = "redetector: device 'cuda': torch sees 0 CUDA devices; use --set redetector.device=cpu$"
    with pytest.raises(DeviceError, match=message):
        redetector(Reds(), RedetectorConfig(device="cuda"))


def test_a_closed_redetector_says_so() -> None:
    own: Redetector = redetector(Reds())
    own.close()
    own.close()
    with pytest.raises(ModelError, match="redetector: it was closed; make a new one"):
        own.segment(black(32, 32))
