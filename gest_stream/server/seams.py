"""What HTTP asks of sessions; `Sessions` is what answers outside of tests."""

from __future__ import annotations

from typing import Any, Protocol

from gest_stream.server.session import SessionKind


class SessionSeam(Protocol):
    """One session, as its URL shows it."""

    @property
    def id(self) -> str:
        """Its name in URLs; not to be guessed."""
        ...

    @property
    def kind(self) -> SessionKind:
        """What it is for."""
        ...

    @property
    def etag(self) -> str:
        """The entity-tag of its ICE session, with the double quotes."""
        ...

    async def add_candidates(self, fragment: str) -> None:
        """Take trickled ICE candidates. `SignallingError` where they cannot be read."""
        ...

    def set_background(self, encoded: bytes) -> None:
        """Take a PNG or JPEG picture; called on a worker thread. `SignallingError` where it is none."""
        ...

    async def close(self, reason: str) -> None:
        """End it."""
        ...


class SessionsSeam(Protocol):
    """Every session of a server."""

    async def start(self, kind: SessionKind, stream: str, offer_sdp: str, client: str) -> tuple[SessionSeam, str]:
        """Begin a session; returns it and the answer. `SignallingError` says with which status it was refused."""
        ...

    def get(self, session_id: str) -> SessionSeam | None:
        """The session of that id, while it lives."""
        ...

    def describe(self) -> dict[str, Any]:
        """Counts as plain values, fit for everybody's eyes."""
        ...

    async def close(self) -> None:
        """End every session and let go of the models."""
        ...
