"""Which encoder and pixel format a piped stream leaves with."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gest_stream.errors import ConfigError, SinkError

if TYPE_CHECKING:
    from av import VideoFrame

RAW = "rawvideo"


class PipeFormat(StrEnum):
    """A container that can be written front to back."""

    NUT = "nut"
    MATROSKA = "matroska"
    Y4M = "y4m"

    @property
    def muxer(self) -> str:
        """FFmpeg's name of it."""
        return "yuv4mpegpipe" if self is PipeFormat.Y4M else str(self)


@dataclass(frozen=True, slots=True)
class PipeOptions:
    """What a piped stream leaves as.

    Args:
        format: The container; None takes the input's, NUT where that is another one.
        codec: FFmpeg's name of the video encoder; None takes raw pictures, FFV1 where Matroska cannot hold them.
        codec_options: FFmpeg's options for it.

    Raises:
        ConfigError: A codec for y4m, or options without a codec.
    """

    format: PipeFormat | None = None
    codec: str | None = None
    codec_options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format is PipeFormat.Y4M and self.codec not in (None, RAW):
            raise ConfigError(f"codec: y4m holds raw pictures only, got {self.codec!r}; use --format nut or matroska")
        if self.codec_options and self.codec is None:
            raise ConfigError("codec options: name the codec they are for with --codec")

    def format_for(self, input_format: str) -> PipeFormat:
        """The container for an input of FFmpeg's container name."""
        if self.format is not None:
            return self.format
        return next((format for format in PipeFormat if format.muxer == input_format), PipeFormat.NUT)


_RAW_FORMATS = (
    *(f"yuv{kind}p{bits}" for bits in ("", "10le", "12le") for kind in ("420", "422", "444")),
    *(f"yuva{kind}p{bits}" for bits in ("", "10le") for kind in ("420", "422", "444")),
    *("gray", "rgb24", "bgr24", "rgba", "bgra", "rgb0", "bgr0", "gbrp", "gbrap", "rgb48le", "rgba64le"),
)
_PROBE_SIZE = (64, 64)
_FULL_RANGE = 2


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoder that was tried, and what a reader will see.

    Args:
        codec: FFmpeg's encoder name.
        pixel_format: FFmpeg's pixel format name.
        options: For the encoder.
        tells_range: False where full range is written and the container does not say so.
    """

    codec: str
    pixel_format: str
    options: Mapping[str, str]
    tells_range: bool = True


def choose_encoding(format: PipeFormat, options: PipeOptions, first: VideoFrame, wanted: str) -> Encoding:
    """The encoder for frames like `first`.

    Encoders are tried on a small picture in memory, because containers differ in which raw formats they can name and
    FFmpeg does not tell: NUT takes raw p010le and reads it back as rgb555le.

    Args:
        format: The container.
        options: Codec and its options.
        first: A frame, for its colours.
        wanted: The pixel format to keep where that is possible.

    Raises:
        SinkError: The codec is unknown, cannot be written into the container, or loses the alpha of `wanted`.
    """
    codecs = [options.codec] if options.codec else [RAW, "ffv1"] if format is PipeFormat.MATROSKA else [RAW]
    known = {codec: _formats_of(codec) for codec in codecs}
    exact = [(codec, wanted) for codec in codecs if codec == RAW or wanted in known[codec]]
    others = [(codec, name) for codec in codecs for name in _nearest(known[codec], wanted)]
    failure = ""
    for codec, pixel_format in (*exact, *others):
        try:
            return _tried(format, Encoding(codec, pixel_format, options.codec_options), first)
        except (ValueError, OSError) as exc:  # FFmpegError is one of either
            failure = failure or (exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc))
    alpha = " with alpha, which the effect 'transparent' needs," if _has_alpha(wanted) else ""
    raise SinkError(
        f"codec {codecs[0]}: {wanted} pictures{alpha} cannot be written into {format}"
        f"{f' ({failure})' if failure else ''}; try --format nut, or --codec ffv1"
    )


def _formats_of(codec: str) -> list[str]:
    """The pixel formats an encoder takes; of the raw one those worth a try."""
    import av

    if codec == RAW:
        return list(_RAW_FORMATS)
    try:
        return [pixels.name for pixels in av.Codec(codec, "w").video_formats or ()]
    except (ValueError, av.FFmpegError) as exc:
        raise SinkError(
            f"codec {codec!r}: FFmpeg has no such encoder; 'ffmpeg -encoders' lists those it may have"
        ) from exc


def _nearest(known: Sequence[str], wanted: str) -> list[str]:
    """What of `known` comes instead of `wanted`, what loses least first, and nothing that loses alpha."""
    from av.codec.codec import find_best_pix_fmt_of_list

    alpha = _has_alpha(wanted)
    ordered: list[str] = []
    others = [name for name in known if name != wanted and (_has_alpha(name) or not alpha)]
    while others:
        best, _ = find_best_pix_fmt_of_list(others, wanted, alpha)
        if best is None:
            break
        ordered.append(best.name)
        others.remove(best.name)
    return ordered


def _has_alpha(pixel_format: str) -> bool:
    import av

    return any(component.is_alpha for component in av.VideoFormat(pixel_format).components)


def _tried(format: PipeFormat, encoding: Encoding, first: VideoFrame) -> Encoding:
    """`encoding`, after a picture has gone through it and back."""
    import av

    file = io.BytesIO()
    full_range = first.color_range == _FULL_RANGE or first.format.name.startswith("yuvj")
    with av.open(file, "w", format=format.muxer, container_options=container_options(format)) as output:
        stream: Any = output.add_stream(encoding.codec, rate=25, options=dict(encoding.options))
        context = stream.codec_context
        context.width, context.height = _PROBE_SIZE
        context.pix_fmt, context.time_base = encoding.pixel_format, Fraction(1, 25)
        context.color_range = _FULL_RANGE if full_range else first.color_range
        frame = av.VideoFrame(*_PROBE_SIZE, encoding.pixel_format)
        frame.pts, frame.time_base, frame.color_range = 0, Fraction(1, 25), context.color_range
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as input:
        seen = next(input.decode(video=0))
    if encoding.codec == RAW and _plain(seen.format.name) != _plain(encoding.pixel_format):
        raise ValueError(f"it would be read as {seen.format.name}")
    says_full = seen.color_range == _FULL_RANGE or seen.format.name.startswith("yuvj")
    return Encoding(encoding.codec, encoding.pixel_format, encoding.options, says_full or not full_range)


def _plain(pixel_format: str) -> str:
    return pixel_format.replace("yuvj", "yuv")


def container_options(format: PipeFormat) -> dict[str, str]:
    """FFmpeg's options for a container that is read while it is written."""
    # `disabled`: times are kept, also where the first is negative; `max_interleave_delta` (µs): a silent stream holds
    # back no more than this of the others
    options = {"avoid_negative_ts": "disabled", "max_interleave_delta": "2000000", "flush_packets": "1"}
    if format is PipeFormat.NUT:
        options["write_index"] = "0"  # it would grow with every picture, and nobody seeks in a pipe
    if format is PipeFormat.MATROSKA:
        options |= {"live": "1", "cluster_time_limit": "200"}  # a cluster is sent when it is full
    if format is PipeFormat.Y4M:
        options["strict"] = "-1"  # more than 8 bits, and alpha
    return options
