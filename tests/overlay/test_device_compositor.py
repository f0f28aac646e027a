"""Effects on a torch device: the same picture as on the host. `auto` is CUDA where there is one, else the CPU."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError, DeviceError
from gest_stream.overlay import Renderer
from gest_stream.testing import make_landmarks
from gest_stream.types import Frame, FrameResult, Handedness, HandMask, MaskSource, Track, TrackState

ON_DEVICE = [EffectKind.OVERLAY, EffectKind.GREEN, EffectKind.REPLACE, EffectKind.BLUR]
SIZE = (320, 240)


def soft_hand(track_id: int, middle: tuple[int, int], landmarks: bool = False) -> Track:
    """A disc with a soft edge, cut off by the picture's border where it lies there."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    distance = 45.0 - np.hypot(x - middle[0], y - middle[1])
    mask = HandMask.from_full(np.clip(distance * 40.0, 0, 255).astype(np.uint8), 1.0, MaskSource.SCRIPTED)
    hand = make_landmarks((float(middle[0]), float(middle[1])), 60) if landmarks else None
    return Track(track_id, TrackState.TRACKED, Handedness.LEFT, 1.0, hand, mask)


def result_of(*tracks: Track) -> FrameResult:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    image = np.ascontiguousarray(coarse.repeat(20, 0).repeat(20, 1))
    image.setflags(write=False)
    return FrameResult(Frame(image, 0, Fraction(1, 30), 0), tracks)


def background() -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, (50, 90, 3)).astype(np.uint8)


def both(config: EffectConfig, result: FrameResult) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(from the host, from the device)."""
    picture = background() if config.kind is EffectKind.REPLACE else None
    there = Renderer(replace(config, device="auto"), picture).render(result)
    return Renderer(config, picture).render(result), there


@pytest.mark.parametrize("kind", ON_DEVICE)
def test_a_device_draws_what_the_host_draws(kind: EffectKind) -> None:
    result = result_of(soft_hand(1, (100, 120)), soft_hand(2, (150, 110)), soft_hand(3, (310, 20)))
    host, there = both(EffectConfig(kind, labels=False), result)
    difference = np.abs(host.astype(int) - there)
    assert difference.max() <= 2
    assert difference.mean() < 0.3
    assert np.abs(host.astype(int) - result.frame.image).max() > 50, "the effect shows"


@pytest.mark.parametrize("kind", ON_DEVICE)
def test_a_frame_without_hands_is_drawn_alike(kind: EffectKind) -> None:
    host, there = both(EffectConfig(kind), result_of())
    assert np.abs(host.astype(int) - there).max() <= 1


def test_landmarks_and_labels_are_drawn_over_what_came_back() -> None:
    result = result_of(soft_hand(1, (160, 120), landmarks=True))
    host, there = both(EffectConfig(landmarks=True), result)
    assert np.abs(host.astype(int) - there).max() <= 2
    plain = Renderer(EffectConfig(labels=False, device="auto")).render(result)
    assert np.abs(plain.astype(int) - there).max() > 100


@pytest.mark.parametrize("kind", [EffectKind.CONTOUR, EffectKind.TRANSPARENT])
def test_what_no_device_draws_the_host_does(kind: EffectKind) -> None:
    host, there = both(EffectConfig(kind), result_of(soft_hand(1, (160, 120))))
    assert np.array_equal(host, there)


def test_pictures_of_another_size_get_a_background_of_theirs() -> None:
    renderer = Renderer(EffectConfig(EffectKind.GREEN, device="auto"))
    small = FrameResult(Frame(np.zeros((60, 80, 3), np.uint8), 0, Fraction(1, 30), 0), ())
    assert renderer.render(result_of()).shape == (240, 320, 3)
    assert renderer.render(small).shape == (60, 80, 3)


def test_results_are_pictures_of_their_own() -> None:
    renderer = Renderer(EffectConfig(labels=False, device="auto"))
    result = result_of(soft_hand(1, (160, 120)))
    first = renderer.render(result)
    kept = first.copy()
    renderer.render(result_of(soft_hand(1, (60, 60))))
    assert np.array_equal(first, kept)
    assert first.flags.writeable


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(DeviceError, match="cuda:63"):
        Renderer(EffectConfig(device="cuda:63"))
    with pytest.raises(ConfigError, match="effect.device: expected auto, cpu, cuda, cuda:N or mps, got 'gpu'"):
        EffectConfig(device="gpu")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ON_DEVICE)
def test_cuda_draws_what_the_host_draws(kind: EffectKind) -> None:
    result = result_of(soft_hand(1, (100, 120)), soft_hand(2, (150, 110)))
    picture = background() if kind is EffectKind.REPLACE else None
    on_cuda = Renderer(EffectConfig(kind, labels=False, device="cuda"), picture)
    host = Renderer(EffectConfig(kind, labels=False), picture).render(result)
    for _ in range(3):  # the pinned memory is used again
        assert np.abs(host.astype(int) - on_cuda.render(result)).max() <= 2
