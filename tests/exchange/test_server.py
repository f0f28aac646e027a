"""The server with hosts that behave and hosts that do not."""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gest_stream.exchange.messages import Background, Message, MessageType, Refusal, ResultFlag, SettingKey, Settings
from gest_stream.exchange.peer import Job, Peer, credentials_of
from gest_stream.exchange.server import ExchangeServer
from gest_stream.exchange.slots import Output, PixelFormat, Shape
from tests.exchange.host import (
    SEALS,
    Host,
    equal,
    eventually,
    frame_of,
    hello_of,
    mapped_memfds,
    open_descriptors,
    pattern,
    rgba_shape,
    sealed_memfd,
)

SHAPE = rgba_shape()


class Inverter:
    """A handler that inverts every byte at once, or holds frames until it is told to."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.held: list[Job] = []
        self.jobs = 0
        self.hold = False
        self.closed = 0
        self.last: Job | None = None

    def offer(self, job: Job) -> None:
        self.jobs += 1
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


Serve = Callable[..., Served]


@contextmanager
def serving(
    path: Path,
    *,
    max_hosts: int = 16,
    hello_timeout_s: float = 5.0,
    credentials: Callable[[socket.socket], tuple[int, int]] = credentials_of,
) -> Iterator[Served]:
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


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "w.sock") as it:
        yield it


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
@pytest.mark.parametrize("output", list(Output))
def test_frames_come_back_in_their_slots(served: Served, pixel_format: PixelFormat, output: Output) -> None:
    shape = Shape(49, 31, pixel_format, output)
    with served.host(shape) as host:
        for slot in (0, 1, 2, 1):
            planes = pattern(shape, slot)
            there = host.exchange(planes, slot, pts=-slot)
            if output is Output.FRAME:
                assert equal(there, [~plane for plane in planes])
            else:
                assert there[0].shape == (31, 49) and (there[0] == 200 + slot).all()


def test_two_hosts_are_served_side_by_side(served: Served) -> None:
    other = Shape(80, 40, PixelFormat.NV12, Output.FRAME)
    with served.host() as a, served.host(other) as b:
        for turn in range(5):
            planes_a, planes_b = pattern(SHAPE, turn), pattern(other, turn)
            a.submit(planes_a, turn % 3)
            assert equal(b.exchange(planes_b, turn % 3), [~plane for plane in planes_b])
            assert a.receive() is not None
            assert equal(a.output(turn % 3), [~plane for plane in planes_a])
    assert len(served.handlers) == 2


def test_a_new_size_is_a_new_hello_and_old_frames_are_forgotten(served: Served) -> None:
    larger = rgba_shape(100, 60)
    with served.host() as host:
        host.exchange(pattern(SHAPE))
        handler = served.handlers[0]
        handler.hold = True
        host.submit(pattern(SHAPE), 1)
        eventually(lambda: bool(handler.held), "the frame arrives")
        welcome = host.greet(larger)
        assert welcome == replace(hello_of(larger, 2), type=MessageType.WELCOME)
        assert not handler.do(handler.held.pop())  # nobody is told
        handler.hold = False
        planes = pattern(larger)
        assert equal(host.exchange(planes, 1), [~plane for plane in planes])
    assert len(served.handlers) == 1


def test_a_skipped_frame_has_no_bytes_and_gives_its_slot_back(served: Served) -> None:
    with served.host() as host:
        host.exchange(pattern(SHAPE))
        handler = served.handlers[0]
        handler.hold = True
        seq = host.submit(pattern(SHAPE), 2, pts=77)
        eventually(lambda: bool(handler.held), "the frame arrives")
        assert handler.peer.answer(handler.held[0], ResultFlag.SKIPPED)
        assert not handler.peer.answer(handler.held.pop())  # one frame, one answer
        result = host.receive()
        assert result is not None
        assert (result.seq, result.pts, result.slot) == (seq, 77, 2)
        assert (result.flags, result.size_bytes) == (ResultFlag.SKIPPED, 0)
        handler.hold = False
        host.exchange(pattern(SHAPE), 2)


def test_settings_and_background_hold_for_the_frames_after_them(served: Served) -> None:
    with served.host() as host:
        host.exchange(pattern(SHAPE))
        wanted = Settings({SettingKey.HANDS: 1.0})
        host.send(wanted)
        host.send(Background("/b.png"))
        host.exchange(pattern(SHAPE))
        last = served.handlers[0].last
        assert last is not None and (last.wishes.settings, last.wishes.background) == (wanted, "/b.png")
        host.greet(rgba_shape(32, 32))
        host.send(Settings())
        host.exchange(pattern(host.shape))
        last = served.handlers[0].last
        assert last is not None and (last.wishes.settings, last.wishes.background) == (Settings(), "/b.png")


def test_a_ping_is_answered_while_a_frame_is_worked_on(served: Served) -> None:
    with served.host() as host:
        host.exchange(pattern(SHAPE))
        served.handlers[0].hold = True
        host.submit(pattern(SHAPE))
        host.send(Message(MessageType.PING, seq=99))
        assert host.receive() == Message(MessageType.PONG, seq=99)


def test_a_host_that_dies_lets_go_of_memory_and_descriptors(served: Served) -> None:
    memfds, descriptors = mapped_memfds(), open_descriptors()
    for _ in range(5):
        host = served.host()
        host.exchange(pattern(SHAPE))
        host.close()
    eventually(lambda: served.server.hosts == 0, "the hosts are let go")
    assert [handler.closed for handler in served.handlers] == [1] * 5
    eventually(lambda: mapped_memfds() == memfds, "the memory is unmapped")
    assert open_descriptors() == descriptors


def started(host: Host) -> Host:
    host.exchange(pattern(SHAPE))
    return host


def break_with(data: bytes) -> Callable[[Served], Host]:
    def act(served: Served) -> Host:
        host = started(served.host())
        host.send(data)
        return host

    return act


def flood_with_descriptors(served: Served) -> Host:
    host = started(served.host())
    readable, writable = os.pipe()
    frame = frame_of(SHAPE, 0, 2).pack()
    with suppress(OSError):
        for _ in range(50):
            socket.send_fds(host.socket, [frame], [readable] * 200)
    os.close(readable)
    os.close(writable)
    return host


def two_descriptors(served: Served) -> Host:
    host = served.host(greet=False)
    descriptor = sealed_memfd(SHAPE.total_bytes)
    host.send(hello_of(SHAPE), [descriptor, descriptor])
    os.close(descriptor)
    return host


def hello_with(message: Message, memory: Callable[[], int | None]) -> Callable[[Served], Host]:
    def act(served: Served) -> Host:
        host = served.host(greet=False)
        descriptor = memory()
        host.send(message, [] if descriptor is None else [descriptor])
        if descriptor is not None:
            os.close(descriptor)
        return host

    return act


def same_slot_twice(served: Served) -> Host:
    host = started(served.host())
    served.handlers[-1].hold = True
    host.send(frame_of(SHAPE, 1, 5))
    host.send(frame_of(SHAPE, 1, 6))
    return host


def frame_before_hello(served: Served) -> Host:
    host = served.host(greet=False)
    host.send(frame_of(SHAPE, 0, 1))
    return host


def settings_before_hello(served: Served) -> Host:
    host = served.host(greet=False)
    host.send(Settings())
    return host


GOOD = hello_of(SHAPE)
MISDEEDS = {
    "wrong magic": (break_with(b"XXXX" + frame_of(SHAPE, 0, 2).pack()[4:]), Refusal.MESSAGE),
    "wrong version": (break_with(b"GSFX\x09\x00" + frame_of(SHAPE, 0, 2).pack()[6:]), Refusal.VERSION),
    "unknown type": (break_with(b"GSFX\x01\x00\x63\x00" + bytes(56)), Refusal.MESSAGE),
    "a worker's message": (break_with(Message(MessageType.RESULT, seq=1).pack()), Refusal.MESSAGE),
    "one byte": (break_with(b"G"), Refusal.MESSAGE),
    "a long message": (break_with(frame_of(SHAPE, 0, 2).pack() + bytes(30000)), Refusal.MESSAGE),
    "wrong width": (break_with(replace(frame_of(SHAPE, 0, 2), width=65).pack()), Refusal.SIZE),
    "wrong stride": (break_with(replace(frame_of(SHAPE, 0, 2), stride=2**31).pack()), Refusal.SIZE),
    "wrong bytes": (break_with(replace(frame_of(SHAPE, 0, 2), size_bytes=2**63).pack()), Refusal.SIZE),
    "slot 3": (break_with(replace(frame_of(SHAPE, 0, 2), slot=3).pack()), Refusal.SLOT),
    "a slot on its way": (same_slot_twice, Refusal.SLOT),
    "an old seq": (break_with(frame_of(SHAPE, 0, 1).pack()), Refusal.MESSAGE),
    "an old hello": (break_with(GOOD.pack()), Refusal.MEMORY),
    "a bad setting": (break_with(Settings({SettingKey.HANDS: 9.0}).pack()), Refusal.SETTING),
    "a bad path": (break_with(Background("relative").pack()), Refusal.MESSAGE),
    "a frame before the hello": (frame_before_hello, Refusal.MESSAGE),
    "settings before the hello": (settings_before_hello, Refusal.MESSAGE),
    "no memory": (hello_with(GOOD, lambda: None), Refusal.MEMORY),
    "two descriptors": (two_descriptors, Refusal.MEMORY),
    "descriptors with every message": (flood_with_descriptors, Refusal.MEMORY),
    "unsealed memory": (hello_with(GOOD, lambda: sealed_memfd(SHAPE.total_bytes, 0)), Refusal.MEMORY),
    "half sealed memory": (
        hello_with(GOOD, lambda: sealed_memfd(SHAPE.total_bytes, fcntl.F_SEAL_GROW)),
        Refusal.MEMORY,
    ),
    "too little memory": (hello_with(GOOD, lambda: sealed_memfd(SHAPE.total_bytes - 4096)), Refusal.MEMORY),
    "read-only memory": (
        hello_with(GOOD, lambda: sealed_memfd(SHAPE.total_bytes, SEALS | fcntl.F_SEAL_WRITE)),
        Refusal.MEMORY,
    ),
    "a device as memory": (hello_with(GOOD, lambda: os.open("/dev/zero", os.O_RDWR)), Refusal.MEMORY),
    "a huge picture": (
        hello_with(replace(GOOD, width=2**31, size_bytes=2**62), lambda: sealed_memfd(4096)),
        Refusal.SIZE,
    ),
    "an unknown format": (
        hello_with(replace(GOOD, format=77), lambda: sealed_memfd(SHAPE.total_bytes)),
        Refusal.FORMAT,
    ),
}


@pytest.mark.parametrize("name", MISDEEDS)
def test_a_host_that_breaks_a_rule_is_refused_and_others_are_not_affected(served: Served, name: str) -> None:
    act, reason = MISDEEDS[name]
    with served.host() as bystander:
        planes = pattern(SHAPE, 1)
        bystander.exchange(planes)
        before = open_descriptors()
        with act(served) as host:
            said = []
            while (message := host.receive()) is not None:
                said.append(message)
            assert said[-1].type is MessageType.REFUSE
            assert said[-1].flags == reason
        eventually(lambda: served.server.hosts == 1, "the host is let go")
        for handler in served.handlers:
            handler.hold = False
        assert equal(bystander.exchange(planes), [~plane for plane in planes])
        eventually(lambda: open_descriptors() == before, "its descriptors are closed")
    assert served.still_works()


def test_a_host_that_leaves_in_the_middle_is_forgotten(served: Served) -> None:
    for _ in range(10):
        host = served.host(greet=False)
        host.send(hello_of(SHAPE), [memory := sealed_memfd(SHAPE.total_bytes)])
        os.close(memory)
        host.send(frame_of(SHAPE, 0, 1))
        host.close()  # with the WELCOME and the RESULT unread
    silent = served.host(greet=False)
    silent.close()
    eventually(lambda: served.server.hosts == 0, "the hosts are let go")
    assert served.still_works()


def test_a_host_that_does_not_read_is_let_go(served: Served) -> None:
    with served.host() as deaf:
        deaf.socket.settimeout(10)
        ping = Message(MessageType.PING, seq=1).pack()
        with pytest.raises(OSError):
            for _ in range(200_000):
                deaf.socket.send(ping)
        eventually(lambda: served.server.hosts == 0, "the deaf host is let go")
    assert served.still_works()


def test_a_host_that_floods_does_not_starve_another(served: Served) -> None:
    stop = threading.Event()
    with served.host() as loud, served.host() as quiet:

        def flood() -> None:
            ping = Message(MessageType.PING, seq=1).pack()
            with suppress(OSError):
                while not stop.is_set():
                    loud.socket.send(ping)
                    loud.socket.recv(64)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for turn in range(20):
                planes = pattern(SHAPE, turn)
                assert equal(quiet.exchange(planes), [~plane for plane in planes])
        finally:
            stop.set()
            thread.join()


def test_a_host_that_says_nothing_is_let_go(tmp_path: Path) -> None:
    with serving(tmp_path / "w.sock", hello_timeout_s=0.1) as served, served.host(greet=False) as host:
        refusal = host.receive()
        assert refusal is not None and (refusal.type, refusal.flags) == (MessageType.REFUSE, Refusal.MESSAGE)
        assert host.ended()


def test_more_hosts_than_allowed_are_refused_until_one_leaves(tmp_path: Path) -> None:
    with serving(tmp_path / "w.sock", max_hosts=2) as served:
        first, second = served.host(), served.host()
        with served.host(greet=False) as third:
            refusal = third.receive()
            assert refusal is not None and refusal.flags == Refusal.BUSY
        first.close()
        eventually(lambda: served.server.hosts == 1, "the first is let go")
        assert served.still_works()
        second.close()


def test_a_host_of_another_user_is_refused(tmp_path: Path) -> None:
    foreign = True

    def credentials(connection: socket.socket) -> tuple[int, int]:
        pid, uid = credentials_of(connection)
        return pid, uid + 1 if foreign else uid

    with serving(tmp_path / "w.sock", credentials=credentials) as served:
        with served.host(greet=False) as host:
            refusal = host.receive()
            assert refusal is not None and (refusal.type, refusal.flags) == (MessageType.REFUSE, Refusal.USER)
            assert host.ended()
        assert not served.handlers
        foreign = False
        assert served.still_works()


def test_credentials_are_those_of_the_connecting_process(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert credentials_of(ours) == (os.getpid(), os.geteuid())


def test_random_conversations_never_reach_the_server_thread(served: Served) -> None:
    rng = np.random.default_rng(3)
    seeds = [frame_of(SHAPE, 0, 2).pack(), GOOD.pack(), Settings().pack(), Message(MessageType.PING).pack()]
    for _ in range(150):
        with served.host(greet=bool(rng.integers(2))) as host, suppress(OSError):
            for _ in range(int(rng.integers(1, 6))):
                data = bytearray(seeds[rng.integers(len(seeds))])
                for _ in range(int(rng.integers(4))):
                    struct.pack_into("<I", data, int(rng.integers(61)), int(rng.integers(2**32)))
                descriptors = []
                if rng.integers(4) == 0:
                    descriptors.append(sealed_memfd(int(rng.integers(1, 3 * SHAPE.total_bytes))))
                host.send(bytes(data), descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
    eventually(lambda: served.server.hosts == 0, "every host is let go")
    assert served.still_works()
