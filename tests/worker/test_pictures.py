"""Colours against the standards' own numbers, and pictures there and back in every format."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.exchange.slots import Output, PixelFormat, Planes, Shape
from gest_stream.worker.colours import YuvColours, colours_of, even_box, rgb_from_yuv, yuv_from_rgb
from gest_stream.worker.pictures import changed_box, read_rgb, write_cut_out, write_drawn
from gest_stream.worker.view import Matrix, ViewConfig

BT601, BT709 = YuvColours(Matrix.BT601, False), YuvColours(Matrix.BT709, False)
ALL_COLOURS = [YuvColours(matrix, full) for matrix in (Matrix.BT601, Matrix.BT709) for full in (False, True)]
SIZES = [(64, 48), (51, 33)]
YUV = (PixelFormat.I420, PixelFormat.NV12)


def yuv_of(rgb: tuple[int, int, int], colours: YuvColours) -> list[int]:
    return [round(float(value)) for value in yuv_from_rgb(colours) @ np.array([*rgb, 1])]


def test_primaries_have_the_standards_values() -> None:
    # the 100 % colour bars of BT.601 (SMPTE RP 219's table for BT.709), 8 bits, limited range
    assert yuv_of((255, 255, 255), BT601) == [235, 128, 128]
    assert yuv_of((0, 0, 0), BT709) == [16, 128, 128]
    assert yuv_of((255, 0, 0), BT601) == [81, 90, 240]
    assert yuv_of((0, 255, 0), BT601) == [145, 54, 34]
    assert yuv_of((0, 0, 255), BT601) == [41, 240, 110]
    assert yuv_of((255, 0, 0), BT709) == [63, 102, 240]
    assert yuv_of((0, 255, 0), BT709) == [173, 42, 26]
    assert yuv_of((0, 0, 255), BT709) == [32, 240, 118]
    assert yuv_of((255, 0, 0), YuvColours(Matrix.BT601, True)) == [76, 85, 255 + 1]  # saturates at 255


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
def test_the_way_back_is_the_inverse(colours: YuvColours) -> None:
    rgb = np.random.default_rng(0).uniform(0, 255, (3, 100))
    yuv = yuv_from_rgb(colours) @ np.concatenate([rgb, np.ones((1, 100))])
    back = rgb_from_yuv(colours) @ np.concatenate([yuv, np.ones((1, 100))])
    assert np.abs(back - rgb).max() < 1e-2


def test_the_matrix_follows_the_height_unless_it_is_set() -> None:
    assert colours_of(ViewConfig(), 719) == BT601
    assert colours_of(ViewConfig(), 720) == BT709
    assert colours_of(ViewConfig(matrix=Matrix.BT601, full_range=True), 1080) == YuvColours(Matrix.BT601, True)


def bars(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Colour bars 8 pixels wide with a soft ramp down: (H, W, 3) RGB."""
    colours = np.array([[255, 255, 255], [255, 255, 0], [0, 255, 255], [0, 255, 0], [255, 0, 0], [0, 0, 255]])
    columns = np.arange(size[0]) // 8 % len(colours)
    ramp = np.linspace(0.3, 1, size[1])[:, None, None]
    return np.rint(colours[columns][None] * ramp).astype(np.uint8)


def encoded(rgb: NDArray[np.uint8], pixel_format: PixelFormat, colours: YuvColours, alpha: int = 255) -> Planes:
    """A picture as a host would have it, worked out in floating point and chroma by chroma pixel."""
    height, width = rgb.shape[:2]
    if pixel_format not in YUV:
        order = [0, 1, 2] if pixel_format is PixelFormat.RGBA else [2, 1, 0]
        with_alpha = np.dstack([rgb[..., order], np.full((height, width), alpha, np.uint8)])
        return (np.ascontiguousarray(with_alpha).reshape(height, -1),)
    yuv = rgb.astype(float) @ yuv_from_rgb(colours)[:, :3].T + yuv_from_rgb(colours)[:, 3]
    grown = np.pad(yuv, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    small = grown.reshape(grown.shape[0] // 2, 2, grown.shape[1] // 2, 2, 3).mean(axis=(1, 3))
    rounded = [
        np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in (yuv[..., 0], small[..., 1], small[..., 2])
    ]
    if pixel_format is PixelFormat.NV12:
        return rounded[0], np.dstack(rounded[1:]).reshape(small.shape[0], -1)
    return tuple(rounded)


def empty(planes: Planes) -> Planes:
    return tuple(np.full_like(plane, 77) for plane in planes)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_a_picture_is_read_in_its_colours(
    pixel_format: PixelFormat, colours: YuvColours, size: tuple[int, int]
) -> None:
    rgb = bars(size)
    error = np.abs(read_rgb(encoded(rgb, pixel_format, colours), pixel_format, colours).astype(int) - rgb)
    if pixel_format in YUV:
        assert error.max() <= 6  # the ramp inside a chroma pixel
        assert error.mean() < 1.2
    else:
        assert error.max() == 0


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_what_is_drawn_is_written_in_its_colours(
    pixel_format: PixelFormat, colours: YuvColours, size: tuple[int, int]
) -> None:
    source = encoded(np.zeros((size[1], size[0], 3), np.uint8), pixel_format, colours, alpha=90)
    image = read_rgb(source, pixel_format, colours)
    target = empty(source)
    write_drawn(bars(size), image, source, target, pixel_format, colours)
    expected = encoded(bars(size), pixel_format, colours, alpha=90)
    for there, wanted in zip(target, expected, strict=True):
        assert np.abs(there.astype(int) - wanted).max() <= (1 if pixel_format in YUV else 0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_what_an_effect_leaves_alone_comes_back_bit_for_bit(pixel_format: PixelFormat, size: tuple[int, int]) -> None:
    shape = Shape(*size, pixel_format, Output.FRAME)
    rng = np.random.default_rng(4)
    source = tuple(rng.integers(0, 256, planes, np.uint8) for planes in shape.input_planes)
    image = read_rgb(source, pixel_format, BT601)
    target = empty(source)
    write_drawn(image.copy(), image, source, target, pixel_format, BT601)
    assert all(np.array_equal(a, b) for a, b in zip(source, target, strict=True))

    drawn = image.copy()
    drawn[21:24, 31:40] = 255 - drawn[21:24, 31:40]
    write_drawn(drawn, image, source, target, pixel_format, BT601)
    left, top, right, bottom = even_box((31, 21, 40, 24), size)
    luma = target[0].reshape(size[1], size[0], -1)
    changed = (luma != source[0].reshape(luma.shape)).any(axis=2)
    assert changed[21:24, 31:40].any()
    changed[top:bottom, left:right] = False
    assert not changed.any()
    for there, before in zip(target[1:], source[1:], strict=True):
        rows = np.flatnonzero((there != before).any(axis=1))
        assert rows.min() >= top // 2 and rows.max() < bottom // 2


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGBA, PixelFormat.BGRA])
def test_a_cut_out_has_the_mask_times_its_own_alpha(pixel_format: PixelFormat) -> None:
    rgb = bars((64, 48))
    source = encoded(rgb, pixel_format, BT601, alpha=255)
    pixels = source[0].reshape(48, 64, 4)
    pixels[:, 40:, 3] = 100
    matte = np.zeros((48, 64), np.uint8)
    matte[10:30, 20:50] = 200
    drawn = np.dstack([rgb * (matte > 0)[..., None], matte])
    target = empty(source)
    write_cut_out(drawn, source, target, pixel_format, BT601)
    out = target[0].reshape(48, 64, 4)
    assert (out[10:30, 20:40, 3] == 200).all()
    assert (out[10:30, 40:50, 3] == round(200 * 100 / 255)).all()
    out[10:30, 40:50, 3] = 200
    expected = drawn if pixel_format is PixelFormat.RGBA else cv2.cvtColor(drawn, cv2.COLOR_RGBA2BGRA)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("pixel_format", YUV)
def test_a_cut_out_without_alpha_is_on_black(
    pixel_format: PixelFormat, colours: YuvColours, size: tuple[int, int]
) -> None:
    rgb = np.full((size[1], size[0], 3), (200, 120, 40), np.uint8)
    matte = np.zeros((size[1], size[0]), np.uint8)
    matte[12:24, 16:40] = 255
    matte[24:30, 16:40] = 128
    drawn = np.dstack([rgb * (matte > 0)[..., None], matte])
    source = encoded(rgb, pixel_format, colours)
    target = empty(source)
    write_cut_out(drawn, source, target, pixel_format, colours)
    expected = encoded(np.rint(rgb * (matte / 255)[..., None]).astype(np.uint8), pixel_format, colours)
    for there, wanted in zip(target, expected, strict=True):
        assert np.abs(there.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_a_cut_out_without_hands_is_empty(pixel_format: PixelFormat) -> None:
    source = encoded(bars((64, 48)), pixel_format, BT601)
    target = empty(source)
    write_cut_out(np.zeros((48, 64, 4), np.uint8), source, target, pixel_format, BT601)
    if pixel_format in YUV:
        assert (target[0] == 16).all() and all((plane == 128).all() for plane in target[1:])
    else:
        assert not target[0].any()


def test_the_box_around_a_change_is_tight() -> None:
    a = np.zeros((20, 30, 3), np.uint8)
    b = a.copy()
    assert changed_box(a, b) is None
    b[5, 7, 2] = 1
    assert changed_box(a, b) == (7, 5, 8, 6)
    b[19, 29, 0] = 9
    assert changed_box(a, b) == (7, 5, 30, 20)
    assert changed_box(b, a) == (7, 5, 30, 20)


def test_a_box_is_grown_to_whole_chroma_pixels() -> None:
    assert even_box((3, 5, 8, 9), (51, 33)) == (2, 4, 8, 10)
    assert even_box((2, 4, 51, 33), (51, 33)) == (2, 4, 51, 33)
