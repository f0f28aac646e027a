"""The container that a piped stream leaves in: one encoded video stream, all others copied."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from gest_stream.interfaces import SourceInfo
from gest_stream.pipe.encoding import RAW, PipeFormat, PipeOptions, choose_encoding, container_options
from gest_stream.pipe.passage import Passing, Picture
from gest_stream.pipe.source import StreamParts
from gest_stream.pipe.stdout import PipeFile

if TYPE_CHECKING:
    from av import VideoFrame
    from av.stream import Stream

_LOG = logging.getLogger(__name__)
_BUFFER_BYTES = 1 << 18
_HD_LINES = 720
_LIMITED, _BT709, _SMPTE170M = 1, 1, 6
_RATE_WHERE_UNKNOWN = Fraction(30)


class PipeOutput:
    """Writes frames and copied packets into one container. Used from one thread after it was made.

    Args:
        file: Where it goes.
        parts: Of the input.
        info: Of the source.
        first: A frame like those that come.
        pixel_format: To keep where that is possible.
        options: Container and codec.

    Raises:
        SinkError: The pictures cannot be encoded so.
    """

    def __init__(
        self,
        file: PipeFile,
        parts: StreamParts,
        info: SourceInfo,
        first: VideoFrame,
        pixel_format: str,
        options: PipeOptions,
    ) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.format = options.format_for(parts.format)
        self.frames_written = 0
        self._encoding = choose_encoding(self.format, options, first, pixel_format)
        self._size = info.size
        self._time_base = info.time_base
        self._reformatter = VideoReformatter()
        self._file = file
        self._output = av.open(
            file,
            "w",
            format=self.format.muxer,
            container_options=container_options(self.format),
            buffer_size=_BUFFER_BYTES,
        )
        self._output.metadata.update(parts.metadata)
        self._video = self._add_video(parts, info, first)
        self._copies: dict[int, Stream] = {}
        self._last_dts: dict[int, int] = {}
        self._left_out = self._before_start = 0
        self._later_s = self._delay_s(first)
        self._add_copies(parts)
        self._tell(parts)

    def _add_video(self, parts: StreamParts, info: SourceInfo, first: VideoFrame) -> Any:
        encoding = self._encoding
        stream: Any = self._output.add_stream(
            encoding.codec, rate=info.average_rate or _RATE_WHERE_UNKNOWN, options=dict(encoding.options)
        )
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = *info.size, encoding.pixel_format
        # both: with one of them alone FFmpeg rounds every pts to the frame rate
        context.time_base = stream.time_base = info.time_base
        context.colorspace, context.color_range = first.colorspace, first.color_range
        context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
        if first.format.name.startswith("yuvj"):
            context.color_range = 2
        if encoding.codec == RAW:  # other encoders would take it for a wish
            context.field_order = parts.video.codec_context.field_order
        if self._leaves_rgb(first):
            context.colorspace, context.color_range = self._matrix(), _LIMITED
        stream.metadata.update(parts.video.metadata)
        stream.disposition = parts.video.disposition
        return stream

    def _delay_s(self, first: VideoFrame) -> Fraction:
        """Seconds that everything is moved by, because NUT holds no time before 0."""
        if self.format is not PipeFormat.NUT or first.pts is None or first.pts >= 0:
            return Fraction(0)
        delay_s = -first.pts * self._time_base
        _LOG.warning("the video starts %.3f s before 0, which NUT cannot hold: everything is that much later", delay_s)
        return delay_s

    def _leaves_rgb(self, frame: VideoFrame) -> bool:
        """Whether RGB pictures are encoded as YUV."""
        import av

        return frame.format.is_rgb and not av.VideoFormat(self._encoding.pixel_format).is_rgb

    def _matrix(self) -> int:
        return _BT709 if self._size[1] >= _HD_LINES else _SMPTE170M

    def _add_copies(self, parts: StreamParts) -> None:
        import av

        for stream in parts.others:
            try:
                if self.format is PipeFormat.Y4M:
                    raise ValueError("y4m holds video alone")
                if stream.type not in ("video", "audio", "subtitle", "attachment"):
                    raise ValueError("it is neither picture, sound nor text")
                if stream.type == "audio" and not getattr(stream, "sample_rate", 0):
                    raise ValueError("its sample rate is not known")
                copy = self._output.add_stream_from_template(stream, opaque=True)
            except (ValueError, av.FFmpegError) as exc:
                _LOG.warning("%s stream %d is left out: %s", stream.type, stream.index, exc)
                continue
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            if stream.time_base is not None:
                copy.time_base = stream.time_base
            self._copies[stream.index] = copy

    def _tell(self, parts: StreamParts) -> None:
        encoding = self._encoding
        _LOG.info("writing %s, %s %s", self.format, encoding.codec, encoding.pixel_format)
        if not encoding.tells_range:
            _LOG.warning(
                "the video is full range, and %s does not say so in %s: put '-color_range pc' before the reader's -i, "
                "or use --format matroska",
                *(encoding.codec, self.format),
            )
        aspect = parts.video.sample_aspect_ratio
        if aspect and aspect != 1 and encoding.codec == RAW:
            _LOG.warning("pixels are not square (%s) and the output does not say so: set the reader's aspect", aspect)

    def write(self, item: Picture | Passing) -> None:
        """Write the next thing that passed; blocking."""
        if isinstance(item, Passing):
            self._copy(item)
        elif item.painted is not None:
            frame = self._fitted(item.painted)
            frame.pts, frame.time_base = item.pts + round(self._later_s / self._time_base), self._time_base
            self._output.mux(self._video.encode(frame))
            self.frames_written += 1

    def _copy(self, item: Passing) -> None:
        stream, packet = self._copies.get(item.stream), item.packet
        if stream is None:
            return
        if self._later_s and packet.time_base:
            later = round(self._later_s / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + later
            packet.dts = None if packet.dts is None else packet.dts + later
        if packet.dts is None:
            packet.dts = packet.pts
        if self.format is PipeFormat.NUT and (packet.pts or 0) < 0:
            self._before_start += 1
            return
        last = self._last_dts.get(item.stream)
        if packet.dts is None or (last is not None and packet.dts < last):
            self._left_out += 1  # the muxer would refuse it and end the stream
            return
        if packet.dts == last and self.format is PipeFormat.NUT and stream.type != "subtitle":
            packet.dts += 1  # Matroska's milliseconds may repeat, NUT's times may not
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        self._last_dts[item.stream] = packet.dts
        packet.stream = stream
        self._output.mux(packet)

    def _fitted(self, frame: VideoFrame) -> VideoFrame:
        """The frame in the size and pixel format of the stream."""
        if (frame.width, frame.height) != self._size:
            frame = self._resized(frame)
        if frame.format.name == self._encoding.pixel_format:
            return frame
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        matrix = range = None  # the frame's own
        if self._leaves_rgb(frame):
            matrix = Colorspace.ITU709 if self._matrix() == _BT709 else Colorspace.SMPTE170M
            range = ColorRange.MPEG
        elif frame.format.name.startswith("yuvj"):
            range = ColorRange.JPEG
        return self._reformatter.reformat(
            frame,
            format=self._encoding.pixel_format,
            dst_colorspace=matrix,
            dst_color_range=range,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
            threads=1,
        )

    def _resized(self, frame: VideoFrame) -> VideoFrame:
        import av
        from av.video.reformatter import VideoReformatter

        from gest_stream.sinks.letterbox import letterbox

        alpha = any(component.is_alpha for component in frame.format.components)
        packing = "rgba" if alpha else "rgb24"
        fitted = letterbox(np.asarray(frame.to_ndarray(format=packing), np.uint8), self._size)
        boxed = av.VideoFrame.from_ndarray(fitted, format=packing)
        boxed.colorspace, boxed.color_range = frame.colorspace, frame.color_range
        # the size changes seldom and every frame after it comes here: a scaler of its own would be kept for nothing
        return VideoReformatter().reformat(boxed, format=frame.format.name, threads=1)

    def finish(self) -> None:
        """Write what the encoder holds back, and the end of the container."""
        self._output.mux(self._video.encode(None))
        self.close()
        if self._before_start:
            _LOG.warning("%d packets before the first time that NUT can hold were left out", self._before_start)
        if self._left_out:
            _LOG.warning("%d packets that went back in time were left out", self._left_out)

    def close(self) -> None:
        """End the container as it is; more than once does no harm."""
        try:
            self._output.close()
        finally:
            self._file.close()
