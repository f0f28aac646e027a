"""The data channel on which a peer sends commands and gets replies."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError

from gest_stream.config import LimitsConfig
from gest_stream.errors import GestStreamError
from gest_stream.server.commands import Command, command_id_of, parse_command, reply
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.rate import RateLimit, Verdict

_LOG = logging.getLogger(__name__)
_MAX_WAITING_BYTES = 262_144


class CommandChannel:
    """Reads commands, has them carried out and replies.

    Args:
        channel: The peer's.
        limits: How long and how many messages may be.
        metrics: Told of every message.
        carry_out: Does what a command says; returns what the reply holds besides, or raises a `GestStreamError`.
        on_flood: Called when the peer sends far too much.
    """

    def __init__(
        self,
        channel: RTCDataChannel,
        limits: LimitsConfig,
        metrics: ServerMetrics,
        carry_out: Callable[[Command], dict[str, object]],
        on_flood: Callable[[], object],
    ) -> None:
        self._channel = channel
        self._limits = limits
        self._metrics = metrics
        self._carry_out = carry_out
        self._on_flood = on_flood
        self._rate = RateLimit(limits.max_messages_per_s)
        self._told_too_many = False
        channel.on("message", self._take)

    @property
    def waiting_bytes(self) -> int:
        """What was said and not yet sent."""
        return int(self._channel.bufferedAmount)

    def say(self, message: str) -> None:
        """Send a message; one to a peer that reads nothing is dropped. Call it on the event loop."""
        if self._channel.readyState != "open" or self.waiting_bytes > _MAX_WAITING_BYTES:
            return
        with contextlib.suppress(InvalidStateError, ConnectionError):  # it closes right now
            self._channel.send(message)

    def _take(self, message: str | bytes) -> None:
        verdict = self._rate.take()
        if verdict is Verdict.FLOOD:
            self._on_flood()
            return
        if verdict is Verdict.TOO_MANY:
            self._metrics.commands.labels("too_many").inc()
            if not self._told_too_many:  # once a burst: answering all would double the flood
                self._told_too_many = True
                self.say(self._error(None, f"too many messages; at most {self._limits.max_messages_per_s:g} a second"))
            return
        self._told_too_many = False
        outcome = "done"
        try:
            command = parse_command(message, self._limits.max_message_bytes)
            self.say(reply("ok", id=command.id, **self._carry_out(command)))
        except GestStreamError as exc:
            outcome = "refused"
            known = len(message) <= self._limits.max_message_bytes
            self.say(self._error(command_id_of(message) if known else None, str(exc)))
        except Exception:
            outcome = "failed"
            _LOG.exception("a command failed")
            self.say(self._error(None, "the server could not do that; its log says why"))
        self._metrics.commands.labels(outcome).inc()

    def _error(self, command_id: int | None, message: str) -> str:
        return reply("error", id=command_id, message=message)
