"""Settings of `gest-stream serve`: where it listens, whom it lets in, and how much."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require
from gest_stream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one server and one client may take.

    Args:
        max_sessions: Sessions that process a picture, at once.
        max_viewers: Sessions that only watch, at once.
        max_sessions_per_client: Of both kinds, for one address.
        retry_after_s: What a client that finds everything taken is told to wait.
        max_sdp_bytes: Of an offer or a trickled fragment.
        max_background_bytes: Of an uploaded background picture.
        max_fps: Frames a second that are processed of one session; more are dropped.
        max_message_bytes: Of one message on a data channel.
        max_messages_per_s: On one data channel; a session that goes on sending ten times as many is closed.
        idle_after_s: Seconds without a frame after which a session that processes is closed.
        request_timeout_s: Seconds that a request may take to arrive.
        max_connections: HTTP connections at once.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    max_sessions: int = 4
    max_viewers: int = 16
    max_sessions_per_client: int = 16
    retry_after_s: int = 5
    max_sdp_bytes: int = 65_536
    max_background_bytes: int = 8_388_608
    max_fps: float = 60.0
    max_message_bytes: int = 16_384
    max_messages_per_s: float = 60.0
    idle_after_s: float = 30.0
    request_timeout_s: float = 10.0
    max_connections: int = 256

    def __post_init__(self) -> None:
        for name in ("max_sessions", "max_viewers", "max_sessions_per_client", "retry_after_s", "max_connections"):
            value = getattr(self, name)
            require(1 <= value <= 100_000, f"server.limits.{name}", "1 to 100000", value)
        for name in ("max_sdp_bytes", "max_background_bytes", "max_message_bytes"):
            value = getattr(self, name)
            require(1024 <= value <= 2**28, f"server.limits.{name}", "1024 to 268435456", value)
        for name in ("max_fps", "max_messages_per_s", "idle_after_s", "request_timeout_s"):
            value = getattr(self, name)
            require(0 < value <= 100_000, f"server.limits.{name}", "above 0, up to 100000", value)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The WebRTC server.

    Args:
        host: Address it binds.
        port: TCP port of HTTP; 0 takes a free one.
        token: What clients must show; None lets everybody in, which only a loopback address may.
        certificate: PEM file with the TLS certificate chain; HTTPS where it is given.
        key: PEM file with its private key.
        insecure: Bind an address that others reach although there is no token or no TLS.
        allowed_origins: Web origins whose pages may use it besides its own, for example "https://example.org".
        public_names: Host names under which it is reached, besides the one it binds.
        limits: How much it lets in.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False
    allowed_origins: tuple[str, ...] = ()
    public_names: tuple[str, ...] = ()
    limits: LimitsConfig = field(default_factory=LimitsConfig)

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65_535, "server.port", "0 to 65535", self.port)
        require(bool(self.host), "server.host", "an address", self.host)
        sound = self.token is None or (len(self.token) >= 8 and self.token.isascii() and self.token.isprintable())
        require(sound, "server.token", "8 or more printable ASCII characters", "another")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("server: TLS needs both certificate and key; give --tls-cert and --tls-key")
        if not self.is_loopback and not self.insecure and (self.token is None or self.certificate is None):
            needed = (("no token", self.token), ("no TLS", self.certificate))
            lacking = " and ".join(name for name, value in needed if value is None)
            raise ConfigError(
                f"server.host: {self.host} can be reached from other machines, and there is {lacking}; give --token, "
                "--tls-cert and --tls-key, bind 127.0.0.1, or insist with --insecure"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
