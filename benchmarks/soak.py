"""Memory over a long live run: an hour of 30 fps input as fast as it can be processed.

    python -m benchmarks.soak [--frames 108000] [--detector scripted|mediapipe] [--json out.json]

A short synthetic clip is rendered once and played in a loop with ever growing pts. RSS is sampled on the way; growth
is the last tenth's median against the median of the second tenth (the first is warm-up).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from benchmarks.report import RESULTS, conditions, write_result
from gest_stream import pipeline
from gest_stream.build import make_detector, make_segmenter
from gest_stream.clock import now_ns
from gest_stream.config import BufferConfig, BufferPolicy, PipelineConfig, SegmenterKind
from gest_stream.interfaces import HandDetector, SourceInfo
from gest_stream.sinks.jsonl import JsonlSink
from gest_stream.synthetic import ClipConfig, SyntheticFrame, render_clip
from gest_stream.testing import ScriptedDetector
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, HandLandmarks

SAMPLES = 200
CLIP = ClipConfig(size=(320, 240), frames=60, hands=1, seed=5)


class LoopSource:
    """Plays rendered frames in a loop, `count` in all, without waiting."""

    audio = None

    def __init__(self, clip: Sequence[Frame], count: int) -> None:
        self._clip, self._count, self._stopped = clip, count, False
        self.info = SourceInfo("loop", True, clip[0].size, Fraction(1, 30), Fraction(30), count)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stopped = True

    async def __aiter__(self) -> AsyncIterator[Frame]:
        for seq in range(self._count):
            if self._stopped:
                return
            yield Frame(self._clip[seq % len(self._clip)].image, seq, Fraction(1, 30), now_ns(), seq)

    def stop(self) -> None:
        """End after the current frame."""
        self._stopped = True


def truth_detector(clip: Sequence[SyntheticFrame]) -> ScriptedDetector:
    """Answers with the rendered landmarks."""

    def script(seq: int) -> list[HandLandmarks]:
        return [hand.landmarks for hand in clip[seq % len(clip)].hands if hand.shown > 0.5]

    return ScriptedDetector(script)


async def soak(detector: HandDetector, clip: Sequence[Frame], frames: int, lines: Path) -> dict[str, Any]:
    """Run and sample."""
    config = PipelineConfig(segmenter=SegmenterKind.LIGHT)
    process, rss_mb = psutil.Process(), []
    # lossless, so that every frame of the hour is processed; the live policy's own bounds are the ring's
    buffer = BufferConfig(policy=BufferPolicy.LOSSLESS)
    sinks = [JsonlSink(lines)]
    source = LoopSource(clip, frames)
    tracker = TrackerCore(detector, make_segmenter(config), config.tracker)
    async with pipeline.Pipeline(source, lambda: tracker, sinks, buffer) as run:
        async for result in run:
            if result.frame.seq % max(frames // SAMPLES, 1) == 0:
                gc.collect()
                rss_mb.append(process.memory_info().rss / 2**20)
        stats = run.stats
    tenth = max(len(rss_mb) // 10, 1)
    early, late = float(np.median(rss_mb[tenth : 2 * tenth])), float(np.median(rss_mb[-tenth:]))
    return {
        "frames": stats.frames_done,
        "hours_at_30_fps": round(stats.frames_done / 108_000, 4),
        "elapsed_s": round(stats.elapsed_s, 1),
        "fps": round(stats.fps, 1),
        "rss_mb_after_warm_up": round(early, 1),
        "rss_mb_at_the_end": round(late, 1),
        "rss_growth": round(late / early - 1, 4),
        "rss_mb": [round(value, 1) for value in rss_mb],
        "track_ids": stats.track_ids,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=108_000)
    parser.add_argument("--detector", choices=("scripted", "mediapipe"), default="scripted")
    parser.add_argument("--json", type=Path, default=RESULTS / "soak.json")
    args = parser.parse_args()
    head = conditions()
    config = PipelineConfig(segmenter=SegmenterKind.LIGHT)
    with tempfile.TemporaryDirectory() as folder:
        clip = list(render_clip(CLIP))
        frames = [hand_frame.frame for hand_frame in clip]
        detector = make_detector(config) if args.detector == "mediapipe" else truth_detector(clip)
        figures = asyncio.run(soak(detector, frames, args.frames, Path(folder) / "hands.jsonl"))
    write_result(args.json, "soak", {"detector": args.detector, **figures}, head)


if __name__ == "__main__":
    main()
