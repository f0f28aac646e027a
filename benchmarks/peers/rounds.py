"""Whole clips through several systems in turn, and how many times as long as ours each of the others takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.peers.footage import Footage


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the work took.

    Args:
        seconds: By the clock.
        cpu_seconds: What all threads of this process computed meanwhile.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One clip through one system, its models loaded before.

    Args:
        seconds: From opening the clip until everything was written.
        cpu_seconds: What all threads of this process computed meanwhile.
        frames: Frames that were processed.
        frames_with_masks: Of those, frames with at least one mask.
        other_programs_cores: Processor time that everything else on the machine took over `seconds`; None where the
            system does not say. Above a few tenths, wall times say more about that than about the system.
        first_mask_s: From opening the clip until the first mask was there; None where it makes none.
        parts: By part of the work, where the system does them one after the other.
        held_bytes: What it holds of the clip at its end beside its weights; None where that was not asked.
        written_bytes: Of the video it wrote; None where it wrote none.
    """

    seconds: float
    cpu_seconds: float
    frames: int
    frames_with_masks: int
    other_programs_cores: float | None = None
    first_mask_s: float | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    held_bytes: int | None = None
    written_bytes: int | None = None


class Way(Protocol):
    """One way from a clip to hands.

    Args:
        name: What it is called in results.
        about: What it does, in a sentence.
    """

    name: str
    about: str

    def run(self, footage: Footage) -> Outcome:
        """Take a whole clip through it; loading models is not in what is timed."""
        ...


class Clock:
    """Time since it was made, and what it was spent on."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._machine = time.perf_counter(), time.process_time(), busy_seconds()
        self.first_mask_s: float | None = None
        self.frames = self.frames_with_masks = 0
        self.parts: dict[str, Part] = {}

    def frame(self, has_mask: bool) -> None:
        """One frame is done."""
        self.frames += 1
        self.frames_with_masks += has_mask
        if has_mask and self.first_mask_s is None:
            self.first_mask_s = time.perf_counter() - self._wall

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done within is this part's."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        before = self.parts.get(name, Part())
        self.parts[name] = Part(
            before.seconds + time.perf_counter() - wall, before.cpu_seconds + time.process_time() - cpu
        )

    def stop(self, held_bytes: int | None = None, written_bytes: int | None = None) -> Outcome:
        """What was measured."""
        seconds, cpu_seconds = time.perf_counter() - self._wall, time.process_time() - self._cpu
        machine, others = busy_seconds(), None
        if machine is not None and self._machine is not None:
            others = max(machine - self._machine - cpu_seconds, 0.0) / seconds
        return Outcome(
            seconds,
            cpu_seconds,
            self.frames,
            self.frames_with_masks,
            others,
            self.first_mask_s,
            self.parts,
            held_bytes,
            written_bytes,
        )


def busy_seconds() -> float | None:
    """Processor time of the whole machine since it started, with what a hypervisor took; None where nobody says."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, *interrupts_and_steal = (int(one) for one in fields)
    return (user + nice + system + sum(interrupts_and_steal)) / os.sysconf("SC_CLK_TCK")


def interleaved(
    ways: Sequence[Way],
    footage: Footage,
    warm_up: Footage,
    rounds: int,
    skipped: dict[str, str],
    may_start: Callable[[float], bool] = lambda longest_s: True,
) -> dict[str, list[Outcome]]:
    """Rounds in which every way takes the clip once, another one first in each.

    Args:
        ways: What is compared.
        footage: The clip.
        warm_up: A short one, which each takes before anything counts.
        rounds: How many.
        skipped: Where it is written which way failed, and why; it takes no further part.
        may_start: Told how long the longest round took, says whether there is time for one more. The first is not
            asked about.

    Returns:
        The outcomes of each way, one a round.
    """
    found: dict[str, list[Outcome]] = {}
    for way in ways:
        try:
            way.run(warm_up)
            found[way.name] = []
        except Exception as exc:  # other people's software may fail in any way; the others still count
            skipped[way.name] = reason(exc)
    running, longest_s = [way for way in ways if way.name in found], 0.0
    for turn in range(rounds):
        if turn and not may_start(longest_s):
            break
        start = time.perf_counter()
        for index in range(len(running)):
            way = running[(index + turn) % len(running)]
            found[way.name].append(way.run(footage))
        longest_s = max(longest_s, time.perf_counter() - start)
    return found


def reason(exc: Exception) -> str:
    """An error in one line."""
    return f"{type(exc).__name__}: {(str(exc).splitlines() or [''])[0]}"


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Median, least and most of the rounds' values, and the values."""
    rounded = [round(float(value), digits) for value in values]
    return {
        "median": round(float(np.median(values)), digits),
        "min": min(rounded),
        "max": max(rounded),
        "by_round": rounded,
    }


def figures_of(way: Way, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """One way's part of the result."""
    last = outcomes[-1]
    figures: dict[str, Any] = {
        "system": way.name,
        "about": way.about,
        "frames": last.frames,
        "frames_with_masks": last.frames_with_masks,
        "fps": spread([one.frames / one.seconds for one in outcomes], 2),
        "cpu_ms_a_frame": spread([1e3 * one.cpu_seconds / one.frames for one in outcomes], 2),
    }
    others = [one.other_programs_cores for one in outcomes if one.other_programs_cores is not None]
    if others:
        figures["other_programs_cores"] = spread(others, 2)
    firsts = [one.first_mask_s for one in outcomes if one.first_mask_s is not None]
    if firsts:
        figures["first_mask_ms"] = spread([1e3 * first for first in firsts], 1)
    if last.parts:
        figures["parts_a_frame"] = {
            name: {
                "ms": spread([1e3 * one.parts[name].seconds / one.frames for one in outcomes]),
                "cpu_ms": spread([1e3 * one.parts[name].cpu_seconds / one.frames for one in outcomes]),
            }
            for name in last.parts
        }
    for name in ("held_bytes", "written_bytes"):
        if getattr(last, name) is not None:
            figures[name] = getattr(last, name)
    return figures


def ratios_to(ours: str, found: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """How many times as much as ours each of the others takes, round by round; above 1 ours is ahead."""
    ratios = []
    for other, theirs in found.items():
        if other == ours or ours not in found:
            continue
        pairs = list(zip(found[ours], theirs, strict=True))
        one: dict[str, Any] = {
            "other": other,
            "time": spread([b.seconds / a.seconds for a, b in pairs]),
            "cpu_time": spread([b.cpu_seconds / a.cpu_seconds for a, b in pairs]),
        }
        firsts = [
            b.first_mask_s / a.first_mask_s
            for a, b in pairs
            if a.first_mask_s is not None and b.first_mask_s is not None
        ]
        if firsts:
            one["time_to_first_mask"] = spread(firsts)
        ratios.append(one)
    return ratios
