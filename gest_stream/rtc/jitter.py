"""A jitter buffer that gives a video frame out with its last packet."""

from __future__ import annotations

import logging

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

_LOG = logging.getLogger(__name__)


class MarkedFrame(JitterFrame):
    """An encoded frame, and the payload type that its packets had.

    Args:
        data: The frame as its decoder takes it.
        timestamp: RTP timestamp, 32 bits.
        payload_type: Of its first packet.
    """

    def __init__(self, data: bytes, timestamp: int, payload_type: int) -> None:
        super().__init__(data, timestamp)
        self.payload_type = payload_type


class MarkerJitterBuffer(JitterBuffer):
    """aiortc's jitter buffer, which also takes a set marker bit for the end of a frame.

    The last packet of a video frame has its marker bit set (RFC 3550, section 5.1; RFC 7741, section 4.1 for VP8; RFC
    6184, section 5.1 for H264), so a frame is complete when all packets from the origin to a marked one are there.
    aiortc waits for the first packet of the next frame: 33 ms at 30 frames a second. That rule still holds where no
    marker comes, and for the rest of a stream whose markers turn out to be set in the middle of frames.

    Audio is as it was.
    """

    def __init__(self, capacity: int, prefetch: int = 0, is_video: bool = False) -> None:
        super().__init__(capacity, prefetch, is_video)
        self._last_marked: int | None = None
        self._trusts_markers = True

    def next_frame(self) -> MarkedFrame | None:
        """A further frame that is complete: a late packet may complete several, of which `add` gives out the first."""
        return self._remove_video_frame() if self._origin is not None and self._is_video else None

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        return self._remove_video_frame() if self._is_video else super()._remove_frame(sequence_number)

    def _remove_video_frame(self) -> MarkedFrame | None:
        self._remove_padding()
        assert self._origin is not None
        first = self._packets[self._origin % self._capacity]
        if first is None:
            return None
        if self._trusts_markers and first.timestamp == self._last_marked:
            _LOG.info("markers stand in the middle of frames; a frame now ends where the next one begins")
            self._trusts_markers = False
        marked = self._marked() if self._trusts_markers else None
        if marked is not None:
            return marked
        frame = super()._remove_frame(self._origin)
        return None if frame is None else MarkedFrame(frame.data, frame.timestamp, first.payload_type)

    def _remove_padding(self) -> None:
        """Drop empty packets in front: Chrome probes with them behind a frame's last packet."""
        while True:
            assert self._origin is not None
            packet = self._packets[self._origin % self._capacity]
            if packet is None or packet._data:  # type: ignore[attr-defined]  # aiortc's receiver sets it
                return
            self.remove(1)

    def _marked(self) -> MarkedFrame | None:
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
                return MarkedFrame(data, packet.timestamp, packets[0].payload_type)
        return None
