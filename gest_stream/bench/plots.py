"""A record as a picture: where each millisecond goes, how late frames are, what quality costs, how it scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gest_stream.bench.record import Distribution, LiveRun, QualityPoint, Record, SourcesRun, Stages
from gest_stream.errors import MissingDependencyError, SinkError

_COLOURS: Final = ("#1f6f8b", "#d97b29", "#5b8c3a", "#8a4f7d")
_STAGE_COLOURS: Final = {
    "decode": "#8c8c8c",
    "landmarks": "#1f6f8b",
    "encode": "#3aa6b9",
    "step": "#0b3c49",
    "redetect": "#8a4f7d",
    "postprocess": "#77c3cf",
    "draw": "#d97b29",
    "encode_video": "#c9b458",
}
_CPU: Final = "#00000055"


def check_plotting() -> None:
    """Refuse to plot where matplotlib is absent: better before a benchmark than after it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as exc:
        raise MissingDependencyError(f"plots need matplotlib ({exc}): pip install 'gest-stream[bench]'") from exc


def draw_record(record: Record, path: Path) -> None:
    """Write a picture of a record; the suffix chooses the format.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        SinkError: The file cannot be written, or its suffix is unknown.
    """
    check_plotting()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9.5), layout="constrained")
    ((stages, latency), (quality, sources)) = figure.subplots(2, 2)
    _draw_stages(stages, record.stages)
    _draw_latency(latency, record.live)
    _draw_quality(quality, record.quality)
    _draw_sources(sources, record.sources)
    figure.suptitle(_heading(record), fontsize=11, ha="left", x=0.01)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as exc:
        raise SinkError(f"{path}: the plot cannot be written: {exc}; name a .png, .svg or .pdf file") from exc


def _heading(record: Record) -> str:
    settings, machine = record.settings, record.machine
    size = f" {settings.sam2_size}" if settings.sam2_size else ""
    deadline = f" · deadline {settings.deadline_ms:g} ms" if settings.deadline_ms is not None else ""
    length = " · quick" if settings.quick else ""
    gpu = f", {machine.gpu}" if machine.gpu else ""
    return (
        f"gest-stream bench · segmenter {settings.segmenter}{size}{deadline} · {settings.source}{length}\n"
        f"{machine.cpu}, {machine.cores} cores{gpu} · load before {machine.load_before} · "
        f"{record.date[:10]} · {record.commit}"
    )


def _title(axes: Any, text: str, sub: str = "") -> None:
    axes.set_title(text + (f"\n{sub}" if sub else ""), loc="left", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _nothing(axes: Any, title: str, why: str = "not measured") -> None:
    _title(axes, title)
    axes.text(0.5, 0.5, why, ha="center", va="center", color="#8c8c8c", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_stages(axes: Any, stages: Stages | None) -> None:
    title = "Where each millisecond goes"
    if stages is None:
        _nothing(axes, title)
        return
    start, place, names = 0.0, 0, []
    for stage in stages.stages:
        if stage.wall_ms is None:
            continue
        width, p95 = stage.wall_ms.p50, stage.wall_ms.p95
        axes.barh(place, width, left=start, height=0.62, color=_STAGE_COLOURS.get(stage.stage, _COLOURS[0]))
        axes.plot([start + width, start + p95], [place, place], color="#333333", linewidth=1.2)
        if stage.cpu_ms is not None:
            axes.barh(place + 0.4, stage.cpu_ms.p50, left=start, height=0.14, color=_CPU)
        gpu = f", GPU {stage.gpu_ms.p50:.1f}" if stage.gpu_ms is not None else ""
        cpu = f"  CPU {stage.cpu_ms.p50:.1f}{gpu}" if stage.cpu_ms is not None else ""
        beyond = max(p95, width, stage.cpu_ms.p50 if stage.cpu_ms is not None else 0.0)
        axes.annotate(
            f"{width:.1f} ms{cpu}",
            (start + beyond, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        start += width
        place += 1
        names.append(stage.stage.replace("_", " "))
    axes.set_yticks(range(place), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.4 * start)
    axes.set_xlabel("ms, one stage after the other")
    size = f"{stages.size[0]}x{stages.size[1]}"
    _title(
        axes,
        title,
        f"{size}, {stages.frames} frames; bar: median, line: to p95, thin bar: processor time; sum {start:.1f} ms",
    )


def _draw_latency(axes: Any, runs: Sequence[LiveRun] | None) -> None:
    title = "How late a frame is handed to the sink"
    if not runs:
        _nothing(axes, title)
        return
    for run, colour in zip(runs, _COLOURS, strict=False):
        edges, total = run.histogram.edges_ms, sum(run.histogram.counts)
        shares = [100 * count / total for count in run.histogram.counts]
        found = run.glass_to_glass_ms
        label = (
            f"{run.name}: p50 {found.p50:.0f}, p99 {found.p99:.0f} ms, {run.fps:.1f} fps, "
            f"{run.frames_dropped} of {run.frames_dropped + run.frames_shown} dropped"
        )
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(shares, edges, color=colour, label=label)
        axes.axvline(found.p99, ymax=0.74, color=colour, linestyle=":", linewidth=1.2)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # room for the legend
    axes.set_xlabel("ms from capture to hand-over (dotted: p99)")
    axes.set_ylabel("% of frames")
    axes.legend(frameon=False, fontsize=8)
    _title(axes, title, "source at its own pace; warm-up left out; a last bin holds what lies beyond")


def _draw_quality(axes: Any, points: Sequence[QualityPoint] | None) -> None:
    title = "What quality costs"
    if not points:
        _nothing(axes, title, "no truth is known of this source")
        return
    for point, colour in zip(points, _COLOURS, strict=False):
        fps, slow = 1000 / point.frame_ms.p50, 1000 / point.frame_ms.p95
        axes.plot([slow, fps], [point.iou_mean] * 2, color=colour, linewidth=1)
        axes.scatter([fps], [point.iou_mean], s=70, color=colour, zorder=3)
        axes.scatter([fps], [point.boundary_f_mean], s=70, facecolors="none", edgecolors=colour, zorder=3)
        axes.annotate(point.name, (fps, point.iou_mean), xytext=(6, -13), textcoords="offset points", fontsize=8)
    axes.scatter([], [], s=70, color="#555555", label="IoU (line: to the speed at p95)")
    axes.scatter([], [], s=70, facecolors="none", edgecolors="#555555", label="boundary F")
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    lowest = min(min(point.iou_mean, point.boundary_f_mean) for point in points)
    axes.set_ylim(max(lowest - 0.5 * (1.02 - lowest), 0.0), 1.02)
    axes.set_xlabel("frames a second, one at a time, tracked only")
    axes.set_ylabel("against the rendered truth")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    switches = sum(point.id_switches for point in points)
    _title(axes, title, f"{points[0].frames} frames of the rendered clip; id switches in all sizes: {switches}")


def _draw_sources(axes: Any, runs: Sequence[SourcesRun] | None) -> None:
    title = "Several live sources in one process"
    if not runs:
        _nothing(axes, title)
        return
    places = range(len(runs))
    axes.bar(places, [run.fps_total for run in runs], width=0.6, color=_COLOURS[0])
    axes.scatter(
        places, [run.rate * run.sources for run in runs], marker="_", s=300, color="#333333", label="asked for"
    )
    for place, run in zip(places, runs, strict=True):
        found: Distribution = run.glass_to_glass_ms
        axes.annotate(
            f"{run.fps_total:.0f} fps\n{100 * run.dropped_share:.0f}% dropped\np95 {found.p95:.0f} ms",
            (place, run.fps_total),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_xticks(list(places), [str(run.sources) for run in runs])
    axes.set_xlabel("sources")
    axes.set_ylabel("frames a second, all together")
    axes.margins(y=0.2)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    _title(axes, title, f"{runs[0].size[0]}x{runs[0].size[1]} at {runs[0].rate:g} fps each, tracked, not drawn")
