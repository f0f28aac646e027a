"""The same clip through ours and through what a user would take instead, in turn, in one run.

    python -m benchmarks.peers [--rounds 5] [--quick] [--minutes 5] [--json out.json]

Three comparisons. From a file to a segmented video: the Pipeline beside the loop that a user would write around the
same models. From a file to landmarks: the Pipeline beside MediaPipe alone. From frames to SAM2's masks: the engine
beside upstream's predictor over a JPEG folder (plain and vos_optimized) and transformers' streaming model, with equal
seeded weights at a size that a CPU can do. In each round every system takes the whole clip once, another one first in
each; systems are compared by the ratio within a round. Other programs that run meanwhile make ratios of wall time say
little (ours works on several threads, the plain loops on one), and those of processor time hardly; how much the others
took is in the result. transformers takes part where the extra `bench` is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.footage import Footage, rendered_footage
from benchmarks.peers.naive_loop import NaiveLoop
from benchmarks.peers.rounds import Way, figures_of, interleaved, ratios_to, reason
from benchmarks.peers.video_ways import MediaPipeAlone, OurLandmarks, OurVideo
from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.bench.conditions import version_of
from gest_stream.config import PipelineConfig, Precision, Sam2Size, SegmenterKind

PACKAGES = ("opencv-contrib-python", "mediapipe", "sam2", "transformers", "torch", "torchvision", "pillow")
WARM_UP_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        rounds: Counted rounds of each comparison, at most.
        video_frames: Frames of the clip that becomes a video.
        distinct: How many of them are rendered.
        sam2_frames: Of these, how many SAM2 is given.
        sam2: size:image_size of SAM2; "nano-" before the size makes it narrow.
        device: Where SAM2 runs.
        precision: What it computes in.
        segmenter: Of ours and of the naive loop.
        minutes: After these no further round begins.
    """

    rounds: int
    video_frames: int
    distinct: int
    sam2_frames: int
    sam2: str
    device: str
    precision: Precision
    segmenter: SegmenterKind
    minutes: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One group of systems that do the same.

    Args:
        name: What it is called in results.
        what: What they do.
        ours: Which of them is ours.
        makers: What makes each of them, by what it is called where it cannot be made.
        frames: How much of the clip they take; None is all.
    """

    name: str
    what: str
    ours: str
    makers: dict[str, Callable[[], Way]]
    frames: int | None = None


def comparisons(plan: Plan) -> list[Comparison]:
    """All three."""
    config = PipelineConfig(segmenter=plan.segmenter)
    return [
        Comparison(
            "file to segmented video",
            f"MediaPipe and the segmenter {plan.segmenter} on every frame, drawn and written",
            "ours",
            {"ours": partial(OurVideo, config), "naive loop": partial(NaiveLoop, config)},
        ),
        Comparison(
            "file to landmarks",
            "MediaPipe on every frame; ours adds ids and the loss machine",
            "ours, landmarks only",
            {
                "ours, landmarks only": partial(OurLandmarks, config),
                "mediapipe alone": partial(MediaPipeAlone, config),
            },
        ),
        Comparison(
            "frames to SAM2's masks",
            f"SAM 2.1 {plan.sam2} on {plan.device} in {plan.precision}, two objects, from frames in memory to boolean "
            "masks of their size in memory",
            "ours",
            _sam2_makers(plan),
            plan.sam2_frames,
        ),
    ]


def _sam2_makers(plan: Plan) -> dict[str, Callable[[], Way]]:
    import torch

    from benchmarks.peers.sam2_ways import OurSam2, Setting, TransformersStream, UpstreamFolder
    from benchmarks.sam2_clip import Model

    size, side = plan.sam2.split(":")
    model = Model(Sam2Size(size.removeprefix("nano-")), int(side), nano=size.startswith("nano-"))
    setting = Setting(model, model.state(), torch.device(plan.device), plan.precision, 2)
    return {
        "ours": partial(OurSam2, setting),
        "upstream predictor": partial(UpstreamFolder, setting),
        "upstream predictor, vos_optimized": partial(UpstreamFolder, setting, vos_optimized=True),
        "transformers": partial(TransformersStream, setting),
    }


def compare(
    comparison: Comparison, footage: Footage, folder: Path, rounds: int, may_start: Callable[[float], bool]
) -> dict[str, Any]:
    """One comparison's part of the result."""
    skipped: dict[str, str] = {}
    ways: list[Way] = []
    for name, make in comparison.makers.items():
        try:
            ways.append(make())
        except Exception as exc:  # a peer that is absent or cannot run here leaves the others
            skipped[name] = reason(exc)
    if comparison.frames is not None:
        footage = footage.first(comparison.frames, folder / "part.mp4")
    warm_up = footage.first(WARM_UP_FRAMES, folder / "warm_up.mp4")
    found = interleaved(ways, footage, warm_up, rounds, skipped, may_start)
    measured = [way for way in ways if found.get(way.name)]
    figures = {
        "comparison": comparison.name,
        "what": comparison.what,
        "frames": len(footage.images),
        "rounds": max((len(outcomes) for outcomes in found.values()), default=0),
        "systems": [figures_of(way, found[way.name]) for way in measured],
        "others_over_ours": ratios_to(comparison.ours, {way.name: found[way.name] for way in measured}),
        "skipped": skipped,
    }
    _tell(figures)
    return figures


def _tell(figures: dict[str, Any]) -> None:
    for one in figures["systems"]:
        print(f"{figures['comparison']}: {one['system']}: {one['fps']['median']} fps", flush=True)
    for one in figures["others_over_ours"]:
        ratio = one["time"]
        print(f"  {one['other']} takes {ratio['median']} ({ratio['min']} to {ratio['max']}) times as long as ours")
    for name, why in figures["skipped"].items():
        print(f"  {name} was skipped: {why}")


def measure(plan: Plan) -> list[dict[str, Any]]:
    """All comparisons; each may use its share of the minutes."""
    found, start = [], time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        footage = rendered_footage(plan.video_frames, plan.distinct, folder / "clip.mp4")
        wanted = comparisons(plan)
        for index, comparison in enumerate(wanted):
            ends = start + 60.0 * plan.minutes * (index + 1) / len(wanted)

            def may_start(longest_s: float, ends: float = ends) -> bool:
                return time.monotonic() + longest_s <= ends

            found.append(compare(comparison, footage, folder, plan.rounds, may_start))
    return found


def settings_of(plan: Plan) -> dict[str, Any]:
    """What the result says about how it was made."""
    import torch

    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none was lent",
        "threads": torch.get_num_threads(),
        "peer_versions": {name: version_of(name) for name in PACKAGES},
        "clip": f"{plan.video_frames} frames of 1280x720 at 30 fps, two rendered hands, H.264",
        "weights": "seeded and equal in all SAM2s; the official ones were not at hand, so these masks mean nothing",
        "ratios": "what the other takes over what ours takes, in the same round; above 1 ours is ahead",
        "not_timed": "loading of models, and one short clip through each system before the first round",
        "cpu_time": "of all threads of the process, which other work on the machine changes less than the wall's time",
        "other_programs_cores": "processor time of other programs (and of the host) over the wall's, while it ran",
        "rounds_asked": plan.rounds,
    }


def plan_of(argv: Sequence[str] | None = None) -> tuple[Plan, int, Path]:
    """Plan, torch's threads and output file that a command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="short clips and a narrow SAM2: about a minute")
    parser.add_argument("--minutes", type=float, default=5.0, help="after these no further round begins")
    parser.add_argument("--segmenter", type=SegmenterKind, default=SegmenterKind.LIGHT)
    parser.add_argument("--sam2", metavar="SIZE:PIXELS", help="SAM2's size and square; nano-tiny is a narrow tiny")
    parser.add_argument("--sam2-frames", type=int, default=0, help="0: 16, or 6 with --quick")
    parser.add_argument("--device", default="cpu", help="where SAM2 runs")
    parser.add_argument("--precision", type=Precision, default=Precision.FLOAT32, choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    quick: bool = args.quick
    plan = Plan(
        args.rounds,
        48 if quick else 150,
        6 if quick else 45,
        args.sam2_frames or (6 if quick else 16),
        args.sam2 or ("nano-tiny:128" if quick else "tiny:256"),
        args.device,
        args.precision,
        args.segmenter,
        args.minutes,
    )
    return plan, args.threads, args.json or RESULTS / ("peers_quick.json" if quick else "peers.json")


def main() -> None:
    """Measure and write."""
    import torch

    plan, threads, path = plan_of()
    head = conditions()
    torch.set_num_threads(threads)
    write_result(path, "peers", {"how": settings_of(plan), "comparisons": measure(plan)}, head)


if __name__ == "__main__":
    main()
