"""Systems side by side: memories filled together, then rounds in which each of them advances some frames."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.peers.sam2_systems import Ours, System
from benchmarks.sam2_timing import Stopwatch, percentiles
from gest_stream.config import Precision

WARM_UP_FRAMES = 17
"""Until every place of the bank is full: one conditioning frame, six others, fifteen pointers."""

Skipped = dict[str, str]
"""What could not take part, and why."""


@dataclass(slots=True)
class Record:
    """What was measured of one system.

    Args:
        system: The system.
        frame: The next frame.
        rounds_ms: Counted times of each round.
        wall_ms: The same by the wall's clock, of all rounds.
        streamed_ms: On CUDA, time of a frame where nothing waits in between, of each round.
        peak_bytes: Highest allocation above what all systems hold at rest.
        agreements: Masks beside upstream's in the same precision, of each warm-up frame: lowest IoU and largest
            difference of a logit.
        state_bytes: By number of frames.
    """

    system: System
    frame: int = 0
    rounds_ms: list[list[float]] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    streamed_ms: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    agreements: list[tuple[float, float]] = field(default_factory=list)
    state_bytes: dict[int, int] = field(default_factory=dict)

    def advance(self) -> torch.Tensor:
        """One frame further."""
        self.frame += 1
        return self.system.advance(self.frame - 1)


def warm_up(records: Sequence[Record], skipped: Skipped, frames: int = WARM_UP_FRAMES) -> list[Record]:
    """Fill every memory, all systems frame by frame together, and compare their masks to upstream's.

    Args:
        records: One for each system.
        skipped: Where it is written which system failed, and why.
        frames: How many.

    Returns:
        The systems that got through it.
    """
    running = list(records)
    for _ in range(frames):
        references: dict[Precision, torch.Tensor] = {}
        for record in tuple(running):
            system = record.system
            try:
                with system.chunk():
                    logits = record.advance()
            except Exception as exc:  # a compiler may fail in any way; the others still count
                skipped[f"{system.name} {system.precision}"] = f"{type(exc).__name__}: {str(exc).splitlines()[:1]}"
                running.remove(record)
                continue
            reference = references.setdefault(system.precision, logits) if system.name == "upstream" else None
            if reference is None and system.precision in references:
                record.agreements.append(agreement(logits, references[system.precision]))
    for record in running:
        record.state_bytes[record.frame] = record.system.state_bytes()
    return running


def agreement(logits: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    """Lowest IoU of a mask with its reference, and largest difference of a logit."""
    found, wanted = logits.flatten(1) > 0, reference.flatten(1) > 0
    union = (found | wanted).sum(1).float()
    iou = torch.where(union > 0, (found & wanted).sum(1) / union.clamp(min=1), 1.0)
    return float(iou.min()), float((logits - reference).abs().max())


def measure_round(records: Sequence[Record], device: torch.device, frames: int, turn: int) -> None:
    """Every system some frames further, another one first in each round."""
    for index in range(len(records)):
        record = records[(index + turn) % len(records)]
        watch = Stopwatch(device)
        gc.collect()
        with record.system.chunk():
            record.advance()
            watch.synchronize()
            start = watch.start_peak()
            record.rounds_ms.append([])
            for _ in range(frames):
                record.rounds_ms[-1].append(watch.time(record.advance)[0])
                record.wall_ms.append(watch.wall_ms)
            peak = watch.peak_above(start)
            if peak is not None:
                record.peak_bytes = max(record.peak_bytes or 0, peak)
                record.advance()
                record.streamed_ms.append(watch.time(lambda: _advance_all(record, frames))[0] / frames)  # noqa: B023


def _advance_all(record: Record, frames: int) -> None:
    for _ in range(frames):
        record.advance()


def ratio(record: Record, other: Record) -> float:
    """How many times as long the other takes: the median over rounds of the ratio of medians."""
    pairs = zip(record.rounds_ms, other.rounds_ms, strict=True)
    return round(float(np.median([np.median(theirs) / np.median(mine) for mine, theirs in pairs])), 3)


def figures_of(record: Record, records: Sequence[Record]) -> dict[str, Any]:
    """One system's part of the result."""
    system = record.system
    first, last = min(record.state_bytes), max(record.state_bytes)
    grown = record.state_bytes[last] - record.state_bytes[first]
    figures: dict[str, Any] = {
        "system": system.name,
        "precision": str(system.precision),
        **percentiles([value for values in record.rounds_ms for value in values]),
        "wall_p50_ms": round(float(np.median(record.wall_ms)), 3),
        "state_bytes": {str(frames): count for frames, count in record.state_bytes.items()},
        "state_bytes_a_frame": round(grown / max(last - first, 1)),
        "peak_bytes_above_rest": record.peak_bytes,
    }
    if record.streamed_ms:
        figures["streamed_ms_a_frame"] = round(float(np.median(record.streamed_ms)), 3)
    if record.agreements:
        ious, differences = np.array(record.agreements).T
        figures["beside_upstream"] = {
            "lowest_mask_iou": round(float(ious.min()), 5),
            "median_over_frames_of_lowest_iou": round(float(np.median(ious)), 5),
            "largest_logit_difference": float(f"{differences.max():.3g}"),
        }
    if system.name.startswith("ours"):
        same = [one for one in records if one.system.precision == system.precision]
        figures["others_take_times_as_long"] = {
            other.system.name: ratio(record, other) for other in same if not other.system.name.startswith("ours")
        }
        if isinstance(system, Ours) and system.warm is not None:
            warm = system.warm
            figures["warm_up"] = {"seconds": round(warm.seconds, 1), "graphs": warm.graphs, "fallback": warm.fallback}
    return figures
