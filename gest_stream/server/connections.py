"""Bounds on HTTP connections: how many, and how long one may take to ask for something.

aiohttp bounds neither, so its protocol is wrapped: a client that sends its request byte by byte, or none, is cut off,
and TLS begins only when the connection has been counted.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Final

from aiohttp import web

from gest_stream.server.problems import Handler

_LOG = logging.getLogger(__name__)

_LINGER_S: Final = 1.0
"""What a client that is cut off has to take the answer."""
_TIMED_OUT: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connections:
    """The open connections of one server.

    Args:
        limit: How many; further ones are closed at once.
        request_timeout_s: Seconds that a connection may be without a request, and that a request may take to arrive.
    """

    def __init__(self, limit: int, request_timeout_s: float) -> None:
        self._limit = limit
        self.request_timeout_s = request_timeout_s
        self._open: set[_Connection] = set()
        self._by_handler: dict[asyncio.Protocol, _Connection] = {}
        self._full = False

    def __len__(self) -> int:
        return len(self._open)

    def guard(
        self, make_handler: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
    ) -> Callable[[], asyncio.Protocol]:
        """Wrap the protocol factory of an HTTP server.

        Args:
            make_handler: Makes the protocol that speaks HTTP on one connection.
            tls: Set where the connections are encrypted; the server that takes them must not do it too.

        Returns:
            The factory for `loop.create_server`.
        """
        return lambda: _Connection(self, make_handler, tls)

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Stop the connection's clock while its request is handled; outermost of the middlewares."""
        connection = self._by_handler.get(request.protocol)
        if connection is None:
            return await handler(request)
        connection.request_arrived()
        try:
            return await handler(request)
        finally:
            connection.request_answered()

    def abort(self) -> None:
        """Cut every connection off."""
        for connection in tuple(self._open):
            connection.abort()

    def take(self, connection: _Connection) -> bool:
        """Count a connection; False where there are too many."""
        full = len(self._open) >= self._limit
        if full and not self._full:
            _LOG.warning("all %d HTTP connections are taken; further ones are closed", self._limit)
        self._full = full
        if not full:
            self._open.add(connection)
        return not full

    def begin(self, connection: _Connection, handler: asyncio.Protocol) -> None:
        """Know a connection by the protocol that speaks HTTP on it."""
        self._by_handler[handler] = connection

    def drop(self, connection: _Connection, handler: asyncio.Protocol | None) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        if handler is not None:
            self._by_handler.pop(handler, None)


class _Connection(asyncio.Protocol):
    """Stands between a transport and aiohttp's protocol, and holds the clock.

    The clock runs from the beginning, from the end of the last request's handling, and anew from the first byte of a
    request; it stands still while a request is handled. More bytes do not set it back.
    """

    def __init__(
        self, owner: Connections, make_handler: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
    ) -> None:
        self._owner = owner
        self._make_handler = make_handler
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._handler: asyncio.Protocol | None = None
        self._securing: asyncio.Task[None] | None = None
        self._early = b""
        self._clock: asyncio.TimerHandle | None = None
        self._handling = False
        self._receiving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._owner.take(self):
            transport.abort()
            return
        self._start_clock()
        if self._tls is None:
            self._begin(transport)
        else:
            transport.pause_reading()  # not a byte is ours before TLS has taken the transport over
            self._securing = self._loop.create_task(self._secure(transport, self._tls))

    def data_received(self, data: bytes) -> None:
        if self._handler is None:
            self._early += data  # came with the end of the handshake
            return
        if not self._handling and not self._receiving:
            self._receiving = True
            self._start_clock()
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received() if self._handler is not None else None

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._securing is not None:
            self._securing.cancel()
        handler, self._handler = self._handler, None
        self._owner.drop(self, handler)
        if handler is not None:
            handler.connection_lost(exc)

    def request_arrived(self) -> None:
        """A request's headers are complete; its handler bounds what is left."""
        self._handling = True
        self._receiving = False
        self._stop_clock()

    def request_answered(self) -> None:
        """The answer is about to be sent."""
        self._handling = False
        if self._handler is not None:
            self._start_clock()

    def abort(self) -> None:
        """Cut it off, whatever was still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def _begin(self, transport: asyncio.Transport) -> None:
        self._handler = self._make_handler()
        self._owner.begin(self, self._handler)
        self._handler.connection_made(transport)

    async def _secure(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        try:
            secured = await self._loop.start_tls(transport, self, tls, server_side=True)
        except OSError as exc:  # what is no TLS, and a client that left
            _LOG.debug("a connection was not secured: %s", exc)
            secured = None
        self._securing = None
        if secured is None:
            transport.abort()
            self.connection_lost(None)  # the TLS layer does not tell a protocol that it never began
            return
        self._transport = secured
        self._begin(secured)
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def _start_clock(self) -> None:
        self._stop_clock()
        self._clock = self._loop.call_later(self._owner.request_timeout_s, self._time_out)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _time_out(self) -> None:
        transport = self._transport
        assert transport is not None
        # an answer that is still under way, or a client that never asked, gets none
        if self._handler is None or not self._receiving or transport.get_write_buffer_size():
            transport.abort()
            return
        transport.write(_TIMED_OUT)
        transport.close()
        self._clock = self._loop.call_later(_LINGER_S, transport.abort)
