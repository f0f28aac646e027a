"""Pictures to encoded packets: fitted to the first picture's size, in the right colours, their pts kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.containers import VideoCodec
from gest_stream.sinks.letterbox import letterbox, pad_to_even

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

_HD_LINES = 720
_RATE_WHERE_UNKNOWN = Fraction(30)  # a hint for the rate control; the pts are what counts
# PyAV's Colorspace counts as libswscale does, where BT.601 is 5; the tag counts as ISO/IEC 23091-2 does
_BT709, _SMPTE170M = 1, 6
_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video is compressed.

    At 720p x264 took 5.9 (ultrafast), 12.8 (superfast) and 17.5 (veryfast) ms of one core a frame, for files of 3.5, 2
    and 1 times the size at the same crf.

    Args:
        crf: Constant quality of H.264 and VP9, 0 (best) to 51; ProRes has none.
        preset: x264's trade of speed for size.
        threads: Encoder threads, 0 lets the encoder choose.

    Raises:
        ConfigError: A value is unknown or out of range.
    """

    crf: int = 20
    preset: str = "superfast"
    threads: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ConfigError(f"video crf: expected 0 to 51, got {self.crf}")
        if self.preset not in _PRESETS:
            raise ConfigError(f"video preset: expected one of {', '.join(_PRESETS)}, got {self.preset!r}")
        if self.threads < 0:
            raise ConfigError(f"video threads: expected 0 or more, got {self.threads}")


class PictureEncoder:
    """The video stream of an output container.

    Colours are BT.709 from 720 lines on and BT.601 below, limited range, and tagged so. Where the codec needs an even
    size, the last column or row of an odd one is repeated.

    Args:
        output: The container, before its header is written.
        codec: The encoder.
        options: How it is compressed.
        info: Of the source: size, time_base and rate.
        alpha: True where pictures come with alpha.
        name: Of the output, for messages.
    """

    def __init__(
        self,
        output: OutputContainer,
        codec: VideoCodec,
        options: VideoOptions,
        info: SourceInfo,
        alpha: bool,
        name: str,
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self._codec = codec
        self._size = info.size
        self._channels = 4 if alpha else 3
        self._name = name
        self._resized = False
        self._reformatter = VideoReformatter()  # kept: setting one up costs twice the conversion
        self._stream = self._add_stream(output, options, info)

    def _add_stream(self, output: OutputContainer, options: VideoOptions, info: SourceInfo) -> Any:
        from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

        codec_options = dict(self._codec.options)
        if self._codec.takes_crf:
            codec_options["crf"] = str(options.crf)
        if self._codec.takes_preset:
            codec_options["preset"] = options.preset
        rate = info.average_rate or _RATE_WHERE_UNKNOWN
        stream: Any = output.add_stream(self._codec.name, rate=rate, options=codec_options)
        context = stream.codec_context
        width, height = self._size
        if self._codec.even_size:
            width, height = width + width % 2, height + height % 2
        context.width, context.height, context.pix_fmt = width, height, self._codec.pixel_format
        # both: with one of them alone FFmpeg rounds every pts to the frame rate
        context.time_base = stream.time_base = info.time_base
        context.thread_count = options.threads
        hd = info.size[1] >= _HD_LINES
        self._matrix = Colorspace.ITU709 if hd else Colorspace.SMPTE170M
        context.colorspace = _BT709 if hd else _SMPTE170M
        context.color_primaries = ColorPrimaries.BT709 if hd else ColorPrimaries.SMPTE170M
        context.color_trc = ColorTrc.BT709 if hd else ColorTrc.SMPTE170M
        context.color_range = ColorRange.MPEG
        context.open()  # now, so that an encoder that refuses says so before a file is touched
        return stream

    def encode(self, picture: NDArray[np.uint8], pts: int, time_base: Fraction) -> list[Packet[VideoStream]]:
        """Encode one picture.

        Args:
            picture: (H, W, 3) uint8 RGB, or (H, W, 4) RGBA where alpha was asked for.
            pts: Later than the one before.
            time_base: Seconds per pts unit.

        Returns:
            The packets that are ready, often of earlier pictures.

        Raises:
            InvalidInputError: The picture has no alpha and it was asked for.
        """
        frame = self._converted(self._fitted(picture))
        frame.pts, frame.time_base = pts, time_base
        packets: list[Packet[VideoStream]] = self._stream.encode(frame)
        return packets

    def flush(self) -> list[Packet[VideoStream]]:
        """The packets that are left."""
        packets: list[Packet[VideoStream]] = self._stream.encode(None)
        return packets

    def _fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if picture.ndim != 3 or picture.shape[2] < self._channels:
            raise InvalidInputError(
                f"{self._name}: expected a picture of {self._channels} channels to write, got {picture.shape}"
            )
        picture = picture[..., : self._channels]
        size = (picture.shape[1], picture.shape[0])
        if size != self._size and not self._resized:
            self._resized = True
            logger.warning(
                "%s: the picture changed from %dx%d to %dx%d; it is fitted into the first size",
                *(self._name, *self._size, *size),
            )
        picture = letterbox(picture, self._size)
        return np.ascontiguousarray(pad_to_even(picture) if self._codec.even_size else picture)

    def _converted(self, picture: NDArray[np.uint8]) -> Any:
        import av
        from av.video.reformatter import ColorRange, Interpolation

        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(picture, format="rgba" if self._channels == 4 else "rgb24"),
            format=self._codec.pixel_format,
            dst_colorspace=self._matrix,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
            threads=1,  # a sink has a thread of its own already, and a pool costs more CPU than it saves time
        )
