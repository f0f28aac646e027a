"""Stage timings and their percentiles, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np

from gest_stream.clock import now_ns
from gest_stream.errors import ConfigError


class StageTimer:
    """Adds up how long the named stages of one frame took.

    >>> timer = StageTimer()
    >>> with timer.stage("segment"):
    ...     pass
    >>> sorted(timer.ms)
    ['segment']
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the enclosed code as `name`; a repeated name adds up."""
        start_ns = now_ns()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (now_ns() - start_ns) / 1e6


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Distribution of one stage in milliseconds: percentiles over the window, `count` and `max` over everything."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


class LatencyReport:
    """Collects timings by stage; safe between threads.

    Args:
        window: Number of recent values a stage that percentiles and the mean are taken over.
    """

    def __init__(self, window: int = 4096) -> None:
        if window < 1:
            raise ConfigError(f"latency window: expected 1 or more, got {window}")
        self._window = window
        self._lock = threading.Lock()
        self._values: dict[str, deque[float]] = {}
        self._count: dict[str, int] = {}
        self._max: dict[str, float] = {}

    def add(self, timings_ms: Mapping[str, float]) -> None:
        """Take in one frame's timings."""
        with self._lock:
            for stage, value in timings_ms.items():
                self._values.setdefault(stage, deque(maxlen=self._window)).append(value)
                self._count[stage] = self._count.get(stage, 0) + 1
                self._max[stage] = max(self._max.get(stage, 0.0), value)

    def summary(self) -> dict[str, LatencySummary]:
        """The distribution of every stage seen so far."""
        with self._lock:
            copies = {stage: np.array(values) for stage, values in self._values.items()}
            counts, maxima = dict(self._count), dict(self._max)
        result = {}
        for stage, values in copies.items():
            p50, p95, p99 = np.percentile(values, (50, 95, 99))
            result[stage] = LatencySummary(
                counts[stage], float(values.mean()), float(p50), float(p95), float(p99), maxima[stage]
            )
        return result

    def as_dict(self) -> dict[str, dict[str, float]]:
        """`summary()` as plain numbers rounded to a microsecond, for JSON."""
        return {
            stage: {name: round(value, 3) for name, value in asdict(summary).items()}
            for stage, summary in self.summary().items()
        }
