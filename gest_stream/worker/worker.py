"""The worker: hosts in, a thread and a tracker for each."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gest_stream.exchange.peer import Peer, credentials_of
from gest_stream.exchange.server import ExchangeServer
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.worker.host import HostThread
from gest_stream.worker.trackers import Trackers
from gest_stream.worker.view import ViewConfig

_LOG = logging.getLogger(__name__)
_END_S: Final = 15.0
"""How long the hosts' threads may take to end, together."""


class Worker:
    """Serves host plugins. Hosts can connect as soon as it is made; they are answered while `serve` runs.

    Args:
        path: Of the socket, see `gest_stream.exchange.address.default_socket_path`.
        make_tracker: Makes a tracker, one for each host that is looked at; called from several threads, one at a time.
        defaults: How frames are shown where a host does not say.
        max_hosts: More are refused.
        credentials: (process id, user id) of a connection's other end.

    Raises:
        ConfigError: It cannot listen there, or another worker does.
        MissingDependencyError: This system has no such sockets.
    """

    def __init__(
        self,
        path: Path,
        make_tracker: Callable[[], TrackerCore],
        defaults: ViewConfig | None = None,
        *,
        max_hosts: int = 16,
        credentials: Callable[[socket.socket], tuple[int, int]] = credentials_of,
    ) -> None:
        self._defaults = defaults if defaults is not None else ViewConfig()
        self._trackers = Trackers(make_tracker)
        self._threads: set[HostThread] = set()
        self._server = ExchangeServer(path, self._start_host, max_hosts=max_hosts, credentials=credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    @property
    def hosts(self) -> int:
        """How many are connected."""
        return self._server.hosts

    @property
    def trackers_in_use(self) -> int:
        """How many hosts have a tracker; one that only wants its frames back has none."""
        return self._trackers.in_use

    @property
    def wake_descriptor(self) -> int:
        """For `signal.set_wakeup_fd`, where a signal handler calls `stop`."""
        return self._server.wake_descriptor

    def prepare(self) -> None:
        """Load the models, unless nothing would look at a frame by default.

        Raises:
            GestStreamError: A model cannot be loaded.
        """
        if not self._defaults.echo:
            self._trackers.prepare()

    def serve(self) -> None:
        """Answer hosts until `stop`."""
        self._server.serve()

    def stop(self) -> None:
        """End `serve`; from any thread or signal handler."""
        self._server.stop()

    def close(self) -> None:
        """Remove the socket, let every host go, close every tracker."""
        self._server.close()
        self._trackers.close()
        end = time.monotonic() + _END_S
        for thread in tuple(self._threads):
            if not thread.join(max(0.0, end - time.monotonic())):
                _LOG.warning("a host's tracker did not end within %.0f s", _END_S)

    def _start_host(self, peer: Peer) -> HostThread:
        thread = HostThread(peer, self._trackers, self._defaults, self._threads.discard)
        self._threads.add(thread)
        return thread
