"""A whole record with plausible figures, for tests; `python -m tests.bench.records` writes example.json anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gest_stream.bench.figures import distribution, histogram
from gest_stream.bench.record import (
    PARTS,
    Distribution,
    HandsRun,
    LiveRun,
    Machine,
    Memory,
    QualityPoint,
    Record,
    Settings,
    SourcesRun,
    Stages,
    StageTimes,
    Throughput,
)

EXAMPLE = Path(__file__).with_name("example.json")
_STAGES = {
    "decode": 2.0,
    "landmarks": 14.0,
    "encode": 1.5,
    "step": 9.0,
    "redetect": None,
    "postprocess": 0.7,
    "draw": 3.0,
    "encode_video": 12.0,
}


def samples(middle: float, count: int = 100, seed: int = 0) -> list[float]:
    """Times around `middle`, a tenth wide."""
    noise = np.random.default_rng(seed).standard_normal(count)
    return [float(value) for value in middle * (1 + 0.1 * noise.clip(-2, 2))]


def times(middle: float, scale: float = 1.0) -> Distribution:
    return distribution([scale * value for value in samples(middle)])


def _stage(name: str, middle: float | None, scale: float) -> StageTimes:
    if middle is None:
        return StageTimes(name, None, None, None, ())
    return StageTimes(name, times(middle, scale), times(1.3 * middle, scale), None, (8 * middle, 2 * middle))


def _live(name: str, size: tuple[int, int], latency_ms: float, scale: float) -> LiveRun:
    values = [scale * value for value in samples(latency_ms, 300)]
    return LiveRun(
        name=name,
        size=size,
        rate=30.0,
        seconds=10.0,
        frames_shown=298,
        frames_dropped=2,
        fps=29.8,
        glass_to_glass_ms=distribution(values),
        drawn_ms=times(4.0, scale),
        mask_age_ms=distribution([value + 16.0 for value in values]),
        carried_share=0.0,
        cpu_cores=1.4,
        warm_up_ms=(180.0, 70.0, 45.0),
        pipeline_ms={"landmarks": {"count": 300, "mean": 14.2, "p50": 14.0, "p95": 17.1, "p99": 20.0, "max": 31.0}},
        histogram=histogram(values),
    )


def make_record(scale: float = 1.0, **changes: Any) -> Record:
    """A record whose times are `scale` times those of another one; `changes` replace its fields."""
    sizes: Sequence[tuple[str, tuple[int, int], float]] = (
        ("480p", (854, 480), 24.0),
        ("720p", (1280, 720), 35.0),
        ("1080p", (1920, 1080), 70.0),
    )
    fields: dict[str, Any] = {
        "benchmark": "gest-stream bench",
        "v": 1,
        "date": "2026-11-29T21:00:00+00:00",
        "commit": "0000000",
        "machine": Machine("a processor", 2, None, 0.1, "Linux"),
        "versions": {"python": "3.11.9", "mediapipe": "1.2.2"},
        "settings": Settings(
            quick=True,
            parts=PARTS,
            source="synthetic",
            clip_frames=45,
            segmenter="light",
            segmenter_reason="light: asked for",
            redetector="none",
            sam2_size=None,
            sam2_image_size=None,
            device="cpu",
            max_hands=2,
            effect="overlay",
            deadline_ms=None,
        ),
        "complete": True,
        "elapsed_s": 48.0,
        "stages": Stages((1280, 720), 100, tuple(_stage(name, ms, scale) for name, ms in _STAGES.items())),
        "live": tuple(_live(*one, scale) for one in sizes),
        "throughput": Throughput((1280, 720), 88, (31.0 / scale, 32.0 / scale), 31.5 / scale),
        "hands": tuple(HandsRun(hands, hands - 0.1, times(10.0 * hands, scale)) for hands in (1, 2, 4)),
        "sources": tuple(
            SourcesRun(count, (854, 480), 30.0, (30.0,) * count, 30.0 * count, 0.0, times(25.0 * count, scale), 1.5)
            for count in (1, 2, 4, 8)
        ),
        "memory": Memory(10.0, 300, 0.5, tuple(400.0 + 0.01 * k for k in range(20)), 0.02, 0.01, 400.2),
        "quality": tuple(
            QualityPoint(name, size, 45, 90, 0.9, 0.8, 0.93, 1, 1, 1, 66.7, 66.7, 0, times(latency_ms, scale))
            for name, size, latency_ms in sizes
        ),
        **changes,
    }
    return Record(**fields)


if __name__ == "__main__":
    from gest_stream.bench.record_file import as_json

    EXAMPLE.write_text(as_json(make_record()))
