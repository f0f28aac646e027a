"""Encoded audio that is copied from a source to an output without being decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What an output container must be told about a copied audio stream.

    Args:
        codec: FFmpeg's decoder name, "aac", "opus", …
        sample_rate: Hz.
        layout: FFmpeg's channel layout name, "stereo", …
        time_base: Seconds per pts unit of the packets.
        extradata: Codec configuration bytes, b"" where the codec has none.
    """

    codec: str
    sample_rate: int
    layout: str
    time_base: Fraction
    extradata: bytes = b""


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One encoded packet, its times in the format's time_base."""

    payload: bytes
    pts: int
    dts: int
    duration: int

    def __len__(self) -> int:
        return len(self.payload)
