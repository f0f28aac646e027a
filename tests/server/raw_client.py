"""A client that speaks HTTP badly, byte by byte if need be."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Self

import aiohttp

from tests.server.fake_sessions import address


class RawClient:
    """One connection.

    Args:
        client: Whose server is connected to.
        tls: Set where it speaks TLS.
    """

    def __init__(self, client: aiohttp.ClientSession, tls: ssl.SSLContext | None = None) -> None:
        self._address = address(client)
        self._tls = tls
        self._clock = asyncio.get_running_loop().time

    async def __aenter__(self) -> Self:
        self.begun = self._clock()
        self._reader, self._writer = await asyncio.open_connection(*self._address, ssl=self._tls)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    @property
    def age_s(self) -> float:
        """Seconds since it connected."""
        return self._clock() - self.begun

    async def send(self, text: str | bytes) -> None:
        """Send as it is; a server that hung up is not an error."""
        with contextlib.suppress(OSError):
            self._writer.write(text.encode("latin-1") if isinstance(text, str) else text)
            await self._writer.drain()

    async def dribble(self, text: str, pause_s: float) -> None:
        """Send byte by byte, over and over the last one, until the server hangs up."""
        at = 0
        while not self._reader.at_eof() and not self._writer.transport.is_closing():
            await self.send(text[min(at, len(text) - 1)])
            at += 1
            await asyncio.sleep(pause_s)

    async def rest(self, within_s: float = 30.0) -> bytes:
        """Everything that comes until the server hangs up."""
        received = b""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(OSError):
                while chunk := await self._reader.read(65_536):
                    received += chunk
        return received

    async def head(self, within_s: float = 30.0) -> bytes:
        """The answer's status line and headers."""
        async with asyncio.timeout(within_s):
            return await self._reader.readuntil(b"\r\n\r\n")


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 where there is none."""
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.") else 0
