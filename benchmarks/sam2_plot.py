"""Draws what benchmarks/sam2_engine.py and benchmarks/sam2_long_run.py measured.

python -m benchmarks.sam2_plot [results.json ...] [--long long.json] [--picture out.png]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, ROOT

PICTURE = ROOT / "benchmarks" / "pictures" / "sam2_engine.png"
_COLOURS = {"upstream": "#8c8c8c", "upstream vos_optimized": "#595959", "transformers": "#c9b458"}
_OURS = ("#1f6f8b", "#3aa6b9", "#0b3c49", "#77c3cf")
_PARTS = ("input", "encoder", "attention", "decoder", "memory encoder", "8-bit masks in memory")


def _colours(systems: Sequence[str]) -> dict[str, str]:
    ours = [name for name in systems if name.startswith("ours")]
    return {**_COLOURS, **{name: _OURS[index % len(_OURS)] for index, name in enumerate(ours)}}


def draw_steps(axes: Any, steps: Sequence[dict[str, Any]], precision: str, unit: str) -> None:
    """Bars of the median time of a frame, by case and system."""
    names = list(dict.fromkeys(one["system"] for case in steps for one in case["systems"]))
    colours, width = _colours(names), 0.8 / len(names)
    for index, name in enumerate(names):
        found = [
            (place, one["p50_ms"])
            for place, case in enumerate(steps)
            for one in case["systems"]
            if one["system"] == name and one["precision"] == precision
        ]
        if found:
            places = [place + (index - (len(names) - 1) / 2) * width for place, _ in found]
            axes.bar(places, [ms for _, ms in found], width * 0.92, label=name, color=colours[name])
    labels = [
        f"{case['size']} {case['image_size']}\n{case['objects']} object{'s'[: case['objects'] > 1]}" for case in steps
    ]
    axes.set_xticks(range(len(steps)), labels)
    axes.set_ylabel(f"median ms a frame{unit}")
    axes.set_title(f"A frame, {precision}: lower is better", loc="left")
    axes.legend(frameon=False, fontsize=8)


def draw_parts(axes: Any, parts: Sequence[dict[str, Any]], objects: int) -> None:
    """A bar for each model and precision, made of the medians of its parts."""
    models = list(dict.fromkeys((one["size"], one["image_size"], one["precision"]) for one in parts))
    left = [0.0] * len(models)
    shades = ("#d9d9d9", "#1f6f8b", "#3aa6b9", "#77c3cf", "#c9b458", "#a05c3b")
    for name, shade in zip(_PARTS, shades, strict=True):
        times = []
        for model in models:
            own = [one for one in parts if (one["size"], one["image_size"], one["precision"]) == model]
            times.append(
                next((one["p50_ms"] for one in own if one["part"] == name and one["objects"] in (0, objects)), 0.0)
            )
        axes.barh(range(len(models)), times, left=left, height=0.6, label=name, color=shade)
        left = [start + ms for start, ms in zip(left, times, strict=True)]
    axes.set_yticks(range(len(models)), [f"{size} {side}\n{precision}" for size, side, precision in models])
    axes.invert_yaxis()
    axes.set_xlabel("median ms")
    axes.set_title(f"Parts of our frame, {objects} objects", loc="left")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.47, -0.12))


def draw_long(axes: Any, long: dict[str, Any]) -> None:
    """What is held over the steps of a long run, with upstream's slope."""
    held, upstream = long["ours"]["held"], long["upstream"]
    steps = held["step"]
    axes.plot(
        steps, [value / 2**20 for value in held["live_tensor_bytes"]], color="#1f6f8b", label="ours: all live tensors"
    )
    axes.plot(steps, held["rss_mb"], color="#0b3c49", linestyle=":", label="ours: RSS of the process")
    start = held["live_tensor_bytes"][0] / 2**20
    a_frame = (upstream["state_bytes_a_frame"] + upstream["picture_bytes_a_frame"]) / 2**20
    axes.plot(
        (0, steps[-1]),
        (start, start + a_frame * steps[-1]),
        color="#8c8c8c",
        linestyle="--",
        label=f"upstream: slope of its first {upstream['frames']:,} frames, drawn on (state and pictures)",
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("steps")
    axes.set_ylabel("MB")
    axes.set_title(f"Held, narrow model at {long['image_size']} pixels", loc="left")
    axes.legend(frameon=False, fontsize=8)


def draw(results: Sequence[dict[str, Any]], long: dict[str, Any] | None, picture: Path) -> None:
    """One picture of all."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = [case for result in results for case in result["steps"]]
    steps.sort(key=lambda case: (case["image_size"], case["size"], case["objects"]))
    parts = [part for result in results for part in result["parts"]]
    figure, all_axes = pyplot.subplots(2, 2, figsize=(13, 8.5), layout="constrained")
    unit = ", CPU time" if "CPU time" in results[0]["how"]["timing"] else ""
    draw_steps(all_axes[0, 0], steps, "float32", unit)
    draw_steps(all_axes[0, 1], steps, "bfloat16", unit)
    draw_parts(all_axes[1, 0], parts, 2)
    if long is not None:
        draw_long(all_axes[1, 1], long)
    for axes in all_axes.flat:
        axes.spines[["top", "right"]].set_visible(False)
    how, machine = results[0]["how"], results[0]["machine"]
    where = (
        f"{how['device']} ({machine['cpu']}, {how['threads']} thread, load {machine['load_before']}); GPU: {how['gpu']}"
    )
    figure.suptitle(f"SAM2 engine beside upstream and transformers, same weights, one run — {where}", fontsize=11)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Read and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = [path for path in (RESULTS / "sam2_engine.json", RESULTS / "sam2_engine_512.json") if path.exists()]
    parser.add_argument("results", type=Path, nargs="*", default=default)
    parser.add_argument("--long", type=Path, default=RESULTS / "sam2_engine_long.json")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    long = json.loads(args.long.read_text()) if args.long.exists() else None
    draw([json.loads(path.read_text()) for path in args.results], long, args.picture)
    print(args.picture)


if __name__ == "__main__":
    main()
