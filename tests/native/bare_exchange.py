"""The least that giving a picture to another process and having it back can cost: what exchanges are held against."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class BareExchange:
    """Copies a picture into shared memory; another process copies it on and says so; it is copied out again.

    Args:
        shape: Of the pictures, uint8.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __enter__(self) -> Self:
        size = int(np.prod(self._shape))
        self._blocks = [SharedMemory(create=True, size=size) for _ in range(2)]
        self._sent, self._returned = (np.ndarray(self._shape, np.uint8, block.buf) for block in self._blocks)
        self._own, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_copy_on, args=(other, [b.name for b in self._blocks], self._shape))
        self._process.start()
        other.close()
        self._own.recv_bytes()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._own.close()
        self._process.join()
        del self._sent, self._returned
        for block in self._blocks:
            block.close()
            block.unlink()

    def update(self, picture: NDArray[np.uint8], out: NDArray[np.uint8]) -> float:
        """Give `picture` away and have it back in `out`; returns the milliseconds that took."""
        start = time.perf_counter()
        np.copyto(self._sent, picture)
        self._own.send_bytes(b"!")
        self._own.recv_bytes()
        np.copyto(out, self._returned)
        return (time.perf_counter() - start) * 1e3


def _copy_on(connection: Connection[Any, Any], names: list[str], shape: tuple[int, ...]) -> None:
    blocks = [SharedMemory(name) for name in names]
    sent, returned = (np.ndarray(shape, np.uint8, block.buf) for block in blocks)
    connection.send_bytes(b"!")
    try:
        while connection.recv_bytes():
            np.copyto(returned, sent)
            connection.send_bytes(b"!")
    except EOFError:
        del sent, returned
        for block in blocks:
            block.close()
