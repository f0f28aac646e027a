"""What the event loop needs of threads: a ring that they share with it, and work that it waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from gest_stream.buffer import FrameRing, Stamped

ItemT = TypeVar("ItemT", bound=Stamped)


class LoopRing(Generic[ItemT]):
    """A ring seen from the event loop: one task puts or takes, threads do the other half."""

    def __init__(self, ring: FrameRing[ItemT]) -> None:
        self.ring = ring
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        ring.add_listener(lambda: loop.call_soon_threadsafe(self._changed.set))

    async def put(self, item: ItemT) -> bool:
        """Push, waiting for room; False once the ring is closed."""
        while True:
            self._changed.clear()
            if self.ring.try_push(item):
                return True
            if self.ring.closed:
                return False
            await self._changed.wait()

    async def take(self) -> ItemT | None:
        """Take, waiting for an item; None once the ring is closed and empty."""
        while True:
            self._changed.clear()
            item = self.ring.try_take()
            if item is not None or self.ring.drained:
                return item
            await self._changed.wait()


async def on_thread(work: Callable[[], None]) -> None:
    """Run what may take long (a redetector is let finish) beside the event loop, which others may share.

    Not asyncio.to_thread: a program that ends while we wait could not shut the executor down.
    """
    ended, loop, failures = asyncio.Event(), asyncio.get_running_loop(), list[BaseException]()

    def guarded() -> None:
        try:
            work()
        except BaseException as exc:
            failures.append(exc)
        finally:
            loop.call_soon_threadsafe(ended.set)

    thread = threading.Thread(target=guarded, name="gest-stream-close")
    thread.start()
    await ended.wait()
    thread.join()
    if failures:
        raise failures[0]
