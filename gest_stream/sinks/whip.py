"""A stream that is pushed to somebody else's server by WHIP.

Not by FFmpeg's own WHIP muxer, although PyAV 18.1 has it: PyAV holds the interpreter's lock while it connects and
hangs up (for ever with a server that accepts and stays silent: no timeout reaches it), it sends the token to any
certificate (the muxer has no option that verifies it), and it sends no keyframe on request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gest_stream.clock import Pacer, now_ns
from gest_stream.config import EffectConfig, ReconnectConfig, RtcConfig
from gest_stream.errors import SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from aiortc import RTCRtpCodecCapability, RTCRtpTransceiver

    from gest_stream.audio import AudioFeed
    from gest_stream.rtc.call import Call
    from gest_stream.rtc.connection import RtcConnection

_LOG = logging.getLogger(__name__)


class WhipSink:
    """Draws results with an effect and sends them to a WHIP server (RFC 9725) as H.264, or VP8 where it takes no other.

    pts are kept, a new size is sent as it is, and no sound is sent. Opening waits for the connection and fails where
    none comes about. A connection that is lost later is made anew, with growing pauses, while the run goes on; results
    that come meanwhile are dropped and counted. Sending never waits for the server: it gets the newest picture. Results
    of a source that is not live are sent at the speed of their pts, which slows the run down to it.

    Args:
        url: The endpoint's http:// or https:// address; passwords and tokens in it appear in no message.
        effect: How results are drawn; `transparent` needs an alpha channel, which WebRTC video has not.
        token: For the endpoint's bearer authentication.
        rtc: Of the connection: its ICE servers (the endpoint's own where it has none), bitrates and time limits.
        reconnect: Pauses, and after how long without a connection the run is ended.
        answer_timeout_s: Seconds that the endpoint may take for an HTTP answer.

    Raises:
        ConfigError: The address is not one of HTTP, the token has characters that no header carries, or the effect
            cannot be sent.
    """

    def __init__(
        self,
        url: str,
        effect: EffectConfig,
        token: str | None = None,
        *,
        rtc: RtcConfig | None = None,
        reconnect: ReconnectConfig | None = None,
        answer_timeout_s: float = 5.0,
    ) -> None:
        from gest_stream.rtc.endpoint import Endpoint, Protocol
        from gest_stream.sinks.webrtc import PictureSink

        self._rtc = rtc or RtcConfig()
        self._reconnect = reconnect or ReconnectConfig(give_up_after_s=300.0)
        self._endpoint = Endpoint(Protocol.WHIP, url, token, answer_timeout_s)
        self._pictures = PictureSink(effect, self._endpoint.name)
        self._call: Call | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._error: SinkError | None = None
        self._pacer: Pacer | None = None
        self._dropped = 0

    @property
    def name(self) -> str:
        """Where it sends to, without secrets."""
        return self._endpoint.name

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._call is not None and not self._call.ended.is_set()

    @property
    def dropped(self) -> int:
        """Results that came while there was no connection."""
        return self._dropped

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Connect.

        Raises:
            SinkError: The server is not reached, refuses, or takes no video; or this sink is open already.
        """
        from gest_stream.rtc.endpoint import DialError

        await self._pictures.open(info, audio)
        self._pacer = None if info.live else Pacer()
        try:
            self._call = await self._dial()
        except DialError as exc:
            raise SinkError(str(exc)) from exc
        _LOG.info("%s: connected", self.name)
        self._upkeep = asyncio.create_task(self._keep_up(self._call))

    async def write(self, result: FrameResult) -> None:
        """Draw a result and send it, if it can be sent now.

        Raises:
            SinkError: It cannot be drawn, or the connection was lost and did not come back in time.
        """
        if self._error is not None:
            raise self._error
        if self._pacer is not None:
            await asyncio.sleep(self._pacer.delay_s(result.frame.time_s, now_ns()))
        if not self.connected:
            self._dropped += 1
        await self._pictures.write(result)

    async def close(self) -> None:
        """Hang up and let go of everything."""
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.cancel()
            await asyncio.wait({upkeep})
        call, self._call = self._call, None
        try:
            if call is not None:
                await call.hang_up()
        finally:
            await self._pictures.close()
        if self._dropped:
            _LOG.warning("%s: %d results were not sent: there was no connection", self.name, self._dropped)

    async def _dial(self) -> Call:
        from gest_stream.rtc.call import dial

        track = self._pictures.track()

        def add_video(connection: RtcConnection) -> RTCRtpTransceiver:
            nonlocal track
            if track.readyState != "live":  # aiortc has ended it with the attempt before
                track = self._pictures.track()
            transceiver = connection.addTransceiver(track, direction="sendonly")
            transceiver.setCodecPreferences(_h264_first())
            return transceiver

        try:
            return await dial(self._endpoint, self._rtc, add_video)
        except BaseException:
            track.stop()  # else pictures would be drawn for nobody
            raise

    async def _keep_up(self, call: Call) -> None:
        """Task: make lost connections anew."""
        from gest_stream.rtc.endpoint import DialError
        from gest_stream.rtc.redial import redial

        setting = "reconnect.give_up_after_s of the WhipSink"
        try:
            while True:
                await call.ended.wait()
                await call.hang_up()
                why = "the server ended the session, or is gone"
                call = await redial(self.name, self._reconnect, self._dial, why, setting=setting)
                self._call = call
        except DialError as exc:
            self._error = SinkError(str(exc))
        except Exception as exc:  # nobody awaits this task: the next write tells
            self._error = SinkError(f"{self.name}: reconnecting failed: {type(exc).__name__}: {exc}")
            self._error.__cause__ = exc


def _h264_first() -> list[RTCRtpCodecCapability]:
    """All codecs; H.264 first: it takes 0.6 of the CPU time of VP8 (benchmarks/results/webrtc_codecs.json)."""
    from aiortc import RTCRtpSender

    codecs = RTCRtpSender.getCapabilities("video").codecs
    return sorted(codecs, key=lambda codec: codec.mimeType.lower() != "video/h264")
