"""A benchmark's record, and two of them compared, as tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from gest_stream.bench.compare import Comparison, Verdict
from gest_stream.bench.record import Distribution, Record

_MARKS = {Verdict.WORSE: "[red]worse[/red]", Verdict.BETTER: "[green]better[/green]", Verdict.SAME: ""}
_BUSY = 0.5  # load of each core
_PERCENTILES = ("p50", "p95", "p99", "max")


def print_record(record: Record, console: Console) -> None:
    """Everything that was measured, a table a part."""
    settings, machine = record.settings, record.machine
    gpu = f", {machine.gpu}" if machine.gpu else ""
    console.print(f"{machine.cpu}, {machine.cores} cores{gpu}", highlight=False)
    if machine.load_before is not None and machine.load_before > _BUSY * (machine.cores or 1):
        console.print(
            f"the machine was busy (load {machine.load_before}): the figures tell of that too", style="yellow"
        )
    console.print(f"segmenter {settings.segmenter_reason}; source {settings.source}", highlight=False)
    for table in _tables(record):
        console.print(table)
    if not record.complete:
        console.print("not complete: the parts above are what was measured")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _ms(found: Distribution | None, names: Sequence[str] = _PERCENTILES) -> list[str]:
    return ["-" if found is None else f"{getattr(found, name):.1f}" for name in names]


def _tables(record: Record) -> Iterator[Table]:
    if record.stages is not None:
        yield _stages(record)
    if record.live:
        yield _live(record)
    if record.throughput is not None:
        table = _table("lossless, file to segmented video", "size", "frames", "fps (median)", "fps of each run")
        found = record.throughput
        runs = "  ".join(f"{fps:.1f}" for fps in found.fps)
        table.add_row(_size(found.size), str(found.frames), f"{found.fps_median:.1f}", runs)
        yield table
    if record.hands:
        table = _table("hands on a picture, ms a frame", "hands", "found", *_PERCENTILES)
        for hands in record.hands:
            table.add_row(str(hands.hands), f"{hands.hands_found_mean:.1f}", *_ms(hands.frame_ms))
        yield table
    if record.sources:
        yield _sources(record)
    if record.memory is not None and record.memory.rss_mb is not None:
        table = _table("memory over time", "seconds", "frames", "peak MB", "MB a minute")
        memory, slope, error = record.memory, record.memory.slope_mb_per_min, record.memory.slope_error_mb_per_min
        steep = f"{slope:+.2f} ± {error:.2f}" if slope is not None and error is not None else "-"
        table.add_row(f"{memory.seconds:.0f}", str(memory.frames), f"{memory.peak_mb:.0f}", steep)
        yield table
    if record.quality:
        yield _quality(record)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _stages(record: Record) -> Table:
    assert record.stages is not None
    title = f"stages, each alone, {_size(record.stages.size)}, ms"
    table = _table(title, "stage", *_PERCENTILES, "CPU p50", "GPU p50", "first frames")
    for stage in record.stages.stages:
        first = "  ".join(f"{value:.0f}" for value in stage.warm_up_wall_ms[:3]) or "-"
        row = [*_ms(stage.wall_ms), *_ms(stage.cpu_ms, ("p50",)), *_ms(stage.gpu_ms, ("p50",))]
        table.add_row(stage.stage.replace("_", " "), *row, first)
    return table


def _live(record: Record) -> Table:
    columns = ("glass to glass p50", "p95", "p99", "max", "mask age p50", "p95", "fps", "dropped", "cores")
    table = _table("live, ms", "size", *columns)
    for run in record.live or ():
        table.add_row(
            run.name,
            *_ms(run.glass_to_glass_ms),
            *_ms(run.mask_age_ms, ("p50", "p95")),
            f"{run.fps:.1f}",
            f"{run.frames_dropped}/{run.frames_dropped + run.frames_shown}",
            f"{run.cpu_cores:.2f}",
        )
    return table


def _sources(record: Record) -> Table:
    runs = record.sources or ()
    title = f"live sources in one process, {_size(runs[0].size)} at {runs[0].rate:g} fps"
    table = _table(title, "sources", "fps each, least", "fps, all", "dropped", "latency p50", "p95", "cores")
    for run in runs:
        table.add_row(
            str(run.sources),
            f"{min(run.fps):.1f}",
            f"{run.fps_total:.1f}",
            f"{100 * run.dropped_share:.1f}%",
            *_ms(run.glass_to_glass_ms, ("p50", "p95")),
            f"{run.cpu_cores:.2f}",
        )
    return table


def _quality(record: Record) -> Table:
    columns = ("IoU", "p10", "boundary F", "missing", "id switches", "found again", "within ms", "ms a frame")
    table = _table("quality beside speed, against the rendered truth", "size", *columns)
    for point in record.quality or ():
        found_ms = point.reacquisition_ms_median
        table.add_row(
            point.name,
            f"{point.iou_mean:.3f}",
            f"{point.iou_p10:.3f}",
            f"{point.boundary_f_mean:.3f}",
            f"{point.masks_missing}/{point.hands}",
            str(point.id_switches),
            f"{point.found_again}/{point.returns}",
            "-" if found_ms is None else f"{found_ms:.0f}",
            *_ms(point.frame_ms, ("p50",)),
        )
    return table


def print_comparison(rows: Sequence[Comparison], differing: Sequence[str], console: Console) -> None:
    """The ratio of every figure, and what else differs between the records."""
    for line in differing:
        console.print(f"differs: {line}", highlight=False, soft_wrap=True)
    table = _table("", "figure", "first", "second", "ratio", "spread", "")
    for row in rows:
        unit = f" {row.before.unit}" if row.before.unit else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
        spread = f"{row.spread[0]:.2f} to {row.spread[1]:.2f}" if row.spread is not None else "-"
        values = (f"{figure.value:.4g}{unit}" for figure in (row.before, row.after))
        table.add_row(row.name, *values, ratio, spread, _MARKS[row.verdict])
    console.print(table)
    worse = sum(row.verdict is Verdict.WORSE for row in rows)
    better = sum(row.verdict is Verdict.BETTER for row in rows)
    console.print(
        f"{len(rows)} figures: {worse} worse, {better} better, {len(rows) - worse - better} the same within the noise",
        highlight=False,
    )
