"""The SAM2 engine over a hundred thousand steps: what it holds, and how long a step takes at the end.

    python -m benchmarks.sam2_long_run [--steps 100000] [--json out.json]

A narrow model on small frames, because the question is growth, not speed. Every frame is encoded and stepped; now and
then an object is corrected, one is forgotten and a new one comes. Held are the bank (`state_bytes`), all live tensors
(found by a scan of the garbage collector) and RSS. Beside it upstream's own state over its first thousand frames.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.sam2_systems import Upstream, pictures_on_device
from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.sam2_clip import Clip, Model, make_clip, make_engine
from benchmarks.sam2_timing import Stopwatch, percentiles, rss_bytes
from gest_stream.config import Precision, Sam2Runner, Sam2Size
from gest_stream.models.sam2_engine import Sam2Engine
from gest_stream.types import Prompt, PromptMode

CORRECT_EVERY, REPLACE_EVERY = 331, 997
WINDOW = 1000
MARKS = (1_000, 20_000, 100_000)
UPSTREAM_FRAMES = 1_000


def live_tensor_bytes() -> int:
    """Bytes of the storages of all tensors that Python can reach, each once."""
    gc.collect()
    storages = {}
    for item in gc.get_objects():
        if issubclass(type(item), torch.Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@dataclass(slots=True)
class Held:
    """Samples of what is held."""

    step: list[int] = field(default_factory=list)
    state_bytes: list[int] = field(default_factory=list)
    live_tensor_bytes: list[int] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)

    def sample(self, step: int, engine: Sam2Engine) -> None:
        """Look once."""
        self.step.append(step)
        self.state_bytes.append(engine.state_bytes)
        self.live_tensor_bytes.append(live_tensor_bytes())
        self.rss_bytes.append(rss_bytes())


def events_of(step: int, engine: Sam2Engine, clip: Clip, next_id: int) -> dict[int, Prompt]:
    """The prompts of a step; forgets an object where one is to be replaced."""
    ids = engine.object_ids
    boxes = list(clip.boxes.values())
    no_points, no_labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    if not ids:
        return {next_id + index: Prompt(no_points, no_labels, box) for index, box in enumerate(boxes)}
    if step % REPLACE_EVERY == 0:
        engine.forget(ids[0])
        return {next_id: Prompt(no_points, no_labels, boxes[step % len(boxes)])}
    if step % CORRECT_EVERY == 0:
        mode = (PromptMode.APPEND, PromptMode.REFINE, PromptMode.RESET)[step // CORRECT_EVERY % 3]
        width, height = clip.frame_size
        middle = np.array([[width / 2, height / 2]], np.float32)
        return {ids[-1]: Prompt(middle, np.ones(1, np.int32), mode=mode)}
    return {}


def run_ours(engine: Sam2Engine, clip: Clip, steps: int, samples: int) -> dict[str, Any]:
    """Run, and sample on the way."""
    watch, held, next_id, prompted = Stopwatch(engine.compute.device), Held(), 1, 0
    times_ms = np.full(steps, np.nan)  # written now: a list would grow by 32 bytes a step, and RSS with it
    gap = max(steps // samples, 1)
    for step in range(steps):
        prompts = events_of(step, engine, clip, next_id)
        next_id = max((next_id, *(object_id + 1 for object_id in prompts)))
        prompted += len(prompts)
        image = clip.image(step)
        times_ms[step] = watch.time(lambda: engine.step(engine.encode(image), prompts))[0]  # noqa: B023
        if (step + 1) % gap == 0:
            held.sample(step + 1, engine)
    return {
        "steps": steps,
        "prompts": prompted,
        "objects_seen": next_id - 1,
        "objects_at_once": len(clip.boxes),
        "all": percentiles(times_ms),
        "last_thousand_steps_before": {
            str(mark): percentiles(times_ms[max(mark - WINDOW, 0) : mark]) for mark in MARKS if mark <= steps
        },
        **growth(held),
        "held": {
            "step": held.step,
            "state_bytes": held.state_bytes,
            "live_tensor_bytes": held.live_tensor_bytes,
            "rss_mb": [round(value / 2**20, 2) for value in held.rss_bytes],
        },
    }


def growth(held: Held) -> dict[str, Any]:
    """The last tenth of the samples beside the second tenth; the first is warm-up."""
    tenth = max(len(held.step) // 10, 1)

    def both(values: Sequence[int]) -> tuple[float, float]:
        return float(np.median(values[tenth : 2 * tenth])), float(np.median(values[-tenth:]))

    early_rss, late_rss = both(held.rss_bytes)
    settled = held.live_tensor_bytes[tenth:] or held.live_tensor_bytes
    return {
        "state_bytes": held.state_bytes[-1],
        "state_bytes_constant": len(set(held.state_bytes)) == 1,
        "live_tensor_bytes_min_after_warm_up": min(settled),
        "live_tensor_bytes_max_after_warm_up": max(settled),
        "rss_mb_after_warm_up": round(early_rss / 2**20, 2),
        "rss_mb_at_the_end": round(late_rss / 2**20, 2),
        "rss_growth": round(late_rss / early_rss - 1, 4) if early_rss else None,
    }


def run_upstream(model: Model, engine: Sam2Engine, clip: Clip, frames: int) -> dict[str, Any]:
    """Upstream's propagation over a clip, with prompts on its first frame alone."""
    pictures = pictures_on_device(engine, clip)
    peer = Upstream(model, model.state(), clip, pictures, frames, Precision.FLOAT32)
    watch, times_ms, state = Stopwatch(engine.compute.device), [], {}
    with peer.chunk():
        for frame in range(frames):
            times_ms.append(watch.time(lambda: peer.advance(frame))[0])  # noqa: B023
            if frame + 1 in (frames // 10, frames):
                state[str(frame + 1)] = peer.state_bytes()
    return {
        "frames": frames,
        "state_bytes_after": state,
        "state_bytes_a_frame": round((state[str(frames)] - state[str(frames // 10)]) / (frames - frames // 10)),
        "picture_bytes_a_frame": pictures[0].nbytes,
        "pictures": "init_state keeps the whole clip's too; not counted in state_bytes, because here they are looped",
        "last_hundred_frames": percentiles(times_ms[-100:]),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--runner", choices=[str(one) for one in Sam2Runner], default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--upstream-frames", type=int, default=UPSTREAM_FRAMES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS / "sam2_engine_long.json")
    args = parser.parse_args()
    head = conditions()
    torch.set_num_threads(args.threads)
    model = Model(Sam2Size.TINY, args.image_size, nano=True)
    clip = make_clip((args.image_size * 2, args.image_size * 2), args.objects)
    runner, start = Sam2Runner(args.runner), time.monotonic()
    engine = make_engine(model, model.state(), args.device, runner, Precision.FLOAT32, args.objects)
    figures = {
        "model": "tiny made narrow (benchmarks/sam2_clip.py), seeded weights",
        "parameters": sum(parameter.numel() for parameter in engine.model.modules.parameters()),
        "image_size": args.image_size,
        "device": str(engine.compute.device),
        "gpu": torch.cuda.get_device_name() if engine.compute.is_cuda else "none was lent",
        "threads": args.threads,
        "timing": Stopwatch(engine.compute.device).clock,
        "runner": args.runner,
        "ours": run_ours(engine, clip, args.steps, args.samples),
        "upstream": run_upstream(model, engine, clip, args.upstream_frames),
        "elapsed_s": round(time.monotonic() - start, 1),
    }
    write_result(args.json, "sam2_engine_long", figures, head)


if __name__ == "__main__":
    main()
