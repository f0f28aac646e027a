"""Every frame, as fast as it goes: file to segmented video, and memory while that goes on and on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.bench.figures import slope
from gest_stream.bench.looped import LoopedFile, PlayFile
from gest_stream.bench.record import Memory, Throughput
from gest_stream.clock import now_ns
from gest_stream.config import BufferConfig, BufferPolicy, PipelineConfig
from gest_stream.pipeline import Pipeline
from gest_stream.sinks.video import segmented_video
from gest_stream.sources.file import FileSource
from gest_stream.tracking.tracker import TrackerCore

_LOSSLESS: Final = BufferConfig(policy=BufferPolicy.LOSSLESS)
_MEMORY_SAMPLES: Final = 120
_MIN_INTERVAL_S: Final = 0.1


def measure_throughput(
    file: PlayFile, make_tracker: Callable[[], TrackerCore], config: PipelineConfig, runs: int, seconds: float
) -> Throughput:
    """`gest-stream run file --out out.mp4`, so many times.

    Args:
        file: What is read, to its end.
        make_tracker: Of each run.
        config: Says what is drawn, and how files are read and written.
        runs: How many.
        seconds: A run that takes longer is ended early; what it did in this time counts.

    Raises:
        GestStreamError: What ended a run early.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        done = [asyncio.run(_once(file, make_tracker, config, out, seconds)) for _ in range(runs)]
    fps = tuple(round(frames / taken_s, 3) for frames, taken_s in done)
    return Throughput(file.size, min(frames for frames, _ in done), fps, round(float(np.median(fps)), 3))


async def _once(
    file: PlayFile, make_tracker: Callable[[], TrackerCore], config: PipelineConfig, out: Path, seconds: float
) -> tuple[int, float]:
    sinks = [segmented_video(out, config.effect, config.video)]
    async with Pipeline(
        FileSource(file.path, hwaccel=config.source.hwaccel), make_tracker, sinks, _LOSSLESS
    ) as pipeline:
        ending = asyncio.get_running_loop().call_later(seconds, pipeline.stop)
        start_ns = now_ns()
        stats = await pipeline.run()
        taken_s = (now_ns() - start_ns) / 1e9
        ending.cancel()
    return stats.frames_done, taken_s


def measure_memory(file: PlayFile, make_tracker: Callable[[], TrackerCore], seconds: float) -> Memory:
    """Track `file` in a loop and look at the memory now and then.

    Raises:
        GestStreamError: What ended the run early.
    """
    interval_s = max(seconds / _MEMORY_SAMPLES, _MIN_INTERVAL_S)
    times_s, rss_mb, frames = asyncio.run(_watched(file, make_tracker, seconds, interval_s))
    return memory_of(times_s, rss_mb, frames, seconds, interval_s)


async def _watched(
    file: PlayFile, make_tracker: Callable[[], TrackerCore], seconds: float, interval_s: float
) -> tuple[list[float], list[float], int]:
    times_s, rss_mb, frames = list[float](), list[float](), 0
    async with Pipeline(LoopedFile(file, realtime=False), make_tracker, (), _LOSSLESS) as pipeline:
        asyncio.get_running_loop().call_later(seconds, pipeline.stop)
        start_ns = now_ns()
        async for _ in pipeline:
            frames += 1
            elapsed_s = (now_ns() - start_ns) / 1e9
            if elapsed_s >= interval_s * len(times_s) and (used := resident_mb()) is not None:
                times_s.append(elapsed_s)
                rss_mb.append(used)
    return times_s, rss_mb, frames


def memory_of(times_s: list[float], rss_mb: list[float], frames: int, seconds: float, interval_s: float) -> Memory:
    """The figures; nulls where the system did not tell."""
    warm_up = len(times_s) // 3
    line = slope(times_s[warm_up:], rss_mb[warm_up:])
    return Memory(
        seconds=seconds,
        frames=frames,
        interval_s=round(interval_s, 3),
        rss_mb=tuple(round(value, 2) for value in rss_mb) if rss_mb else None,
        slope_mb_per_min=round(60 * line[0], 3) if line is not None else None,
        slope_error_mb_per_min=round(60 * line[1], 3) if line is not None else None,
        peak_mb=round(max(rss_mb), 2) if rss_mb else None,
    )


def resident_mb() -> float | None:
    """Resident memory of this process in mebibytes; None where neither /proc nor psutil tells."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except (OSError, ImportError):
        pass
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.Process().memory_info().rss) / 2**20
