"""A frame in its slot as an RGB array, and a drawn picture back into a slot, in the host's own format."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gest_stream.exchange.slots import PixelFormat, Planes
from gest_stream.worker.colours import Box, YuvColours, even_box, fill_black, rgb_of, write_yuv

_YUV = (PixelFormat.I420, PixelFormat.NV12)
# (channel of RGB + alpha of the input, channel of the output), as cv2.mixChannels counts over (RGB, input)
_INTO_RGBA = (0, 0, 1, 1, 2, 2, 6, 3)
_INTO_BGRA = (0, 2, 1, 1, 2, 0, 6, 3)
_SWAPPED = (0, 2, 1, 1, 2, 0, 3, 3)


def read_rgb(planes: Planes, pixel_format: PixelFormat, colours: YuvColours) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a frame, a new array; alpha is left out.

    Args:
        planes: Of the frame.
        pixel_format: Its format.
        colours: Of I420 and NV12.
    """
    import cv2

    if pixel_format in _YUV:
        return rgb_of(planes, pixel_format, colours)
    code = cv2.COLOR_RGBA2RGB if pixel_format is PixelFormat.RGBA else cv2.COLOR_BGRA2RGB
    return np.asarray(cv2.cvtColor(_pixels(planes), code), np.uint8)


def copy_planes(source: Planes, target: Planes) -> None:
    """A picture as it is."""
    for from_, to in zip(source, target, strict=True):
        np.copyto(to, from_)


def write_drawn(
    drawn: NDArray[np.uint8],
    image: NDArray[np.uint8],
    source: Planes,
    target: Planes,
    pixel_format: PixelFormat,
    colours: YuvColours,
) -> None:
    """Write what an effect drew. What it left alone comes from the source, bit for bit, and so does alpha.

    Args:
        drawn: (H, W, 3) uint8 RGB.
        image: What it was drawn on, from `read_rgb`.
        source: The frame's planes.
        target: Of the same format; filled.
        pixel_format: Of both.
        colours: Of I420 and NV12.
    """
    import cv2

    copy_planes(source, target)
    box = changed_box(drawn, image)
    if box is None:
        return
    if pixel_format in _YUV:
        box = even_box(box, (image.shape[1], image.shape[0]))
        write_yuv(drawn[_slices(box)], target, pixel_format, colours, box)
        return
    parts = [drawn[_slices(box)], _pixels(source)[_slices(box)]]
    mixed = np.empty((*parts[0].shape[:2], 4), np.uint8)
    cv2.mixChannels(parts, [mixed], _INTO_RGBA if pixel_format is PixelFormat.RGBA else _INTO_BGRA)
    _pixels(target)[_slices(box)] = mixed


def write_cut_out(
    drawn: NDArray[np.uint8], source: Planes, target: Planes, pixel_format: PixelFormat, colours: YuvColours
) -> None:
    """Write hands without their background: with alpha where the format has it, on black where not.

    Args:
        drawn: (H, W, 4) uint8 RGBA, straight alpha.
        source: The frame's planes; its alpha counts too.
        target: Of the same format; filled.
        pixel_format: Of both.
        colours: Of I420 and NV12.
    """
    import cv2

    left, top, columns, rows = cv2.boundingRect(cv2.extractChannel(drawn, 3))
    box = left, top, left + columns, top + rows
    if pixel_format in _YUV:
        fill_black(target, colours)
        if columns:
            box = even_box(box, (drawn.shape[1], drawn.shape[0]))
            write_yuv(_on_black(drawn[_slices(box)]), target, pixel_format, colours, box)
        return
    target[0].fill(0)
    if not columns:
        return
    part, own = np.ascontiguousarray(drawn[_slices(box)]), _pixels(source)[_slices(box)]
    out = part.copy()
    if pixel_format is PixelFormat.BGRA:
        cv2.mixChannels([part], [out], _SWAPPED)
    own_alpha = cv2.extractChannel(own, 3)
    if cv2.minMaxLoc(own_alpha)[0] < 255:
        cv2.insertChannel(cv2.multiply(cv2.extractChannel(part, 3), own_alpha, scale=1 / 255), out, 3)
    _pixels(target)[_slices(box)] = out


def _on_black(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 4) RGBA as it looks on black, (h, w, 3) RGB."""
    import cv2

    alpha = cv2.extractChannel(part, 3)
    colour = cv2.cvtColor(part, cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.multiply(colour, cv2.merge((alpha, alpha, alpha)), scale=1 / 255), np.uint8)


def changed_box(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Box | None:
    """The smallest box outside which two (H, W, 3) pictures are equal; None where they are."""
    import cv2

    left, top, values, rows = cv2.boundingRect(cv2.absdiff(a, b).reshape(a.shape[0], -1))  # three values to a pixel
    return (left // 3, top, -(-(left + values) // 3), top + rows) if values else None


def _slices(box: Box) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(top, bottom), slice(left, right)


def _pixels(planes: Planes) -> NDArray[np.uint8]:
    """(H, W, 4) view of an RGBA or BGRA plane."""
    return planes[0].reshape(planes[0].shape[0], -1, 4)
