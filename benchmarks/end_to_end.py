"""Frames per second and latency of whole runs: a clip in, landmarks, masks and one written video out.

    python -m benchmarks.end_to_end [--source clip.mp4] [--repeats 3] [--json out.json]

Every repeat runs lossless and then paced in real time, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.build import Pipeline, save_frames
from gest_stream.config import PipelineConfig, SegmenterKind
from gest_stream.pipeline import RunStats
from gest_stream.sinks.video import segmented_video
from gest_stream.sources.open import open_source


async def run_once(source: str, out: Path, segmenter: SegmenterKind, realtime: bool) -> RunStats:
    """One run with one written video."""
    config = PipelineConfig(segmenter=segmenter)
    sinks = [segmented_video(out, config.effect)]
    async with Pipeline.open(source, config=config, sinks=sinks, realtime=realtime) as pipeline:
        return await pipeline.run()


def as_record(stats: RunStats) -> dict[str, Any]:
    """The figures of one run."""
    return {
        "fps": round(stats.fps, 2),
        "frames": stats.frames_done,
        "dropped": stats.frames_dropped,
        "frames_with_hands": stats.frames_with_hands,
        "track_ids": stats.track_ids,
        "max_queue_age_ms": round(stats.input_ring.max_age_ms, 2),
        "latency_ms": {stage: dict(values) for stage, values in stats.latency_ms.items()},
    }


def measure(source: str, segmenter: SegmenterKind, repeats: int) -> dict[str, Any]:
    """Interleaved lossless and real-time runs; medians over the repeats."""
    runs: dict[str, list[dict[str, Any]]] = {"lossless": [], "realtime": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for mode, records in runs.items():
                out = Path(folder) / f"{mode}.mp4"
                records.append(as_record(asyncio.run(run_once(source, out, segmenter, mode == "realtime"))))
    return {
        "source": Path(source).name,
        "segmenter": str(segmenter),
        "repeats": repeats,
        "lossless_fps_median": float(np.median([run["fps"] for run in runs["lossless"]])),
        "realtime_dropped_median": float(np.median([run["dropped"] for run in runs["realtime"]])),
        "runs": runs,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="synthetic:demo", help="a clip; a synthetic one is rendered first")
    parser.add_argument("--segmenter", type=SegmenterKind, default=SegmenterKind.LIGHT)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "end_to_end.json")
    args = parser.parse_args()
    head = conditions()
    with tempfile.TemporaryDirectory() as folder:
        source = args.source
        if source.startswith("synthetic:"):
            source = str(Path(folder) / "synthetic_demo.mp4")
            asyncio.run(render(args.source, Path(source)))
        write_result(args.json, "end_to_end", measure(source, args.segmenter, args.repeats), head)


async def render(spec: str, path: Path) -> None:
    """Write a synthetic clip to a file, so that rendering is not what is measured."""
    async with open_source(spec) as source:
        await save_frames(source, path)


if __name__ == "__main__":
    main()
