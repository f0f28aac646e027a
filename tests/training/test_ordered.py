from collections.abc import Iterator
from contextlib import closing
from itertools import count
from threading import Barrier, active_count

import pytest

from gest_stream.training.ordered import in_order


def test_results_come_in_order_though_the_first_is_the_last_to_be_done() -> None:
    together = Barrier(3)

    def work(item: int) -> int:
        if item < 3:
            together.wait(10)
        return item * item

    assert list(in_order(work, range(10), threads=3, ahead=3)) == [k * k for k in range(10)]


def test_an_endless_supply_is_taken_from_no_further_than_ahead() -> None:
    taken = []

    def supply() -> Iterator[int]:
        for item in count():
            taken.append(item)
            yield item

    with closing(in_order(int, supply(), threads=2, ahead=4)) as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        assert len(taken) <= 4 + 3


def test_an_error_comes_in_its_turn_and_the_threads_end() -> None:
    before = active_count()
    results = in_order(lambda item: 1 // (3 - item), range(10), threads=2, ahead=10)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert active_count() == before
