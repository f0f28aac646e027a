"""Asks a receiver to show pictures as they come, instead of holding them back for an even flow."""

from __future__ import annotations

from typing import Any

from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    pack_header_extensions,
    unpack_header_extensions,
)

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
"""Of libwebrtc: 12 bits each of the least and the most delay, in units of 10 ms."""

_AT_ONCE = b"\0\0\0"

OFFERED: dict[str, list[Any]] = {
    **HEADER_EXTENSIONS,
    "video": [*HEADER_EXTENSIONS["video"], RTCRtpHeaderExtensionParameters(id=6, uri=PLAYOUT_DELAY)],
}
"""The header extensions of aiortc, and this one."""


class PlayoutExtensions(HeaderExtensionsMap):
    """The header extensions of what a sender sends: aiortc's, and a playout delay of 0 where the receiver knows it.

    Source: docs/native-code/rtp-hdrext/playout-delay of libwebrtc.
    """

    def __init__(self) -> None:
        super().__init__()
        self._playout_id: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        """Take the numbers that both sides agreed on."""
        super().configure(parameters)
        agreed = (one.id for one in parameters.headerExtensions if one.uri == PLAYOUT_DELAY)
        self._playout_id = next(agreed, None)

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        """The packed extensions of a packet."""
        profile, packed = super().set(values)
        if self._playout_id is None:
            return profile, packed
        extensions = unpack_header_extensions(profile, packed) if packed else []
        profile, packed = pack_header_extensions([*extensions, (self._playout_id, _AT_ONCE)])
        return profile, packed
