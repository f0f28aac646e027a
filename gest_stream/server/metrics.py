"""What `/metrics` says."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_MS = (1, 2, 4, 8, 12, 16, 24, 33, 50, 66, 100, 150, 250, 500, 1000, 2500)


class ServerMetrics:
    """The server's counters in a registry of its own, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("gest_stream_sessions", "Open sessions.", ["kind"], registry=self.registry)
        self.started = Counter("gest_stream_sessions_started", "Sessions begun.", ["kind"], registry=self.registry)
        self.refused = Counter(
            "gest_stream_sessions_refused", "Offers refused, by HTTP status.", ["status"], registry=self.registry
        )
        self.frames = Counter("gest_stream_frames", "Frames processed.", registry=self.registry)
        self.dropped = Counter(
            "gest_stream_frames_dropped", "Frames dropped, by where: decoder, input, picture, results.", ["where"],
            registry=self.registry,
        )  # fmt: skip
        self.commands = Counter(
            "gest_stream_commands", "Commands on data channels, by outcome.", ["outcome"], registry=self.registry
        )
        self._stages = Histogram(
            "gest_stream_stage_milliseconds",
            "Time a frame spent in a stage; total runs from its arrival to its result.",
            ["stage"],
            buckets=_BUCKETS_MS,
            registry=self.registry,
        )
        gpu = Gauge("gest_stream_gpu_memory_bytes", "CUDA memory in use by this process.", registry=self.registry)
        gpu.set_function(_gpu_memory_bytes)

    def observe(self, timings_ms: Mapping[str, float]) -> None:
        """Count a processed frame and its stages."""
        self.frames.inc()
        for stage, value in timings_ms.items():
            self._stages.labels(stage).observe(value)


def _gpu_memory_bytes() -> float:
    torch = sys.modules.get("torch")  # a server without a torch model must not load it for this
    if torch is None or not torch.cuda.is_available():
        return 0.0
    return float(sum(torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count())))
