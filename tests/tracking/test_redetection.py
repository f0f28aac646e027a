"""The redetector's thread: no frame waits for it, and its answers are moved to where the hands are by then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from gest_stream.config import RegionConfig
from gest_stream.errors import ModelError
from gest_stream.interfaces import ProbabilityCarrier
from gest_stream.testing import ScriptedRedetector, make_frame
from gest_stream.tracking.redetection import Answer, Redetection
from gest_stream.types import Frame, HandProbability, ReinitialisedBy

SIZE = (64, 48)


def blob(frame: Frame) -> HandProbability:
    """A hand in the top left corner."""
    values = np.zeros((12, 16), np.float32)
    values[2:6, 2:6] = 0.9
    return HandProbability(values, frame.size)


class RecordingCarrier:
    """Moves nothing, and remembers over which frames it was to."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.carried: list[list[int]] = []
        self._then = then

    def carry(self, probability: HandProbability, frames: Sequence[Frame]) -> HandProbability:
        self.carried.append([frame.seq for frame in frames])
        self._then()
        return probability


class Gate:
    """Holds the redetector until it is opened."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()


@contextmanager
def redetection(
    script: Callable[[Frame], HandProbability], carrier: ProbabilityCarrier | None = None, background: bool = True
) -> Iterator[tuple[Redetection, ScriptedRedetector]]:
    redetector = ScriptedRedetector(script)
    one = Redetection(redetector, carrier, RegionConfig())
    one.background = background
    try:
        yield one, redetector
    finally:
        one.close()


def answer_of(one: Redetection) -> Answer:
    """The answer, once it is there."""
    with one.changed:
        assert one.changed.wait_for(lambda: one.answered, 10)
    answer = one.take()
    assert answer is not None
    return answer


def test_where_frames_may_wait_the_answer_is_there_at_once() -> None:
    with redetection(blob, background=False) as (one, redetector):
        assert one.take() is None
        one.ask(make_frame(7, SIZE))
        answer = one.take()
        assert answer is not None and (answer.by, answer.asked_seq, answer.seq) == (ReinitialisedBy.DINO, 7, 7)
        assert len(answer.regions) == 1 and answer.took_ms >= 0
        assert one.take() is None and redetector.asked == [7]
        assert not any(thread.name == "gest-stream-redetect" for thread in threading.enumerate())


def test_in_the_background_asking_does_not_wait_and_a_second_question_is_not_put() -> None:
    gate = Gate()

    def slow(frame: Frame) -> HandProbability:
        gate.wait()
        return blob(frame)

    with redetection(slow) as (one, redetector):
        one.ask(make_frame(3, SIZE))
        assert gate.reached.wait(10)
        assert (one.busy, one.take()) == (True, None)
        one.ask(make_frame(4, SIZE))
        gate.open()
        assert answer_of(one).asked_seq == 3
        assert (one.busy, redetector.asked) == (False, [3])


def test_an_answer_is_carried_over_the_frames_that_came_meanwhile_and_over_those_that_come_while_it_is() -> None:
    gate = Gate()

    def slow(frame: Frame) -> HandProbability:
        gate.wait()
        return blob(frame)

    carrier = RecordingCarrier()
    with redetection(slow, carrier) as (one, _):
        for seq in (3, 5, 6):
            if seq == 3:
                one.ask(make_frame(seq, SIZE))
            one.note(make_frame(seq, SIZE))
        carrier._then = lambda: one.note(make_frame(9, SIZE))
        gate.open()
        assert answer_of(one).seq == 9
        assert carrier.carried == [[3, 5, 6], [6, 9]]


def test_of_many_frames_a_bounded_number_is_held_the_first_and_the_newest_among_them() -> None:
    gate = Gate()

    def slow(frame: Frame) -> HandProbability:
        gate.wait()
        return blob(frame)

    carrier = RecordingCarrier()
    with redetection(slow, carrier) as (one, _):
        one.ask(make_frame(0, SIZE))
        for seq in range(200):
            one.note(make_frame(seq, SIZE))
        gate.open()
        assert answer_of(one).seq == 199
    (trail,) = carrier.carried
    assert trail[0] == 0 and trail[-1] == 199 and len(trail) <= 16
    assert trail == sorted(trail)


def test_without_a_question_no_frame_is_held() -> None:
    carrier = RecordingCarrier()
    with redetection(blob, carrier) as (one, _):
        one.note(make_frame(0, SIZE))
        one.ask(make_frame(1, SIZE))
        assert answer_of(one).seq == 1
    assert carrier.carried == []


def test_a_reset_drops_the_question_its_answer_and_leaves_the_next_one_alone() -> None:
    gates = [Gate(), Gate()]

    def slow(frame: Frame) -> HandProbability:
        gates[frame.seq].wait()
        return blob(frame)

    with redetection(slow) as (one, redetector):
        one.ask(make_frame(0, SIZE))
        assert gates[0].reached.wait(10)
        one.reset()
        one.ask(make_frame(1, SIZE))
        gates[0].open()
        gates[1].open()
        assert answer_of(one).asked_seq == 1
        assert redetector.asked == [0, 1]


@pytest.mark.parametrize("background", [True, False])
def test_an_error_of_the_redetector_reaches_the_caller(background: bool) -> None:
    def broken(frame: Frame) -> HandProbability:
        raise ModelError("out of memory")

    with redetection(broken, background=background) as (one, _):
        with pytest.raises(ModelError, match="out of memory"):
            one.ask(make_frame(0, SIZE))
            answer_of(one)


def test_closing_joins_the_thread_and_closes_the_redetector() -> None:
    with redetection(blob) as (one, redetector):
        one.ask(make_frame(0, SIZE))
        answer_of(one)
    assert redetector.closed
    assert not any(thread.name == "gest-stream-redetect" for thread in threading.enumerate())
    one.ask(make_frame(1, SIZE))
    assert redetector.asked == [0] and not one.busy
