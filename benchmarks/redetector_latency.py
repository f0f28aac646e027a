"""What the redetector costs a live stream: latency with and without losses, with and without it, in one run.

    python -m benchmarks.redetector_latency [--checkpoint redetector.pt] [--seconds 20] [--repeats 3] [--json out.json]

A rendered clip of one hand is played as a camera would (640x480, 30 frames a second) through MediaPipe and `light`.
Losses are scripted: of every second, the landmarks of 20 frames are thrown away. The cases take turns, so that all see
the same machine:

    steady            no losses, no redetector
    steady, builtin   no losses, and the built-in redetector, which looks for a second hand every half a second at first
    losses            losses, no redetector: what a frame costs on which there is less to do
    losses, NAME      losses, and a redetector that works on them in the background

NAME is `truth` (an answer that costs nothing), `builtin` (hand-seg), `trained` (the network of `--checkpoint`) and
`vits14` (DINOv2 ViT-S/14 with our decoder and random weights, whose answers are thrown away: its cost alone, which is
the heaviest).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.build import HandTracker, make_detector, make_redetector, save_frames
from gest_stream.config import DinoBackbone, PipelineConfig, RedetectorConfig, RedetectorKind, SegmenterKind
from gest_stream.interfaces import HandDetector, Redetector
from gest_stream.models.redetector import DinoRedetector, load_redetector
from gest_stream.pipeline import Pipeline
from gest_stream.sources.open import open_source
from gest_stream.testing import RecordingSink, ScriptedRedetector
from gest_stream.types import Frame, FrameResult, HandLandmarks, HandProbability, ReinitialisedBy

_PERIOD, _LOST = 30, 20
_CLIP = "synthetic:easy,hands=1,seed=5"


class LosingDetector:
    """A detector that works on every frame, and whose hands are thrown away on most."""

    def __init__(self, inner: HandDetector) -> None:
        self._inner = inner

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """What the inner one finds, on the frames where that is not lost."""
        found = self._inner.detect(frame)
        return () if frame.seq % _PERIOD >= _PERIOD - _LOST else found

    def close(self) -> None:
        """Close the inner one."""
        self._inner.close()


def nothing(frame: Frame) -> HandProbability:
    """An empty map."""
    return HandProbability(np.zeros((36, 48), np.float32), frame.size)


def builtin() -> Redetector:
    """The one that comes with the package."""
    made = make_redetector(PipelineConfig(redetector=RedetectorConfig(kind=RedetectorKind.BUILTIN)))
    assert made is not None
    return made


def vits14() -> Redetector:
    """The cost of a ViT-S/14 of random weights, and no hands."""
    from gest_stream.models.dino_decoder import HandNet, NetSpec

    inner = DinoRedetector(HandNet(NetSpec(DinoBackbone.VITS14)), RedetectorConfig(), ReinitialisedBy.DINO)

    def look(frame: Frame) -> HandProbability:
        inner.segment(frame)
        return nothing(frame)

    return ScriptedRedetector(look)


def run_once(clip: Path, losses: bool, make: Callable[[], Redetector] | None) -> dict[str, Any]:
    """One live run over the clip."""
    config = PipelineConfig(segmenter=SegmenterKind.LIGHT, redetector=RedetectorConfig(kind=RedetectorKind.NONE))
    detector: HandDetector = make_detector(config)
    if losses:
        detector = LosingDetector(detector)
    tracker = HandTracker(config, detector=detector, redetector=make() if make is not None else None)
    sink = RecordingSink()

    async def go() -> None:
        async with Pipeline(open_source(str(clip), realtime=True), lambda: tracker, [sink]) as pipeline:
            stats = await pipeline.run()
            counts.update(done=stats.frames_done, dropped=stats.frames_dropped)

    counts: dict[str, int] = {}
    asyncio.run(go())
    return {**counts, **distributions(sink.results)}


def distributions(results: Sequence[FrameResult]) -> dict[str, Any]:
    """Percentiles of the total latency and of the redetector's own time; the first second warms up."""
    warm = [result for result in results if result.frame.time_s >= 1.0]
    total = np.array([result.timings_ms["total"] for result in warm])
    took = np.array([result.timings_ms["redetect"] for result in warm if "redetect" in result.timings_ms])
    p50, p95, p99 = np.percentile(total, (50, 95, 99))
    return {
        "total_ms": {name: round(float(v), 2) for name, v in zip(("p50", "p95", "p99"), (p50, p95, p99), strict=True)},
        "answers": len(took),
        "answer_ms_p50": round(float(np.median(took)), 1) if len(took) else None,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a redetector of 'gest-stream train decoder'")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "redetector_latency.json")
    args = parser.parse_args()
    head = conditions()
    cases: dict[str, tuple[bool, Callable[[], Redetector] | None]] = {
        "steady": (False, None),
        "steady, builtin": (False, builtin),
        "losses": (True, None),
        "losses, truth": (True, lambda: ScriptedRedetector(nothing)),
        "losses, builtin": (True, builtin),
    }
    if args.checkpoint is not None:
        cases["losses, trained"] = (True, lambda: load_redetector(RedetectorConfig(), args.checkpoint))
    cases["losses, vits14"] = (True, vits14)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        asyncio.run(render(f"{_CLIP},frames={30 * args.seconds}", clip))
        for _ in range(args.repeats):
            for name, (losses, make) in cases.items():
                runs[name].append(run_once(clip, losses, make))
    steady = runs["steady"]
    figures = {
        "clip": _CLIP,
        "seconds": args.seconds,
        "lost_frames_of": [_LOST, _PERIOD],
        "cases": {
            name: {
                "total_ms_median_of_runs": {
                    p: round(float(np.median([run["total_ms"][p] for run in rows])), 2) for p in ("p50", "p95", "p99")
                },
                "p99_over_steady_median": round(
                    float(
                        np.median(
                            [a["total_ms"]["p99"] / b["total_ms"]["p99"] for a, b in zip(rows, steady, strict=True)]
                        )
                    ),
                    3,
                ),
                "dropped_median": float(np.median([run["dropped"] for run in rows])),
                "runs": rows,
            }
            for name, rows in runs.items()
        },
    }
    write_result(args.json, "redetector_latency", figures, head)


async def render(spec: str, path: Path) -> None:
    """Write a synthetic clip to a file, so that rendering is not what is measured."""
    async with open_source(spec) as source:
        await save_frames(source, path)


if __name__ == "__main__":
    main()
