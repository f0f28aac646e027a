"""WebRTC for applications that have an aiortc of their own: a received track in, a processed track out.

@connection.on("track")
def on_track(track):
    connection.addTrack(gest_stream.webrtc.HandTrack(track))
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import ArrayLike

from gest_stream.build import HandTracker, Pipeline
from gest_stream.config import BufferConfig, EffectConfig, PipelineConfig
from gest_stream.errors import GestStreamError, InvalidInputError
from gest_stream.interfaces import SourceInfo
from gest_stream.pipeline import RunStats
from gest_stream.sinks.webrtc import PictureSink, PictureTrack
from gest_stream.sources.webrtc import TrackSource
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from av import VideoFrame

    from gest_stream.audio import AudioFeed

__all__ = ["HandTrack", "PictureSink", "PictureTrack", "TrackSource"]

_LOG = logging.getLogger(__name__)


class HandTrack(MediaStreamTrack):
    """A video track with the hands of another one tracked and drawn in.

    Frames are taken from `track` as they come, the newest is processed, the others are dropped; pts and time_base are
    kept. The models are loaded when the first frame is asked for. The track ends with `track`, with `stop()`, or with
    an error, which is logged and kept in `error`.

    Args:
        track: A received video track (or any other), which nobody else takes frames from; for several takers use
            `aiortc.contrib.media.MediaRelay`.
        config: Settings; the effect's are what is drawn.
        tracker: Instead of one made from `config`; it ends with the track.
        on_result: Called on the event loop with every result.

    Raises:
        ConfigError: The effect cannot be sent over WebRTC.
        InvalidInputError: `track` is not a video track.
    """

    kind = "video"

    def __init__(
        self,
        track: MediaStreamTrack,
        config: PipelineConfig | None = None,
        *,
        tracker: TrackerCore | None = None,
        on_result: Callable[[FrameResult], object] | None = None,
    ) -> None:
        super().__init__()
        if track.kind != "video":
            raise InvalidInputError(f"HandTrack: expected a video track, got one of {track.kind}")
        config = config or PipelineConfig()
        self._source = TrackSource(track, first_frame_timeout_s=config.rtc.connect_timeout_s)
        self._picture = PictureSink(config.effect)
        self._shown = self._picture.track()
        self._pipeline = Pipeline(
            self._source,
            lambda: tracker or HandTracker(config),
            [self._picture, *([_Teller(on_result)] if on_result is not None else [])],
            BufferConfig(sink_depth=1),
        )
        self._run: asyncio.Task[None] | None = None
        self.error: GestStreamError | None = None
        """What ended the track early."""

    async def recv(self) -> VideoFrame:
        """The newest processed picture.

        Raises:
            MediaStreamError: The track has ended.
        """
        if self.readyState != "live":
            raise MediaStreamError
        if self._run is None:
            self._run = asyncio.create_task(self._process())
        try:
            picture: VideoFrame = await self._shown.recv()
            return picture
        except MediaStreamError:
            self.stop()
            raise

    def stop(self) -> None:
        """End the track; the models are let go of in the background, see `finished`."""
        super().stop()
        self._source.stop()
        self._shown.stop()

    async def finished(self) -> None:
        """Wait until a track that was stopped, or that ended, has let go of everything."""
        if self._run is not None:
            await asyncio.wait({self._run})

    def set_effect(self, effect: EffectConfig) -> None:
        """Draw another effect from now on.

        Raises:
            ConfigError: It cannot be sent over WebRTC, or lacks its background.
        """
        self._picture.set_effect(effect)

    def add_prompt(self, points_xy_px: ArrayLike, labels: ArrayLike | None = None, track_id: int | None = None) -> int:
        """Point at a hand, see `HandTracker.add_prompt`.

        Raises:
            InvalidInputError: No frame was processed yet, or the prompt means nothing.
        """
        return self._pipeline.tracker.add_prompt(points_xy_px, labels, track_id=track_id)

    @property
    def stats(self) -> RunStats:
        """Counts so far.

        Raises:
            InvalidInputError: No frame was asked for yet.
        """
        return self._pipeline.stats

    async def _process(self) -> None:
        try:
            async with self._pipeline as pipeline:
                await pipeline.run()
        except GestStreamError as exc:
            self.error = exc
            _LOG.error("the processed track ends: %s", exc)
        finally:
            self.stop()


class _Teller:
    """A sink that hands results to a function."""

    name = "on_result"

    def __init__(self, tell: Callable[[FrameResult], object]) -> None:
        self._tell = tell

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Nothing to get ready."""

    async def write(self, result: FrameResult) -> None:
        """Tell it."""
        self._tell(result)

    async def close(self) -> None:
        """Nothing to finish."""
