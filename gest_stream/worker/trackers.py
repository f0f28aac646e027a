"""Trackers for hosts: one is ready before the first host comes, and whenever no host uses any."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from gest_stream.tracking.tracker import TrackerCore

_LOG = logging.getLogger(__name__)


class Trackers:
    """Makes trackers and closes them; safe from any thread.

    A host that comes first, or after all others have gone, finds one that is loaded, so its first frames are answered.
    There is never one in reserve beside one in use, because its models may take the memory of a whole GPU.

    Args:
        make: Makes one; it may take seconds.
    """

    def __init__(self, make: Callable[[], TrackerCore]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._spare: TrackerCore | None = None
        self._in_use = 0
        self._closed = False

    @property
    def in_use(self) -> int:
        """How many hosts have one."""
        return self._in_use

    def prepare(self) -> None:
        """Make the spare one.

        Raises:
            GestStreamError: A model cannot be loaded.
        """
        with self._making:
            if self._spare is None and self._in_use == 0 and not self._closed:
                self._spare = self._make()

    def take(self) -> TrackerCore:
        """One of the caller's own, to be given back.

        Raises:
            GestStreamError: A model cannot be loaded.
        """
        with self._making:  # one that is being made is waited for, not made a second time
            tracker, self._spare = self._spare, None
            if tracker is None:
                tracker = self._make()
            self._in_use += 1
            return tracker

    def give_back(self, tracker: TrackerCore) -> None:
        """Close one; a spare one is made where it was the last."""
        try:
            tracker.close()
        finally:
            with self._making:
                self._in_use -= 1
        try:
            self.prepare()
        except Exception:
            _LOG.exception("no tracker could be made ahead; the next host tries again")

    def close(self) -> None:
        """Close the spare one; none is made ahead any more."""
        self._closed = True
        with self._making, contextlib.ExitStack() as stack:
            if self._spare is not None:
                stack.callback(self._spare.close)
            self._spare = None
