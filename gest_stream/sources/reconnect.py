"""Brings a lost source back: attempts with growing, jittered pauses, up to a limit."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from gest_stream.backoff import pauses_s
from gest_stream.clock import now_ns
from gest_stream.config import ReconnectConfig
from gest_stream.errors import SourceLostError, SourceOpenError

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class Reconnector:
    """Tries to connect again and again.

    Args:
        name: Of the source, for messages.
        config: Pauses, and when to give up.
        wait: Waits for some seconds, or until the source is stopped.
        stopped: Whether the source was stopped.
        clock: Monotonic nanoseconds.
        uniform: A random number in [0, 1).
    """

    def __init__(
        self,
        name: str,
        config: ReconnectConfig,
        wait: Callable[[float], object],
        stopped: Callable[[], bool],
        clock: Callable[[], int] = now_ns,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._config = config
        self._wait = wait
        self._stopped = stopped
        self._clock = clock
        self._uniform = uniform

    def recover(self, connect: Callable[[], T], why: str) -> T | None:
        """What `connect` returns once it succeeds; None where the source was stopped meanwhile.

        Args:
            connect: Raises `SourceOpenError` while the source is away.
            why: What happened to it, for the log.

        Raises:
            SourceLostError: It did not come back in time.
        """
        limit_s = self._config.give_up_after_s
        since_ns = self._clock()
        last: SourceOpenError | None = None
        _LOG.info("%s: lost (%s); reconnecting for up to %g s", self._name, why, limit_s)
        for attempt, pause_s in enumerate(pauses_s(self._config, self._uniform)):
            away_s = (self._clock() - since_ns) / 1e9
            if away_s + pause_s > limit_s:
                raise SourceLostError(
                    f"{self._name}: lost ({why}) and not back after {attempt} attempts in {away_s:.1f} s"
                    f"{f'; the last said: {last}' if last else ''}; "
                    "check its cable or network, or raise source.reconnect.give_up_after_s"
                ) from last
            self._wait(pause_s)
            if self._stopped():
                return None
            try:
                connected = connect()
            except SourceOpenError as exc:
                _LOG.debug("%s: attempt %d failed: %s", self._name, attempt + 1, exc)
                last = exc
                continue
            _LOG.info("%s: back after %.1f s", self._name, (self._clock() - since_ns) / 1e9)
            return connected
        return None
