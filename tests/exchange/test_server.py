"""The server with hosts that keep to the rules, and whom it lets in."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from gest_stream.exchange.messages import Background, Message, MessageType, Refusal, ResultFlag, SettingKey, Settings
from gest_stream.exchange.peer import credentials_of
from gest_stream.exchange.slots import Output, PixelFormat, Shape
from tests.exchange.host import equal, eventually, hello_of, mapped_memfds, open_descriptors, pattern, rgba_shape
from tests.exchange.serving import SHAPE, Served, serving


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
    eventually(lambda: [handler.closed for handler in served.handlers] == [1] * 5, "each handler is closed, once")
    eventually(lambda: mapped_memfds() == memfds, "the memory is unmapped")
    assert open_descriptors() == descriptors


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
