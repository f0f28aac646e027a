"""A host in Python, which can also break every rule, and waiting with a deadline."""

import fcntl
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gest_stream.exchange.messages import SLOTS, Background, Message, MessageType, Settings
from gest_stream.exchange.slots import Output, PixelFormat, Planes, Shape

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
PATIENCE_S = 20.0  # long enough for any machine; never reached by what works
_MESSAGE = struct.Struct("<4sHH6IQqQII")


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fail when it does not."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.002)


def sealed_memfd(size: int, seals: int = SEALS) -> int:
    """A memfd of `size` bytes; the caller closes it."""
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def hello_of(shape: Shape, seq: int = 1) -> Message:
    """The HELLO of a shape."""
    return Message(
        MessageType.HELLO,
        *(SLOTS, shape.width, shape.height, shape.input_planes[0][1], shape.format, shape.output),
        seq=seq,
        size_bytes=shape.total_bytes,
    )


def frame_of(shape: Shape, slot: int, seq: int, pts: int = 0) -> Message:
    """The FRAME of a shape."""
    return Message(
        MessageType.FRAME,
        *(slot, shape.width, shape.height, shape.input_planes[0][1], shape.format, shape.output),
        seq=seq,
        pts=pts,
        size_bytes=shape.input_bytes,
    )


class Host:
    """A connected host.

    Args:
        path: Of the worker's socket.
        shape: Of its frames.
        greet: Whether to send a HELLO and take the WELCOME.
    """

    def __init__(self, path: Path, shape: Shape, *, greet: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(path))
        self.shape = shape
        self.seq = 0
        self._hello = 0
        self._memory = np.zeros(0, np.uint8)
        if greet:
            welcome = self.greet(shape)
            assert welcome is not None and welcome.type is MessageType.WELCOME, welcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave without a word, as a host that dies."""
        self.socket.close()
        self._memory = np.zeros(0, np.uint8)

    def greet(self, shape: Shape) -> Message | None:
        """Send a HELLO with memory for the shape; the answer."""
        self.shape = shape
        self._hello += 1
        descriptor = sealed_memfd(shape.total_bytes)
        self._memory = np.frombuffer(mmap.mmap(descriptor, shape.total_bytes), np.uint8)
        self.send(hello_of(shape, self._hello), [descriptor])
        os.close(descriptor)
        return self.receive()

    def send(self, message: Message | Settings | Background | bytes, descriptors: Iterable[int] = ()) -> None:
        """Send a message, well formed or not."""
        data = message if isinstance(message, bytes) else message.pack()
        socket.send_fds(self.socket, [data], list(descriptors))

    def receive(self) -> Message | None:
        """The next message; None where the worker has ended the connection."""
        try:
            data = self.socket.recv(128)
            if not data:
                return None
        except ConnectionResetError:  # told ahead of what was said last
            try:
                data = self.socket.recv(128)
            except ConnectionResetError:
                return None
            if not data:
                return None
        assert len(data) == _MESSAGE.size
        magic, version, number, *values = _MESSAGE.unpack(data)
        assert (magic, version) == (b"GSFX", 1)
        return Message(MessageType(number), *values)

    def ended(self) -> bool:
        """Whether the worker has ended the connection; what it still said is dropped."""
        while self.receive() is not None:
            pass
        return True

    def input(self, slot: int) -> Planes:
        """The planes of an input slot."""
        return self._planes(self.shape.input_at(slot), self.shape.input_planes)

    def output(self, slot: int) -> Planes:
        """The planes of an output slot."""
        return self._planes(self.shape.output_at(slot), self.shape.output_planes)

    def submit(self, planes: Planes, slot: int = 0, pts: int = 0) -> int:
        """Fill an input slot and say so; the frame's seq."""
        for there, here in zip(self.input(slot), planes, strict=True):
            np.copyto(there, here)
        self.seq += 1
        self.send(frame_of(self.shape, slot, self.seq, pts))
        return self.seq

    def exchange(self, planes: Planes, slot: int = 0, pts: int = 0) -> Planes:
        """One frame there and back."""
        seq = self.submit(planes, slot, pts)
        result = self.receive()
        expected = replace(
            frame_of(self.shape, slot, seq, pts),
            type=MessageType.RESULT,
            stride=self.shape.output_planes[0][1],
            size_bytes=self.shape.output_bytes,
            took_us=result.took_us if result is not None else 0,
        )
        assert result == expected
        return tuple(plane.copy() for plane in self.output(slot))

    def _planes(self, offset: int, sizes: tuple[tuple[int, int], ...]) -> Planes:
        planes = []
        for rows, row in sizes:
            planes.append(self._memory[offset : offset + rows * row].reshape(rows, row))
            offset += rows * row
        return tuple(planes)


def pattern(shape: Shape, seed: int = 0) -> Planes:
    """Noise in every plane of a frame."""
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 256, size, np.uint8) for size in shape.input_planes)


def rgba_shape(width: int = 64, height: int = 48, output: Output = Output.FRAME) -> Shape:
    """A small RGBA frame."""
    return Shape(width, height, PixelFormat.RGBA, output)


def mapped_memfds() -> int:
    """How many memfds this process has mapped."""
    with open("/proc/self/maps") as maps:
        return sum("/memfd:" in line for line in maps)


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def equal(a: Iterable[NDArray[np.uint8]], b: Iterable[NDArray[np.uint8]]) -> bool:
    """Whether two pictures have the same planes."""
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
