"""FrameRing against a simple model, and between threads."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.buffer import FrameRing, RingPolicy
from gest_stream.clock import now_ns
from gest_stream.errors import ConfigError


@dataclass(frozen=True)
class Item:
    number: int
    captured_ns: int = 0


def item(number: int) -> Item:
    return Item(number, now_ns())


@given(
    policy=st.sampled_from(RingPolicy),
    depth=st.integers(1, 4),
    pushes=st.lists(st.booleans(), max_size=60),
)
def test_ring_behaves_like_a_bounded_list(policy: RingPolicy, depth: int, pushes: list[bool]) -> None:
    ring: FrameRing[Item] = FrameRing(policy, depth)
    model: list[int] = []
    pushed = taken = dropped = 0
    for number, is_push in enumerate(pushes):
        if is_push:
            accepted = ring.try_push(item(number))
            if policy is RingPolicy.LOSSLESS and len(model) == depth:
                assert not accepted
                continue
            assert accepted
            pushed += 1
            if len(model) == depth:
                model.pop(0)
                dropped += 1
            model.append(number)
        else:
            got = ring.try_take()
            assert (got.number if got else None) == (model.pop(0) if model else None)
            taken += got is not None
        stats = ring.stats
        assert (stats.pushed, stats.taken, stats.dropped, stats.held) == (pushed, taken, dropped, len(model))
        assert stats.pushed == stats.taken + stats.dropped + stats.held


@given(depth=st.integers(1, 5), count=st.integers(0, 40))
def test_live_ring_keeps_the_newest_and_counts_the_rest(depth: int, count: int) -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LIVE, depth)
    for number in range(count):
        assert ring.push(item(number))
    ring.close()
    kept = []
    while (got := ring.take()) is not None:
        kept.append(got.number)
    assert kept == list(range(count))[-depth:]
    assert ring.stats.dropped == max(count - depth, 0)


def test_lossless_producer_waits_for_room_and_nothing_is_lost() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LOSSLESS, 2)
    numbers = range(500)

    def produce() -> None:
        for number in numbers:
            assert ring.push(item(number), timeout_s=10)
        ring.close()

    producer = threading.Thread(target=produce)
    producer.start()
    got = []
    while (taken := ring.take(timeout_s=10)) is not None:
        got.append(taken.number)
        assert ring.stats.held <= 2
    producer.join()
    assert got == list(numbers)
    assert ring.stats.dropped == 0


def test_lossless_push_to_a_full_ring_times_out() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LOSSLESS, 1)
    ring.push(item(0))
    with pytest.raises(TimeoutError, match="no room within"):
        ring.push(item(1), timeout_s=0.01)
    assert ring.stats.pushed == 1


def test_take_from_an_empty_ring_times_out() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LIVE)
    with pytest.raises(TimeoutError, match="nothing to take"):
        ring.take(timeout_s=0.01)


def test_room_is_waited_for_until_there_is_some_or_the_ring_closes() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LOSSLESS, 1)
    assert ring.wait_for_room()
    ring.push(item(0))
    outcomes: list[bool] = []
    changes: list[Callable[[], object]] = [ring.take, ring.close]
    for change in changes:
        waiting = threading.Thread(target=lambda: outcomes.append(ring.wait_for_room()))
        waiting.start()
        change()
        waiting.join(timeout=10)
        ring.try_push(item(1))
    assert outcomes == [True, False]


def test_close_wakes_a_waiting_producer_and_consumer() -> None:
    full: FrameRing[Item] = FrameRing(RingPolicy.LOSSLESS, 1)
    full.push(item(0))
    empty: FrameRing[Item] = FrameRing(RingPolicy.LIVE)
    outcomes: dict[str, object] = {}
    threads = [
        threading.Thread(target=lambda: outcomes.update(push=full.push(item(1), timeout_s=10))),
        threading.Thread(target=lambda: outcomes.update(take=empty.take(timeout_s=10))),
    ]
    for thread in threads:
        thread.start()
    full.close()
    empty.close()
    for thread in threads:
        thread.join()
    assert outcomes == {"push": False, "take": None}


def test_closed_ring_refuses_items_but_gives_what_it_holds() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LIVE, 2)
    ring.push(item(1))
    ring.close()
    assert not ring.push(item(2))
    drained_before, taken, drained_after = ring.drained, ring.take(), ring.drained
    assert taken is not None and taken.number == 1
    assert (drained_before, drained_after) == (False, True)
    assert ring.take() is None


def test_discarding_close_counts_what_was_held_as_dropped() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LOSSLESS, 3)
    ring.push(item(1))
    ring.push(item(2))
    ring.close(discard=True)
    assert ring.take() is None
    assert ring.stats.dropped == 2


def test_max_age_is_the_oldest_item_taken() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LIVE, 2)
    ring.push(Item(0, now_ns() - 5_000_000_000))
    ring.push(item(1))
    ring.take()
    ring.take()
    assert 5000 <= ring.stats.max_age_ms < 6000


def test_listener_hears_push_take_and_close() -> None:
    ring: FrameRing[Item] = FrameRing(RingPolicy.LIVE)
    heard: list[int] = []
    ring.add_listener(lambda: heard.append(ring.stats.held))
    ring.push(item(0))
    ring.take()
    ring.close()
    assert heard == [1, 0, 0]


def test_depth_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="ring depth: expected 1 or more, got 0"):
        FrameRing(RingPolicy.LIVE, 0)
