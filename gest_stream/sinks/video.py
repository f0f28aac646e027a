"""Video files: every result drawn, encoded and written with the pts it came with, the source's audio beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError
from gest_stream.interfaces import SourceInfo
from gest_stream.overlay import Renderer, draw_landmarks
from gest_stream.sinks.audio_copy import MATROSKA_CODEC_IDS, AudioCopy, canonical_codec
from gest_stream.sinks.containers import VideoCodec, codec_for, container_for
from gest_stream.sinks.letterbox import letterbox, pad_to_even
from gest_stream.sinks.output_path import check_output_file, explain_os_error
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from av.container import OutputContainer

    from gest_stream.audio import AudioFeed

logger = logging.getLogger(__name__)

Render: TypeAlias = Callable[[FrameResult], NDArray[np.uint8]]
"""Draws a result: (H, W, 3) uint8 RGB, or (H, W, 4) RGBA where alpha was asked for."""

_HD_LINES = 720
_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video is compressed.

    Args:
        crf: Constant quality of H.264 and VP9, 0 (best) to 51; ProRes has none.
        preset: x264's trade of speed for size.
        threads: Encoder threads, 0 lets the encoder choose.
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


def _plain_picture(result: FrameResult) -> NDArray[np.uint8]:
    return result.frame.image


class VideoSink(ThreadedSink):
    """Writes an .mp4, .mov, .mkv or .webm file.

    The pts and time_base of the frames are kept, whatever their rate (Matroska and WebM round to a millisecond), and
    audio packets are copied through unchanged. Pictures are BT.709 from 720 lines on, BT.601 below, limited range,
    and tagged so. H.264 needs an even size: the last column or row of an odd one is repeated. The file is written
    under its final name and is playable up to about a second before the end even if the process is killed; a file
    that was there is replaced once the encoder is open.

    Args:
        path: The file; its suffix chooses container and codec.
        render: Draws what is written; the frame itself where None.
        alpha: True where `render` returns RGBA and the alpha is to be kept.
        options: How it is compressed.

    Raises:
        SinkError: The suffix is unknown, or carries no alpha and `alpha` is asked for.
    """

    def __init__(
        self, path: Path, render: Render | None = None, *, alpha: bool = False, options: VideoOptions | None = None
    ) -> None:
        super().__init__(str(path))
        self._path = path
        self._container = container_for(path)
        self._codec = codec_for(path, alpha)
        self._render = render or _plain_picture
        self._alpha = alpha
        self._options = options or VideoOptions()
        self._size = (0, 0)
        self._output: OutputContainer | None = None
        self._stream: Any = None
        self._audio: AudioCopy | None = None
        self._last_time: Fraction | None = None
        self._went_back = 0
        self._resized = self._failed = False

    def _explain(self, exc: Exception) -> str:
        return explain_os_error(self._path, exc)

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        import av

        path = self._path.absolute()  # a relative "a:b.mp4" would be taken for a protocol
        check_output_file(path, info.name)
        self._size = info.size
        self._last_time = None
        self._went_back = 0
        self._resized = self._failed = False
        self._output = av.open(str(path), "w", format=self._container.muxer, options=dict(self._muxer_options(info)))
        self._stream = self._add_video(self._output, info)
        self._audio = self._add_audio(self._output, audio)
        try:
            self._output.start_encoding()  # opens the encoder first, then the file
        except Exception:
            self._failed = True
            raise

    def _muxer_options(self, info: SourceInfo) -> dict[str, str]:
        options = dict(self._container.options)
        if "movflags" in options:
            options["video_track_timescale"] = str(info.time_base.denominator)
        return options

    def _add_video(self, output: OutputContainer, info: SourceInfo) -> Any:
        from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

        width, height = info.size
        codec = self._codec
        if codec.even_size:
            width, height = width + width % 2, height + height % 2
        rate = info.average_rate or Fraction(30)
        stream: Any = output.add_stream(codec.name, rate=rate, options=self._encoder_options(codec))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, codec.pixel_format
        # both: with one of them alone FFmpeg rounds every pts to the frame rate
        context.time_base = stream.time_base = info.time_base
        context.thread_count = self._options.threads
        hd = info.size[1] >= _HD_LINES
        self._matrix = Colorspace.ITU709 if hd else Colorspace.SMPTE170M
        context.colorspace = self._matrix
        context.color_primaries = ColorPrimaries.BT709 if hd else ColorPrimaries.SMPTE170M
        context.color_trc = ColorTrc.BT709 if hd else ColorTrc.SMPTE170M
        context.color_range = ColorRange.MPEG
        return stream

    def _encoder_options(self, codec: VideoCodec) -> dict[str, str]:
        options = dict(codec.options)
        if codec.takes_crf:
            options["crf"] = str(self._options.crf)
        if codec.takes_preset:
            options["preset"] = self._options.preset
        return options

    def _add_audio(self, output: OutputContainer, audio: AudioFeed | None) -> AudioCopy | None:
        if audio is None:
            return None
        codec = canonical_codec(audio.format.codec)
        if codec in self._container.audio_codecs:
            return AudioCopy(output, audio, codec, self.name)
        remedy = (
            f"name the output {self._path.with_suffix('.mkv').name} to keep it"
            if codec in MATROSKA_CODEC_IDS
            else "convert the source's audio to AAC to keep it"
        )
        logger.warning("%s: %s audio cannot be copied into %s, so it is left out; %s",
                       self._path, codec, self._path.suffix, remedy)  # fmt: skip
        return None

    def _write(self, result: FrameResult) -> None:
        import av

        frame = result.frame
        time = frame.pts * frame.time_base
        if self._last_time is not None and time <= self._last_time:
            self._skip_backwards(frame.pts)
            return
        self._last_time = time
        picture = self._fitted(self._render(result))
        picture_format = "rgba" if self._alpha else "rgb24"
        from_array: Any = av.VideoFrame.from_ndarray(picture, format=picture_format)
        encoded = self._converted(from_array)
        encoded.pts, encoded.time_base = frame.pts, frame.time_base
        self._encode(encoded)

    def _skip_backwards(self, pts: int) -> None:
        self._went_back += 1
        if self._went_back == 1:
            logger.warning("%s: the pts %d does not advance; such frames are left out of the video", self._path, pts)

    def _fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        channels = 4 if self._alpha else 3
        if picture.shape[2] > channels:
            picture = picture[..., :channels]
        size = (picture.shape[1], picture.shape[0])
        if size != self._size and not self._resized:
            self._resized = True
            logger.warning("%s: the picture changed from %dx%d to %dx%d; it is fitted into the first size",
                           self._path, *self._size, *size)  # fmt: skip
        picture = letterbox(picture, self._size)
        return np.ascontiguousarray(pad_to_even(picture) if self._codec.even_size else picture)

    def _converted(self, frame: Any) -> Any:
        from av.video.reformatter import ColorRange

        return frame.reformat(
            format=self._codec.pixel_format, dst_colorspace=self._matrix, dst_color_range=ColorRange.MPEG
        )

    def _encode(self, frame: Any) -> None:
        try:
            if self._audio is not None:
                self._audio.pump()
            assert self._output is not None
            self._output.mux(self._stream.encode(frame))
        except Exception:
            self._failed = True
            raise

    def _close(self) -> None:
        output = self._output
        if output is None:
            return
        try:
            if not self._failed:
                self._encode(None)
                if self._audio is not None:
                    self._audio.finish()
        finally:
            self._output = self._audio = self._stream = None
            self._finish(output)
        if self._went_back:
            logger.warning("%s: %d frames whose pts did not advance were left out", self._path, self._went_back)

    def _finish(self, output: OutputContainer) -> None:
        """Write what ends the file; after an earlier error that is an attempt, since the error was told already."""
        try:
            output.close()
        except Exception as exc:
            if not self._failed:
                raise
            logger.debug("%s: could not be finished after the earlier error: %s", self._path, exc)


def segmented_video(path: Path, effect: EffectConfig, options: VideoOptions | None = None) -> VideoSink:
    """A video of the frames with `effect` drawn on them.

    Raises:
        SinkError: The suffix is unknown, or the effect is `transparent` and the container carries no alpha.
        ConfigError: The effect's background cannot be read.
    """
    renderer = Renderer(effect)
    return VideoSink(path, renderer.render, alpha=effect.kind is EffectKind.TRANSPARENT, options=options)


def landmark_video(path: Path, options: VideoOptions | None = None) -> VideoSink:
    """A video of the frames with the landmarks drawn on them.

    Raises:
        SinkError: The suffix is unknown.
    """
    return VideoSink(path, lambda result: draw_landmarks(result.frame.image, result), options=options)
