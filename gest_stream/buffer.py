"""A bounded ring between two threads: the newest item wins, or the producer waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from gest_stream.clock import now_ns
from gest_stream.errors import ConfigError


class RingPolicy(StrEnum):
    """What happens when a full ring is pushed to."""

    LIVE = "live"
    """The oldest item is dropped and counted; the producer never waits."""
    LOSSLESS = "lossless"
    """The producer waits until there is room."""


class Stamped(Protocol):
    """An item that knows when it entered the process."""

    @property
    def captured_ns(self) -> int:
        """`clock.now_ns()` at that moment."""
        ...


@dataclass(frozen=True, slots=True)
class RingStats:
    """Counts since the ring was made: `pushed == taken + dropped + held` at every moment.

    `max_age_ms` is the oldest that any item was when it was taken.
    """

    pushed: int
    taken: int
    dropped: int
    held: int
    max_age_ms: float


ItemT = TypeVar("ItemT", bound=Stamped)


class FrameRing(Generic[ItemT]):
    """A bounded first-in first-out ring, safe between any threads.

    Args:
        policy: What a push to a full ring does.
        depth: Number of items it holds at most.

    Raises:
        ConfigError: `depth` is below 1.
    """

    def __init__(self, policy: RingPolicy, depth: int = 1) -> None:
        if depth < 1:
            raise ConfigError(f"ring depth: expected 1 or more, got {depth}")
        self.policy = policy
        self.depth = depth
        self._items: deque[ItemT] = deque()
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], object]] = []
        self._closed = False
        self._pushed = self._taken = self._dropped = self._max_age_ns = 0

    def add_listener(self, listener: Callable[[], object]) -> None:
        """Call `listener` after every push, take and close, in the thread that did it and outside the lock.

        An event loop waits with this: `ring.add_listener(lambda: loop.call_soon_threadsafe(event.set))`.
        """
        with self._changed:
            self._listeners.append(listener)

    def try_push(self, item: ItemT) -> bool:
        """Push without waiting.

        Returns:
            False where a lossless ring is full or the ring is closed: the item was not taken in.
        """
        with self._changed:
            if self._closed or (self.policy is RingPolicy.LOSSLESS and len(self._items) >= self.depth):
                return False
            self._append(item)
        self._tell()
        return True

    def push(self, item: ItemT, timeout_s: float | None = None) -> bool:
        """Push, waiting for room where the policy is lossless.

        Returns:
            False where the ring is or was closed meanwhile: the item was not taken in.

        Raises:
            TimeoutError: There was no room within `timeout_s`.
        """
        with self._changed:
            if self.policy is RingPolicy.LOSSLESS and not self._changed.wait_for(
                lambda: self._closed or len(self._items) < self.depth, timeout_s
            ):
                raise TimeoutError(f"ring of depth {self.depth}: no room within {timeout_s} s")
            if self._closed:
                return False
            self._append(item)
        self._tell()
        return True

    def wait_for_room(self) -> bool:
        """Wait until a push would neither wait nor drop anything; False once the ring is closed.

        For the one producer of a ring that wants to fetch its next item as late as it can.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self.depth)
            return not self._closed

    def _append(self, item: ItemT) -> None:
        self._pushed += 1
        if len(self._items) >= self.depth:
            self._items.popleft()
            self._dropped += 1
        self._items.append(item)
        self._changed.notify_all()

    def try_take(self) -> ItemT | None:
        """Take the oldest item held, or None where there is none."""
        with self._changed:
            item = self._pop()
        if item is not None:
            self._tell()
        return item

    def take(self, timeout_s: float | None = None) -> ItemT | None:
        """Take the oldest item held, waiting for one.

        Returns:
            None where the ring is closed and empty.

        Raises:
            TimeoutError: Nothing came within `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or bool(self._items), timeout_s):
                raise TimeoutError(f"ring of depth {self.depth}: nothing to take within {timeout_s} s")
            item = self._pop()
        if item is not None:
            self._tell()
        return item

    def _pop(self) -> ItemT | None:
        if not self._items:
            return None
        item = self._items.popleft()
        self._taken += 1
        self._max_age_ns = max(self._max_age_ns, now_ns() - item.captured_ns)
        self._changed.notify_all()
        return item

    def close(self, *, discard: bool = False) -> None:
        """Refuse further items and wake everybody who waits; what is held can still be taken.

        Args:
            discard: Drop (and count) what is held instead.
        """
        with self._changed:
            self._closed = True
            if discard:
                self._dropped += len(self._items)
                self._items.clear()
            self._changed.notify_all()
        self._tell()

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        with self._changed:
            return self._closed

    @property
    def drained(self) -> bool:
        """True once the ring is closed and empty."""
        with self._changed:
            return self._closed and not self._items

    @property
    def stats(self) -> RingStats:
        """Counts so far, consistent with each other."""
        with self._changed:
            return RingStats(self._pushed, self._taken, self._dropped, len(self._items), self._max_age_ns / 1e6)
