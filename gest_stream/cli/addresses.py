"""Outputs that are files or addresses, and which token goes where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gest_stream.errors import ConfigError, SinkError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(?=//|[a-z]+:)", re.IGNORECASE)  # two letters or more: "C:" is a drive


def whip_url(output: str) -> str | None:
    """The address in "whip:URL" or "webrtc:whip:URL"; None where `output` is a file.

    Raises:
        SinkError: It has another scheme.
    """
    short = output.removeprefix("webrtc:")
    if short.startswith("whip:"):
        return short.removeprefix("whip:")
    scheme = _SCHEME.match(output)
    if scheme is not None and scheme[1].lower() != "file":
        raise SinkError(
            f"{scheme[1]}: unknown kind of output; known are whip:URL, as in whip:https://example.org/whip/stream, "
            "and video files (.mp4 .mkv .mov .webm)"
        )
    return None


def split_outputs(outputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files and the WHIP addresses among `outputs`.

    Raises:
        SinkError: One is neither.
    """
    files, urls = [], []
    for output in outputs:
        url = whip_url(output)
        if url is None:
            files.append(Path(output.removeprefix("file://")))
        else:
            urls.append(url)
    return files, urls


class Tokens:
    """The tokens a user gave, and the servers they are for. One that names no server is for the only one there is.

    Args:
        given: "TOKEN", or "HOST=TOKEN" or "HOST:PORT=TOKEN".
        urls: Addresses of the run; without any, tokens mean nothing and are left alone.

    Raises:
        ConfigError: A token names a server that the run has nothing to do with, or it is not clear which it is for.
    """

    def __init__(self, given: Sequence[str], urls: Sequence[str]) -> None:
        hosts = sorted({_host(url) for url in urls})
        self._by_host: dict[str, str] = {}
        for text in given if hosts else ():
            # "=" ends a token and is nowhere else in it (RFC 6750, section 2.1)
            host, _, token = text.partition("=")
            named = bool(token.strip("="))
            meant = [known for known in hosts if host.lower() in (known, known.partition(":")[0])] if named else hosts
            if not meant or (len(meant) > 1 and not named):
                wrong = "one is for another server" if named else "one could be for either"
                raise ConfigError(
                    f"--token: {wrong}; this run talks to {' and '.join(hosts)}: write --token HOST=TOKEN for each"
                )
            self._by_host.update(dict.fromkeys(meant, token if named else text))

    def of(self, url: str) -> str | None:
        """The token for an address, if there is one."""
        return self._by_host.get(_host(url))


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""  # what takes the address says what is wrong with it
