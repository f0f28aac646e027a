"""Settings of WebRTC connections: ICE servers, codecs, bitrates and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require, take_members

_ICE_SCHEMES = ("stun:", "stuns:", "turn:", "turns:")


class H264Encoder(StrEnum):
    """What encodes H.264."""

    AUTO = "auto"
    """`nvenc` where it works, else `x264`."""
    NVENC = "nvenc"
    """NVIDIA's hardware encoder."""
    X264 = "x264"
    """x264; for WebRTC ultrafast and zerolatency."""


@dataclass(frozen=True, slots=True)
class IceServerConfig:
    """A STUN or TURN server.

    Args:
        url: "stun:host:port", "turn:host:port" or "turns:host:port?transport=tcp".
        username: Of TURN.
        credential: Of TURN.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    url: str
    username: str | None = None
    credential: str | None = None

    def __post_init__(self) -> None:
        known = self.url.startswith(_ICE_SCHEMES) and len(self.url.partition(":")[2]) > 0
        require(known, "rtc.ice_servers.url", "stun:HOST:PORT, turn:HOST:PORT or turns:HOST:PORT", self.url)
        lacks = self.url.startswith("turn") and not (self.username and self.credential)
        require(not lacks, "rtc.ice_servers", "username and credential for a TURN server", self.url)

    def __repr__(self) -> str:  # the credential must not get into a log
        return f"IceServerConfig({self.url!r})"


@dataclass(frozen=True, slots=True)
class RtcConfig:
    """WebRTC connections.

    Args:
        ice_servers: None by default: on one network none is needed, and one that is not reached costs 5 s.
        start_bitrate_kbps: What a sender is told to begin with.
        min_bitrate_kbps: What a sender is told not to go below, and what our encoders do not.
        max_bitrate_kbps: The same from above.
        max_bits_per_pixel: Our encoders give a pixel of a picture no more than that at 30 frames a second: 0.2 are
            1.8 Mbit/s at 640x480.
        h264: What encodes H.264.
        max_frame_px: Pixels of a received frame; larger ones are not decoded.
        max_backlog: Received frames that may wait for the decoder; beyond, they are dropped up to the next keyframe.
        connect_timeout_s: Seconds that a connection may take, up to its first frame.
        dead_after_s: Seconds without a sign of life from the peer after which the connection counts as dead.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    ice_servers: tuple[IceServerConfig, ...] = ()
    start_bitrate_kbps: int = 1500
    min_bitrate_kbps: int = 300
    max_bitrate_kbps: int = 4000
    max_bits_per_pixel: float = 0.2
    h264: H264Encoder = H264Encoder.AUTO
    max_frame_px: int = 1920 * 1088
    max_backlog: int = 15
    connect_timeout_s: float = 15.0
    dead_after_s: float = 10.0

    def __post_init__(self) -> None:
        take_members(self, h264=H264Encoder)
        bitrates = (self.min_bitrate_kbps, self.start_bitrate_kbps, self.max_bitrate_kbps)
        ordered = 50 <= bitrates[0] <= bitrates[1] <= bitrates[2] <= 100_000
        expected = "50 <= min <= start <= max <= 100000"
        require(ordered, "rtc: min_, start_ and max_bitrate_kbps", expected, bitrates)
        require(0.01 <= self.max_bits_per_pixel <= 24, "rtc.max_bits_per_pixel", "0.01 to 24", self.max_bits_per_pixel)
        require(16 * 16 <= self.max_frame_px <= 8192 * 8192, "rtc.max_frame_px", "256 to 67108864", self.max_frame_px)
        require(1 <= self.max_backlog <= 1000, "rtc.max_backlog", "1 to 1000", self.max_backlog)
        require(
            0 < self.connect_timeout_s <= 300, "rtc.connect_timeout_s", "above 0, up to 300", self.connect_timeout_s
        )
        require(2 <= self.dead_after_s <= 300, "rtc.dead_after_s", "2 to 300", self.dead_after_s)
