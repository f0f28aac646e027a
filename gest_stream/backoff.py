"""Pauses between attempts to connect again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from gest_stream.config import ReconnectConfig


def pauses_s(config: ReconnectConfig, uniform: Callable[[], float] = random.random) -> Iterator[float]:
    """Pauses in seconds, without end: doubling from `initial_s` to `max_s`, each jittered.

    Args:
        config: Their bounds.
        uniform: A random number in [0, 1).
    """
    pause = config.initial_s
    while True:
        yield pause * (1 + config.jitter * (2 * uniform() - 1))
        pause = min(2 * pause, config.max_s)
