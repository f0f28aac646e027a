"""Sessions over one set of SAM2 weights: how many frames a second, how long each takes, and how much memory.

    python -m benchmarks.sam2_sessions [--sessions 1 2 4 8] [--model tiny:1024] [--device cpu] [--json out.json]

For each number of sessions there are two servers of the same weights in one process: one joins encoder passes, the
other does not. They take turns, and are compared by the median over rounds of the ratio within a round. Each session
is a thread that encodes a frame, steps on it and fetches its masks into memory, in two ways:

- `flat_out`: the next frame follows at once, which shows how much there is to have;
- `paced`: a frame comes every 1/fps s, each session's at another moment; the newest one counts and older ones are
  dropped, as a live pipeline does. `frame_ms` is from when it came.

It needs torch and sam2 and no more. Weights are seeded. Without a GPU it runs a narrow model on the CPU, which shows
that it works and what sharing costs there, and nothing about a GPU.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.sam2_clip import Clip, Model, make_clip
from benchmarks.sam2_long_run import live_tensor_bytes
from benchmarks.sam2_timing import percentiles
from gest_stream.config import BatchingConfig, BatchingMode, Precision, Sam2Config, Sam2Size
from gest_stream.models.sam2_engine import Sam2Engine, WarmUp
from gest_stream.models.sam2_masks import to_hand_masks
from gest_stream.models.sam2_shared import SharedSam2
from gest_stream.models.sam2_weights import build_modules

WARM_UP_FRAMES = 17
"""Until every place of the bank is full: one conditioning frame, six others, fifteen pointers."""

_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Args:
        model: Which model.
        device: A torch device.
        precision: What it computes in.
        frame_size: (width, height) of the frames in pixels.
        objects: Objects of each session.
        frames: Frames of each session in a round.
        rounds: Rounds in which both servers take part.
        fps: Frames a second of each session where frames are paced.
        window_ms: How long a picture waits for others.
        max_batch: Pictures in one pass, at most.
    """

    model: Model
    device: str
    precision: Precision
    frame_size: tuple[int, int]
    objects: int
    frames: int
    rounds: int
    fps: float
    window_ms: float
    max_batch: int


@dataclass(slots=True)
class Times:
    """Of one session or of many.

    Args:
        frame: Milliseconds from when a frame was there until its masks were in memory.
        encode: Of `encode`; on CUDA it returns before the GPU is done.
        step: Of `step`, which waits for all of the frame's work.
        dropped: Frames that came while an older one was worked on.
    """

    frame: list[float] = field(default_factory=list)
    encode: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    dropped: int = 0

    def add(self, other: Times) -> None:
        """Take another's in."""
        self.frame += other.frame
        self.encode += other.encode
        self.step += other.step
        self.dropped += other.dropped


class Session:
    """One session's engine and where it is in the clip.

    The engine alone: its segmenter would want OpenCV for the masks' holes.

    Args:
        engine: Over shared weights, with a memory of its own.
        clip: Frames and prompts.
    """

    def __init__(self, engine: Sam2Engine, clip: Clip) -> None:
        self.engine = engine
        self._clip = clip
        self._seq = 0

    def advance(self, times: Times, came_ns: int | None = None) -> None:
        """One frame further."""
        start = time.perf_counter_ns()
        image, seq = self._clip.image(self._seq), self._seq
        self._seq += 1
        encoded = self.engine.encode(image)
        between = time.perf_counter_ns()
        to_hand_masks(self.engine.step(encoded, self._clip.prompts() if seq == 0 else None), non_overlap=True)
        end = time.perf_counter_ns()
        times.frame.append((end - (came_ns or start)) / 1e6)
        times.encode.append((between - start) / 1e6)
        times.step.append((end - between) / 1e6)

    def run(self, frames: int, begin: threading.Barrier) -> Times:
        """Some frames, one after the other."""
        times = Times()
        begin.wait()
        for _ in range(frames):
            self.advance(times)
        return times

    def run_paced(self, frames: int, fps: float, phase: float, begin: threading.Barrier) -> Times:
        """What is not dropped of some frames that come every 1/fps s; the first does `phase`, 0 to 1, of that later."""
        times, gap_ns = Times(), int(1e9 / fps)
        begin.wait()
        first_ns = time.perf_counter_ns() + int(phase * gap_ns)
        number = 0
        while number < frames:
            came_ns = first_ns + number * gap_ns
            time.sleep(max(came_ns - time.perf_counter_ns(), 0) / 1e9)
            self.advance(times, came_ns)
            newest = (time.perf_counter_ns() - first_ns) // gap_ns
            following = min(max(number + 1, newest), frames)
            times.dropped += following - number - 1
            number = following
        return times


class Server:
    """Weights, and the sessions over them.

    Args:
        plan: What is measured.
        state: The weights.
        mode: Whether encoder passes are joined.
        sessions: How many.
        clip: What they see.
    """

    def __init__(
        self, plan: Plan, state: Mapping[str, torch.Tensor], mode: BatchingMode, sessions: int, clip: Clip
    ) -> None:
        self.mode, self._plan, self._device = mode, plan, torch.device(plan.device)
        model, held = plan.model, [self._held()]
        modules = build_modules(model.size, model.image_size, model.overrides)
        modules.load_state_dict(state)
        config = Sam2Config(size=model.size, image_size=model.image_size, device=plan.device, precision=plan.precision)
        self.shared = SharedSam2(modules, config, BatchingConfig(mode, plan.window_ms, plan.max_batch))
        self.warm = self.shared.warmup()
        held.append(self._held())
        self._segmenters = [self.shared.segmenter(plan.objects) for _ in range(sessions)]
        self.sessions = [Session(segmenter.engine, clip) for segmenter in self._segmenters]
        warm = [session.engine.warmup(plan.frame_size, plan.objects) for session in self.sessions]
        held.append(self._held())
        self.memory = self._memory(held, warm)
        self.rounds: list[dict[str, float]] = []
        self.flat_out, self.paced = Times(), Times()

    def _held(self) -> int:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return int(torch.cuda.memory_allocated(self._device))
        return live_tensor_bytes()

    def _memory(self, held: Sequence[int], warm: Sequence[WarmUp]) -> dict[str, Any]:
        engine = self.sessions[0].engine
        weights = {value.data_ptr(): value.nbytes for value in engine.model.modules.state_dict().values()}
        again = {id(session.engine.model.modules) for session in self.sessions}
        kind = "allocated" if self._device.type == "cuda" else "tensor"
        return {
            "weight_bytes": sum(weights.values()),
            "sets_of_weights": len(again),
            "bank_bytes_a_session": engine.state_bytes,
            f"{kind}_bytes_of_weights_and_encoder": held[1] - held[0],
            f"{kind}_bytes_a_session": (held[2] - held[1]) // len(self.sessions),
            "graphs_a_session": warm[0].graphs - self.warm.graphs,
            "warm_up_s_a_session": round(float(np.median([one.seconds for one in warm])), 2),
        }

    def together(self, run: str, frames: int) -> Times:
        """All sessions at once; `run` is "flat_out" or "paced"."""
        begin, times = threading.Barrier(len(self.sessions) + 1, timeout=_PATIENCE_S), Times()
        with ThreadPoolExecutor(len(self.sessions)) as threads:
            waiting = []
            for index, session in enumerate(self.sessions):
                if run == "flat_out":
                    waiting.append(threads.submit(session.run, frames, begin))
                else:
                    phase = index / len(self.sessions)
                    waiting.append(threads.submit(session.run_paced, frames, self._plan.fps, phase, begin))
            begin.wait()
            cpu, wall = time.process_time_ns(), time.perf_counter_ns()
            for one in waiting:
                times.add(one.result(_PATIENCE_S))
            cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
        if run == "flat_out":
            done = len(times.frame)
            self.rounds.append({"fps": done / (wall / 1e9), "cpu_ms_a_frame": cpu / 1e6 / done})
        return times

    def measure_round(self) -> None:
        """One round of both ways."""
        self.flat_out.add(self.together("flat_out", self._plan.frames))
        self.paced.add(self.together("paced", self._plan.frames))

    def figures(self, before: Mapping[str, int]) -> dict[str, Any]:
        """This server's part of the result; `before` are the encoder's counts before the first round."""
        fps = float(np.median([one["fps"] for one in self.rounds]))
        stats, come = self.shared.stats, len(self.paced.frame) + self.paced.dropped
        passes, pictures = stats.passes - before["passes"], stats.pictures - before["pictures"]
        return {
            "encoder_passes": str(self.mode),
            "flat_out": {
                "fps_of_all": round(fps, 2),
                "fps_a_session": round(fps / len(self.sessions), 2),
                "cpu_ms_a_frame": round(float(np.median([one["cpu_ms_a_frame"] for one in self.rounds])), 2),
                **spread(self.flat_out),
            },
            "paced": {"fps_a_session": self._plan.fps, "dropped_share": round(self.paced.dropped / come, 4)}
            | spread(self.paced),
            "pictures_a_pass": round(pictures / max(passes, 1), 3),
            "largest_pass": stats.largest,
            "memory": self.memory,
            "encoder_graphs": self.warm.graphs,
            "fallback": self.warm.fallback,
        }

    def close(self) -> None:
        """Let go of everything."""
        self.sessions.clear()
        for segmenter in self._segmenters:
            segmenter.close()
        self.shared.close()


def spread(times: Times) -> dict[str, Any]:
    """Distributions of one way."""
    return {"frame": percentiles(times.frame), "encode": percentiles(times.encode), "step": percentiles(times.step)}


@contextmanager
def both_servers(plan: Plan, state: Mapping[str, torch.Tensor], sessions: int) -> Iterator[tuple[Server, Server]]:
    """The one that does not join and the one that does, with memories filled."""
    clip = make_clip(plan.frame_size, plan.objects)
    servers = tuple(Server(plan, state, mode, sessions, clip) for mode in (BatchingMode.OFF, BatchingMode.ON))
    try:
        for server in servers:
            server.together("flat_out", WARM_UP_FRAMES)
            server.rounds.clear()
        yield servers[0], servers[1]
    finally:
        for server in servers:
            server.close()


def measure(plan: Plan, state: Mapping[str, torch.Tensor], sessions: int) -> dict[str, Any]:
    """One number of sessions."""
    with both_servers(plan, state, sessions) as servers:
        before = [{"passes": one.shared.stats.passes, "pictures": one.shared.stats.pictures} for one in servers]
        for turn in range(plan.rounds):
            for index in range(2):
                servers[(index + turn) % 2].measure_round()
        alone, joined = servers
        pairs = list(zip(alone.rounds, joined.rounds, strict=True))
        ratios = {
            "fps": float(np.median([two["fps"] / one["fps"] for one, two in pairs])),
            "cpu_ms_a_frame": float(np.median([two["cpu_ms_a_frame"] / one["cpu_ms_a_frame"] for one, two in pairs])),
        }
        found = [server.figures(counts) for server, counts in zip(servers, before, strict=True)]
    for one in found:
        flat, paced = one["flat_out"], one["paced"]
        print(
            f"{sessions} sessions, joined {one['encoder_passes']}: {flat['fps_of_all']} fps, frame p50 "
            f"{flat['frame']['p50_ms']} ms; at {plan.fps:g} fps each p50 {paced['frame']['p50_ms']} p95 "
            f"{paced['frame']['p95_ms']} ms, {paced['dropped_share']:.0%} dropped",
            flush=True,
        )
    return {
        "sessions": sessions,
        "joined_over_not": {name: round(value, 3) for name, value in ratios.items()},
        "servers": found,
    }


def parse_model(text: str) -> Model:
    """size:image_size; size nano-tiny is a narrow tiny.

    Raises:
        ValueError: It is not that.
    """
    size, side = text.split(":")
    return Model(Sam2Size(size.removeprefix("nano-")), int(side), nano=size.startswith("nano-"))


def plan_of(args: argparse.Namespace) -> Plan:
    """What the command line asks for; what it leaves open depends on the device."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.startswith("cuda")
    return Plan(
        parse_model(args.model or ("tiny:1024" if cuda else "nano-tiny:128")),
        device,
        Precision(args.precision or ("bfloat16" if cuda else "float32")),
        (args.frame_size[0], args.frame_size[1]),
        args.objects,
        args.frames or (60 if cuda else 6),
        args.rounds or (5 if cuda else 3),
        args.fps or (30.0 if cuda else 4.0),
        args.window_ms,
        args.max_batch,
    )


def settings_of(plan: Plan) -> dict[str, Any]:
    """What a reader of the result has to know about how it came about."""
    cuda = plan.device.startswith("cuda")
    name = f"{'narrow ' if plan.model.nano else ''}{plan.model.size}"
    return {
        "gpu": torch.cuda.get_device_name() if cuda else "none was lent: says nothing about a GPU",
        "device": plan.device,
        "threads": torch.get_num_threads(),
        "sam2": metadata.version("sam2"),
        "model": f"{name} at {plan.model.image_size} pixels, seeded weights",
        "precision": str(plan.precision),
        "frame_size": list(plan.frame_size),
        "objects_a_session": plan.objects,
        "frames_a_round": plan.frames,
        "rounds": plan.rounds,
        "window_ms": plan.window_ms,
        "max_batch": plan.max_batch,
        "timing": "the wall's clock, on a frame's way from picture to masks in memory; cpu_ms_a_frame is the process's "
        "own time, which other work on the machine changes little",
        "joined_over_not": "median over rounds of (joined / not joined) in the same round; of fps above 1 is better",
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--model", help="size:image_size; tiny:1024 on CUDA, nano-tiny:128 elsewhere")
    parser.add_argument("--device", help="a torch device; CUDA where there is one, else the CPU")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help="bfloat16 on CUDA, float32 elsewhere")
    parser.add_argument("--frame-size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--frames", type=int, default=0, help="of a session in a round; 0: 60 on CUDA, 6 elsewhere")
    parser.add_argument("--rounds", type=int, default=0, help="0: 5 on CUDA, 3 elsewhere")
    parser.add_argument("--fps", type=float, default=0.0, help="of paced sessions; 0: 30 on CUDA, 4 elsewhere")
    parser.add_argument("--window-ms", type=float, default=BatchingConfig().window_ms)
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch; 0 leaves that to torch")
    parser.add_argument("--json", type=Path, default=RESULTS / "sam2_sessions.json")
    return parser.parse_args()


def main() -> None:
    """Measure and write."""
    args = arguments()
    head = conditions()
    if args.threads:
        torch.set_num_threads(args.threads)
    plan = plan_of(args)
    state = plan.model.state()
    figures: dict[str, Any] = {"how": settings_of(plan), "complete": False, "results": []}
    for sessions in args.sessions:
        figures["results"].append(measure(plan, state, sessions))
        figures["complete"] = len(figures["results"]) == len(args.sessions)
        figures["load_after"] = round(os.getloadavg()[0], 2)
        write_result(args.json, "sam2_sessions", figures, head)


if __name__ == "__main__":
    main()
