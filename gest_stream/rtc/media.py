"""aiortc's receiver and sender, which also say what clocks and counters need to know."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiortc import MediaStreamTrack, RTCRtpReceiver, RTCRtpSender
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket, RtpPacket

from gest_stream.rtc.clocks import SenderReports
from gest_stream.rtc.decoding import DecodingCounts, counting
from gest_stream.rtc.jitter import MarkerJitterBuffer
from gest_stream.rtc.playout import PlayoutExtensions
from gest_stream.rtc.scope import current_config

_ASK_EVERY_S = 0.1
_GIVE_UP_AFTER_S = 0.5
"""Behind the first packet that came after a missing one."""
_MOST_ASKED = 64


@dataclass(slots=True)
class _Gap:
    number: int
    since: float
    asked: float


class MediaReceiver(RTCRtpReceiver):
    """A receiver that gives out every complete frame at once, and remembers what the sender reports of its clock.

    Args:
        kind: "audio" or "video".
        transport: What it receives over.
    """

    def __init__(self, kind: str, transport: RTCDtlsTransport) -> None:
        super().__init__(kind, transport)
        self.counts = DecodingCounts()
        """What became of its frames."""
        self.reports = SenderReports()
        """What the sender said of its clock."""
        self._reporting_ssrc: int | None = None
        self._gap: _Gap | None = None

    @property
    def timestamp_origin(self) -> int | None:
        """The RTP timestamp that pts count from, mod 2^32; None before the first frame."""
        origin: int | None = self._private("timestamp_mapper")._origin
        return origin

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Start receiving."""
        with counting(self.counts):
            await super().receive(parameters)

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket) and packet.ssrc not in self._private("rtx_ssrc"):
            if packet.ssrc != self._reporting_ssrc:  # another stream, whose timestamps begin elsewhere
                self._reporting_ssrc, self.reports = packet.ssrc, SenderReports()
            self.reports.add(packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
        await super()._handle_rtcp_packet(packet)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        await super()._handle_rtp_packet(packet, arrival_time_ms)
        buffer = self._private("jitter_buffer")
        if isinstance(buffer, MarkerJitterBuffer):
            self._give_out(buffer)
            await self._mend(buffer, packet.ssrc)

    async def _mend(self, buffer: MarkerJitterBuffer, ssrc: int) -> None:
        """Ask again for a packet that holds the picture back, and go on without it after half a second.

        aiortc asks once, and then waits until 512 packets have come: 1.6 s at 3 Mbit/s.
        """
        missing = buffer.missing
        if not missing:
            self._gap = None
            return
        now = asyncio.get_running_loop().time()
        if self._gap is None or self._gap.number != missing[0]:
            self._gap = _Gap(missing[0], now, now)
        elif now - self._gap.since > _GIVE_UP_AFTER_S:
            buffer.give_up()
            self._give_out(buffer)
        elif now - self._gap.asked > _ASK_EVERY_S:
            self._gap.asked = now
            await self._send_rtcp_nack(self._private("rtx_ssrc").get(ssrc, ssrc), missing[:_MOST_ASKED])

    def _give_out(self, buffer: MarkerJitterBuffer) -> None:
        while (frame := buffer.next_frame()) is not None:
            codec = self._private("codecs").get(frame.payload_type)
            if codec is not None and self._private("decoder_thread"):
                frame.timestamp = self._private("timestamp_mapper").map(frame.timestamp)
                self._private("decoder_queue").put((codec, frame))

    def _private(self, name: str) -> Any:
        return getattr(self, f"_RTCRtpReceiver__{name}")


class MediaSender(RTCRtpSender):
    """A sender that knows by how much the RTP timestamps of its packets differ from those of its frames.

    Args:
        trackOrKind: What it sends, or "audio" or "video".
        transport: What it sends over.
    """

    timestamp_origin: int | None = None
    """What is added to a frame's pts, in 1/90000 s, mod 2^32; None before a first frame was sent."""
    _encoded_timestamp: int | None = None

    def __init__(self, trackOrKind: MediaStreamTrack | str, transport: RTCDtlsTransport) -> None:  # noqa: N803
        super().__init__(trackOrKind, transport)
        if current_config() is not None:  # how an application's own pictures are shown is its own affair
            self._RTCRtpSender__rtp_header_extensions_map = PlayoutExtensions()

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        # called again when all packets of the frame before have left, of which aiortc keeps the RTP timestamp
        if self.timestamp_origin is None and self._encoded_timestamp is not None:
            sent: int = getattr(self, "_RTCRtpSender__rtp_timestamp")  # noqa: B009  # private, so not an attribute for mypy
            self.timestamp_origin = (sent - self._encoded_timestamp) % 2**32
        encoded = await super()._next_encoded_frame(codec)
        if encoded is not None:
            self._encoded_timestamp = encoded.timestamp
        return encoded
