"""How FFmpeg's pixel formats lie in memory, as far as copying pixels between two frames needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.format import VideoFormat, VideoFormatComponent
    from av.video.plane import VideoPlane

Span = tuple[int, int]

_SIZE_TO_MEASURE = (64, 64)  # every chroma subsampling divides it

_PACKED_ALPHA: Mapping[str, Span] = {
    **dict.fromkeys(("rgba", "bgra", "vuya", "uyva"), (3, 4)),
    **dict.fromkeys(("argb", "abgr", "ayuv"), (0, 1)),
    **dict.fromkeys(("rgba64le", "rgba64be", "bgra64le", "bgra64be"), (6, 8)),
    **dict.fromkeys(("ayuv64le", "ayuv64be"), (0, 2)),
    "ya8": (1, 2),
    **dict.fromkeys(("ya16le", "ya16be"), (2, 4)),
}
"""Which bytes of a pixel are its alpha, where the format has one plane; PyAV does not tell a component's offset."""

_WITH_ALPHA: Mapping[str, str] = {
    **{f"yuv{kind}p": f"yuva{kind}p" for kind in ("420", "422", "444")},
    **{f"yuvj{kind}p": f"yuva{kind}p" for kind in ("420", "422", "444")},
    **{f"yuv{kind}p{end}": f"yuva{kind}p{end}" for kind in ("420", "422", "444") for end in ("9le", "10le", "16le")},
    **{f"yuv{kind}p12le": f"yuva{kind}p12le" for kind in ("422", "444")},
    **dict.fromkeys(("nv12", "nv21"), "yuva420p"),
    **dict.fromkeys(("nv16", "yuyv422", "uyvy422", "yvyu422"), "yuva422p"),
    **dict.fromkeys(("nv24", "nv42"), "yuva444p"),
    "p010le": "yuva420p10le",
    **dict.fromkeys(("p012le", "p016le"), "yuva420p16le"),
    **dict.fromkeys(("rgb24", "rgb0"), "rgba"),
    **dict.fromkeys(("bgr24", "bgr0"), "bgra"),
    **{"0rgb": "argb", "0bgr": "abgr", "rgb48le": "rgba64le", "bgr48le": "bgra64le"},
    **{f"gbrp{bits}": f"gbrap{bits}" for bits in ("", "10le", "12le", "16le")},
    "gray": "ya8",
}
"""The format with alpha that keeps what a format without it holds."""


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """One plane as a grid of units.

    Args:
        unit_bytes: Bytes of one unit.
        across: Pixels that a unit covers from left to right.
        down: Pixels that it covers from top to bottom.
        alpha: Bytes of a unit that are alpha, (0, 0) where there are none.
    """

    unit_bytes: int
    across: int
    down: int
    alpha: Span = (0, 0)

    @property
    def is_alpha(self) -> bool:
        """Whether the plane holds alpha and nothing else."""
        return self.alpha == (0, self.unit_bytes)

    def units(self, plane: VideoPlane, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The plane's memory, not a copy.

        Args:
            plane: Of a frame of this layout.
            size: (width, height) of the frame in pixels.

        Returns:
            (rows, columns, unit_bytes) uint8.
        """
        columns, rows = -(-size[0] // self.across), -(-size[1] // self.down)
        stride = plane.line_size
        lines: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8, rows * stride).reshape(rows, stride)
        return lines[:, : columns * self.unit_bytes].reshape(rows, columns, self.unit_bytes)

    def pooled(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which units hold a pixel that `mask`, (H, W) bool, marks: (rows, columns) bool."""
        if self.across == self.down == 1:
            return mask
        padded = np.pad(mask, ((0, -mask.shape[0] % self.down), (0, -mask.shape[1] % self.across)))
        corners = [padded[y :: self.down, x :: self.across] for y in range(self.down) for x in range(self.across)]
        pooled = corners[0].copy()
        for corner in corners[1:]:
            pooled |= corner
        return pooled


def layout_of(format: VideoFormat) -> tuple[PlaneLayout, ...]:
    """The planes of a pixel format.

    Raises:
        InvalidInputError: Its pixels cannot be told apart by bytes (palettes, bits, mosaics, GPU memory).
    """
    import av

    format = av.VideoFormat(format.name, *_SIZE_TO_MEASURE)
    components = format.components
    unusable = not components or format.has_palette or format.is_bit_stream or format.is_bayer
    # FFmpeg 8.1's swscale writes other colours into rgb565be, rgb555be and their bgr twins
    unusable = unusable or (format.is_big_endian and format.is_rgb and format.padded_bits_per_pixel == 16)
    spans = _alpha_spans(format, components) if not unusable else None
    if spans is None:
        raise InvalidInputError(
            f"frame: cannot draw on the pixel format {format.name}; "
            "convert it first, for example frame.reformat(format='yuv420p')"
        )
    return tuple(
        _plane(format, [component for component in components if component.plane == index], span)
        for index, span in enumerate(spans)
    )


def with_alpha(format: VideoFormat) -> str:
    """The name of the format with alpha that keeps what `format` holds; `format` itself where it has alpha.

    Raises:
        InvalidInputError: There is none.
    """
    if any(component.is_alpha for component in format.components):
        return format.name
    name = _WITH_ALPHA.get(format.name)
    if name is None:
        raise InvalidInputError(
            f"frame: the pixel format {format.name} has no counterpart with alpha, which the effect 'transparent' "
            "needs; convert it first, for example frame.reformat(format='rgba'), or take the effect 'green'"
        )
    return name


def stored_top_down(frame: VideoFrame) -> bool:
    """False where lines are stored from the bottom up, as FFmpeg's vflip leaves them: PyAV cannot show that memory."""
    return all(plane.line_size > 0 for plane in frame.planes)


def _alpha_spans(format: VideoFormat, components: Sequence[VideoFormatComponent]) -> list[Span] | None:
    """Of every plane, which bytes of a unit are alpha; None where that is not known."""
    spans = [(0, 0)] * (1 + max(component.plane for component in components))
    for component in components:
        if not component.is_alpha:
            continue
        if len(spans) > 1:  # alpha has a plane of its own in every planar format
            spans[component.plane] = (0, _bytes(component))
        elif format.name in _PACKED_ALPHA:
            spans[0] = _PACKED_ALPHA[format.name]
        else:
            return None
    return spans


def _plane(format: VideoFormat, components: Sequence[VideoFormatComponent], alpha: Span) -> PlaneLayout:
    across = format.width // min(component.width for component in components)
    down = format.height // min(component.height for component in components)
    if format.is_planar:
        return PlaneLayout(sum(_bytes(component) for component in components), across, down, alpha)
    return PlaneLayout(format.padded_bits_per_pixel * across * down // 8, across, down, alpha)


def _bytes(component: VideoFormatComponent) -> int:
    return 1 if component.bits <= 8 else 2 if component.bits <= 16 else 4
