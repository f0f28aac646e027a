"""Sessions that process a picture: the loop of the page, and what a WHIP client publishes."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCDataChannel, RTCPeerConnection, RTCRtpReceiver

from gest_stream.config import BufferConfig
from gest_stream.errors import InvalidInputError
from gest_stream.pipeline import Pipeline
from gest_stream.rtc.clocks import ReceiverClock, SenderClock
from gest_stream.rtc.decoding import DecodingCounts
from gest_stream.rtc.media import MediaReceiver
from gest_stream.rtc.outgoing import FedTrack
from gest_stream.server.audio import SoundFan
from gest_stream.server.command_channel import CommandChannel
from gest_stream.server.commands import SENDABLE_EFFECTS, Command, reply
from gest_stream.server.control import Control
from gest_stream.server.results import ResultsChannel, ResultsSink
from gest_stream.server.session import Session, SessionContext, SessionKind, transceiver_of
from gest_stream.sinks.webrtc import PictureSink, PictureTrack
from gest_stream.sources.webrtc import TrackSource
from gest_stream.tracking.tracker import TrackerCore


class ProcessingSession(Session):
    """Runs a pipeline over what the peer sends; of the kinds `loop` and `publish`."""

    def __init__(
        self,
        kind: SessionKind,
        stream: str,
        client: str,
        context: SessionContext,
        on_end: Callable[[Session], object],
    ) -> None:
        super().__init__(kind, stream, client, context, on_end)
        self._picture = PictureSink(context.config.effect)
        self._sound: SoundFan | None = None
        self._pipeline: Pipeline | None = None
        self._sink: ResultsSink | None = None
        self._sender: SenderClock | None = None
        self._control: Control | None = None
        self._counts: DecodingCounts | None = None

    @property
    def _picture_sender(self) -> SenderClock | None:
        return self._sender

    def _subscribe(self, results: ResultsChannel) -> None:
        if self._sink is not None:
            self._sink.add(results)

    def add_viewer(self, results: ResultsChannel) -> None:
        """Send results to somebody who watches, too."""
        self._subscribe(results)

    def picture_track(self) -> PictureTrack:
        """A new track that shows the processed picture."""
        return self._picture.track()

    def sound_track(self) -> FedTrack | None:
        """A new track that plays the peer's sound; None where it sends none."""
        return self._sound.track() if self._sound is not None else None

    def set_background(self, encoded: bytes) -> None:
        """Take a PNG or JPEG picture for the effect `replace`; safe from any thread.

        Raises:
            SignallingError: It is no such picture.
        """
        if self._control is not None:
            self._control.set_background(encoded)

    def _attach(self, connection: RTCPeerConnection) -> None:
        video, audio = transceiver_of(connection, "video"), transceiver_of(connection, "audio")
        assert video is not None  # the offer was checked
        if self.kind is SessionKind.LOOP:
            video.sender.replaceTrack(self._picture.track())
            video.direction = "sendrecv"
            self._sender = SenderClock(video.sender)
        else:
            video.direction = "recvonly"
        if audio is not None:
            published = self.kind is SessionKind.PUBLISH and audio.receiver.track is not None
            audio.direction = "recvonly" if published else "inactive"
            if published:
                self._sound = SoundFan(audio.receiver.track)
        self._prepare(video.receiver)

    def _prepare(self, receiver: RTCRtpReceiver) -> None:
        config, limits = self._context.config, self._context.config.server.limits
        if isinstance(receiver, MediaReceiver):  # but for an aiortc that the patch does not fit
            self._counts = receiver.counts
        source = TrackSource(
            receiver.track,
            repr(self),
            max_fps=limits.max_fps,
            first_frame_timeout_s=config.rtc.connect_timeout_s,
            idle_after_s=limits.idle_after_s,
        )
        self._on_stop = source.stop
        sink = self._sink = ResultsSink(self._context.metrics, ReceiverClock(receiver), self._drops)
        self._pipeline = Pipeline(
            source, self._context.make_tracker, [self._picture, sink], BufferConfig(depth=1, sink_depth=1)
        )
        self._control = Control(
            config.effect, self._picture, source, self._ready_tracker, lambda: sink.frame_size
        )  # fmt: skip

    def _ready_tracker(self) -> TrackerCore | None:
        try:
            return self._pipeline.tracker if self._pipeline is not None else None
        except InvalidInputError:  # not open yet
            return None

    def _drops(self) -> dict[str, int]:
        counts = self._counts
        decoder = counts.dropped + counts.replaced + counts.too_large + counts.failed if counts is not None else 0
        received = self._pipeline.frames_dropped if self._pipeline is not None else 0  # the source's own, too
        return {"decoder": decoder, "input": received, "picture": self._picture.dropped}

    async def _work(self) -> str:
        assert self._pipeline is not None
        if self._stopping.is_set():
            return self._reason
        async with self._pipeline as pipeline:
            self._greet()
            await pipeline.run()
        return "the peer ended its stream"

    def _take_commands(self, channel: RTCDataChannel) -> bool:
        if self._commands is not None or self._control is None:
            return False
        control = self._control

        def carry_out(command: Command) -> dict[str, object]:
            return control.carry_out(command, self._results)

        self._commands = CommandChannel(
            channel,
            self._context.config.server.limits,
            self._context.metrics,
            carry_out,
            lambda: self._close_soon("the peer sent far too many messages"),
        )
        self._greet()
        return True

    def _greet(self) -> None:
        """Say what this session can do, once both the models and the channel are there."""
        tracker = self._ready_tracker()
        if tracker is None or self._commands is None:
            return
        effects = [str(effect) for effect in SENDABLE_EFFECTS]
        self._commands.say(
            reply(
                "hello",
                session=self.etag.strip('"'),
                segmenter=self._context.segmenter,
                takes_clicks=tracker.takes_clicks,
                effects=effects,
            )
        )

    async def _let_go(self) -> None:
        if self._sound is not None:
            await self._sound.close()
        await self._picture.close()
