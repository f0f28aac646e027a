"""How many messages a peer may send."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from gest_stream.clock import now_ns

_FLOOD_FACTOR = 10


class Verdict(Enum):
    """What becomes of a message."""

    TAKEN = "taken"
    TOO_MANY = "too many"
    """It is refused."""
    FLOOD = "flood"
    """The peer does not stop: it is to be cut off."""


class RateLimit:
    """A token bucket that holds one second's messages.

    Args:
        per_s: Messages a second; ten times as many within a second are a flood.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, per_s: float, clock: Callable[[], int] = now_ns) -> None:
        self._per_s = per_s
        self._capacity = max(per_s, 1.0)
        self._clock = clock
        self._tokens = self._capacity
        self._at_ns = clock()

    def take(self) -> Verdict:
        """Count one message."""
        at_ns = self._clock()
        self._tokens = min(self._capacity, self._tokens + (at_ns - self._at_ns) / 1e9 * self._per_s)
        self._at_ns = at_ns
        self._tokens = max(self._tokens - 1, -self._capacity * _FLOOD_FACTOR)
        if self._tokens >= 0:
            return Verdict.TAKEN
        return Verdict.FLOOD if self._tokens <= -self._capacity * (_FLOOD_FACTOR - 1) else Verdict.TOO_MANY
