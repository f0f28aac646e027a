"""One peer connection of the server, from its offer to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from aiortc import RTCDataChannel, RTCPeerConnection, RTCRtpTransceiver

from gest_stream.config import PipelineConfig
from gest_stream.errors import GestStreamError, SignallingError
from gest_stream.rtc.clocks import SenderClock
from gest_stream.rtc.connection import RtcConnection, answer_offer, make_connection
from gest_stream.rtc.offer import OfferPurpose, check_offer, parse_fragment
from gest_stream.server.command_channel import CommandChannel
from gest_stream.server.commands import reply
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.results import ResultsChannel
from gest_stream.tracking.tracker import TrackerCore

_LOG = logging.getLogger(__name__)
_CLOSE_TIMEOUT_S = 5.0
_FAREWELL_POLLS = 20
_FAREWELL_POLL_S = 0.01


class SessionKind(StrEnum):
    """What a session is for."""

    LOOP = "loop"
    """Sends a picture and gets it back processed."""
    PUBLISH = "publish"
    """Sends a picture that others watch."""
    VIEW = "view"
    """Watches a published picture, processed."""


_PURPOSES = {
    SessionKind.LOOP: OfferPurpose.LOOP,
    SessionKind.PUBLISH: OfferPurpose.PUBLISH,
    SessionKind.VIEW: OfferPurpose.VIEW,
}


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What every session of a server shares.

    Args:
        config: Settings.
        make_tracker: Makes a tracker for one session; called on a worker thread.
        metrics: The server's.
        segmenter: What makes the masks, for the greeting.
    """

    config: PipelineConfig
    make_tracker: Callable[[], TrackerCore]
    metrics: ServerMetrics
    segmenter: str = ""


class Session(ABC):
    """A peer connection and the work that hangs on it.

    A task of its own lives as long as the session: it works until there is nothing more to do or `close` is called,
    then lets go of everything. Used on one event loop.

    Args:
        kind: What it is for.
        stream: Name of the published stream, "" where there is none.
        client: Address of the peer, as HTTP knows it.
        context: What sessions share.
        on_end: Called once, when everything has been let go of.
    """

    def __init__(
        self,
        kind: SessionKind,
        stream: str,
        client: str,
        context: SessionContext,
        on_end: Callable[[Session], object],
    ) -> None:
        self.kind = kind
        self.stream = stream
        self.client = client
        self.id = secrets.token_urlsafe(24)
        self.etag = f'"{secrets.token_hex(8)}"'
        self._context = context
        self._on_end = on_end
        self._connection: RtcConnection = make_connection(context.config.rtc)
        self._connected = asyncio.Event()
        self._stopping = asyncio.Event()
        self._reason = ""
        self._results: ResultsChannel | None = None
        self._commands: CommandChannel | None = None
        self._on_stop: Callable[[], object] | None = None  # called when `_stopping` is set, to end `_work`
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("datachannel", self._on_channel)
        self._life: asyncio.Task[None] | None = None

    def __repr__(self) -> str:  # the id is a secret: whoever knows it may end the session
        return f"{self.kind} session{f' of {self.stream}' if self.stream else ''} from {self.client}"

    # -- what a kind of session does -----------------------------------------------------------------------------

    @abstractmethod
    def _attach(self, connection: RTCPeerConnection) -> None:
        """Set directions and outgoing tracks, between the offer and the answer."""

    @abstractmethod
    async def _work(self) -> str:
        """Work until there is nothing more to do, or until `_stopping` is set; returns why it ended."""

    @abstractmethod
    async def _let_go(self) -> None:
        """Called before the connection is closed; `_work` has ended, or was never begun."""

    def _take_commands(self, channel: RTCDataChannel) -> bool:
        """Take commands from a data channel; False where this kind of session has none."""
        return False

    @property
    @abstractmethod
    def _picture_sender(self) -> SenderClock | None:
        """Of the picture that is sent."""

    @abstractmethod
    def _subscribe(self, results: ResultsChannel) -> None:
        """Send results there."""

    # -- what HTTP asks of it ------------------------------------------------------------------------------------

    async def answer(self, offer_sdp: str) -> str:
        """Answer the peer's offer and begin to work.

        Raises:
            SignallingError: The offer cannot be served; the session has ended.
        """
        rtc = self._context.config.rtc
        try:
            check_offer(offer_sdp, _PURPOSES[self.kind], self._context.config.server.limits.max_sdp_bytes)
            answer = await answer_offer(self._connection, offer_sdp, rtc, self._attach)
        except BaseException:
            await self._end("its offer was refused")
            raise
        if self._stopping.is_set():
            await self._end(self._reason)
            raise SignallingError("the server is shutting down; try again later", 503)
        self._life = asyncio.create_task(self._live())
        return answer

    async def add_candidates(self, fragment: str) -> None:
        """Take trickled ICE candidates.

        Args:
            fragment: An SDP fragment (RFC 8840).

        Raises:
            SignallingError: It cannot be read, or asks for an ICE restart.
        """
        limit = self._context.config.server.limits.max_sdp_bytes
        await self._connection.add_candidates(parse_fragment(fragment, self._connection.mids, limit))

    def set_background(self, encoded: bytes) -> None:
        """Take a PNG or JPEG picture for the effect `replace`; safe from any thread.

        Raises:
            SignallingError: It is no such picture, or this session draws nothing.
        """
        raise SignallingError("background: this session has no picture of its own to draw behind", 422)

    async def close(self, reason: str) -> None:
        """End the session; returns when everything was let go of. More than once does no harm."""
        self._close_soon(reason)
        if self._life is not None and self._life is not asyncio.current_task():
            await asyncio.wait({self._life})

    # -- its life ------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        reason = "the server failed"
        watch = asyncio.create_task(self._watch_connecting())
        try:
            reason = await self._work()
        except GestStreamError as exc:
            reason = str(exc)
        except Exception:
            _LOG.exception("%r failed", self)
        finally:
            watch.cancel()
            await self._end(self._reason or reason)

    async def _watch_connecting(self) -> None:
        timeout_s = self._context.config.rtc.connect_timeout_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
            return
        self._close_soon(f"no connection within {timeout_s:g} s")

    async def _end(self, reason: str) -> None:
        self._stopping.set()
        _LOG.info("%r ended: %s", self, reason)
        try:
            await self._say_farewell(reason)
            await self._let_go()
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._connection.close()
        except TimeoutError:
            _LOG.warning("%r: its connection was not closed within %g s", self, _CLOSE_TIMEOUT_S)
        except Exception:
            _LOG.exception("%r: letting go failed", self)
        finally:
            self._on_end(self)

    async def _say_farewell(self, reason: str) -> None:
        if self._commands is None:
            return
        self._commands.say(reply("ended", reason=reason))
        for _ in range(_FAREWELL_POLLS):  # closing the connection would drop what waits to be sent
            if self._commands.waiting_bytes == 0:
                break
            await asyncio.sleep(_FAREWELL_POLL_S)

    def _close_soon(self, reason: str) -> None:
        if not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()
            if self._on_stop is not None:
                self._on_stop()

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self._close_soon("the peer hung up, or its connection was lost")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == "results" and self._results is None:
            self._results = ResultsChannel(channel, self._picture_sender)
            self._subscribe(self._results)
        elif channel.label != "commands" or not self._take_commands(channel):
            channel.close()


def transceiver_of(connection: RTCPeerConnection, kind: str) -> RTCRtpTransceiver | None:
    """The transceiver of one kind of media; offers with more than one were refused."""
    return next((one for one in connection.getTransceivers() if one.kind == kind), None)
