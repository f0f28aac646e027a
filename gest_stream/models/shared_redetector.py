"""One redetector for several sessions, which take turns in the order in which they asked."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType

from gest_stream.errors import ModelError
from gest_stream.interfaces import Redetector
from gest_stream.types import Frame, HandProbability, ReinitialisedBy


class Turns:
    """A lock that is had in the order in which it was asked for; `threading.Lock` promises none.

    A session that asks again as soon as it has its answer so waits for all others once, and cannot starve one.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._queue: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """Threads that wait for it."""
        with self._changing:
            return max(len(self._queue) - 1, 0)

    def __enter__(self) -> None:
        turn = threading.Event()
        with self._changing:
            self._queue.append(turn)
            if self._queue[0] is turn:
                return
        try:
            turn.wait()
        except BaseException:  # a KeyboardInterrupt: nobody would ever get past this turn
            self._leave(turn)
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._leave(self._queue[0])

    def _leave(self, turn: threading.Event) -> None:
        with self._changing:
            self._queue.remove(turn)
            if self._queue:
                self._queue[0].set()


class SharedRedetector:
    """One redetector and its handles, one for each session. Safe from any thread.

    Args:
        redetector: Belongs to it from now on.
    """

    def __init__(self, redetector: Redetector) -> None:
        self._redetector: Redetector | None = redetector
        self._kind = redetector.kind
        self.turns = Turns()

    @property
    def kind(self) -> ReinitialisedBy:
        """What results call it."""
        return self._kind

    def handle(self) -> RedetectorHandle:
        """A redetector for one session."""
        return RedetectorHandle(self)

    def segment(self, frame: Frame, handle: RedetectorHandle) -> HandProbability:
        """As `RedetectorHandle.segment`."""
        with self.turns:
            if self._redetector is None or handle.closed:
                raise ModelError("redetector: it was closed; make a new one")
            return self._redetector.segment(frame)

    def close(self) -> None:
        """Let go of the redetector, after the question it works on; more than once does no harm.

        Questions that wait, and later ones, raise `ModelError`.
        """
        with self.turns:
            redetector, self._redetector = self._redetector, None
            if redetector is not None:
                redetector.close()


class RedetectorHandle:
    """One session's way to a shared redetector; implements `interfaces.Redetector`.

    Args:
        shared: What it asks.
    """

    def __init__(self, shared: SharedRedetector) -> None:
        self._shared = shared
        self.closed = False

    @property
    def kind(self) -> ReinitialisedBy:
        """What results call it."""
        return self._shared.kind

    def segment(self, frame: Frame) -> HandProbability:
        """Where hands and forearms probably are on `frame`; waits for those who asked before.

        Raises:
            ModelError: It was closed, also while this waited; or the redetector failed.
        """
        return self._shared.segment(frame, self)

    def close(self) -> None:
        """Ask no more; other sessions go on."""
        self.closed = True
