"""Pictures to encoded packets: fitted to the first picture's size, in the right colours, their pts kept."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import H264Encoder, VideoConfig
from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.hwcodec import nvenc_works
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.containers import VideoCodec
from gest_stream.sinks.frame_memory import as_video_frame
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

    Raises:
        ConfigError: NVENC is asked for and cannot be opened.
    """

    def __init__(
        self,
        output: OutputContainer,
        codec: VideoCodec,
        options: VideoConfig,
        info: SourceInfo,
        alpha: bool,
        name: str,
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self._codec = codec = _by_hardware(codec, options, name)
        self._size = info.size
        self._channels = 4 if alpha else 3
        self._name = name
        self._resized = False
        self._reformatter = VideoReformatter()  # kept: setting one up costs twice the conversion
        self._stream = self._add_stream(output, options, info)

    def _add_stream(self, output: OutputContainer, options: VideoConfig, info: SourceInfo) -> Any:
        from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

        codec_options = dict(self._codec.options)
        if self._codec.takes_crf:
            codec_options[self._codec.quality_option] = str(options.crf)
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
        from av.video.reformatter import ColorRange, Interpolation

        return self._reformatter.reformat(
            as_video_frame(picture),
            format=self._codec.pixel_format,
            dst_colorspace=self._matrix,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
            threads=1,  # a sink has a thread of its own already, and a pool costs more CPU than it saves time
        )


def _by_hardware(codec: VideoCodec, options: VideoConfig, name: str) -> VideoCodec:
    """The codec that encodes: NVENC in the place of x264 where that is wanted and there."""
    if codec.nvenc is None or options.h264 is H264Encoder.X264:
        return codec
    if nvenc_works():
        return codec.nvenc
    if options.h264 is H264Encoder.NVENC:
        raise ConfigError(
            f"{name}: video.h264: 'nvenc' cannot be opened on this machine; use 'auto', which falls back to x264"
        )
    logger.info("%s: NVENC cannot be opened, x264 encodes", name)
    return codec
