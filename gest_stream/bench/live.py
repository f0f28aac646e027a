"""End to end at a source's own pace: how late a frame is shown, how old the mask on screen is, what is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from gest_stream.bench.figures import distribution, histogram, shown_ages_ms
from gest_stream.bench.record import LiveRun
from gest_stream.bench.screen import ScreenSink
from gest_stream.config import BufferConfig, BufferPolicy
from gest_stream.interfaces import Source
from gest_stream.pipeline import Pipeline, RunStats
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import FrameResult

_WARM_UP_TOLD: Final = 10


@dataclass(frozen=True, slots=True)
class LiveTimes:
    """How long a source is played: seconds of warm-up, and seconds that are measured after it."""

    warm_up_s: float
    seconds: float


def run_live(
    source: Source,
    make_tracker: Callable[[], TrackerCore],
    draw: Callable[[FrameResult], Any],
    times: LiveTimes,
    name: str,
) -> LiveRun | None:
    """Play `source` and draw every result on one sink.

    Returns:
        None where no frame was shown after the warm-up.

    Raises:
        GestStreamError: What ended the run early.
    """
    sink = ScreenSink(draw)
    stats, size, rate = asyncio.run(_played(source, make_tracker, sink, times.warm_up_s + times.seconds))
    return live_run(name, size, rate, sink, times.warm_up_s, stats)


async def _played(
    source: Source, make_tracker: Callable[[], TrackerCore], sink: ScreenSink, seconds: float
) -> tuple[RunStats, tuple[int, int], Fraction | None]:
    async with Pipeline(source, make_tracker, [sink], BufferConfig(policy=BufferPolicy.LIVE)) as pipeline:
        asyncio.get_running_loop().call_later(seconds, pipeline.stop)
        stats = await pipeline.run()
        return stats, pipeline.info.size, pipeline.info.average_rate


def warmed_up(sink: ScreenSink, warm_up_s: float) -> int:
    """Index of the first frame that was captured after so many seconds of warm-up."""
    start_ns = sink.captured_ns[0] if sink.captured_ns else 0
    later = (k for k, captured in enumerate(sink.captured_ns) if captured - start_ns >= warm_up_s * 1e9)
    return next(later, len(sink.captured_ns))


def dropped_of(seqs: Sequence[int]) -> int:
    """Frames missing between the first and the last of those shown."""
    return seqs[-1] - seqs[0] + 1 - len(seqs) if len(seqs) else 0


def latency_ms(sink: ScreenSink) -> list[float]:
    """Capture to hand-over of every frame."""
    return [(shown - born) / 1e6 for shown, born in zip(sink.shown_ns, sink.captured_ns, strict=True)]


def live_run(
    name: str, size: tuple[int, int], rate: Fraction | None, sink: ScreenSink, warm_up_s: float, stats: RunStats
) -> LiveRun | None:
    """The figures of a run; None where fewer than two frames were shown after the warm-up."""
    latency, first = latency_ms(sink), warmed_up(sink, warm_up_s)
    shown_ns = sink.shown_ns[first:]
    if len(shown_ns) < 2:
        return None
    seconds = (shown_ns[-1] - shown_ns[0]) / 1e9
    drawn = np.subtract(sink.drawn_ns[first:], shown_ns[: len(sink.drawn_ns) - first]) / 1e6
    return LiveRun(
        name=name,
        size=size,
        rate=round(float(rate), 3) if rate is not None else None,
        seconds=round(seconds, 3),
        frames_shown=len(shown_ns),
        frames_dropped=dropped_of(sink.seqs[first:]),
        fps=round((len(shown_ns) - 1) / seconds, 3),
        glass_to_glass_ms=distribution(latency[first:]),
        drawn_ms=distribution(drawn),
        mask_age_ms=distribution(shown_ages_ms(shown_ns, sink.captured_ns[first:], sink.mask_age_ms[first:])),
        carried_share=round(sink.carried / sink.masks, 4) if sink.masks else 0.0,
        cpu_cores=round((sink.cpu_ns[-1] - sink.cpu_ns[first]) / 1e9 / seconds, 3),
        warm_up_ms=tuple(round(value, 3) for value in latency[:_WARM_UP_TOLD]),
        pipeline_ms={stage: dict(values) for stage, values in stats.latency_ms.items()},
        histogram=histogram(latency[first:]),
    )
