"""Results as outgoing WebRTC video tracks, drawn once for all who watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError
from gest_stream.interfaces import SourceInfo
from gest_stream.overlay import Renderer
from gest_stream.rtc.outgoing import FedTrack
from gest_stream.sinks.frame_memory import as_video_frame
from gest_stream.sinks.letterbox import pad_to_even
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter

    from gest_stream.audio import AudioFeed


class PictureTrack(FedTrack):
    """An outgoing video track that gives the newest picture and drops what was not asked for in time.

    Args:
        on_stop: Called once, when the track ends.
    """

    def __init__(self, on_stop: Callable[[PictureTrack], object] | None = None) -> None:
        super().__init__("video", 1, on_stop)


class PictureSink(ThreadedSink):
    """Draws results with an effect and shows them on any number of tracks.

    Nothing is drawn while nobody watches. Pictures keep the pts and time_base of their frames. They are BT.601 limited
    range at every size, which is what browsers take a video to be that does not say.

    Args:
        effect: How results are drawn; `transparent` needs an alpha channel, which WebRTC video has not.
        name: What messages call it.

    Raises:
        ConfigError: The effect is `transparent`, or lacks its background.
    """

    def __init__(self, effect: EffectConfig, name: str = "webrtc picture") -> None:
        super().__init__(name)
        self._tracks: list[PictureTrack] = []
        self._dropped_by_gone = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reformatter: VideoReformatter | None = None
        self._newest: VideoFrame | None = None
        self._ended = False
        self.effect = effect
        """The effect that is drawn."""
        self._renderer = _renderer(effect, None)

    def set_effect(self, effect: EffectConfig, background: NDArray[np.uint8] | None = None) -> None:
        """Draw the results that come from now on in another way; safe from any thread.

        Args:
            effect: How results are drawn.
            background: (H, W, 3) uint8 RGB, for `replace`, instead of the file that `effect` names.

        Raises:
            ConfigError: As for the constructor; the old effect stays.
        """
        self._renderer = _renderer(effect, background)
        self.effect = effect

    def track(self) -> PictureTrack:
        """A new track, which shows the newest picture at once; call it on the event loop."""
        track = PictureTrack(self._leave)
        self._tracks.append(track)
        if self._ended:
            track.stop()
        elif self._newest is not None:
            track.feed(self._newest)
        return track

    @property
    def watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._tracks)

    @property
    def dropped(self) -> int:
        """Pictures that were drawn and not sent, by all tracks there ever were."""
        return self._dropped_by_gone + sum(track.dropped for track in tuple(self._tracks))

    def _leave(self, track: PictureTrack) -> None:
        self._tracks.remove(track)
        self._dropped_by_gone += track.dropped

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Get ready; tracks may have been made before."""
        self._loop = asyncio.get_running_loop()
        await super().open(info, audio)

    def _write(self, result: FrameResult) -> None:
        if not self.watched or self._loop is None:
            return
        picture = self._drawn(result)
        self._newest = picture
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody watches
            self._loop.call_soon_threadsafe(self._show, picture)

    def _drawn(self, result: FrameResult) -> VideoFrame:
        from av.video.reformatter import ColorRange, Colorspace

        assert self._reformatter is not None
        drawn = as_video_frame(np.ascontiguousarray(pad_to_even(self._renderer.render(result))))
        picture = self._reformatter.reformat(
            drawn,
            format="yuv420p",
            dst_colorspace=Colorspace.SMPTE170M,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        picture.pts, picture.time_base = result.frame.pts, Fraction(result.frame.time_base)
        return picture

    def _show(self, picture: VideoFrame) -> None:
        for track in self._tracks:
            track.feed(picture)

    def _close(self) -> None:
        """Nothing: the tracks end on the event loop."""

    async def close(self) -> None:
        """End every track."""
        self._ended = True
        await super().close()
        for track in tuple(self._tracks):
            track.stop()


def _renderer(effect: EffectConfig, background: NDArray[np.uint8] | None) -> Renderer:
    if effect.kind is EffectKind.TRANSPARENT:
        raise ConfigError(
            "effect.kind: 'transparent' cannot be sent over WebRTC, whose video has no alpha; use 'green'"
        )
    return Renderer(effect, background)
