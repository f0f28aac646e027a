"""The queue beside the tracker: its order, its bounds, its end."""

import threading
from collections.abc import Callable

import av
import pytest

from gest_stream.pipe.passage import Passage, Passing, Picture


def picture(seq: int) -> Picture:
    return Picture(seq, seq, av.VideoFrame(16, 16, "yuv420p"))


def passing(size: int = 10) -> Passing:
    return Passing(1, av.Packet(bytes(size)))


def painted() -> av.VideoFrame:
    return av.VideoFrame(16, 16, "yuv420p")


class Worker(threading.Thread):
    """Runs something that may wait."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.result: object = None
        self.start()

    def run(self) -> None:
        self.result = self._work()

    def done(self) -> object:
        self.join(10)
        assert not self.is_alive()
        return self.result

    def waits(self) -> bool:
        self.join(0.05)
        return self.is_alive()


def test_things_leave_in_the_order_they_came() -> None:
    passage = Passage()
    one, two, three = passing(), picture(0), passing()
    passage.start()
    assert passage.add_packet(one) and passage.add_frame(two) and passage.add_packet(three)
    passage.paint(0, painted())
    passage.finish()
    assert [passage.take() for _ in range(4)] == [one, two, three, None]


def test_a_frame_is_not_taken_before_it_is_painted() -> None:
    passage = Passage()
    passage.start()
    frame = picture(0)
    passage.add_frame(frame)
    taker = Worker(passage.take)
    assert taker.waits()
    passage.paint(0, painted())
    assert taker.done() is frame


def test_packets_wait_for_no_frame_that_comes_after_them() -> None:
    passage = Passage()
    passage.start()
    first = passing()
    passage.add_packet(first)
    passage.add_frame(picture(0))
    assert passage.take() is first


def test_a_frame_that_was_dropped_is_left_out() -> None:
    passage = Passage()
    passage.start()
    frames = [picture(seq) for seq in range(3)]
    for frame in frames:
        passage.add_frame(frame)
    passage.paint(0, painted())
    passage.paint(2, painted())
    assert [passage.take(), passage.take()] == [frames[0], frames[2]]


def test_what_follows_the_last_processed_frame_of_a_stopped_run_is_not_written() -> None:
    passage = Passage()
    passage.start()
    first = picture(0)
    passage.add_frame(first)
    passage.add_frame(picture(1))
    passage.add_packet(passing())
    passage.paint(0, painted())
    passage.finish()
    assert [passage.take(), passage.take()] == [first, None]


@pytest.mark.parametrize("kind", ["frames", "packets"])
def test_the_reader_waits_where_the_writer_is_behind(kind: str) -> None:
    passage = Passage(max_frames=2, max_packet_bytes=20)
    passage.start()

    def add(seq: int) -> bool:
        return passage.add_frame(picture(seq)) if kind == "frames" else passage.add_packet(passing())

    assert add(0) and add(1)
    reader = Worker(lambda: add(2))
    assert reader.waits()
    passage.paint(0, painted())
    passage.take()
    assert reader.done() is True


def test_one_packet_above_the_bound_passes() -> None:
    passage = Passage(max_packet_bytes=20)
    passage.start()
    assert passage.add_packet(passing(500))


def test_nothing_waits_before_the_writer_starts() -> None:
    passage = Passage(max_frames=1, max_packet_bytes=20)
    assert all(passage.add_packet(passing()) for _ in range(50))
    assert passage.add_frame(picture(0)) and passage.add_frame(picture(1))
    first = passage.first_frame()
    assert first is not None
    assert passage.original_of(0) is first
    assert passage.original_of(9) is None


def test_closing_lets_everybody_go() -> None:
    passage = Passage(max_frames=1)
    passage.start()
    passage.add_frame(picture(0))
    reader, writer = Worker(lambda: passage.add_frame(picture(1))), Worker(passage.take)
    assert reader.waits() and writer.waits()
    passage.close()
    assert (reader.done(), writer.done(), passage.closed) == (False, None, True)
