"""More of everything: hands on a picture, sources in a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing

import numpy as np

from gest_stream.bench.figures import distribution
from gest_stream.bench.live import LiveTimes, dropped_of, latency_ms, warmed_up
from gest_stream.bench.looped import LoopedFile, PlayFile, decoded
from gest_stream.bench.models import BenchModels
from gest_stream.bench.plan import Limit
from gest_stream.bench.record import HandsRun, SourcesRun
from gest_stream.bench.screen import ScreenSink
from gest_stream.bench.stages import enough, warm_up_of
from gest_stream.clock import now_ns
from gest_stream.config import BufferConfig, BufferPolicy
from gest_stream.pipeline import Pipeline
from gest_stream.tracking.tracker import TrackerCore


def measure_hands(hands: int, file: PlayFile, models: BenchModels, limit: Limit) -> HandsRun:
    """Track a picture with so many hands, one frame at a time; the detector looks for as many.

    Raises:
        GestStreamError: A model failed.
    """
    taken_ms, found = list[float](), list[int]()
    with models.tracker(max_hands=hands) as tracker, closing(decoded(file)) as frames:
        tracker.set_live(False)
        start_ns = now_ns()
        while not enough(limit, len(taken_ms), start_ns):
            frame = next(frames)
            before_ns = now_ns()
            result = tracker.step(frame)
            taken_ms.append((now_ns() - before_ns) / 1e6)
            found.append(sum(track.mask is not None or track.landmarks is not None for track in result.tracks))
    warm_up = warm_up_of(len(taken_ms))
    return HandsRun(hands, round(float(np.mean(found[warm_up:])), 3), distribution(taken_ms[warm_up:]))


def measure_sources(
    count: int, file: PlayFile, make_tracker: Callable[[], TrackerCore], times: LiveTimes
) -> SourcesRun | None:
    """Play a file in real time on so many sources at once, each with a pipeline and a tracker of its own.

    Nothing is drawn: sinks differ, and the sources share what tracks.

    Returns:
        None where no source showed two frames after the warm-up.

    Raises:
        GestStreamError: What ended a run early.
    """
    sinks = [ScreenSink(None) for _ in range(count)]
    asyncio.run(_all_at_once(file, make_tracker, sinks, times.warm_up_s + times.seconds))
    return sources_run(file, sinks, times)


async def _all_at_once(
    file: PlayFile, make_tracker: Callable[[], TrackerCore], sinks: list[ScreenSink], seconds: float
) -> None:
    opened, all_open = 0, asyncio.Event()

    async def play(sink: ScreenSink) -> None:
        nonlocal opened
        buffer = BufferConfig(policy=BufferPolicy.LIVE)
        async with Pipeline(LoopedFile(file, realtime=True), make_tracker, [sink], buffer) as pipeline:
            opened += 1
            if opened == len(sinks):
                all_open.set()
            await all_open.wait()  # loading the models of one source is no load for another
            asyncio.get_running_loop().call_later(seconds, pipeline.stop)
            await pipeline.run()

    try:
        async with asyncio.TaskGroup() as group:
            for sink in sinks:
                group.create_task(play(sink))
    except BaseExceptionGroup as failures:  # of one source; the others were ended for it
        raise failures.exceptions[0] from None


def sources_run(file: PlayFile, sinks: list[ScreenSink], times: LiveTimes) -> SourcesRun | None:
    """The figures of sinks that were shown frames at the same time; a source that showed none has lost them all."""
    fps, latencies, shown, dropped, cores = list[float](), list[list[float]](), 0, 0, list[float]()
    for sink in sinks:
        first = warmed_up(sink, times.warm_up_s)
        times_ns = sink.shown_ns[first:]
        if len(times_ns) < 2:
            fps.append(0.0)
            dropped += round(times.seconds * float(file.rate))
            continue
        seconds = (times_ns[-1] - times_ns[0]) / 1e9
        fps.append(round((len(times_ns) - 1) / seconds, 3))
        latencies.append(latency_ms(sink)[first:])
        shown += len(times_ns)
        dropped += dropped_of(sink.seqs[first:])
        cores.append((sink.cpu_ns[-1] - sink.cpu_ns[first]) / 1e9 / seconds)
    if not latencies:
        return None
    in_turn = np.concatenate([np.array(one) for one in latencies])[np.argsort(_places(latencies), kind="stable")]
    return SourcesRun(
        sources=len(sinks),
        size=file.size,
        rate=float(file.rate),
        fps=tuple(fps),
        fps_total=round(sum(fps), 3),
        dropped_share=round(dropped / (shown + dropped), 4),
        glass_to_glass_ms=distribution(in_turn),
        cpu_cores=round(float(np.mean(cores)), 3),
    )


def _places(latencies: list[list[float]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Where in its run each latency lies, 0 to 1: the blocks of a distribution are times, not sources."""
    return np.concatenate([np.arange(len(one)) / len(one) for one in latencies])
