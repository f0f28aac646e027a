"""The worker's listening socket and every host that is connected, on one thread."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gest_stream.exchange.address import ListeningSocket
from gest_stream.exchange.messages import Refusal
from gest_stream.exchange.peer import Handler, Peer, credentials_of

_LOG = logging.getLogger(__name__)
_WITHOUT_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BREATH_S: Final = 0.5
_WAKES: Final = 4096


class ExchangeServer:
    """Listens from construction on; hosts are answered while `serve` runs.

    Args:
        path: Of the socket.
        make_handler: Called with each host that introduced itself.
        max_hosts: More are refused.
        hello_timeout_s: A host that has not introduced itself after that time is let go.
        credentials: (process id, user id) of a connection's other end.

    Raises:
        ConfigError: The socket cannot be made, or another worker listens there.
        MissingDependencyError: This system has no such sockets.
    """

    def __init__(
        self,
        path: Path,
        make_handler: Callable[[Peer], Handler],
        *,
        max_hosts: int = 16,
        hello_timeout_s: float = 5.0,
        credentials: Callable[[socket.socket], tuple[int, int]] = credentials_of,
    ) -> None:
        self._make_handler = make_handler
        self._max_hosts = max_hosts
        self._hello_timeout_s = hello_timeout_s
        self._credentials = credentials
        self._listening = ListeningSocket(path)
        self._peers: set[Peer] = set()
        self._connections = 0
        self._deaf_until_s = 0.0
        self._stopping = False
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._selector.register(self._listening.socket, selectors.EVENT_READ)

    @property
    def hosts(self) -> int:
        """How many are connected."""
        return len(self._peers)

    @property
    def wake_descriptor(self) -> int:
        """For `signal.set_wakeup_fd`: a signal that comes just before `serve` waits is not slept through."""
        return self._wake_write.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def serve(self) -> None:
        """Answer hosts until `stop`."""
        while not self._stopping:
            for key, _ in self._selector.select(self._patience_s()):
                if isinstance(key.fileobj, Peer):
                    key.fileobj.read()
                elif key.fileobj is self._listening.socket:
                    self._accept()
                else:
                    self._wake_read.recv(_WAKES)
            self._tidy()

    def stop(self) -> None:
        """End `serve`; from any thread or signal handler, more than once."""
        self._stopping = True
        with contextlib.suppress(OSError):  # full: it wakes up anyway
            self._wake_write.send(b"\0")

    def close(self) -> None:
        """Remove the socket and let every host go."""
        self._listening.close()
        for peer in tuple(self._peers):
            self._drop(peer)
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def _patience_s(self) -> float | None:
        waiting = any(not peer.introduced for peer in self._peers)
        return _BREATH_S if waiting or self._deaf_until_s else None

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.socket.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno in _WITHOUT_DESCRIPTORS:  # it stays readable: listening on would be a busy loop
                _LOG.warning("a host cannot be taken now: %s", exc.strerror)
                self._selector.unregister(self._listening.socket)
                self._deaf_until_s = time.monotonic() + _BREATH_S
            return
        self._connections += 1
        try:
            pid, uid = self._credentials(connection)
        except OSError:
            connection.close()
            return
        peer = Peer(connection, f"host {self._connections} (process {pid})", self._make_handler)
        if uid != os.geteuid():
            _LOG.warning("%s belongs to user %d, not %d: refused", peer.name, uid, os.geteuid())
            peer.refuse(Refusal.USER)
            peer.close()
        elif len(self._peers) >= self._max_hosts:
            _LOG.warning("%s is refused: %d hosts are served already", peer.name, self._max_hosts)
            peer.refuse(Refusal.BUSY)
            peer.close()
        else:
            self._peers.add(peer)
            self._selector.register(peer, selectors.EVENT_READ)

    def _tidy(self) -> None:
        """Let go of hosts that have gone or never said who they are; listen again after a pause."""
        now = time.monotonic()
        if self._deaf_until_s and now >= self._deaf_until_s:
            self._deaf_until_s = 0.0
            self._selector.register(self._listening.socket, selectors.EVENT_READ)
        for peer in tuple(self._peers):
            if peer.open and not peer.introduced and now - peer.connected_at_s > self._hello_timeout_s:
                _LOG.warning("%s did not introduce itself within %.1f s", peer.name, self._hello_timeout_s)
                peer.refuse(Refusal.MESSAGE)
            if not peer.open:
                self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        self._peers.discard(peer)
        with contextlib.suppress(KeyError):
            self._selector.unregister(peer)
        peer.close()
