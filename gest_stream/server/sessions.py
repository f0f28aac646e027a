"""Every session of a server: who may begin one, and that all of them end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from gest_stream.config import PipelineConfig
from gest_stream.errors import SignallingError
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.processing import ProcessingSession
from gest_stream.server.session import Session, SessionContext, SessionKind
from gest_stream.server.viewing import ViewingSession
from gest_stream.tracking.tracker import TrackerCore

_LOG = logging.getLogger(__name__)


class ServerFullError(SignallingError):
    """Every place is taken.

    Args:
        message: Which.
        status: 503 where the server is full, 429 where one client has too many.
        retry_after_s: When to try again.
    """

    def __init__(self, message: str, status: int, retry_after_s: int) -> None:
        super().__init__(message, status)
        self.retry_after_s = retry_after_s


class Sessions:
    """The sessions of one server. Used on one event loop.

    Args:
        config: Settings.
        make_tracker: Makes a tracker for one session, with memory of its own; called on a worker thread.
        metrics: Counts what happens.
        segmenter: What makes the masks, for the greeting.
        on_close: Called when the last session of a closed server has ended: lets go of the models.
    """

    def __init__(
        self,
        config: PipelineConfig,
        make_tracker: Callable[[], TrackerCore],
        metrics: ServerMetrics,
        segmenter: str = "",
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self._context = SessionContext(config, make_tracker, metrics, segmenter)
        self._limits = config.server.limits
        self._metrics = metrics
        self._on_close = on_close
        self._sessions: dict[str, Session] = {}
        self._closed = False
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self, kind: SessionKind, stream: str, offer_sdp: str, client: str) -> tuple[Session, str]:
        """Begin a session.

        Args:
            kind: What for.
            stream: Name of the published stream; "" for `loop`.
            offer_sdp: The peer's offer.
            client: The peer's address.

        Returns:
            The session, and the answer to the offer.

        Raises:
            ServerFullError: No place is free; `retry_after_s` says when to try again.
            SignallingError: The offer cannot be served, nobody publishes the stream (404), somebody else does (409).
        """
        try:
            session = self._make(kind, stream, client)
            self._sessions[session.id] = session
            self._show_counts()
            answer = await session.answer(offer_sdp)
        except SignallingError as exc:
            self._metrics.refused.labels(str(exc.status)).inc()
            raise
        self._metrics.started.labels(str(kind)).inc()
        _LOG.info("%r began", session)
        return session, answer

    def get(self, session_id: str) -> Session | None:
        """The session of that id, while it lives."""
        return self._sessions.get(session_id)

    def describe(self) -> dict[str, Any]:
        """Counts as plain values."""
        return {
            "sessions": self._counts(),
            "streams": sum(one.kind is SessionKind.PUBLISH for one in self._sessions.values()),
            "max_sessions": self._limits.max_sessions,
            "max_viewers": self._limits.max_viewers,
        }

    async def close(self) -> None:
        """End every session and let go of the models; begins no more."""
        if self._closed:
            return
        self._closed = True
        while self._sessions:
            waiting = [asyncio.create_task(one.close("the server shuts down")) for one in self._sessions.values()]
            await asyncio.wait(waiting)
            await asyncio.sleep(0)
        if self._ending:
            await asyncio.wait(self._ending)
        if self._on_close is not None:
            await asyncio.to_thread(self._on_close)

    def _make(self, kind: SessionKind, stream: str, client: str) -> Session:
        if self._closed:
            raise ServerFullError("the server is shutting down; try again later", 503, self._limits.retry_after_s)
        mine = sum(one.client == client for one in self._sessions.values())
        if mine >= self._limits.max_sessions_per_client:
            raise ServerFullError(
                f"{client} has {mine} sessions, as many as one client may; end one first",
                429,
                self._limits.retry_after_s,
            )
        viewers = sum(one.kind is SessionKind.VIEW for one in self._sessions.values())
        taken, places = (
            (viewers, self._limits.max_viewers)
            if kind is SessionKind.VIEW
            else (len(self._sessions) - viewers, self._limits.max_sessions)
        )
        if kind is SessionKind.VIEW:
            publisher = self._publisher_of(stream)
            if publisher is None:
                raise SignallingError(f"stream {stream}: nobody publishes it; start the publisher first", 404)
        elif kind is SessionKind.PUBLISH and self._publisher_of(stream) is not None:
            raise SignallingError(f"stream {stream}: somebody publishes it already; choose another name", 409)
        if taken >= places:
            raise ServerFullError(f"all {places} places are taken; try again later", 503, self._limits.retry_after_s)
        if kind is SessionKind.VIEW:
            assert publisher is not None
            return ViewingSession(publisher, client, self._context, self._forget)
        return ProcessingSession(kind, stream, client, self._context, self._forget)

    def _publisher_of(self, stream: str) -> ProcessingSession | None:
        for session in self._sessions.values():
            if isinstance(session, ProcessingSession) and session.kind is SessionKind.PUBLISH:
                if session.stream == stream:
                    return session
        return None

    def _forget(self, ended: Session) -> None:
        """Called when a session has let go of everything."""
        if self._sessions.pop(ended.id, None) is None:
            return
        self._show_counts()
        if ended.kind is SessionKind.PUBLISH:
            for viewer in [one for one in self._sessions.values() if one.stream == ended.stream]:
                task = asyncio.create_task(viewer.close("the stream has ended"))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    def _counts(self) -> dict[str, int]:
        found = Counter(session.kind for session in self._sessions.values())
        return {str(kind): found[kind] for kind in SessionKind}

    def _show_counts(self) -> None:
        for kind, count in self._counts().items():
            self._metrics.sessions.labels(kind).set(count)
