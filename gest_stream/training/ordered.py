"""Work done in threads, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def in_order(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: int, ahead: int
) -> Generator[ResultT, None, None]:
    """`map` in threads, for work that lets go of the interpreter's lock, as OpenCV does.

    It is never further than `ahead` results before the one asked for, so `items` may be endless; an error comes in its
    turn. The threads end with the iterator.

    Args:
        work: Called in any of the threads.
        items: What it is called with.
        threads: How many at a time.
        ahead: Results that are made before they are asked for.
    """
    left = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        jobs: deque[Future[ResultT]] = deque(pool.submit(work, item) for item in islice(left, max(ahead, 1)))
        while jobs:
            yield jobs.popleft().result()
            jobs.extend(pool.submit(work, item) for item in islice(left, 1))
    finally:
        pool.shutdown(cancel_futures=True)
