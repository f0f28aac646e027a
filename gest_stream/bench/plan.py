"""How much of what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gest_stream.bench.record import PARTS
from gest_stream.config import nearest_name
from gest_stream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limit:
    """When a measurement is long enough: after so many frames, or after so many seconds and a handful of frames."""

    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What is measured, and for how long.

    Args:
        quick: Whether this is the short plan.
        parts: Which of `PARTS`.
        warm_up_s: Seconds of every live run that are left out.
        stages: Of the stages.
        live_s: Seconds by size of the live runs, warm-up left out.
        throughput_runs: Runs from file to file.
        throughput_s: Seconds that each may take.
        hands: For each number of hands.
        sources: Numbers of concurrent sources.
        sources_s: Seconds for each number.
        memory_s: Seconds.
        quality: By size.
        recorded_s: Seconds of a live source that are recorded, to be played in the other parts.

    Raises:
        ConfigError: A part is unknown.
    """

    quick: bool = False
    parts: tuple[str, ...] = PARTS
    warm_up_s: float = 1.0
    stages: Limit = Limit(310, 40.0)
    live_s: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"480p": 15.0, "720p": 60.0, "1080p": 15.0})
    )
    throughput_runs: int = 3
    throughput_s: float = 40.0
    hands: Limit = Limit(210, 12.0)
    sources: tuple[int, ...] = (1, 2, 4, 8)
    sources_s: float = 8.0
    memory_s: float = 60.0
    quality: Mapping[str, Limit] = field(
        default_factory=lambda: MappingProxyType({name: Limit(10_000, 60.0) for name in ("480p", "720p", "1080p")})
    )
    recorded_s: float = 10.0

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise ConfigError(f"part {part!r}: unknown{nearest_name(part, list(PARTS))}")


def quick_plan(parts: tuple[str, ...] = PARTS) -> BenchPlan:
    """A minute or less."""
    return BenchPlan(
        quick=True,
        parts=parts,
        stages=Limit(60, 6.0),
        live_s=MappingProxyType({"480p": 3.0, "720p": 5.0, "1080p": 3.0}),
        throughput_runs=2,
        throughput_s=4.0,
        hands=Limit(40, 2.0),
        sources_s=1.5,
        memory_s=4.0,
        quality=MappingProxyType({"480p": Limit(10_000, 8.0), "720p": Limit(10_000, 8.0)}),
        recorded_s=3.0,
    )


@dataclass(frozen=True, slots=True)
class BenchProgress:
    """How far a benchmark is.

    Args:
        part: "clip" while what is played is made, then one of `PARTS`.
        detail: What of it, in a word or two.
        done: Steps of the whole that are done.
        total: Steps of the whole.
    """

    part: str
    detail: str
    done: int
    total: int


OnProgress = Callable[[BenchProgress], None]
