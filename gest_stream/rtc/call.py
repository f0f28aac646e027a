"""A connection made through somebody else's WHIP or WHEP endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from aiortc import RTCRtpTransceiver
from yarl import URL

from gest_stream.config import IceServerConfig, RtcConfig
from gest_stream.errors import SignallingError
from gest_stream.rtc.connection import RtcConnection, accept_answer, make_connection
from gest_stream.rtc.endpoint import DialError, Endpoint

_LOG = logging.getLogger(__name__)
_HANG_UP_TIMEOUT_S = 3.0
_DIRECT_SHARE = 1 / 3
"""Of the time for connecting, what a connection without the endpoint's own ICE servers gets where it names some."""


class Call:
    """A peer connection and the endpoint's session that it belongs to; `dial` makes it.

    Args:
        endpoint: Through which it was made.
        connection: Closed with it.
    """

    def __init__(self, endpoint: Endpoint, connection: RtcConnection) -> None:
        self.connection = connection
        self.ended = asyncio.Event()
        """Set once the connection is lost, or closed by either side."""
        self._endpoint = endpoint
        self._session_url: URL | None = None
        self._changed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        connection.on("connectionstatechange", self._on_state)

    def _on_state(self) -> None:
        self._changed.set()
        if self.connection.connectionState in ("failed", "closed"):
            self.ended.set()

    async def offer(self, add_media: Callable[[RtcConnection], RTCRtpTransceiver]) -> tuple[IceServerConfig, ...]:
        """Make the offer and take the answer.

        Args:
            add_media: Adds what the answer must agree to.

        Returns:
            The ICE servers that the endpoint names.

        Raises:
            DialError: An ICE server cannot be used, the endpoint is not reached or refuses, or its answer has no use
                for the transceiver.
        """
        name = self._endpoint.name
        transceiver = await self._gather(add_media)
        answer = await self._endpoint.offer(self.connection.localDescription.sdp)
        self._session_url = answer.session_url
        try:
            await accept_answer(self.connection, answer.sdp)
        except SignallingError as exc:
            raise DialError(f"{name}: {exc}; H.264 and VP8 were offered") from exc
        if transceiver.currentDirection not in (transceiver.direction, "sendrecv"):
            does = "takes no video" if transceiver.direction == "sendonly" else "has no video to give"
            raise DialError(f"{name}: the server {does} under this address; check the path")
        return answer.ice_servers

    async def _gather(self, add_media: Callable[[RtcConnection], RTCRtpTransceiver]) -> RTCRtpTransceiver:
        """Set the local description, for which aioice asks the ICE servers.

        Raises:
            DialError: A server cannot be used.
        """
        config = self.connection.config
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                transceiver = add_media(self.connection)
                await self.connection.setLocalDescription(await self.connection.createOffer())
                return transceiver
        except Exception as exc:  # an address that it cannot read, a login that is wrong, whatever aioice meets
            servers = ", ".join(server.url for server in config.ice_servers) or "none"
            raise DialError(
                f"{self._endpoint.name}: no offer could be made with the ICE servers {servers} "
                f"({type(exc).__name__}: {exc}); check rtc.ice_servers"
            ) from exc

    async def connect(self, timeout_s: float) -> bool:
        """Wait until media can flow; False where the connection failed or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.connection.connectionState != "connected" and not self.ended.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return not self.ended.is_set()

    async def hang_up(self) -> None:
        """Delete the session and close the connection; takes 3 s at most, and more than once does no harm."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)  # aiortc never ends a close that was cancelled half-way

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_HANG_UP_TIMEOUT_S):
                await asyncio.gather(self._endpoint.end(self._session_url), self.connection.close())
        except TimeoutError:
            _LOG.debug("%s: hanging up took more than %g s", self._endpoint.name, _HANG_UP_TIMEOUT_S)


async def dial(endpoint: Endpoint, config: RtcConfig, add_media: Callable[[RtcConnection], RTCRtpTransceiver]) -> Call:
    """Connect through an endpoint.

    The ICE servers of `config` are used, if it has any. Else those that the endpoint names are, in a second attempt:
    they come with the answer, which aiortc has to gather its candidates before, and peers that reach each other
    directly are spared them.

    Args:
        endpoint: Where to.
        config: Of the connection.
        add_media: Adds what is to be sent or received to a connection; called once an attempt.

    Returns:
        A call whose connection is up.

    Raises:
        DialError: No connection came about.
    """
    call, named = await _offered(endpoint, config, add_media)
    try:
        second = bool(named) and not config.ice_servers
        if await call.connect(config.connect_timeout_s * (_DIRECT_SHARE if second else 1)):
            return call
        if second:
            await call.hang_up()
            _LOG.debug("%s: not reached directly; trying the ICE servers that it names", endpoint.name)
            call, _ = await _offered(endpoint, replace(config, ice_servers=named), add_media)
            if await call.connect(config.connect_timeout_s * (1 - _DIRECT_SHARE)):
                return call
        raise DialError(
            f"{endpoint.name}: the server answers, but no connection for the video came about within "
            f"{config.connect_timeout_s:g} s; a firewall may hold UDP back: name a TURN server in rtc.ice_servers"
        )
    except BaseException:
        await call.hang_up()
        raise


async def _offered(
    endpoint: Endpoint, config: RtcConfig, add_media: Callable[[RtcConnection], RTCRtpTransceiver]
) -> tuple[Call, tuple[IceServerConfig, ...]]:
    """A call whose offer was answered, and the ICE servers that came with the answer."""
    call = Call(endpoint, make_connection(config))
    try:
        return call, await call.offer(add_media)
    except BaseException:
        await call.hang_up()
        raise
