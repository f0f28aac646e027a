import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aioice import stun
from aiortc import RTCRtpTransceiver

from gest_stream.config import IceServerConfig, RtcConfig
from gest_stream.rtc.call import dial
from gest_stream.rtc.connection import RtcConnection
from gest_stream.rtc.endpoint import DialError, Endpoint, Protocol
from tests.rtc.peers import until
from tests.rtc.standin import StandIn, standing_in


class StunServer(asyncio.DatagramProtocol):
    """Answers binding requests (RFC 8489, section 7.3.1) and counts them."""

    def __init__(self) -> None:
        self.requests = 0
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.transport is not None
        request = stun.parse_message(data)
        self.requests += 1
        response = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
        response.attributes["XOR-MAPPED-ADDRESS"] = addr
        self.transport.sendto(bytes(response), addr)


@asynccontextmanager
async def stun_server() -> AsyncIterator[tuple[StunServer, str]]:
    """A STUN server on loopback, and its address."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    try:
        yield server, f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


def receive_video(connection: RtcConnection) -> RTCRtpTransceiver:
    return connection.addTransceiver("video", direction="recvonly")


def unreachable_at_first(server: StandIn) -> None:
    """Have the first answer lead nowhere: its ICE password is another connection's."""

    def change(sdp: str) -> str:
        return sdp if len(server.offers) > 1 else sdp.replace("a=ice-pwd:", "a=ice-pwd:x")

    server.change = change


def test_ice_servers_that_the_endpoint_names_are_used_where_a_direct_connection_fails() -> None:
    async def scenario() -> None:
        async with stun_server() as (named, url), standing_in() as server:
            server.headers = {"Link": f'<{url}>; rel="ice-server"'}
            unreachable_at_first(server)
            endpoint = Endpoint(Protocol.WHEP, f"{server.base}/whep/cam")
            call = await dial(endpoint, RtcConfig(connect_timeout_s=3.0), receive_video)
            assert call.connection.connectionState == "connected"
            assert named.requests > 0
            assert server.seen("POST") == ["/whep/cam"] * 2
            assert server.seen("DELETE") == ["/session/1"]
            await call.hang_up()
            assert server.seen("DELETE") == ["/session/1", "/session/2"]

    asyncio.run(scenario())


def test_a_direct_connection_asks_no_server_that_the_endpoint_names() -> None:
    async def scenario() -> None:
        async with stun_server() as (named, url), standing_in() as server:
            server.headers = {"Link": f'<{url}>; rel="ice-server"'}
            call = await dial(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam"), RtcConfig(), receive_video)
            await call.hang_up()
            assert named.requests == 0
            assert len(server.offers) == 1

    asyncio.run(scenario())


def test_the_users_ice_servers_take_the_place_of_those_that_the_endpoint_names() -> None:
    async def scenario() -> None:
        async with stun_server() as (named, url), stun_server() as (ours, our_url), standing_in() as server:
            server.headers = {"Link": f'<{url}>; rel="ice-server"'}
            unreachable_at_first(server)
            config = RtcConfig(ice_servers=(IceServerConfig(our_url),), connect_timeout_s=0.3)
            with pytest.raises(DialError, match="no connection for the video came about within 0.3 s"):
                await dial(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam"), config, receive_video)
            assert (ours.requests > 0, named.requests, len(server.offers)) == (True, 0, 1)

    asyncio.run(scenario())


def test_an_ice_server_that_cannot_be_used_is_named() -> None:
    async def scenario() -> None:
        async with standing_in() as server:
            config = RtcConfig(ice_servers=(IceServerConfig("turn:host:port", "user", "geheim"),))
            with pytest.raises(
                DialError, match=r"with the ICE servers turn:host:port .*check rtc\.ice_servers"
            ) as info:
                await dial(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam"), config, receive_video)
            assert "geheim" not in str(info.value)
            assert server.offers == []

    asyncio.run(scenario())


def test_a_call_tells_when_the_server_hangs_up_and_hangs_up_but_once() -> None:
    async def scenario() -> None:
        async with standing_in() as server:
            call = await dial(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam"), RtcConfig(), receive_video)
            await until(lambda: server.connected == 1)
            assert not call.ended.is_set()
            await server.hang_up()
            async with asyncio.timeout(5):
                await call.ended.wait()
            await asyncio.gather(call.hang_up(), call.hang_up())
            await call.hang_up()
            assert server.seen("DELETE") == ["/session/1"]

    asyncio.run(scenario())


def test_hanging_up_goes_on_where_its_caller_is_cancelled() -> None:
    async def scenario() -> None:
        async with standing_in() as server:
            call = await dial(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam"), RtcConfig(), receive_video)
            caller = asyncio.create_task(call.hang_up())
            await asyncio.sleep(0)
            caller.cancel()
            await until(lambda: server.seen("DELETE") != [] and call.connection.connectionState == "closed")
            await call.hang_up()

    asyncio.run(scenario())
