"""A live 720p30 run with two hands and the segmenter `light`: latency, drops, and where the processor's time goes.

    python -m benchmarks.live_cpu [--source clip.mp4] [--seconds 60] [--json out.json]

On one clip, played in a loop: paced in real time into a sink that does nothing (as a run is by default, and with one
and two detectors), the same into a written video, and as fast as possible into a written video. Latency runs from the
moment a frame is due to its hand-over to the sink. Processor time is told per thread, so that other programs change it
less than they change the clock's; cold caches still do.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import frame_copies
from benchmarks.peers.footage import rendered_footage
from benchmarks.report import RESULTS, conditions, percentiles, write_result
from benchmarks.thread_clock import ThreadClock
from gest_stream.audio import AudioFeed
from gest_stream.bench.live import dropped_of
from gest_stream.bench.looped import LoopedFile, PlayFile
from gest_stream.build import HandTracker, make_detectors
from gest_stream.clock import now_ns
from gest_stream.config import EffectConfig, HandsConfig, PipelineConfig, SegmenterKind
from gest_stream.interfaces import Sink, SourceInfo
from gest_stream.pipeline import Pipeline
from gest_stream.sinks.video import segmented_video
from gest_stream.sources.file import FileSource
from gest_stream.types import FrameResult

_WARM_UP_S = 2.0
_DISTINCT = 40
_TARGETS = {"fps": 30.0, "handover_p99_ms": 60.0, "dropped": 0}


class Watched:
    """A sink that notes when it was handed each frame, and passes it on.

    Args:
        inner: Where results go then; None drops them.
    """

    name = "watched"

    def __init__(self, inner: Sink | None) -> None:
        self._inner = inner
        self.handed_ns: list[int] = []
        self.done_ns: list[int] = []
        self.captured_ns: list[int] = []
        self.seqs: list[int] = []
        self.hands = 0

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Open what is behind it."""
        if self._inner is not None:
            await self._inner.open(info, audio)

    async def write(self, result: FrameResult) -> None:
        """Note the time, then pass it on."""
        self.handed_ns.append(now_ns())
        self.captured_ns.append(result.captured_ns)
        self.seqs.append(result.frame.seq)
        self.hands += sum(track.mask is not None for track in result.tracks)
        if self._inner is not None:
            await self._inner.write(result)
        self.done_ns.append(now_ns())

    async def close(self) -> None:
        """Close what is behind it."""
        if self._inner is not None:
            await self._inner.close()


async def play(
    file: PlayFile, realtime: bool, inner: Sink | None, seconds: float, detectors: int = 0
) -> dict[str, Any]:
    """One run and its figures; `detectors` as `hands.detectors`."""
    config = PipelineConfig(segmenter=SegmenterKind.LIGHT, hands=HandsConfig(detectors=detectors))
    sink = Watched(inner)

    def make_tracker() -> HandTracker:
        return HandTracker(config, detector=make_detectors(config))

    async with Pipeline(LoopedFile(file, realtime), make_tracker, [sink]) as pipeline:
        asyncio.get_running_loop().call_later(_WARM_UP_S + seconds, pipeline.stop)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        with ThreadClock() as clock:
            stats = await pipeline.run()
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {
        **_of_sink(sink, float(file.rate), realtime),
        "cpu_ms_per_frame": round(1e3 * cpu_s / stats.frames_done, 2),
        "cores_busy": round(cpu_s / wall_s, 3),
        "cpu_ms_per_frame_by_work": clock.ms_by_work(stats.frames_done),
        "stages_ms": {stage: dict(values) for stage, values in stats.latency_ms.items()},
    }


def _of_sink(sink: Watched, rate: float, realtime: bool) -> dict[str, Any]:
    captured, handed, done = (np.array(times) for times in (sink.captured_ns, sink.handed_ns, sink.done_ns))
    first = int(np.searchsorted(handed, handed[0] + round(_WARM_UP_S * 1e9)))
    if len(handed) - first < 2:
        raise SystemExit(f"live_cpu: {len(handed)} frames in all, too few after the warm-up; free the processor first")
    seconds = (handed[-1] - handed[first]) / 1e9
    seqs = sink.seqs[first:]
    figures: dict[str, Any] = {
        "frames": len(seqs),
        "seconds": round(float(seconds), 2),
        "fps": round((len(seqs) - 1) / float(seconds), 2),
        "masks_per_frame": round(sink.hands / len(sink.seqs), 3),
    }
    if realtime:
        figures["source_fps"] = round(rate, 3)
        figures["dropped"] = dropped_of(seqs)
        figures["handover_ms"] = percentiles((handed - captured)[first:] / 1e6)
        figures["written_ms"] = percentiles((done - captured)[first:] / 1e6)
    return figures


def measure(file: PlayFile, seconds: float) -> dict[str, Any]:
    """All parts."""
    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        video: Callable[[str], Sink] = lambda name: segmented_video(Path(folder) / name, EffectConfig())  # noqa: E731
        runs["live, no output"] = asyncio.run(play(file, True, None, seconds))
        for count in (1, 2):
            runs[f"live, no output, detectors {count}"] = asyncio.run(play(file, True, None, seconds / 2, count))
        runs["live, written video"] = asyncio.run(play(file, True, video("live.mp4"), seconds))
        runs["lossless, written video"] = asyncio.run(play(file, False, video("lossless.mp4"), seconds / 2))
    live = runs["live, no output"]
    return {
        "source": file.path.name,
        "size": list(file.size),
        "segmenter": "light",
        "targets": _TARGETS,
        "targets_met": {
            "fps": live["fps"] >= live["source_fps"] - 0.05,
            "handover_p99_ms": live["handover_ms"]["p99"] <= _TARGETS["handover_p99_ms"],
            "dropped": live["dropped"] == 0,
        },
        "runs": runs,
        "copies": frame_copies.count(),
    }


async def describe(path: Path) -> PlayFile:
    """A user's own clip."""
    async with FileSource(path) as source:
        info = source.info
        if info.average_rate is None or info.frame_count is None:
            raise SystemExit(f"{path}: its rate or its number of frames is unknown")
        return PlayFile(path, info.size, info.average_rate, info.frame_count)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="a clip; two hands are rendered where it is left out")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path, default=RESULTS / "live_cpu.json")
    args = parser.parse_args()
    head = conditions()
    with tempfile.TemporaryDirectory() as folder:
        path = args.source
        if path is None:
            path = Path(folder) / "rendered.mp4"
            rendered_footage(2 * (_DISTINCT - 1) * 4, _DISTINCT, path)
        write_result(args.json, "live_cpu", measure(asyncio.run(describe(path)), args.seconds), head)


if __name__ == "__main__":
    main()
