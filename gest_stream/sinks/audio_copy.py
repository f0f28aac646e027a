"""Copying encoded audio packets into an output container, byte for byte.

PyAV makes an output stream for copied packets only from an input stream (`add_stream_from_template`), and the packets
reach a sink without one: the input belongs to another thread. So a Matroska header that describes the audio and holds
no packet is written in memory and opened as that input. Matroska because it names every codec and takes the codec's
configuration as it is (RFC 9559, sections 5.1.4 and 6; codec ids in draft-ietf-cellar-codec).
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gest_stream.audio import AudioFeed
from gest_stream.types import AudioFormat

if TYPE_CHECKING:
    from av.container import OutputContainer

logger = logging.getLogger(__name__)

MATROSKA_CODEC_IDS: Mapping[str, str] = {
    "aac": "A_AAC",
    "ac3": "A_AC3",
    "alac": "A_ALAC",
    "dts": "A_DTS",
    "eac3": "A_EAC3",
    "flac": "A_FLAC",
    "mp2": "A_MPEG/L2",
    "mp3": "A_MPEG/L3",
    "opus": "A_OPUS",
    "pcm_f32le": "A_PCM/FLOAT/IEEE",
    "pcm_s16le": "A_PCM/INT/LIT",
    "pcm_s24le": "A_PCM/INT/LIT",
    "pcm_s32le": "A_PCM/INT/LIT",
    "vorbis": "A_VORBIS",
}
"""Matroska's name of each codec that can be copied, by FFmpeg's name."""

_PCM_BITS = {"pcm_f32le": 32, "pcm_s16le": 16, "pcm_s24le": 24, "pcm_s32le": 32}
_FLAC_STREAMINFO = b"fLaC\x80\x00\x00\x22"
_ALAC_BOX_HEADER_BYTES = 12


def canonical_codec(decoder: str) -> str:
    """FFmpeg's codec name for a decoder's name: "mp3" for "mp3float"; the name itself where it is unknown."""
    import av

    try:
        return str(av.Codec(decoder, "r").canonical_name)
    except (ValueError, av.FFmpegError):
        return decoder


def _element(element_id: str, payload: bytes) -> bytes:
    return bytes.fromhex(element_id) + (0x10000000 | len(payload)).to_bytes(4, "big") + payload


def _unsigned(element_id: str, value: int) -> bytes:
    return _element(element_id, value.to_bytes(8, "big"))


def _codec_private(codec: str, extradata: bytes) -> bytes:
    # Matroska has the marker of FLAC that FFmpeg leaves out, and lacks the box around ALAC that FFmpeg keeps
    if codec == "flac":
        return _FLAC_STREAMINFO + extradata
    return extradata[_ALAC_BOX_HEADER_BYTES:] if codec == "alac" else extradata


def matroska_header(codec: str, format: AudioFormat, channels: int) -> bytes:
    """A Matroska file with one audio track, one empty cluster and nothing else.

    Args:
        codec: FFmpeg's codec name, a key of `MATROSKA_CODEC_IDS`.
        format: Of the packets.
        channels: Number of channels.
    """
    sound = _element("b5", struct.pack(">d", format.sample_rate)) + _unsigned("9f", channels)
    if codec in _PCM_BITS:
        sound += _unsigned("6264", _PCM_BITS[codec])
    track = _unsigned("d7", 1) + _unsigned("73c5", 1) + _unsigned("83", 2)
    track += _element("86", MATROSKA_CODEC_IDS[codec].encode("ascii"))
    if format.extradata:
        track += _element("63a2", _codec_private(codec, format.extradata))
    track += _element("e1", sound)
    segment = _element("1549a966", _unsigned("2ad7b1", 1_000_000))
    segment += _element("1654ae6b", _element("ae", track))
    segment += _element("1f43b675", _unsigned("e7", 0))
    return _element("1a45dfa3", _element("4282", b"matroska")) + _element("18538067", segment)


class AudioCopy:
    """One copied audio stream of an output container.

    Args:
        output: The container, before its header is written.
        feed: Where the packets come from.
        codec: FFmpeg's codec name, from `canonical_codec`.
        name: Of the output, for messages.
    """

    def __init__(self, output: OutputContainer, feed: AudioFeed, codec: str, name: str) -> None:
        import av

        format = feed.format
        layout = av.AudioLayout(format.layout)
        header = io.BytesIO(matroska_header(codec, format, layout.nb_channels))
        with av.open(header, format="matroska") as template:
            stream: Any = output.add_stream_from_template(template.streams.audio[0])
        stream.codec_context.layout = layout
        stream.codec_context.sample_rate = format.sample_rate
        # Matroska's own form of it was good enough to open the template; the output gets the source's bytes
        stream.codec_context.extradata = format.extradata or None
        stream.time_base = format.time_base
        self._stream = stream
        self._output = output
        self._format = format
        self._reader = feed.reader()
        self._name = name
        self._last_dts: int | None = None
        self._out_of_order = 0

    def pump(self) -> None:
        """Copy every packet that came since the last call."""
        import av

        for copied in self._reader.take():
            if self._last_dts is not None and copied.dts <= self._last_dts:
                self._out_of_order += 1  # the muxer would refuse it and end the file
                continue
            self._last_dts = copied.dts
            packet = av.Packet(copied.payload)
            packet.stream = self._stream
            packet.pts, packet.dts, packet.duration = copied.pts, copied.dts, copied.duration
            packet.time_base = self._format.time_base
            packet.is_keyframe = True
            self._output.mux(packet)

    def finish(self) -> None:
        """Copy the rest and say what is missing, if anything."""
        self.pump()
        lost = self._reader.dropped + self._out_of_order
        if lost:
            logger.warning(
                "%s: %d audio packets are missing (%d came faster than they were written, %d went back in time)",
                *(self._name, lost, self._reader.dropped, self._out_of_order),
            )
