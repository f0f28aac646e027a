"""Copies the audio packets that a container's demuxer meets to an `AudioFeed`."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gest_stream.audio import AudioFeed
from gest_stream.sources.timeline import DISCONTINUITY_S
from gest_stream.types import AudioFormat, AudioPacket

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream

_LOG = logging.getLogger(__name__)
_MAX_WAITING = 256


def audio_format(stream: AudioStream) -> AudioFormat | None:
    """What the stream carries; None where a copy could not be described to an output."""
    context = stream.codec_context
    if context is None or not context.sample_rate or stream.time_base is None:
        return None
    return AudioFormat(
        context.codec.canonical_name,
        context.sample_rate,
        context.layout.name,
        Fraction(stream.time_base),
        bytes(context.extradata or b""),
    )


class AudioTap:
    """The audio of one source, which may be opened more than once.

    Packets are held back until `release`, so that what is read while the source opens is not lost.

    Args:
        name: Of the source, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.feed: AudioFeed | None = None
        self._queue: list[AudioPacket] = []
        self._released = False
        self._waits_for_shift = False
        self._shift_s = Fraction(0)
        self._last_published: int | None = None
        self._connected = False
        self._last_dts: int | None = None
        self._behind: int | None = None

    def connect(self, stream: AudioStream | None, resume: bool = False) -> bool:
        """Take packets of `stream` from now on.

        Args:
            stream: None where the container has no audio.
            resume: Leave out packets that do not follow the last one taken.

        Returns:
            False where there is nothing that can be copied.
        """
        self._behind = self._last_dts if resume else None
        format = None if stream is None else audio_format(stream)
        if self.feed is None and format is not None and not self._released:
            self.feed = AudioFeed(format)
        self._connected = self.feed is not None and format == self.feed.format
        if self.feed is not None and not self._connected:
            _LOG.warning(
                "%s: its audio changed from %s to %s; audio is no longer copied", self._name, self.feed.format, format
            )
        return self._connected

    def take(self, packet: Packet[Any], shift_s: Fraction) -> None:
        """Publish one packet, moved by `shift_s` seconds.

        Where its clock falls back by a second or more, it and what follows are kept until `shift_s` changes: the
        demuxer is some packets ahead of the decoder, which finds out how far the pictures are moved.
        """
        time = packet.pts if packet.pts is not None else packet.dts
        if not self._connected or self.feed is None or not packet.size or time is None:
            return
        dts = time if packet.dts is None else packet.dts
        if self._behind is not None and dts <= self._behind:
            return
        fell_back = (
            self._last_dts is not None and (self._last_dts - dts) * self.feed.format.time_base >= DISCONTINUITY_S
        )
        self._last_dts = dts
        if fell_back and shift_s == self._shift_s:
            self._waits_for_shift = True
        self._queue.append(AudioPacket(bytes(packet), time, dts, packet.duration or 0))
        if self._waits_for_shift and shift_s == self._shift_s and len(self._queue) < _MAX_WAITING:
            return
        self._waits_for_shift = False
        self._shift_s = shift_s
        self._publish_queue()

    def release(self) -> None:
        """Publish what was held back, and everything from now on at once."""
        self._released = True
        self._publish_queue()

    def _publish_queue(self) -> None:
        if self.feed is None or not self._released or self._waits_for_shift:
            return
        shift = round(self._shift_s / self.feed.format.time_base)
        for packet in self._queue:
            moved = replace(packet, pts=packet.pts + shift, dts=packet.dts + shift) if shift else packet
            # Where two pieces meet their audio may overlap by a packet or two, which no container takes.
            if self._last_published is None or moved.dts > self._last_published:
                self.feed.publish(moved)
                self._last_published = moved.dts
        self._queue.clear()
