"""The server with hosts that break rules, leave, flood or say nothing: others are not affected."""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gest_stream.exchange.messages import Background, Message, MessageType, Refusal, SettingKey, Settings
from tests.exchange.host import (
    SEALS,
    Host,
    equal,
    eventually,
    frame_of,
    hello_of,
    open_descriptors,
    pattern,
    sealed_memfd,
)
from tests.exchange.serving import SHAPE, Served, serving


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
