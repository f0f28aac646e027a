"""Drawn RGB pictures put back into the frames they were taken from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.pipe.planes import PlaneLayout, layout_of, stored_top_down, with_alpha

if TYPE_CHECKING:
    from av import VideoFrame

_RGB24 = PlaneLayout(3, 1, 1)
_RGBA = PlaneLayout(4, 1, 1)


class Repainter:
    """Makes a frame that differs from its original where a picture was drawn on, and nowhere else.

    What is exact: a sample (luma, chroma, a packed pixel) keeps its bits where none of the pixels it covers was drawn
    on, and so does alpha everywhere. What was drawn goes through the frame's own matrix and range, rounded to 8 bits a
    channel. Format, pts, time_base, tags and side data are the original's. Frames that are stored upside down (FFmpeg's
    vflip) go through RGB as a whole. Keeps scalers between calls, so one thread at a time.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._to_carrier = VideoReformatter()
        self._from_carrier = VideoReformatter()
        self._layouts: dict[str, tuple[PlaneLayout, ...]] = {}

    def repaint(self, frame: VideoFrame, before: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> VideoFrame:
        """`frame` with `drawn` instead of `before`.

        Args:
            frame: The original; it is not written to.
            before: (H, W, 3) uint8 RGB, what `frame` looks like.
            drawn: (H, W, 3) uint8 RGB, or (H, W, 4) RGBA, whose alpha the new frame has.

        Returns:
            A new frame in the same format, or in the one with alpha beside it where `drawn` has alpha; `frame` itself
            where nothing was drawn.

        Raises:
            InvalidInputError: The format cannot be drawn on or has no counterpart with alpha, or the sizes differ.
        """
        if before.shape[:2] != drawn.shape[:2] or drawn.shape[:2] != (frame.height, frame.width):
            raise InvalidInputError(
                f"repaint: expected pictures of {frame.width}x{frame.height} pixels, got {before.shape} {drawn.shape}"
            )
        layouts = self._layout(frame)
        touched = differing(before, drawn)
        if drawn.shape[2] == 4:
            return self._with_alpha(frame, drawn, touched, layouts)
        if not touched.any():
            return frame
        painted = self._converted(frame, drawn, frame.format.name)
        if stored_top_down(frame):
            _restore(frame, painted, touched, layouts)
        return painted

    def _layout(self, frame: VideoFrame) -> tuple[PlaneLayout, ...]:
        name = frame.format.name
        if name not in self._layouts:
            self._layouts[name] = layout_of(frame.format)
        return self._layouts[name]

    def _with_alpha(
        self, frame: VideoFrame, drawn: NDArray[np.uint8], touched: NDArray[np.bool_], layouts: tuple[PlaneLayout, ...]
    ) -> VideoFrame:
        painted = self._converted(frame, drawn, with_alpha(frame.format))
        own = self._layout(painted)
        size = (frame.width, frame.height)
        for plane, layout in zip(painted.planes, own, strict=True):
            if layout.is_alpha:  # swscale's own is off by one here and there
                _write_alpha(layout.units(plane, size), drawn[..., 3], painted.format.components[-1].bits)
        # the same colour planes: those of yuv420p are those of yuva420p
        if len(own) > 1 and own[:3] == layouts[:3] and stored_top_down(frame):
            _restore(frame, painted, touched, layouts[:3])
        return painted

    def _converted(self, frame: VideoFrame, drawn: NDArray[np.uint8], format: str) -> VideoFrame:
        """`drawn` as a frame of `format` with everything else that `frame` has."""
        import cv2
        from av.video.reformatter import Interpolation

        # A conversion is the one way to a frame with all of another's properties. One to the format that the frame has
        # already would give the frame itself.
        packing, layout = ("rgba", _RGBA) if drawn.shape[2] == 4 else ("rgb24", _RGB24)
        if packing == frame.format.name:
            packing = packing.replace("rgb", "bgr")
            swap = cv2.COLOR_RGBA2BGRA if drawn.shape[2] == 4 else cv2.COLOR_RGB2BGR
            drawn = np.asarray(cv2.cvtColor(drawn, swap), np.uint8)
        try:
            carrier = self._to_carrier.reformat(frame, format=packing, threads=1)
            layout.units(carrier.planes[0], (frame.width, frame.height))[:] = drawn
            painted = self._from_carrier.reformat(
                carrier, format=format, interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND, threads=1
            )
        except OSError as exc:
            raise unconvertible(frame) from exc
        painted.colorspace = frame.colorspace  # a conversion names BT.470BG by its twin, SMPTE 170M
        painted.color_range = 2 if frame.format.name.startswith("yuvj") else frame.color_range
        return painted


def differing(before: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W) bool, where the colours of two pictures differ; alpha is not looked at."""
    import cv2

    red, green, blue = cv2.split(cv2.absdiff(before, np.ascontiguousarray(drawn[..., :3])))
    differs: NDArray[np.bool_] = np.not_equal(red | green | blue, 0)
    return differs


def unconvertible(frame: VideoFrame) -> InvalidInputError:
    """The error for a frame that FFmpeg cannot convert to RGB or back."""
    return InvalidInputError(
        f"frame: FFmpeg cannot convert {frame.format.name} pictures of colour matrix {frame.colorspace} and range "
        f"{frame.color_range} to RGB and back; convert them first, for example with its zscale filter"
    )


def _restore(
    frame: VideoFrame, painted: VideoFrame, touched: NDArray[np.bool_], layouts: tuple[PlaneLayout, ...]
) -> None:
    """Take every unit that was not drawn on, and alpha, from the original."""
    size = (frame.width, frame.height)
    for layout, source, target in zip(layouts, frame.planes, painted.planes, strict=False):
        old, new = layout.units(source, size), layout.units(target, size)
        kept = ~layout.pooled(touched)
        start, end = layout.alpha
        # byte by byte: one copyto with a mask that is broadcast over them takes several times as long
        for byte in range(layout.unit_bytes):
            np.copyto(new[..., byte], old[..., byte], where=start <= byte < end or kept)


def _write_alpha(units: NDArray[np.uint8], alpha: NDArray[np.uint8], bits: int) -> None:
    if bits == 8:
        units[..., 0] = alpha
        return
    wide = np.rint(alpha * np.float32(((1 << bits) - 1) / 255)).astype("<u2")
    units[:] = wide[..., None].view(np.uint8)
