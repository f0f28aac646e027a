"""A sink whose blocking work runs on one thread of its own, so that a slow disk never holds the event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from gest_stream.errors import GestStreamError, SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from gest_stream.audio import AudioFeed


class ThreadedSink(ABC):
    """Base of sinks that block: `_open`, `_write` and `_close` run in order on one dedicated thread.

    The thread starts with `open` and is joined by `close`. Whatever the three raise leaves as a `SinkError`. `_close`
    is called once for every `open`, also where `_open` or `_write` failed, so it must cope with a half-open sink.

    Args:
        name: What it writes to, for messages and statistics.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None

    @property
    def name(self) -> str:
        """What it writes to, for messages and statistics."""
        return self._name

    @abstractmethod
    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Get ready; blocking."""

    @abstractmethod
    def _write(self, result: FrameResult) -> None:
        """Take one result; blocking."""

    @abstractmethod
    def _close(self) -> None:
        """Finish and let go of everything; blocking."""

    def _explain(self, exc: Exception) -> str:
        """The message for a foreign error; sinks override it to add the remedy."""
        return f"{self._name}: {type(exc).__name__}: {exc}"

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Start the thread and get ready on it.

        Raises:
            SinkError: The output cannot be opened, or this sink is open already.
        """
        if self._thread is not None:
            raise SinkError(f"{self._name}: already open; close it first")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sink {self._name}")
        await self._run(partial(self._open, info, audio))

    async def write(self, result: FrameResult) -> None:
        """Take one result.

        Raises:
            SinkError: It cannot be written, or the sink is not open.
        """
        await self._run(partial(self._write, result))

    async def close(self) -> None:
        """Finish what was written and join the thread; does nothing where the sink is not open.

        Raises:
            SinkError: The output cannot be finished.
        """
        if self._thread is None:
            return
        try:
            # shielded: a cancelled run must still leave a finished file behind
            await asyncio.shield(self._run(self._close))
        finally:
            thread, self._thread = self._thread, None
            thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            raise SinkError(f"{self._name}: not open; await open() first")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._guard, work)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except GestStreamError:
            raise
        except Exception as exc:
            raise SinkError(self._explain(exc)) from exc
