"""A jitter buffer that gives a video frame out with its last packet."""

from __future__ import annotations

import logging

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint16_gt

_LOG = logging.getLogger(__name__)


class MarkedFrame(JitterFrame):
    """An encoded frame, and the payload type that its packets had.

    Args:
        data: The frame as its decoder takes it.
        timestamp: RTP timestamp, 32 bits.
        payload_type: Of its first packet.
        follows_loss: Whether frames before it were given up, so that only a keyframe can be decoded.
    """

    def __init__(self, data: bytes, timestamp: int, payload_type: int, follows_loss: bool) -> None:
        super().__init__(data, timestamp)
        self.payload_type = payload_type
        self.follows_loss = follows_loss


class MarkerJitterBuffer(JitterBuffer):
    """aiortc's jitter buffer, which also takes a set marker bit for the end of a frame.

    The last packet of a video frame has its marker bit set (RFC 3550, section 5.1; RFC 7741, section 4.1 for VP8; RFC
    6184, section 5.1 for H264), so a frame is complete when all packets from the origin to a marked one are there.
    aiortc waits for the first packet of the next frame: 33 ms at 30 frames a second, in theory as measured
    (benchmarks/results/webrtc_codecs.json). That rule still holds where no marker comes, and for the rest of a stream
    whose markers turn out to be set in the middle of frames.

    Audio is as it was.
    """

    def __init__(self, capacity: int, prefetch: int = 0, is_video: bool = False) -> None:
        super().__init__(capacity, prefetch, is_video)
        self._last_marked: int | None = None
        self._trusts_markers = True
        self._newest: int | None = None
        self._may_lack = False
        self._has_lost = False

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet.

        Returns:
            Whether packets had to be given up, and the first frame that is complete.
        """
        if self._newest is not None and packet.sequence_number != uint16_add(self._newest, 1):
            self._may_lack = True
        if self._newest is None or uint16_gt(packet.sequence_number, self._newest):
            self._newest = packet.sequence_number
        gave_up, frame = super().add(packet)
        if gave_up:  # aiortc has let go of old packets, and the frame is what came behind them
            self._newest = packet.sequence_number
            self._has_lost = frame is None
            if isinstance(frame, MarkedFrame):
                frame.follows_loss = True
        return gave_up, frame

    @property
    def missing(self) -> list[int]:
        """Sequence numbers that hold back what came behind them."""
        if not self._may_lack or self._origin is None or self._newest is None:
            return []
        span = uint16_add(self._newest, 1 - self._origin)  # 0 where everything was given out
        numbers = [uint16_add(self._origin, i) for i in range(span if span <= self._capacity else 0)]
        lacking = [number for number in numbers if self._packets[number % self._capacity] is None]
        self._may_lack = bool(lacking)
        return lacking

    def give_up(self) -> None:
        """Let go of the first missing packet, and of its frame as far as it is there."""
        missing = self.missing
        if missing and self._origin is not None and self._newest is not None:
            emptied = self.smart_remove(uint16_add(missing[0], -self._origin) + 1)
            if emptied:  # and the origin is a whole capacity further on
                self._origin = uint16_add(self._newest, 1)
            self._has_lost = True

    def next_frame(self) -> MarkedFrame | None:
        """A further frame that is complete: a late packet may complete several, of which `add` gives out the first."""
        return self._remove_video_frame() if self._origin is not None and self._is_video else None

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        if not self._is_video:
            return super()._remove_frame(sequence_number)
        assert self._origin is not None
        packet, first = (self._packets[i % self._capacity] for i in (sequence_number, self._origin))
        if packet is not None and first is not None and packet.timestamp == first.timestamp != self._last_marked:
            if not packet.marker and not self._may_lack:  # the middle of a frame: nothing to look for
                return None
        return self._remove_video_frame()

    def _remove_video_frame(self) -> MarkedFrame | None:
        self._remove_padding()
        assert self._origin is not None
        first = self._packets[self._origin % self._capacity]
        if first is None:
            return None
        if self._trusts_markers and first.timestamp == self._last_marked:
            _LOG.info("markers stand in the middle of frames; a frame now ends where the next one begins")
            self._trusts_markers = False
        frame = self._marked() if self._trusts_markers else None
        if frame is None:
            frame = super()._remove_frame(self._origin)
        if frame is None:
            return None
        follows_loss, self._has_lost = self._has_lost, False
        return MarkedFrame(frame.data, frame.timestamp, first.payload_type, follows_loss)

    def _remove_padding(self) -> None:
        """Drop empty packets in front: Chrome probes with them behind a frame's last packet."""
        while True:
            assert self._origin is not None
            packet = self._packets[self._origin % self._capacity]
            if packet is None or packet._data:  # type: ignore[attr-defined]  # aiortc's receiver sets it
                return
            self.remove(1)

    def _marked(self) -> JitterFrame | None:
        assert self._origin is not None
        packets: list[RtpPacket] = []
        for count in range(self._capacity):
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                return None
            packets.append(packet)
            if packet.marker:
                self.remove(len(packets))
                self._last_marked = packet.timestamp
                data = b"".join(each._data for each in packets)  # type: ignore[attr-defined]
                return JitterFrame(data, packet.timestamp)
        return None
