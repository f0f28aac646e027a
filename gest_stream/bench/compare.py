"""Two records, figure by figure: ratios with their spread, and what got worse by more than the noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from gest_stream.bench.record import Distribution, LiveRun, QualityPoint, Record, SourcesRun

SINGLE_NOISE: Final = 0.05
"""Share of a figure that counts as noise where one run tells nothing of it."""
SCORE_NOISE: Final = 0.005
"""How much of an IoU or boundary F does; a clip is tracked alike every time, but not on every processor."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a record and how far it wanders.

    Args:
        value: The figure.
        low: The least that it is in a part of the run, or by its noise.
        high: The most.
        unit: "ms", "fps", "MB", "" ….
        more_is_better: False where less is.
    """

    value: float
    low: float
    high: float
    unit: str
    more_is_better: bool = False


class Verdict(StrEnum):
    """What became of a figure; `SAME` where the ranges of both overlap."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two records.

    Args:
        name: "live 720p glass to glass p99", ….
        before: In the first record.
        after: In the second.
        ratio: After to before; None where before is 0 or below.
        spread: Least and greatest ratio that the ranges allow; None likewise.
        verdict: Worse or better by more than the noise, or the same.
    """

    name: str
    before: Figure
    after: Figure
    ratio: float | None
    spread: tuple[float, float] | None
    verdict: Verdict


def compare(before: Record, after: Record) -> tuple[Comparison, ...]:
    """Every figure that both records have, in the order of the parts."""
    theirs, ours = dict(figures_of(before)), dict(figures_of(after))
    return tuple(_compared(name, theirs[name], ours[name]) for name in theirs if name in ours)


def differences(before: Record, after: Record) -> tuple[str, ...]:
    """What else differs, so that a ratio may tell of that: machine, settings, versions, missing parts."""
    told = []
    for title, one, other in (
        ("machine", asdict(before.machine), asdict(after.machine)),
        ("setting", asdict(before.settings), asdict(after.settings)),
        ("version", dict(before.versions), dict(after.versions)),
    ):
        for key in sorted({*one, *other} - {"load_before", "segmenter_reason", "parts"}):
            if one.get(key) != other.get(key):
                told.append(f"{title} {key}: {one.get(key)} -> {other.get(key)}")
    for point, later in zip(before.quality or (), after.quality or (), strict=False):
        if (point.name, point.frames) != (later.name, later.frames):
            told.append(f"quality {point.name} frames: {point.frames} -> {later.frames}")
    theirs, ours = {name for name, _ in figures_of(before)}, {name for name, _ in figures_of(after)}
    for title, alone in (("first", theirs - ours), ("second", ours - theirs)):
        parts = sorted({name.split()[0] for name in alone})
        if parts:
            told.append(f"only the {title} has {len(alone)} figures of: {', '.join(parts)}")
    return tuple(told)


def figures_of(record: Record) -> Iterator[tuple[str, Figure]]:
    """The figures of a record that are compared, by name; the name begins with the part."""
    if record.stages is not None:
        for stage in record.stages.stages:
            yield from _percentiles(f"stages {stage.stage}", stage.wall_ms, ("p50", "p95"))
            yield from _percentiles(f"stages {stage.stage} CPU", stage.cpu_ms, ("p50",))
            yield from _percentiles(f"stages {stage.stage} GPU", stage.gpu_ms, ("p50",))
    for live in record.live or ():
        yield from _live(live)
    if record.throughput is not None:
        runs = record.throughput.fps
        yield "throughput", _measured(record.throughput.fps_median, runs, "fps", more_is_better=True)
    for hands in record.hands or ():
        yield from _percentiles(f"hands {hands.hands}", hands.frame_ms, ("p50", "p95"))
    for sources in record.sources or ():
        yield from _sources(sources)
    if record.memory is not None and record.memory.peak_mb is not None:
        yield "memory peak", _measured(record.memory.peak_mb, (), "MB")
        slope, error = record.memory.slope_mb_per_min, record.memory.slope_error_mb_per_min
        if slope is not None and error is not None:
            yield "memory slope", Figure(slope, slope - 2 * error, slope + 2 * error, "MB/min")
    for point in record.quality or ():
        yield from _quality(point)


def _live(run: LiveRun) -> Iterator[tuple[str, Figure]]:
    name = f"live {run.name}"
    yield from _percentiles(f"{name} glass to glass", run.glass_to_glass_ms, ("p50", "p95", "p99"))
    yield from _percentiles(f"{name} drawn", run.drawn_ms, ("p50",))
    yield from _percentiles(f"{name} mask age", run.mask_age_ms, ("p50", "p95"))
    yield f"{name} frames a second", _measured(run.fps, (), "fps", more_is_better=True)
    yield f"{name} dropped", _share(run.frames_dropped, run.frames_dropped + run.frames_shown)
    yield f"{name} processors", _measured(run.cpu_cores, (), "cores")


def _sources(run: SourcesRun) -> Iterator[tuple[str, Figure]]:
    name = f"sources {run.sources}"
    yield f"{name} frames a second", _measured(run.fps_total, (), "fps", more_is_better=True)
    yield from _percentiles(f"{name} glass to glass", run.glass_to_glass_ms, ("p50", "p95"))
    shown = run.glass_to_glass_ms.count
    lost = round(run.dropped_share * shown / (1 - run.dropped_share)) if run.dropped_share < 1 else 0
    yield f"{name} dropped", _share(lost, lost + shown)


def _quality(point: QualityPoint) -> Iterator[tuple[str, Figure]]:
    name = f"quality {point.name}"
    for title, score in (("IoU", point.iou_mean), ("boundary F", point.boundary_f_mean)):
        yield f"{name} {title}", Figure(score, score - SCORE_NOISE, score + SCORE_NOISE, "", more_is_better=True)
    for title, count in (("masks missing", point.masks_missing), ("id switches", point.id_switches)):
        yield f"{name} {title}", Figure(count, count, count, "")
    if point.reacquisition_ms_median is not None:
        delay = point.reacquisition_ms_median
        yield f"{name} re-acquisition", Figure(delay, delay, delay, "ms")
    yield from _percentiles(f"{name} frame", point.frame_ms, ("p50",))


def _percentiles(name: str, found: Distribution | None, which: tuple[str, ...]) -> Iterator[tuple[str, Figure]]:
    if found is None:
        return
    values: Mapping[str, tuple[float, tuple[float, ...]]] = {
        "p50": (found.p50, found.block_p50),
        "p95": (found.p95, found.block_p95),
        "p99": (found.p99, found.block_p99),
    }
    for percentile in which:
        value, blocks = values[percentile]
        yield f"{name} {percentile}", _measured(value, blocks, "ms")


def _measured(value: float, blocks: tuple[float, ...], unit: str, *, more_is_better: bool = False) -> Figure:
    """A figure whose range is that of its blocks, or 5% where there are not two."""
    low, high = (1 - SINGLE_NOISE) * value, (1 + SINGLE_NOISE) * value
    if len(blocks) > 1:
        low, high = min(value, *blocks), max(value, *blocks)
    return Figure(value, low, high, unit, more_is_better)


def _share(count: int, of: int) -> Figure:
    """A share of frames in percent, with two standard deviations of its count (Poisson; that of 0 counts as 1)."""
    if of == 0:
        return Figure(0.0, 0.0, 0.0, "%")
    noise = 2 * math.sqrt(max(count, 1))
    return Figure(100 * count / of, 100 * max(count - noise, 0.0) / of, 100 * (count + noise) / of, "%")


def _compared(name: str, before: Figure, after: Figure) -> Comparison:
    verdict = Verdict.SAME
    if after.low > before.high:
        verdict = Verdict.BETTER if after.more_is_better else Verdict.WORSE
    elif after.high < before.low:
        verdict = Verdict.WORSE if after.more_is_better else Verdict.BETTER
    ratio, spread = None, None
    if before.low > 0:
        ratio = after.value / before.value
        spread = after.low / before.high, after.high / before.low
    return Comparison(name, before, after, ratio, spread, verdict)
