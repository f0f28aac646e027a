"""The models of a benchmark: loaded once, lent to one tracker after the other, timed where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from gest_stream import build
from gest_stream.bench.stopwatch import Stopwatch
from gest_stream.config import PipelineConfig, RedetectionMode
from gest_stream.interfaces import PacedSegmenter, Redetector, Segmenter
from gest_stream.types import Frame, HandMask, HandProbability, Observation, ReinitialisedBy


class BenchModels:
    """Segmenter and redetector of `config`. A context manager; leaving closes them.

    Args:
        config: Settings of every tracker.

    Raises:
        ModelError: On entering: a model cannot be loaded.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self._segmenter: Segmenter[Any] | None = None
        self._redetector: Redetector | None = None

    def __enter__(self) -> Self:
        self._segmenter = build.make_segmenter(self.config)
        try:
            self._redetector = build.make_redetector(self.config) if self._segmenter is not None else None
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if self._segmenter is not None:
                self._segmenter.close()
        finally:
            if self._redetector is not None:
                self._redetector.close()

    def tracker(self, watch: Stopwatch | None = None, max_hands: int | None = None) -> build.HandTracker:
        """A tracker with a detector of its own; one at a time, closed by whoever takes it.

        Args:
            watch: Times `step` and `redetect`.
            max_hands: Hands that the detector looks for, instead of what the settings say.
        """
        config = self.config
        if max_hands is not None:
            config = replace(config, hands=replace(config.hands, max_hands=max_hands))
        if watch is not None:  # an answer that comes from another thread would be timed beside other stages
            redetection = replace(config.tracker.redetection, mode=RedetectionMode.WAIT)
            config = replace(config, tracker=replace(config.tracker, redetection=redetection))
        return build.HandTracker(
            config,
            detector=build.make_detectors(config) if watch is None else None,
            segmenter=_LentSegmenter(self._segmenter, watch) if self._segmenter is not None else None,
            redetector=_LentRedetector(self._redetector, watch) if self._redetector is not None else None,
        )


def _timed(watch: Stopwatch | None, stage: str) -> AbstractContextManager[None]:
    return watch.stage(stage) if watch is not None else nullcontext()


class _LentSegmenter:
    """Forwards to a segmenter that outlives the tracker."""

    def __init__(self, inner: Segmenter[Any], watch: Stopwatch | None) -> None:
        self._inner, self._watch = inner, watch

    @property
    def takes_clicks(self) -> bool:
        return self._inner.takes_clicks

    def encode(self, frame: Frame) -> Any:
        return self._inner.encode(frame)

    def step(self, encoded: Any, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        with _timed(self._watch, "step"):
            return self._inner.step(encoded, observations)

    def set_live(self, live: bool) -> None:
        if isinstance(self._inner, PacedSegmenter):
            self._inner.set_live(live)

    def forget(self, object_id: int) -> None:
        self._inner.forget(object_id)

    def reset(self) -> None:
        self._inner.reset()

    def close(self) -> None:
        self._inner.reset()


class _LentRedetector:
    """Forwards to a redetector that outlives the tracker."""

    def __init__(self, inner: Redetector, watch: Stopwatch | None) -> None:
        self._inner, self._watch = inner, watch

    @property
    def kind(self) -> ReinitialisedBy:
        return self._inner.kind

    def segment(self, frame: Frame) -> HandProbability:
        with _timed(self._watch, "redetect"):
            return self._inner.segment(frame)

    def close(self) -> None:
        """It goes on to the next tracker."""
