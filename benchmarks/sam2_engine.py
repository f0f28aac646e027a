"""The SAM2 engine's parts and steps beside upstream's predictor and transformers' `Sam2VideoModel`.

    python -m benchmarks.sam2_engine [--cases tiny:256:1,2,4 tiny:512:2:2] [--device cpu] [--json out.json]

A case is size:image_size:objects[:rounds]. All systems of a case have the same seeded weights, frames and prompts and
live in one process; in each round every one of them advances some frames, in an order that changes from round to
round. A round's first frame is not counted, because it pays for the change of system (caches, autocast's weights).
Systems are compared by the median over rounds of the ratio of their medians within one round.

It needs torch and sam2 and no more; transformers takes part where it is installed. On CUDA upstream's vos_optimized
takes part, too, and compiles for minutes in every case: the result is written after each case, so that a run that is
cut off keeps what it has. `python -m benchmarks.sam2_plot` draws it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.sam2_systems import Ours, System, Transformers, Upstream, pictures_on_device
from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.sam2_clip import Clip, Model, make_clip, make_engine
from benchmarks.sam2_parts import matrix_tflops, measure_parts
from benchmarks.sam2_rounds import WARM_UP_FRAMES, Record, Skipped, figures_of, measure_round, warm_up
from benchmarks.sam2_timing import Stopwatch
from gest_stream.config import Precision, Sam2Runner, Sam2Size

ON_CUDA = ["tiny:1024:2,1,4", "small:1024:2", "base_plus:1024:2", "large:1024:2", "tiny:512:2"]
ON_CPU = ["tiny:256:1,2,4", "tiny:512:2:2"]


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Args:
        model: Which model.
        objects: Objects that are followed at the same time.
        rounds: Rounds in which every system takes part.
    """

    model: Model
    objects: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What takes part, and for how long.

    Args:
        device: A torch device.
        frame_size: (width, height) of the frames in pixels.
        frames: Frames of each round that are counted.
        runners: Ours.
        precisions: Of every system.
        peers: "upstream", "vos", "transformers".
        compile: Ours compiled, too.
    """

    device: str
    frame_size: tuple[int, int]
    frames: int
    runners: tuple[Sam2Runner, ...]
    precisions: tuple[Precision, ...]
    peers: tuple[str, ...]
    compile: bool

    @property
    def warm_up_frames(self) -> int:
        """Until memories are full; on CUDA some more, because a compiler captures the last shape after it ran."""
        return WARM_UP_FRAMES + (8 if self.device.startswith("cuda") else 0)

    def clip_frames(self, rounds: int) -> int:
        """Frames that a system sees in all; on CUDA each round has a second pass, without waits."""
        passes = 2 if self.device.startswith("cuda") else 1
        return self.warm_up_frames + rounds * passes * (self.frames + 1)


def systems_of(case: Case, plan: Plan, clip: Clip, skipped: Skipped) -> Iterator[System]:
    """Every system that can take part; upstream comes first of its precision, because others are compared to it."""
    state = case.model.state()
    reference = make_engine(case.model, state, plan.device, Sam2Runner.BATCHED, Precision.FLOAT32, case.objects)
    pictures = pictures_on_device(reference, clip)
    del reference
    for precision in plan.precisions:
        for name, make in makers_of(case, plan, state, clip, pictures, precision).items():
            try:
                yield make()
            except (ImportError, RuntimeError, ValueError) as exc:
                reason = (str(exc).splitlines() or [""])[0]
                skipped[f"{name} {precision}"] = f"{type(exc).__name__}: {reason}"


def makers_of(
    case: Case,
    plan: Plan,
    state: Mapping[str, torch.Tensor],
    clip: Clip,
    pictures: Sequence[torch.Tensor],
    precision: Precision,
) -> dict[str, Callable[[], System]]:
    """What makes each system of one precision, by its name."""
    makers: dict[str, Callable[[], System]] = {}
    upstream = partial(Upstream, case.model, state, clip, pictures, plan.clip_frames(case.rounds), precision)
    if "upstream" in plan.peers:
        makers["upstream"] = upstream
    for runner in plan.runners:
        makers[f"ours {runner}"] = partial(ours, case, plan, state, clip, runner, precision, False)
    if plan.compile:
        runner = Sam2Runner.GRAPH if plan.device.startswith("cuda") else Sam2Runner.FIXED
        makers[f"ours {runner} compiled"] = partial(ours, case, plan, state, clip, runner, precision, True)
    if "vos" in plan.peers and precision is Precision.BFLOAT16:
        makers["upstream vos_optimized"] = partial(upstream, vos_optimized=True)
    if "transformers" in plan.peers:
        makers["transformers"] = partial(Transformers, case.model, state, clip, pictures, precision)
    return makers


def ours(
    case: Case,
    plan: Plan,
    state: Mapping[str, torch.Tensor],
    clip: Clip,
    runner: Sam2Runner,
    precision: Precision,
    compile_: bool,
) -> Ours:
    """Our engine as one system."""
    engine = make_engine(case.model, state, plan.device, runner, precision, case.objects, compile_)
    prepared = runner is Sam2Runner.GRAPH or compile_
    warm = engine.warmup(clip.frame_size, case.objects) if prepared else None
    return Ours(f"ours {runner}{' compiled' if compile_ else ''}", engine, clip, precision, warm)


def measure_case(case: Case, plan: Plan) -> dict[str, Any]:
    """Every system of one case."""
    clip, skipped = make_clip(plan.frame_size, case.objects), Skipped()
    records = [Record(system) for system in systems_of(case, plan, clip, skipped)]
    records = warm_up(records, skipped, plan.warm_up_frames)
    for turn in range(case.rounds):
        measure_round(records, torch.device(plan.device), plan.frames, turn)
    for record in records:
        record.state_bytes[record.frame] = record.system.state_bytes()
    figures = {
        "size": str(case.model.size),
        "image_size": case.model.image_size,
        "objects": case.objects,
        "rounds": case.rounds,
        "systems": [figures_of(record, records) for record in records],
        "skipped": skipped,
    }
    for one in figures["systems"]:  # type: ignore[attr-defined]
        name = f"{case.model.size} {case.model.image_size} {case.objects} objects"
        print(f"{name}: {one['system']} {one['precision']} p50 {one['p50_ms']} ms", flush=True)
    return figures


def parts_of(model: Model, plan: Plan, objects: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Every part of one model in every precision."""
    clip, found = make_clip(plan.frame_size, max(objects)), []
    for precision in plan.precisions:
        engine = make_engine(model, model.state(), plan.device, Sam2Runner.BATCHED, precision, max(objects))
        rate = matrix_tflops(engine.compute)
        for part in measure_parts(engine, clip, objects, repeats):
            floor_ms = round(part["gflop"] / rate, 4)  # 10^9 / (10^12 a second)
            head = {"size": str(model.size), "image_size": model.image_size, "precision": str(precision)}
            found.append({**head, **part, "matrix_tflops": rate, "floor_ms": floor_ms})
    return found


def parse_case(text: str, rounds: int) -> list[Case]:
    """size:image_size:objects[:rounds], objects separated by commas.

    Raises:
        ValueError: It is not that.
    """
    size, side, objects, *own = text.split(":")
    model = Model(Sam2Size(size.removeprefix("nano-")), int(side), nano=size.startswith("nano-"))
    return [Case(model, int(count), int(own[0]) if own else rounds) for count in objects.split(",")]


def plan_of(args: argparse.Namespace) -> Plan:
    """What the command line asks for; what it leaves open depends on the device."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.startswith("cuda")
    runners = args.runners or (["batched", "fixed", "graph"] if cuda else ["exact", "batched", "fixed"])
    peers = args.peers if args.peers is not None else ["upstream", "transformers", *(["vos"] if cuda else [])]
    return Plan(
        device,
        (args.frame_size[0], args.frame_size[1]),
        args.frames or (20 if cuda else 4),
        tuple(Sam2Runner(one) for one in runners),
        tuple(Precision(one) for one in args.precisions),
        tuple(peers),
        args.compile,
    )


def versions() -> dict[str, str]:
    """Of the packages that are compared."""
    found = {}
    for package in ("sam2", "transformers"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def settings_of(plan: Plan) -> dict[str, Any]:
    """What a reader of the result has to know about how it came about."""
    cuda = plan.device.startswith("cuda")
    return {
        "gpu": torch.cuda.get_device_name() if cuda else "none was lent",
        "device": plan.device,
        "threads": torch.get_num_threads(),
        "frame_size": list(plan.frame_size),
        "compared_versions": versions(),
        "weights": "seeded, the same in all systems; non_overlap is off in ours, as upstream has none",
        "steps": (
            "a frame from picture to float32 logits at frame size for all objects; ours starts from (H, W, 3) uint8 in "
            "memory, the others from pictures that lie ready on the device"
        ),
        "timing": Stopwatch(torch.device(plan.device)).clock + "; wall_p50_ms by the wall's",
        "others_take_times_as_long": (
            "median over rounds of (other's median / our median) in the same round; above 1 ours is faster"
        ),
        "beside_upstream": (
            "masks of the warm-up frames beside upstream's in the same precision; with seeded weights the decoder's "
            "choice of mask is often close to its threshold (stability 0.98), and bfloat16's rounding can tip it"
        ),
        "floor_ms": "gflop / matrix_tflops: the part at the rate of a large matrix product measured in the same run",
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", help="size:image_size:objects[:rounds]; size nano-tiny is a narrow tiny")
    parser.add_argument("--device", help="a torch device; CUDA where there is one, else the CPU")
    parser.add_argument("--rounds", type=int, default=0, help="of cases that do not say; 0: 10 on CUDA, 3 elsewhere")
    parser.add_argument("--frames", type=int, default=0, help="counted in each round; 0: 20 on CUDA, 4 elsewhere")
    parser.add_argument("--frame-size", type=int, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--runners", nargs="+", choices=[str(one) for one in Sam2Runner])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--peers", nargs="*", choices=["upstream", "vos", "transformers"])
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile, too: minutes of warm-up")
    parser.add_argument("--part-repeats", type=int, default=0, help="0: 50 on CUDA, 7 elsewhere")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch; 0 leaves that to torch")
    parser.add_argument("--json", type=Path, default=RESULTS / "sam2_engine.json")
    return parser.parse_args()


def main() -> None:
    """Measure and write."""
    args = arguments()
    head = conditions()
    if args.threads:
        torch.set_num_threads(args.threads)
    plan = plan_of(args)
    cuda = plan.device.startswith("cuda")
    texts = args.cases or (ON_CUDA if cuda else ON_CPU)
    cases = [case for text in texts for case in parse_case(text, args.rounds or (10 if cuda else 3))]
    objects: dict[Model, tuple[int, ...]] = {}
    for case in cases:
        objects[case.model] = (*objects.get(case.model, ()), case.objects)
    repeats = args.part_repeats or (50 if cuda else 7)
    figures: dict[str, Any] = {"how": settings_of(plan), "complete": False, "parts": [], "steps": []}
    for model, counts in objects.items():
        figures["parts"] += parts_of(model, plan, counts, repeats)
    for case in cases:
        figures["steps"].append(measure_case(case, plan))
        figures["complete"] = len(figures["steps"]) == len(cases)
        figures["load_after"] = round(os.getloadavg()[0], 2)
        write_result(args.json, "sam2_engine", figures, head)


if __name__ == "__main__":
    main()
