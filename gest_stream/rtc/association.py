"""An SCTP association whose memory a peer cannot fill."""

from __future__ import annotations

import logging

from aiortc import RTCDtlsTransport
from aiortc.rtcsctptransport import WEBRTC_DCEP, DataChunk, RTCSctpTransport

from gest_stream.rtc.scope import current_config

_LOG = logging.getLogger(__name__)

_MAX_CHUNKS = 1024
"""Pieces of unfinished messages on one stream; aiortc looks at all of them whenever one comes."""
_MAX_MISORDERED = 4096
_MAX_CHANNELS = 16


class BoundedAssociation(RTCSctpTransport):
    """aiortc's association, which drops what goes beyond the window that it advertised.

    aiortc keeps pieces of messages that never end, and the numbers of all chunks behind one that never comes, without
    a bound. A receiver may drop what it has no room for (RFC 9260, section 6.2); the sender repeats it. On our own
    connections a peer may open 16 channels.

    Args:
        transport: What it runs over.
    """

    def __init__(self, transport: RTCDtlsTransport) -> None:
        super().__init__(transport)
        self._max_channels = None if current_config() is None else _MAX_CHANNELS

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        stream = self._inbound_streams.get(chunk.stream_id)
        full = (
            len(chunk.user_data) > self._advertised_rwnd
            or len(self._sack_misordered) >= _MAX_MISORDERED
            or (stream is not None and len(stream.reassembly) >= _MAX_CHUNKS)
        )
        if full:
            _LOG.debug("an SCTP chunk is dropped: no room for it")
            self._sack_needed = True
            return
        await super()._receive_data_chunk(chunk)

    async def _receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        opens = pp_id == WEBRTC_DCEP and stream_id not in self._data_channels
        if opens and self._max_channels is not None and len(self._data_channels) >= self._max_channels:
            _LOG.info("a peer has opened %d data channels; a further one is passed over", len(self._data_channels))
            return
        await super()._receive(stream_id, pp_id, data)
