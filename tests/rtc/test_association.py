from __future__ import annotations

import asyncio

from aiortc import RTCDataChannel
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    WEBRTC_BINARY,
    DataChunk,
)

from gest_stream.rtc.association import BoundedAssociation
from gest_stream.rtc.connection import RtcConnection
from gest_stream.rtc.offer import OfferPurpose
from tests.rtc.peers import connected_pair, until


async def _association(server: RtcConnection) -> BoundedAssociation:
    assert isinstance(server.sctp, BoundedAssociation)
    sctp = server.sctp
    await until(lambda: sctp.state == "connected")
    return sctp


def _chunk(tsn: int, data: bytes, flags: int = 0, stream: int = 3) -> DataChunk:
    chunk = DataChunk(flags=flags)
    chunk.tsn, chunk.stream_id, chunk.user_data, chunk.protocol = tsn % 2**32, stream, data, WEBRTC_BINARY
    return chunk


def _kept(association: BoundedAssociation) -> tuple[int, int]:
    chunks = [chunk for stream in association._inbound_streams.values() for chunk in stream.reassembly]
    return len(chunks), sum(len(chunk.user_data) for chunk in chunks)


def test_messages_that_never_end_fill_no_memory() -> None:
    async def run() -> list[tuple[int, int]]:
        async with connected_pair(OfferPurpose.VIEW) as (_, server):
            association = await _association(server)
            kept = []
            for size, streams in ((1200, 50), (1, 1)):
                first = (association._last_received_tsn or 0) + 1
                for i in range(3000):
                    flags = SCTP_DATA_FIRST_FRAG if i < streams else 0
                    await association._receive_data_chunk(_chunk(first + i, bytes(size), flags, 100 + i % streams))
                kept.append(_kept(association))
            return kept

    for chunks, size in asyncio.run(run()):
        assert chunks < 3000 and size <= 1024 * 1024


def test_chunks_behind_one_that_never_comes_are_bounded() -> None:
    async def run() -> int:
        async with connected_pair(OfferPurpose.VIEW) as (_, server):
            association = await _association(server)
            first = (association._last_received_tsn or 0) + 2
            whole = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG | SCTP_DATA_UNORDERED
            association._sack_misordered = {(first + i) % 2**32 for i in range(4090)}
            for i in range(4090, 4200):
                await association._receive_data_chunk(_chunk(first + i, b"x", whole))
            return len(association._sack_misordered)

    assert asyncio.run(run()) == 4096


def test_messages_of_the_largest_size_arrive() -> None:
    sent = bytes(range(256)) * 256

    async def run() -> list[bytes | str]:
        got: list[bytes | str] = []

        def take(channel: RTCDataChannel) -> None:
            channel.on("message", got.append)

        async with connected_pair(OfferPurpose.VIEW) as (client, server):
            server.on("datachannel", take)
            channel = client.createDataChannel("large")
            await until(lambda: channel.readyState == "open")
            for _ in range(5):
                channel.send(sent)
            await until(lambda: len(got) == 5)
            return got

    assert asyncio.run(run()) == [sent] * 5


def test_a_peer_may_open_sixteen_channels() -> None:
    async def run() -> int:
        opened: list[RTCDataChannel] = []
        async with connected_pair(OfferPurpose.VIEW) as (client, server):
            association = await _association(server)
            server.on("datachannel", opened.append)
            channels = [client.createDataChannel(f"channel {i}") for i in range(30)]
            await until(lambda: len(association._data_channels) == 16)
            await until(lambda: sum(channel.readyState == "open" for channel in channels) == 15)  # and "results"
            return len(association._data_channels)

    assert asyncio.run(run()) == 16
