"""Frames reach the model as upstream would have read them from a picture file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.models.sam2_frames import FrameUpload, check_image
from gest_stream.synthetic import preset, render_clip
from tests.models.sam2_nano import CPU

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def grey_levels(image: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """(S, S, 3) 0-255: what the model is given, un-normalised."""
    picture = FrameUpload(CPU, side)(image)
    assert (picture.shape, picture.dtype) == ((1, 3, side, side), torch.float32)
    values = np.asarray(picture[0].permute(1, 2, 0).double().numpy(), np.float64)
    return np.asarray((values * STD + MEAN) * 255, np.float64)


def pillow(image: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    from PIL import Image

    resized = Image.fromarray(image).resize((side, side))  # upstream's call; bicubic is Pillow's default
    return np.asarray(resized).astype(np.float64)


def rendered(width: int, height: int) -> NDArray[np.uint8]:
    import cv2

    image = next(iter(render_clip(preset("easy")))).frame.image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("side", [64, 256, 1024])
@pytest.mark.parametrize("kind", ["random", "rendered"])
def test_resizing_is_pillows_to_a_grey_level(kind: str, side: int) -> None:
    random = np.random.default_rng(0).integers(0, 256, (180, 320, 3)).astype(np.uint8)
    image = random if kind == "random" else rendered(640, 360)
    difference = np.abs(grey_levels(image, side) - pillow(image, side))
    assert difference.mean() < 0.02
    assert (difference > 1.01).mean() < 1e-5, "two levels where both filters round twice: 2 values in a million"
    assert difference.max() <= 2.01


def test_red_is_in_the_first_channel_and_values_are_upstreams() -> None:
    red = np.zeros((48, 96, 3), np.uint8)
    red[..., 0] = 255
    picture = FrameUpload(CPU, 64)(red)
    for channel, value in enumerate((1.0, 0.0, 0.0)):
        expected = (value - MEAN[channel]) / STD[channel]
        assert picture[0, channel].numpy() == pytest.approx(np.full((64, 64), expected), abs=1e-5)


def test_the_whole_frame_fills_the_square_neither_turned_nor_mirrored() -> None:
    image = np.zeros((60, 200, 3), np.uint8)
    image[:30, 150:] = 255  # top right
    square = grey_levels(image, 64)[..., 0] > 127
    expected = np.zeros((64, 64), bool)
    expected[:32, 48:] = True
    assert (square == expected).mean() > 0.99


def test_a_frame_of_the_squares_size_is_not_touched() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert np.abs(grey_levels(image, 64) - image).max() < 1e-3


@pytest.mark.parametrize("side", [64, 96])
def test_frames_that_are_views_give_what_their_copies_give(side: int) -> None:
    image = np.random.default_rng(2).integers(0, 256, (96, 192, 3)).astype(np.uint8)
    for view in (image[::-1, ::-1], image[:, ::2], image.transpose(1, 0, 2), image[..., ::-1]):
        assert not view.flags.c_contiguous
        assert torch.equal(FrameUpload(CPU, side)(view), FrameUpload(CPU, side)(view.copy()))


@pytest.mark.parametrize("side", [64, 96])
def test_a_read_only_frame_is_taken_without_a_word_and_not_written_to(side: int) -> None:
    image = np.random.default_rng(3).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    before = image.copy()
    image.flags.writeable = False
    torch.set_warn_always(True)  # torch warns of such arrays, once in a process; a warning is an error here
    try:
        FrameUpload(CPU, side)(image)
    finally:
        torch.set_warn_always(False)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[1, 2, 3]], r"expected an \(H, W, 3\) uint8 RGB array, got list"),
        (None, "got NoneType"),
        (np.full((64, 64, 3), np.nan, np.float32), r"\(64, 64, 3\) float32 with NaN or infinity; convert it to 0-255"),
        (np.zeros((64, 64, 3), np.float32), r"got \(64, 64, 3\) float32; convert it"),
        (np.zeros((64, 64, 3), np.uint16), r"got \(64, 64, 3\) uint16; convert it"),
        (np.zeros((64, 64), np.uint8), r"got \(64, 64\) uint8"),
        (np.zeros((64, 64, 4), np.uint8), r"got \(64, 64, 4\) uint8"),
        (np.zeros((3, 64, 64), np.uint8), r"got \(3, 64, 64\) uint8"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"got \(1, 64, 64, 3\) uint8"),
        (np.zeros((7, 64, 3), np.uint8), r"at least 8x8 pixels, got \(7, 64\)"),
        (np.zeros((0, 0, 3), np.uint8), r"at least 8x8 pixels, got \(0, 0\)"),
    ],
)
def test_what_is_no_frame_is_refused_with_what_it_is(image: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_image(image)


def test_the_smallest_frame_is_taken() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert check_image(image) is image
    assert FrameUpload(CPU, 64)(image).shape == (1, 3, 64, 64)
