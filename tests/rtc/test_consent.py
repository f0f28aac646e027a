from __future__ import annotations

import asyncio
import time

import pytest
from aioice.ice import Connection
from aiortc import RTCPeerConnection

from gest_stream.config import RtcConfig
from gest_stream.rtc import consent
from gest_stream.rtc.offer import OfferPurpose
from tests.rtc.peers import connected_pair, until


def _ice(connection: RTCPeerConnection) -> Connection:
    ice = connection.getTransceivers()[0].receiver.transport.transport._connection
    assert isinstance(ice, Connection)
    return ice


def test_a_peer_whose_sockets_are_cut_is_dead_in_time() -> None:
    config = RtcConfig(dead_after_s=2.0)

    async def run() -> tuple[float, list[str]]:
        states: list[str] = []
        async with connected_pair(OfferPurpose.LOOP, config) as (client, server):
            server.on("connectionstatechange", lambda: states.append(server.connectionState))
            for protocol in _ice(client)._protocols:  # no BYE, no DTLS alert
                protocol.transport.abort()
            cut_at = time.monotonic()
            await until(lambda: server.connectionState != "connected", 5)
            took = time.monotonic() - cut_at
            await until(lambda: server.connectionState == "closed", 5)
            return took, states

    took, states = asyncio.run(run())
    assert 1.0 < took < 2.6
    assert states[-1] == "closed"


def test_a_peer_that_answers_every_third_check_stays_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> str:
        async with connected_pair(OfferPurpose.VIEW, RtcConfig(dead_after_s=2.0)) as (client, server):
            ice = _ice(client)
            answer = ice.request_received
            asked = 0

            def deaf(*args: object) -> None:
                nonlocal asked
                asked += 1
                if asked % 3 == 0:
                    answer(*args)  # type: ignore[arg-type]

            monkeypatch.setattr(ice, "request_received", deaf)
            await asyncio.sleep(3.0)  # longer than a dead one lives
            return server.connectionState

    assert asyncio.run(run()) == "connected"


def test_an_applications_own_connection_keeps_aioices_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def theirs(connection: Connection) -> None:
        asked.append(connection)

    monkeypatch.setattr(consent, "aioice_query_consent", theirs)
    ice = Connection(ice_controlling=True)
    asyncio.run(consent.query_consent(ice))
    assert asked == [ice]
