"""What a run shows while it goes on, and its last line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

    from gest_stream.interfaces import SourceInfo
    from gest_stream.pipeline import Pipeline, RunStats

_REFRESH_S = 0.1


def make_progress(console: Console) -> Progress:
    """A bar with counts, fps, drops, hands and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


@asynccontextmanager
async def shown_progress(pipeline: Pipeline, console: Console) -> AsyncIterator[None]:
    """Show the progress of `pipeline` while the enclosed code runs it."""
    import asyncio

    async def refresh(progress: Progress, task: Any) -> None:
        while True:
            stats = pipeline.stats
            status = f"{stats.fps:5.1f} fps  {stats.frames_dropped} dropped  {stats.hands_on_last} hands"
            progress.update(task, completed=stats.frames_done, status=status)
            await asyncio.sleep(_REFRESH_S)

    with make_progress(console) as progress:
        total = pipeline.info.frame_count
        task = progress.add_task("tracking", total=total, status="")
        refresher = asyncio.create_task(refresh(progress, task))
        try:
            yield
        finally:
            refresher.cancel()
            await asyncio.gather(refresher, return_exceptions=True)


def summary_line(info: SourceInfo, stats: RunStats) -> str:
    """One line on what a run did."""
    hands = (
        f"hands on {stats.frames_with_hands} of them ({stats.track_ids} track ids)"
        if stats.frames_with_hands
        else "no hand was found"
    )
    dropped = f", {stats.frames_dropped} dropped" if stats.frames_dropped else ""
    return f"{info.name}: {stats.frames_done} frames at {stats.fps:.1f} fps{dropped}; {hands}"


def summary_record(info: SourceInfo, stats: RunStats, outputs: list[str], interrupted: bool) -> dict[str, Any]:
    """The same for machines; documented in the README."""
    return {
        "v": 1,
        "source": info.name,
        "size": list(info.size),
        "rate": float(info.average_rate) if isinstance(info.average_rate, Fraction) else None,
        "frames_read": stats.frames_read,
        "frames_done": stats.frames_done,
        "frames_dropped": stats.frames_dropped,
        "frames_with_hands": stats.frames_with_hands,
        "track_ids": stats.track_ids,
        "elapsed_s": round(stats.elapsed_s, 3),
        "fps": round(stats.fps, 2),
        "max_queue_age_ms": round(stats.input_ring.max_age_ms, 3),
        "sink_drops": dict(stats.sink_drops),
        "latency_ms": {stage: dict(values) for stage, values in stats.latency_ms.items()},
        "outputs": outputs,
        "interrupted": interrupted,
    }
