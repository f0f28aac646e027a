"""The shared memory of one host: its layout, and the planes of each slot as arrays."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import stat
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.exchange.messages import SLOTS, ExchangeError, Message, Refusal

MIN_SIDE: Final = 16
MAX_SIDE: Final = 8192
_PAGE: Final = 4096

# fcntl has them under these names on Linux only
_GET_SEALS: Final[int] = getattr(fcntl, "F_GET_SEALS", 1034)
_SEALS: Final[int] = getattr(fcntl, "F_SEAL_SHRINK", 2) | getattr(fcntl, "F_SEAL_GROW", 4)

Planes = tuple[NDArray[np.uint8], ...]
"""(rows, bytes a row) uint8 of each plane."""


class PixelFormat(IntEnum):
    """How a frame lies in its slot."""

    RGBA = 1
    BGRA = 2
    I420 = 3
    NV12 = 4


class Output(IntEnum):
    """What the host wants back."""

    FRAME = 0
    MASK = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What a HELLO announces, checked, and what follows from it.

    Args:
        width: Pixels.
        height: Pixels.
        format: Of the frames.
        output: What comes back.
    """

    width: int
    height: int
    format: PixelFormat
    output: Output

    @property
    def input_planes(self) -> tuple[tuple[int, int], ...]:
        """(rows, bytes a row) of each plane of a frame."""
        width, height, chroma_w, chroma_h = self.width, self.height, (self.width + 1) // 2, (self.height + 1) // 2
        if self.format is PixelFormat.I420:
            return (height, width), (chroma_h, chroma_w), (chroma_h, chroma_w)
        if self.format is PixelFormat.NV12:
            return (height, width), (chroma_h, 2 * chroma_w)
        return ((height, 4 * width),)

    @property
    def output_planes(self) -> tuple[tuple[int, int], ...]:
        """(rows, bytes a row) of each plane of what comes back."""
        return ((self.height, self.width),) if self.output is Output.MASK else self.input_planes

    @property
    def input_bytes(self) -> int:
        """Size of a frame."""
        return sum(map(math.prod, self.input_planes))

    @property
    def output_bytes(self) -> int:
        """Size of what comes back."""
        return sum(map(math.prod, self.output_planes))

    @property
    def total_bytes(self) -> int:
        """Size of the memfd."""
        return SLOTS * (_whole_pages(self.input_bytes) + _whole_pages(self.output_bytes))

    def input_at(self, slot: int) -> int:
        """Offset of an input slot."""
        return slot * _whole_pages(self.input_bytes)

    def output_at(self, slot: int) -> int:
        """Offset of an output slot."""
        return SLOTS * _whole_pages(self.input_bytes) + slot * _whole_pages(self.output_bytes)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.format.name} to {self.output.name.lower()}"


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def shape_of(hello: Message) -> Shape:
    """What a HELLO announces.

    Raises:
        ExchangeError: The sizes do not fit each other or the limits, or the format or output is unknown.
    """
    for name, value in (("width", hello.width), ("height", hello.height)):
        if not MIN_SIDE <= value <= MAX_SIDE:
            raise ExchangeError(f"HELLO: {name}: expected {MIN_SIDE} to {MAX_SIDE}, got {value}", Refusal.SIZE)
    try:
        shape = Shape(hello.width, hello.height, PixelFormat(hello.format), Output(hello.output))
    except ValueError as exc:
        raise ExchangeError(f"HELLO: format {hello.format}, output {hello.output}: {exc}", Refusal.FORMAT) from exc
    expected = (SLOTS, shape.input_planes[0][1], shape.total_bytes)
    if (hello.slot, hello.stride, hello.size_bytes) != expected:
        got = f"slots, stride and bytes are {hello.slot}, {hello.stride}, {hello.size_bytes}"
        raise ExchangeError(f"HELLO of {shape}: {got}; they should be {expected}", Refusal.SIZE)
    return shape


def check_frame(frame: Message, shape: Shape) -> None:
    """Compare a FRAME with what the HELLO announced.

    Raises:
        ExchangeError: They do not agree, or there is no such slot.
    """
    expected = (shape.width, shape.height, shape.input_planes[0][1], shape.format, shape.output, shape.input_bytes)
    got = (frame.width, frame.height, frame.stride, frame.format, frame.output, frame.size_bytes)
    if got != expected:
        raise ExchangeError(f"FRAME: expected (width, height, ...) {expected}, got {got}", Refusal.SIZE)
    if frame.slot >= SLOTS:
        raise ExchangeError(f"FRAME: slot: expected 0 to {SLOTS - 1}, got {frame.slot}", Refusal.SLOT)


class SharedSlots:
    """A host's memfd, mapped. It is unmapped when the last array of it is gone.

    Args:
        fd: The memfd; it stays the caller's to close.
        shape: What the HELLO announced.

    Raises:
        ExchangeError: It is no memfd of ordinary pages, of another size, not sealed, or cannot be mapped for writing.
    """

    def __init__(self, fd: int, shape: Shape) -> None:
        _check_memfd(fd, shape.total_bytes)
        try:
            memory = mmap.mmap(fd, shape.total_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except (OSError, ValueError) as exc:
            raise ExchangeError(f"HELLO: the memory cannot be mapped: {exc}", Refusal.MEMORY) from exc
        self.shape = shape
        self._bytes = np.frombuffer(memory, np.uint8)

    def input(self, slot: int) -> Planes:
        """The planes of an input slot, read-only. The host may change them at any time."""
        planes = self._planes(self.shape.input_at(slot), self.shape.input_planes)
        for plane in planes:
            plane.flags.writeable = False
        return planes

    def output(self, slot: int) -> Planes:
        """The planes of an output slot."""
        return self._planes(self.shape.output_at(slot), self.shape.output_planes)

    def _planes(self, offset: int, sizes: tuple[tuple[int, int], ...]) -> Planes:
        planes = []
        for size in sizes:
            end = offset + math.prod(size)
            planes.append(self._bytes[offset:end].reshape(size))
            offset = end
        return tuple(planes)


def _check_memfd(fd: int, size: int) -> None:
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode):
        raise ExchangeError("HELLO: the descriptor is no memfd", Refusal.MEMORY)
    try:
        seals = fcntl.fcntl(fd, _GET_SEALS)
    except OSError as exc:
        raise ExchangeError("HELLO: the descriptor is no memfd", Refusal.MEMORY) from exc
    if seals & _SEALS != _SEALS:
        raise ExchangeError("HELLO: the memfd is not sealed against shrinking and growing", Refusal.MEMORY)
    if about.st_size != size:
        raise ExchangeError(f"HELLO: the memfd has {about.st_size} bytes, {size} were announced", Refusal.MEMORY)
    # a huge page that is not there when it is first touched is a SIGBUS
    if os.fstatvfs(fd).f_bsize != mmap.PAGESIZE:
        raise ExchangeError("HELLO: the memfd is of huge pages", Refusal.MEMORY)
