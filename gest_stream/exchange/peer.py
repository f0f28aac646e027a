"""One connected host: what it said, which of its slots are on their way, and what it is told."""

from __future__ import annotations

import array
import contextlib
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gest_stream.exchange.messages import (
    MAX_BYTES,
    Background,
    ExchangeError,
    Message,
    MessageType,
    Refusal,
    ResultFlag,
    Settings,
    parse,
)
from gest_stream.exchange.slots import Planes, Shape, SharedSlots, check_frame, shape_of

_LOG = logging.getLogger(__name__)
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_DESCRIPTOR_ROOM: Final = 8  # more than one tells a broken host; the kernel closes those beyond
_MESSAGES_A_TURN: Final = 16  # then the other hosts' turn


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a host has set so far.

    Args:
        settings: By key.
        background: The picture file for `replace`; "" for the worker's own.
    """

    settings: Settings = Settings()
    background: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A frame that waits in its slot.

    Args:
        frame: The FRAME.
        slots: The memory it lies in.
        wishes: What held when it came.
        hello: Number of the HELLO it belongs to.
        count: FRAMEs of this connection before it.
        received_ns: When it was read, `time.monotonic_ns`.
    """

    frame: Message
    slots: SharedSlots
    wishes: Wishes
    hello: int
    count: int
    received_ns: int

    @property
    def shape(self) -> Shape:
        """Of the frame."""
        return self.slots.shape

    @property
    def input(self) -> Planes:
        """The frame's planes; the host may change them at any time."""
        return self.slots.input(self.frame.slot)

    @property
    def output(self) -> Planes:
        """The planes to fill."""
        return self.slots.output(self.frame.slot)


class Handler(Protocol):
    """What works on a host's frames. Called on the server's thread, and must not block."""

    def offer(self, job: Job) -> None:
        """Take a frame; every one is to be answered by `Peer.answer`, once, from any thread."""
        ...

    def close(self) -> None:
        """The host has gone; what is on its way needs no answer."""
        ...


def credentials_of(connection: socket.socket) -> tuple[int, int]:
    """(process id, effective user id) of a connection's other end, as it was when it connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


class Peer:
    """One host.

    `read` is called by the server alone; `answer` and `refuse` from any thread.

    Args:
        connection: Its socket.
        name: For the log.
        make_handler: Called with this once the first HELLO is good.
    """

    def __init__(self, connection: socket.socket, name: str, make_handler: Callable[[Peer], Handler]) -> None:
        self.name = name
        self.connected_at_s = time.monotonic()
        self._connection = connection
        self._make_handler = make_handler
        self._handler: Handler | None = None
        self._lock = threading.Lock()
        self._open = True
        self._slots: SharedSlots | None = None
        self._hello = 0
        self._on_their_way: dict[int, int] = {}  # seq by slot
        self._last_seq = 0
        self._frames = 0
        self._wishes = Wishes()
        connection.setblocking(False)

    @property
    def introduced(self) -> bool:
        """Whether it has sent a HELLO."""
        return self._hello > 0

    @property
    def open(self) -> bool:
        """Whether it can be spoken to; once False, the server closes it."""
        return self._open

    def fileno(self) -> int:
        """Of its socket."""
        return self._connection.fileno()

    def read(self) -> None:
        """Take what has arrived, up to a limit. Whatever the host does wrong ends its connection and nothing else."""
        for _ in range(_MESSAGES_A_TURN):
            if not self._open:
                return
            try:
                received = self._receive()
                if received is None:
                    return
                self._take(*received)
            except ExchangeError as exc:
                _LOG.warning("%s: %s; its connection is closed", self.name, exc)
                self.refuse(exc.reason)
            except Exception:
                _LOG.exception("%s: a bug; its connection is closed", self.name)
                self.refuse(Refusal.FAILED)

    def answer(self, job: Job, flags: ResultFlag | None = None) -> bool:
        """Tell the host that a frame is done, and give its slot back.

        Args:
            job: The frame.
            flags: Why there is no picture; None where its output was filled.

        Returns:
            Whether it was told: False where it has gone, or changed its size meanwhile.
        """
        frame = job.frame
        planes = job.shape.output_planes
        with self._lock:
            if not self._open or job.hello != self._hello or self._on_their_way.get(frame.slot) != frame.seq:
                return False
            del self._on_their_way[frame.slot]
            result = Message(
                MessageType.RESULT,
                *(frame.slot, frame.width, frame.height, planes[0][1], frame.format, frame.output),
                seq=frame.seq,
                pts=frame.pts,
                size_bytes=0 if flags else job.shape.output_bytes,
                flags=flags or 0,
                took_us=(time.monotonic_ns() - job.received_ns) // 1000,
            )
            self._send(result)
            return self._open

    def refuse(self, reason: Refusal) -> None:
        """Tell the host why its connection ends, and end it."""
        with self._lock:
            if self._open:
                self._send(Message(MessageType.REFUSE, seq=self._hello, flags=reason))
                self._open = False
                self._shut()

    def close(self) -> None:
        """Let go of the socket, the memory and the handler; called by the server, once."""
        with self._lock:
            self._open = False
            self._connection.close()
            self._slots = None
        if self._handler is not None:
            self._handler.close()
            _LOG.info("%s has gone after %d frames", self.name, self._frames)

    def _shut(self) -> None:
        """Wake the server, which closes it."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _send(self, message: Message) -> None:
        try:
            self._connection.send(message.pack(), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        except BlockingIOError:
            _LOG.warning("%s does not read what it is told; its connection is closed", self.name)
            self._open = False
            self._shut()
        except OSError:
            self._open = False
            self._shut()

    def _receive(self) -> tuple[bytes, list[int]] | None:
        room = socket.CMSG_SPACE(_DESCRIPTOR_ROOM * array.array("i").itemsize)
        try:
            data, control, flags, _ = self._connection.recvmsg(
                MAX_BYTES + 1, room, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError:
            self._open = False
            return None
        descriptors = _descriptors(control)
        if not data:
            _close_all(descriptors)
            self._open = False
            return None
        if flags & socket.MSG_CTRUNC:
            _close_all(descriptors)
            raise ExchangeError("a message with more descriptors than one", Refusal.MEMORY)
        return data, descriptors

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        try:
            message = parse(data)
            is_hello = isinstance(message, Message) and message.type is MessageType.HELLO
            if len(descriptors) != is_hello:
                raise ExchangeError(f"a message with {len(descriptors)} descriptors", Refusal.MEMORY)
            if not is_hello and not self.introduced:
                raise ExchangeError("the first message is no HELLO", Refusal.MESSAGE)
            if isinstance(message, Settings):
                self._wishes = Wishes(message, self._wishes.background)
            elif isinstance(message, Background):
                self._wishes = Wishes(self._wishes.settings, message.path)
            elif message.type is MessageType.HELLO:
                self._take_hello(message, descriptors[0])
            elif message.type is MessageType.FRAME:
                self._take_frame(message)
            else:
                with self._lock:
                    self._send(Message(MessageType.PONG, seq=message.seq))
        finally:
            _close_all(descriptors)

    def _take_hello(self, hello: Message, descriptor: int) -> None:
        if hello.seq <= self._hello:
            raise ExchangeError(f"HELLO {hello.seq} after HELLO {self._hello}", Refusal.MESSAGE)
        shape = shape_of(hello)
        slots = SharedSlots(descriptor, shape)
        if self._handler is None:
            self._handler = self._make_handler(self)
        with self._lock:
            self._slots, self._hello = slots, hello.seq
            self._on_their_way.clear()
            self._send(
                Message(
                    MessageType.WELCOME,
                    *(hello.slot, hello.width, hello.height, hello.stride, hello.format, hello.output),
                    seq=hello.seq,
                    size_bytes=hello.size_bytes,
                )
            )
        _LOG.info("%s: %s", self.name, shape)

    def _take_frame(self, frame: Message) -> None:
        assert self._slots is not None and self._handler is not None
        check_frame(frame, self._slots.shape)
        if frame.seq <= self._last_seq:
            raise ExchangeError(f"FRAME {frame.seq} after FRAME {self._last_seq}", Refusal.MESSAGE)
        with self._lock:
            if frame.slot in self._on_their_way:
                raise ExchangeError(f"FRAME in slot {frame.slot}, which is on its way", Refusal.SLOT)
            self._on_their_way[frame.slot] = frame.seq
        self._last_seq = frame.seq
        job = Job(frame, self._slots, self._wishes, self._hello, self._frames, time.monotonic_ns())
        self._frames += 1
        self._handler.offer(job)


def _descriptors(control: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    descriptors.clear()
