"""Audio packets on their way from a source to the outputs that copy them."""

from __future__ import annotations

import threading
from collections import deque

from gest_stream.types import AudioFormat, AudioPacket


class AudioReader:
    """One output's own bounded queue of an `AudioFeed`; safe between threads."""

    def __init__(self, max_packets: int) -> None:
        self._packets: deque[AudioPacket] = deque(maxlen=max_packets)
        self._lock = threading.Lock()
        self._dropped = 0

    def push(self, packet: AudioPacket) -> None:
        """Add a packet; the oldest is dropped and counted where the queue is full."""
        with self._lock:
            self._dropped += len(self._packets) == self._packets.maxlen
            self._packets.append(packet)

    def take(self) -> list[AudioPacket]:
        """Everything that came since the last call, in order."""
        with self._lock:
            packets = list(self._packets)
            self._packets.clear()
        return packets

    @property
    def dropped(self) -> int:
        """Packets lost because this reader did not keep up."""
        with self._lock:
            return self._dropped


class AudioFeed:
    """Fans the audio packets of one source out to any number of readers.

    Args:
        format: What the packets are.
        max_packets: Bound of each reader's queue; 4096 AAC packets at 48 kHz are 87 s.
    """

    def __init__(self, format: AudioFormat, max_packets: int = 4096) -> None:
        self.format = format
        self._max_packets = max_packets
        self._readers: tuple[AudioReader, ...] = ()

    def reader(self) -> AudioReader:
        """A new reader, which gets every packet published from now on."""
        reader = AudioReader(self._max_packets)
        self._readers = (*self._readers, reader)
        return reader

    def publish(self, packet: AudioPacket) -> None:
        """Hand one packet to every reader; called from the thread that demuxes."""
        for reader in self._readers:
            reader.push(packet)
