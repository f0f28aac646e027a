"""The ICE servers that an endpoint names in the Link headers of its answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from gest_stream.config import IceServerConfig
from gest_stream.errors import ConfigError

_LOG = logging.getLogger(__name__)

_TOKEN = r"[^\s\"<>=;,]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LINK = re.compile(rf"<([^>]*)>((?:\s*;\s*{_TOKEN}(?:\s*=\s*(?:{_QUOTED}|{_TOKEN}))?)*)")
_PARAMETER = re.compile(rf";\s*({_TOKEN})\s*=\s*({_QUOTED}|{_TOKEN})")


def ice_servers_in(links: Iterable[str]) -> tuple[IceServerConfig, ...]:
    """The ICE servers among `links`; links of another relation, and servers that cannot be used, are left out.

    Args:
        links: Values of Link headers, each with any number of links.

    Source: RFC 9725 section 4.6 (relation "ice-server" and its parameters); RFC 8288 section 3 (the header).
    """
    servers = []
    for value in links:
        for link in _LINK.finditer(value):
            parameters = {name.lower(): _unquoted(text) for name, text in _PARAMETER.findall(link[2])}
            if "ice-server" not in parameters.get("rel", "").lower().split():
                continue
            try:
                servers.append(IceServerConfig(link[1], parameters.get("username"), parameters.get("credential")))
            except ConfigError as exc:
                _LOG.debug("an ICE server of a Link header is left out: %s", exc)
    return tuple(servers)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
