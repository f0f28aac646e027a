"""Peer connections with the settings of one `RtcConfig`, and how an offer is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aiortc import RTCConfiguration, RTCIceCandidate, RTCIceServer, RTCPeerConnection, RTCSessionDescription

from gest_stream.config import RtcConfig
from gest_stream.errors import SignallingError
from gest_stream.rtc.candidates import TrickledCandidates, is_name, split_description
from gest_stream.rtc.offer import with_bitrate_hints
from gest_stream.rtc.patches import apply_patches
from gest_stream.rtc.scope import settings_of

_LOG = logging.getLogger(__name__)

MAX_CANDIDATES_PER_CONNECTION = 256
"""Candidates that one peer may name, over all fragments."""
_RESOLVE_TIMEOUT_S = 3.0
"""For an mDNS name; aioice itself waits 1 s for an answer."""


class RtcConnection(RTCPeerConnection):
    """A peer connection whose encoders, decoders and signs of life follow an `RtcConfig`.

    Make it with `make_connection`.

    Args:
        config: Its settings.
    """

    def __init__(self, config: RtcConfig) -> None:
        servers = [RTCIceServer(server.url, server.username, server.credential) for server in config.ice_servers]
        super().__init__(RTCConfiguration(iceServers=servers))
        self.config = config
        self._candidate_count = 0
        self._resolving: set[asyncio.Task[None]] = set()

    # Names and parameters as aiortc has them. The tasks that carry media are made in these two calls.
    async def setLocalDescription(self, sessionDescription: RTCSessionDescription | None = None) -> None:  # noqa: N802,N803
        """Set the local description; an offer or answer is made where none is given."""
        with settings_of(self.config):
            await super().setLocalDescription(sessionDescription)

    async def setRemoteDescription(self, sessionDescription: RTCSessionDescription) -> None:  # noqa: N802,N803
        """Set the remote description."""
        with settings_of(self.config):
            await super().setRemoteDescription(sessionDescription)

    @property
    def mids(self) -> tuple[str, ...]:
        """The m-sections of the session, for `parse_fragment`; empty before there is a remote description."""
        described = self.remoteDescription
        lines = described.sdp.splitlines() if described is not None else []
        return tuple(line[6:].strip() for line in lines if line.startswith("a=mid:"))

    async def add_candidates(self, trickled: TrickledCandidates) -> None:
        """Take what a peer says of where it can be reached.

        Addresses are tried at once. Names of mDNS are resolved in the background, for at most 3 s: a peer that hides
        its address behind one finds us by our own candidates anyway.

        Args:
            trickled: From `parse_fragment`.

        Raises:
            SignallingError: It named too many over time, or asks for an ICE restart (both 422).
        """
        described = self.remoteDescription
        ufrag = trickled.ufrag
        if ufrag is not None and described is not None and f"a=ice-ufrag:{ufrag}" not in described.sdp.splitlines():
            raise SignallingError("an ICE restart is not supported; make a new session", 422)
        self._candidate_count += len(trickled.candidates)
        if self._candidate_count > MAX_CANDIDATES_PER_CONNECTION:
            raise SignallingError(f"more than {MAX_CANDIDATES_PER_CONNECTION} candidates in one session", 422)
        named = [candidate for candidate in trickled.candidates if is_name(candidate)]
        for candidate in trickled.candidates:
            if not is_name(candidate):
                await self._try_candidate(candidate)
        if not named and trickled.complete:
            await self._try_candidate(None)
        elif named:
            task = asyncio.create_task(self._resolve(named, trickled.complete))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, named: Sequence[RTCIceCandidate], complete: bool) -> None:
        try:
            async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
                await asyncio.gather(*(self._try_candidate(candidate) for candidate in named))
        except TimeoutError:
            _LOG.debug("mDNS names were not resolved within %g s", _RESOLVE_TIMEOUT_S)
        if complete:
            await self._try_candidate(None)

    async def _try_candidate(self, candidate: RTCIceCandidate | None) -> None:
        """Hand a candidate, or the end of candidates, to aiortc; what it cannot use is as if it had not come."""
        try:
            await self.addIceCandidate(candidate)
        except Exception as exc:  # no multicast, no socket on mDNS's port: other candidates may do
            _LOG.debug("candidate %s was not taken: %s", candidate and candidate.ip, exc)

    async def close(self) -> None:
        """End the connection and everything that runs for it."""
        for task in self._resolving:
            task.cancel()
        await super().close()


def make_connection(config: RtcConfig) -> RtcConnection:
    """A new peer connection; the patches of aiortc are applied first.

    Args:
        config: Its ICE servers, codecs, bitrates and bounds.
    """
    apply_patches(config)
    return RtcConnection(config)


async def answer_offer(
    connection: RtcConnection,
    offer_sdp: str,
    config: RtcConfig,
    before_answer: Callable[[RTCPeerConnection], None] | None = None,
) -> str:
    """Take an offer and make the answer. Where that fails the connection is closed.

    Args:
        connection: From `make_connection`, with its "track" handlers attached.
        offer_sdp: The offer, after `check_offer`.
        config: Bitrates that the answer asks for.
        before_answer: Called when the offer is taken and before the answer is made: the time to add tracks.

    Returns:
        The answer's session description, with all our candidates and with hints for the bitrate.

    Raises:
        SignallingError: aiortc cannot answer this offer (422), or gathering candidates took too long (503).
    """
    try:
        bare = split_description(offer_sdp, "the offer")
        async with asyncio.timeout(config.connect_timeout_s):
            with _as_refusal("the offer cannot be answered"):
                await connection.setRemoteDescription(RTCSessionDescription(bare.sdp, "offer"))
            if before_answer is not None:
                before_answer(connection)
            with _as_refusal("the offer cannot be answered"):
                await connection.setLocalDescription(await connection.createAnswer())
        await connection.add_candidates(bare.trickled)
    except TimeoutError as exc:
        await connection.close()
        raise SignallingError(
            f"no answer could be made within {config.connect_timeout_s:g} s; are the ICE servers reachable?", 503
        ) from exc
    except BaseException:
        await connection.close()
        raise
    return with_bitrate_hints(connection.localDescription.sdp, config)


async def accept_answer(connection: RtcConnection, answer_sdp: str) -> None:
    """Take the answer to an offer that `connection` made. Where that fails the connection is closed.

    Args:
        connection: From `make_connection`, with its local description set to an offer.
        answer_sdp: What the other end said.

    Raises:
        SignallingError: It is no answer to this offer (422).
    """
    try:
        bare = split_description(answer_sdp, "the answer")
        with _as_refusal("the answer cannot be used"):
            await connection.setRemoteDescription(RTCSessionDescription(bare.sdp, "answer"))
        await connection.add_candidates(bare.trickled)
    except BaseException:
        await connection.close()
        raise


@contextmanager
def _as_refusal(what: str) -> Iterator[None]:
    """Map whatever aiortc raises on a description that it does not like: it has no error of its own for that."""
    try:
        yield
    except Exception as exc:
        _LOG.debug("%s", what, exc_info=True)
        raise SignallingError(f"{what}: {type(exc).__name__}: {exc}"[:300], 422) from exc
