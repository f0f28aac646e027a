"""Video files: every result drawn, encoded and written with the pts it came with, the source's audio beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind, VideoConfig
from gest_stream.errors import SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.overlay import Renderer, draw_landmarks
from gest_stream.sinks.audio_copy import MATROSKA_CODEC_IDS, AudioCopy, canonical_codec
from gest_stream.sinks.containers import codec_for, container_for
from gest_stream.sinks.output_path import check_output_file, explain_os_error
from gest_stream.sinks.picture_encoder import PictureEncoder
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from gest_stream.audio import AudioFeed

__all__ = ["Render", "VideoSink", "landmark_video", "segmented_video"]

logger = logging.getLogger(__name__)

Render: TypeAlias = Callable[[FrameResult], NDArray[np.uint8]]
"""Draws a result: (H, W, 3) uint8 RGB, or (H, W, 4) RGBA where alpha was asked for."""


@dataclass(slots=True)
class _Recording:
    """What is open while a file is written."""

    output: OutputContainer
    pictures: PictureEncoder
    audio: AudioCopy | None
    last_time_s: Fraction | None = None
    went_back: int = 0
    begun: bool = False
    failed: bool = False

    def mux(self, packets: list[Packet[VideoStream]]) -> None:
        """Write packets and the audio that came meanwhile; the first packet opens the file and writes its header.

        Never a header alone: FFmpeg 8.1 crashes when it closes a hybrid mp4 that holds no packet.
        """
        try:
            self.begun |= bool(packets)
            self.output.mux(packets)
            if self.audio is not None and self.begun:
                self.audio.pump()
        except Exception:
            self.failed = True
            raise


def _plain_picture(result: FrameResult) -> NDArray[np.uint8]:
    return result.frame.image


class VideoSink(ThreadedSink):
    """Writes an .mp4, .mov, .mkv or .webm file.

    The pts and time_base of the frames are kept, whatever their rate (Matroska and WebM round to a millisecond), and
    audio packets are copied through unchanged, up to the source's end. The file is written under its final name and
    is playable up to a second or two before the end even if the process is killed; a file that was there is replaced
    when the first picture is written. A picture whose size differs from the first is fitted into it.

    Args:
        path: The file; its suffix chooses container and codec.
        render: Draws what is written; the frame itself where None.
        alpha: True where `render` returns RGBA and the alpha is to be kept.
        options: How it is compressed.

    Raises:
        SinkError: The suffix is unknown, or carries no alpha and `alpha` is asked for.
    """

    def __init__(
        self, path: Path, render: Render | None = None, *, alpha: bool = False, options: VideoConfig | None = None
    ) -> None:
        super().__init__(str(path))
        self._path = path
        self._container = container_for(path)
        self._codec = codec_for(path, alpha)
        self._render = render or _plain_picture
        self._alpha = alpha
        self._options = options or VideoConfig()
        self._recording: _Recording | None = None

    def _explain(self, exc: Exception) -> str:
        import av

        return explain_os_error(self._path, exc) if isinstance(exc, OSError | av.FFmpegError) else super()._explain(exc)

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        import av

        path = self._path.absolute()  # a relative "a:b.mp4" would be taken for a protocol
        check_output_file(path, info.name)
        options = dict(self._container.options)
        if self._container.keeps_time_base:
            # the movie's clock too: it counts the gap before a first picture that is not at 0
            options["video_track_timescale"] = options["movie_timescale"] = str(info.time_base.denominator)
        output = av.open(str(path), "w", format=self._container.muxer, options=options)
        pictures = PictureEncoder(output, self._codec, self._options, info, self._alpha, self.name)
        self._recording = _Recording(output, pictures, self._copied_audio(output, audio))

    def _copied_audio(self, output: OutputContainer, audio: AudioFeed | None) -> AudioCopy | None:
        import av

        if audio is None:
            return None
        codec = canonical_codec(audio.format.codec)
        if codec in self._container.audio_codecs:
            try:
                return AudioCopy(output, audio, codec, self.name)
            except (ValueError, av.FFmpegError) as exc:
                logger.warning("%s: %s audio cannot be copied, so it is left out: %s", self._path, codec, exc)
                return None
        remedy = (
            f"name the output {self._path.with_suffix('.mkv').name} to keep it"
            if codec in MATROSKA_CODEC_IDS
            else "convert the source's audio to AAC to keep it"
        )
        logger.warning(
            "%s: %s audio cannot be copied into %s, so it is left out; %s",
            *(self._path, codec, self._path.suffix, remedy),
        )
        return None

    def _opened(self) -> _Recording:
        if self._recording is None:
            raise SinkError(f"{self.name}: not open; await open() first")
        return self._recording

    def _write(self, result: FrameResult) -> None:
        recording, frame = self._opened(), result.frame
        time_s = frame.pts * frame.time_base
        if recording.last_time_s is not None and time_s <= recording.last_time_s:
            recording.went_back += 1
            if recording.went_back == 1:
                logger.warning(
                    "%s: pts %d does not advance; such frames are left out of the video", self._path, frame.pts
                )
            return
        recording.last_time_s = time_s
        recording.mux(recording.pictures.encode(self._render(result), frame.pts, frame.time_base))

    def _close(self) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        try:
            if not recording.failed:
                recording.mux(recording.pictures.flush())
                if recording.audio is not None and recording.begun:
                    recording.audio.finish()
        except Exception:
            recording.failed = True
            raise
        finally:
            self._finish(recording)

    def _finish(self, recording: _Recording) -> None:
        """Write what ends the file; after an earlier error that is an attempt, since the error was told already."""
        if not recording.begun and not recording.failed:
            logger.warning("%s: no frame came, so no file was written", self._path)
        try:
            recording.output.close()
        except Exception as exc:
            if not recording.failed:
                raise
            logger.debug("%s: could not be finished after the earlier error: %s", self._path, exc)
        if recording.went_back:
            logger.warning("%s: %d frames whose pts did not advance were left out", self._path, recording.went_back)


def segmented_video(path: Path, effect: EffectConfig, options: VideoConfig | None = None) -> VideoSink:
    """A video of the frames with `effect` drawn on them.

    Raises:
        SinkError: The suffix is unknown, or the effect is `transparent` and the container carries no alpha.
        ConfigError: The effect's background cannot be read.
    """
    renderer = Renderer(effect)
    return VideoSink(path, renderer.render, alpha=effect.kind is EffectKind.TRANSPARENT, options=options)


def landmark_video(path: Path, options: VideoConfig | None = None) -> VideoSink:
    """A video of the frames with the landmarks drawn on them.

    Raises:
        SinkError: The suffix is unknown.
    """
    return VideoSink(path, lambda result: draw_landmarks(result.frame.image, result), options=options)
