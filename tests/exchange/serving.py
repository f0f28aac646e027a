"""A server on a thread of its own, and a handler that shows that frames went through it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gest_stream.exchange.peer import Job, Peer, credentials_of
from gest_stream.exchange.server import ExchangeServer
from gest_stream.exchange.slots import Output, Shape
from tests.exchange.host import Host, equal, pattern, rgba_shape

SHAPE = rgba_shape()


class Inverter:
    """A handler that inverts every byte at once, or holds frames until it is told to."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.held: list[Job] = []
        self.hold = False
        self.closed = 0
        self.last: Job | None = None

    def offer(self, job: Job) -> None:
        self.last = job
        if self.hold:
            self.held.append(job)
        else:
            self.do(job)

    def do(self, job: Job) -> bool:
        if job.shape.output is Output.MASK:
            job.output[0].fill(200 + job.frame.slot)
        else:
            for there, here in zip(job.output, job.input, strict=True):
                np.invert(here, out=there)
        return self.peer.answer(job)

    def close(self) -> None:
        self.closed += 1
        self.last = None
        self.held.clear()


class Served:
    """A server on a thread of its own."""

    def __init__(self, path: Path, handlers: list[Inverter], server: ExchangeServer) -> None:
        self.path = path
        self.handlers = handlers
        self.server = server

    def host(self, shape: Shape = SHAPE, *, greet: bool = True) -> Host:
        return Host(self.path, shape, greet=greet)

    def still_works(self) -> bool:
        with self.host() as host:
            planes = pattern(SHAPE)
            return equal(host.exchange(planes), [~plane for plane in planes])


@contextmanager
def serving(
    path: Path,
    *,
    max_hosts: int = 16,
    hello_timeout_s: float = 5.0,
    credentials: Callable[[socket.socket], tuple[int, int]] = credentials_of,
) -> Iterator[Served]:
    """A server that ends on leaving; nothing escaped from its thread and its socket is gone."""
    handlers: list[Inverter] = []

    def make(peer: Peer) -> Inverter:
        handlers.append(Inverter(peer))
        return handlers[-1]

    escaped: list[BaseException] = []

    def run(server: ExchangeServer) -> None:
        try:
            server.serve()
        except BaseException as exc:
            escaped.append(exc)

    with ExchangeServer(
        path, make, max_hosts=max_hosts, hello_timeout_s=hello_timeout_s, credentials=credentials
    ) as server:
        thread = threading.Thread(target=run, args=(server,))
        thread.start()
        try:
            yield Served(path, handlers, server)
        finally:
            server.stop()
            thread.join()
    assert not escaped
    assert not path.exists()
