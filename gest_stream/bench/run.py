"""The parts of a benchmark one after the other; what was measured stays when it is interrupted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from gest_stream import build
from gest_stream.bench.clips import HANDS, cache_folder, hands_clips
from gest_stream.bench.conditions import conditions, gpu_name
from gest_stream.bench.footage import Footage, footage_of, own_footage
from gest_stream.bench.live import LiveTimes, run_live
from gest_stream.bench.looped import PlayFile
from gest_stream.bench.lossless import measure_memory, measure_throughput
from gest_stream.bench.models import BenchModels
from gest_stream.bench.plan import BenchPlan, BenchProgress, OnProgress
from gest_stream.bench.record import (
    BENCHMARK,
    PARTS,
    VERSION,
    HandsRun,
    LiveRun,
    Machine,
    QualityPoint,
    Record,
    Settings,
    SourcesRun,
)
from gest_stream.bench.scale import measure_hands, measure_sources
from gest_stream.bench.scored import measure_quality
from gest_stream.bench.stages import measure_stages
from gest_stream.build.shared import SharedModels
from gest_stream.clock import now_ns
from gest_stream.config import PipelineConfig, SegmenterKind

_LISTS: Final = ("live", "hands", "sources", "quality")


@dataclass(frozen=True, slots=True)
class _Step:
    part: str
    detail: str
    measure: Callable[[], Any]


class Bench:
    """One benchmark. A context manager: entering makes the clips and loads the models.

    Args:
        plan: What is measured.
        config: Settings of the tracker.
        source: What is played instead of the package's own clip, as `gest-stream run` takes it.
        on_progress: Is told how far it is.
        cache: Where rendered clips are kept; None is the user's cache.
    """

    def __init__(
        self,
        plan: BenchPlan,
        config: PipelineConfig,
        source: str | None = None,
        on_progress: OnProgress = lambda _: None,
        cache: Path | None = None,
    ) -> None:
        self._plan, self._config, self._source = plan, config, source
        self._on_progress = on_progress
        self._cache = cache or cache_folder()
        self._start_ns = now_ns()
        self._head = conditions()
        self._models = BenchModels(config)
        self._open = ExitStack()
        self._footage: Footage | None = None
        self._hands_files: dict[int, PlayFile] = {}
        self._measured: dict[str, Any] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gest-stream-bench-")))
            self._footage = self._get_footage(folder)
            if "hands" in self._plan.parts:
                self._hands_files = hands_clips(self._plan.quick, self._cache, self._tell_rendered)
            self._on_progress(BenchProgress("models", "", 0, 0))
            stack.enter_context(self._models)
            self._head["machine"]["gpu"] = gpu_name()  # torch is loaded by now, where something needs it
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._open.close()

    def run(self) -> None:
        """Measure every part of the plan.

        Raises:
            GestStreamError: A source, a model or an output failed; what was measured before is kept.
            KeyboardInterrupt: Likewise.
        """
        steps = [step for step in self._steps() if step.part in self._plan.parts]
        for done, step in enumerate(steps):
            self._on_progress(BenchProgress(step.part, step.detail, done, len(steps)))
            measured = step.measure()
            if step.part not in _LISTS:
                self._measured[step.part] = measured
            elif measured is not None:
                self._measured.setdefault(step.part, []).append(measured)

    def record(self, complete: bool) -> Record:
        """What was measured so far."""
        measured = {part: self._measured.get(part) for part in PARTS}
        for part in _LISTS:
            measured[part] = tuple(measured[part] or ()) or None
        return Record(
            benchmark=BENCHMARK,
            v=VERSION,
            date=self._head["date"],
            commit=self._head["commit"],
            machine=Machine(**self._head["machine"]),
            versions=self._head["versions"],
            settings=settings_of(self._plan, self._config, self._opened),
            complete=complete,
            elapsed_s=round((now_ns() - self._start_ns) / 1e9, 1),
            **measured,
        )

    @property
    def _opened(self) -> Footage:
        assert self._footage is not None, "enter the benchmark first"
        return self._footage

    def _get_footage(self, folder: Path) -> Footage:
        if self._source is None:
            return own_footage(self._plan.quick, self._cache, self._tell_rendered)
        seconds = self._plan.recorded_s
        return footage_of(self._source, self._config, folder, self._cache, seconds, self._tell_rendered)

    def _tell_rendered(self, done: int, total: int) -> None:
        self._on_progress(BenchProgress("clip", f"frame {done} of {total}", done, total))

    def _steps(self) -> Iterator[_Step]:
        plan, models, footage = self._plan, self._models, self._opened
        file, small = footage.file("720p"), footage.file("480p")
        yield _Step("stages", "", partial(measure_stages, file, models, plan.stages))
        live_s = plan.live_s if footage.clip.truth is not None else {"source": plan.live_s["720p"]}
        for name, seconds in live_s.items():
            yield _Step("live", name, partial(self._live, name, seconds))
        yield _Step("throughput", "", self._throughput)
        for hands in HANDS:
            yield _Step("hands", str(hands), partial(self._hands, hands))
        for count in plan.sources:
            yield _Step("sources", str(count), partial(self._sources, count, small))
        yield _Step("memory", "", partial(measure_memory, file, models.tracker, plan.memory_s))
        if footage.clip.truth is not None:
            for name in plan.quality:
                yield _Step("quality", name, partial(self._quality, name))

    def _live(self, name: str, seconds: float) -> LiveRun | None:
        from gest_stream.overlay import Renderer

        draw = Renderer(self._config.effect).render
        return run_live(
            self._opened.live_source(name), self._models.tracker, draw, LiveTimes(self._plan.warm_up_s, seconds), name
        )

    def _throughput(self) -> Any:
        plan = self._plan
        file = self._opened.file("720p")
        return measure_throughput(file, self._models.tracker, self._config, plan.throughput_runs, plan.throughput_s)

    def _hands(self, hands: int) -> HandsRun:
        return measure_hands(hands, self._hands_files[hands], self._models, self._plan.hands)

    def _sources(self, count: int, file: PlayFile) -> SourcesRun | None:
        shared = SharedModels(self._config)
        try:
            return measure_sources(count, file, shared.tracker, LiveTimes(self._plan.warm_up_s, self._plan.sources_s))
        finally:
            shared.close()

    def _quality(self, name: str) -> QualityPoint | None:
        clip = self._opened.clip
        assert clip.truth is not None
        with self._models.tracker() as tracker:
            return measure_quality(name, clip.files[name], clip.truth, tracker, self._plan.quality[name])


def settings_of(plan: BenchPlan, config: PipelineConfig, footage: Footage) -> Settings:
    """What the record says of what was measured."""
    segmenter, reason = build.choose_segmenter(config)
    sam2 = segmenter is SegmenterKind.SAM2
    return Settings(
        quick=plan.quick,
        parts=plan.parts,
        source=footage.name,
        clip_frames=footage.clip.frames,
        segmenter=str(segmenter),
        segmenter_reason=reason,
        redetector=str(build.choose_redetector(config)[0]),
        sam2_size=str(config.sam2.size) if sam2 else None,
        sam2_image_size=config.sam2.image_size if sam2 else None,
        device=_device(config) if sam2 else "cpu",
        max_hands=config.hands.max_hands,
        effect=str(config.effect.kind),
        deadline_ms=config.deadline.limit_ms,
    )


def _device(config: PipelineConfig) -> str:
    chosen = config.sam2.device
    return ("cuda" if gpu_name() is not None else "cpu") if chosen == "auto" else chosen
