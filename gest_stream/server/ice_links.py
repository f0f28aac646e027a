"""ICE servers as HTTP `Link` headers and as a page wants them."""

from __future__ import annotations

from collections.abc import Sequence

from gest_stream.config import IceServerConfig
from gest_stream.errors import ConfigError


def ice_links(servers: Sequence[IceServerConfig]) -> tuple[str, ...]:
    """One `Link` value a server.

    Args:
        servers: The servers.

    Raises:
        ConfigError: A server has characters that no header can carry.

    Source: RFC 9725 section 4.6; quoting after RFC 9110 section 5.6.4.
    """
    return tuple(_link(server) for server in servers)


def ice_servers(servers: Sequence[IceServerConfig]) -> list[dict[str, str]]:
    """The servers as members of an `RTCConfiguration`'s `iceServers`."""
    described = []
    for server in servers:
        plain = {"urls": server.url}
        if server.username and server.credential:
            plain |= {"username": server.username, "credential": server.credential}
        described.append(plain)
    return described


def _link(server: IceServerConfig) -> str:
    texts = (server.url, server.username or "", server.credential or "")
    if not all(text.isascii() and text.isprintable() for text in texts) or any(sign in server.url for sign in '<>" '):
        raise ConfigError(
            f"rtc.ice_servers: expected printable ASCII characters in url, username and credential, "
            f"and no space, quote or angle bracket in the url, got others in those of {server.url!r}"
        )
    link = f'<{server.url}>; rel="ice-server"'
    if server.username and server.credential:
        link += f"; username={_quoted(server.username)}; credential={_quoted(server.credential)}"
        link += '; credential-type="password"'
    return link


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
