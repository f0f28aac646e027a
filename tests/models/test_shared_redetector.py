"""One redetector for several sessions: first come, first served, and nobody closes it for the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from gest_stream.config import DinoBackbone, Precision, RedetectorConfig, RegionConfig
from gest_stream.errors import DeviceError, ModelError
from gest_stream.interfaces import Redetector
from gest_stream.models.dino_decoder import HandNet, NetSpec
from gest_stream.models.shared_redetector import RedetectorHandle, SharedRedetector, Turns
from gest_stream.testing import make_frame
from gest_stream.tracking.redetection import Redetection
from gest_stream.types import Frame, HandProbability, ReinitialisedBy
from tests.models.test_redetector import redetector as dino_redetector

DEADLINE_S = 20.0


class Slow:
    """A redetector that answers when it is let, and says who asked and whether two ever asked at once."""

    kind = ReinitialisedBy.BUILTIN

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.closed = 0
        self.busy = 0
        self.together = 0
        self.go_on = threading.Semaphore(0)
        self.error: Exception | None = None

    def segment(self, frame: Frame) -> HandProbability:
        self.busy += 1
        self.together = max(self.together, self.busy)
        self.asked.append(frame.seq)
        assert self.go_on.acquire(timeout=DEADLINE_S)
        self.busy -= 1
        if self.error is not None:
            raise self.error
        return HandProbability(np.full((2, 2), frame.seq / 100, np.float32), frame.size, None)

    def close(self) -> None:
        self.closed += 1


def soon(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


def value(answer: Future[HandProbability]) -> float:
    return round(float(answer.result(DEADLINE_S).hand[0, 0]) * 100)


def test_who_asks_first_is_answered_first_and_each_gets_its_own_answer() -> None:
    slow = Slow()
    shared = SharedRedetector(slow)
    with ThreadPoolExecutor(5) as threads:
        asked = []
        for index in range(5):
            handle: Redetector = shared.handle()
            asked.append(threads.submit(handle.segment, make_frame(index)))
            soon(lambda: slow.busy == 1 and shared.turns.waiting == index)  # noqa: B023
        slow.go_on.release(5)
        assert [value(answer) for answer in asked] == [0, 1, 2, 3, 4]
    assert (slow.asked, slow.together) == ([0, 1, 2, 3, 4], 1)


def test_a_session_that_asks_again_at_once_waits_for_the_others() -> None:
    slow = Slow()
    shared = SharedRedetector(slow)
    with ThreadPoolExecutor(2) as threads:
        greedy, patient = shared.handle(), shared.handle()
        many = threads.submit(lambda: [greedy.segment(make_frame(seq)) for seq in range(3)])
        soon(lambda: slow.busy == 1)
        other = threads.submit(patient.segment, make_frame(50))
        soon(lambda: shared.turns.waiting == 1)
        slow.go_on.release(4)
        assert value(other) == 50
        many.result(DEADLINE_S)
    assert slow.asked == [0, 50, 1, 2]


def test_closing_one_sessions_handle_leaves_the_redetector_to_the_others() -> None:
    slow = Slow()
    shared = SharedRedetector(slow)
    one, other = shared.handle(), shared.handle()
    one.close()
    one.close()
    slow.go_on.release()
    assert other.segment(make_frame(7)).hand[0, 0] == pytest.approx(0.07)
    with pytest.raises(ModelError, match="redetector: it was closed; make a new one"):
        one.segment(make_frame(8))
    assert (slow.asked, slow.closed, one.kind) == ([7], 0, ReinitialisedBy.BUILTIN)


def test_a_handle_that_is_closed_while_it_waits_does_not_ask() -> None:
    slow = Slow()
    shared = SharedRedetector(slow)
    with ThreadPoolExecutor(2) as threads:
        one, other = shared.handle(), shared.handle()
        first = threads.submit(one.segment, make_frame(1))
        soon(lambda: slow.busy == 1)
        second = threads.submit(other.segment, make_frame(2))
        soon(lambda: shared.turns.waiting == 1)
        other.close()
        slow.go_on.release(2)
        assert value(first) == 1
        assert isinstance(second.exception(DEADLINE_S), ModelError)
    assert slow.asked == [1]


def test_an_error_reaches_the_session_that_asked_and_the_next_one_is_answered() -> None:
    slow = Slow()
    shared = SharedRedetector(slow)
    slow.error = DeviceError("redetector: cuda is out of memory")
    slow.go_on.release(2)
    with pytest.raises(DeviceError, match="out of memory"):
        shared.handle().segment(make_frame(1))
    slow.error = None
    assert shared.handle().segment(make_frame(2)).hand[0, 0] == pytest.approx(0.02)


def test_closing_it_waits_for_the_question_it_works_on_and_refuses_those_that_come_later() -> None:
    slow = Slow()
    shared = SharedRedetector(slow)
    with ThreadPoolExecutor(2) as threads:
        working = threads.submit(shared.handle().segment, make_frame(1))
        soon(lambda: slow.busy == 1)
        closing = threads.submit(shared.close)
        soon(lambda: shared.turns.waiting == 1)
        assert slow.closed == 0
        slow.go_on.release()
        closing.result(DEADLINE_S)
        assert value(working) == 1
    shared.close()
    assert slow.closed == 1
    with pytest.raises(ModelError, match="it was closed"):
        shared.handle().segment(make_frame(2))


def test_a_turn_that_is_given_up_is_no_ones_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    turns = Turns()
    with turns:
        with monkeypatch.context() as patched:
            patched.setattr(threading, "Event", Interrupted)
            with pytest.raises(KeyboardInterrupt), turns:
                pass
        assert turns.waiting == 0
    with turns:
        assert turns.waiting == 0


def test_redetections_of_sessions_close_their_handles_alone() -> None:
    slow = Slow()
    shared = SharedRedetector(slow)
    handles = [shared.handle() for _ in range(2)]
    one, other = (Redetection(handle, None, RegionConfig()) for handle in handles)
    one.close()
    slow.go_on.release()
    other.ask(make_frame(3))
    assert other.take() is not None
    assert [handle.closed for handle in handles] == [True, False]
    other.close()
    assert slow.closed == 0


def test_sessions_on_threads_get_what_the_network_says_of_their_own_frames() -> None:
    net = HandNet(NetSpec(DinoBackbone.NANO, width=16)).eval()
    config = RedetectorConfig(device="cpu", precision=Precision.FLOAT32, input_size=56)
    alone, shared = dino_redetector(net, config), SharedRedetector(dino_redetector(net, config))
    rng = np.random.default_rng(0)
    frames = [make_frame(index, (56, 42)) for index in range(3)]
    frames = [
        Frame(rng.integers(0, 256, one.image.shape).astype(np.uint8), one.pts, one.time_base, 0, one.seq)
        for one in frames
    ]
    handles: list[RedetectorHandle] = [shared.handle() for _ in frames]
    with ThreadPoolExecutor(len(frames)) as threads:
        asked = [threads.submit(handle.segment, frame) for handle, frame in zip(handles, frames, strict=True)]
        for answer, frame in zip(asked, frames, strict=True):
            assert np.array_equal(answer.result(DEADLINE_S).hand, alone.segment(frame).hand)
    assert not np.array_equal(asked[0].result().hand, asked[1].result().hand)
