"""Models that are lent: loaded once, timed where asked for, reset and kept open between trackers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gest_stream import build
from gest_stream.bench.models import BenchModels
from gest_stream.bench.stages import stages_of
from gest_stream.bench.stopwatch import Stopwatch
from gest_stream.build import models
from gest_stream.config import DeadlineConfig, PipelineConfig
from gest_stream.testing import ScriptedDetector, ScriptedRedetector, ScriptedSegmenter, make_frame, probability_of
from gest_stream.types import HandLandmarks
from tests.bench.conftest import LIGHT, SIZE, scripted_hand, truth_of


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ScriptedSegmenter, ScriptedRedetector]]:
    """A segmenter and a redetector that `BenchModels` is given, and a detector that sees a hand every other frame."""
    segmenter = ScriptedSegmenter()
    redetector = ScriptedRedetector(lambda frame: probability_of([truth_of().hand_mask], frame.size))

    def hands(seq: int) -> list[HandLandmarks]:
        return [scripted_hand()] if seq == 0 or seq >= 8 else []

    monkeypatch.setattr(build, "make_segmenter", lambda config: segmenter)
    monkeypatch.setattr(build, "make_redetector", lambda config: redetector)
    monkeypatch.setattr(models, "make_detector", lambda config: ScriptedDetector(hands))
    yield segmenter, redetector


def test_models_outlive_their_trackers(parts: tuple[ScriptedSegmenter, ScriptedRedetector]) -> None:
    segmenter, redetector = parts
    with BenchModels(LIGHT) as lent:
        for resets in (1, 2):
            with lent.tracker() as tracker:
                assert tracker.step(make_frame(0, SIZE)).tracks[0].mask is not None
            assert segmenter.resets == resets and not segmenter.closed
    assert segmenter.closed and redetector.closed


def test_steps_and_questions_are_timed(parts: tuple[ScriptedSegmenter, ScriptedRedetector]) -> None:
    _, redetector = parts
    watch = Stopwatch()
    with BenchModels(LIGHT) as lent, lent.tracker(watch) as tracker:
        for seq in range(16):
            tracker.step(make_frame(seq, SIZE))
            watch.end_frame()
    assert len(watch.wall_ms["step"]) == 16
    assert 0 < len(watch.wall_ms["redetect"]) == len(redetector.asked) < 16
    stages = {stage.stage: stage for stage in stages_of(watch, SIZE, 16).stages}
    assert stages["step"].wall_ms is not None and stages["step"].gpu_ms is None
    assert stages["decode"].wall_ms is None


def test_a_deadline_is_told_whether_frames_are_live(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []

    class Paced(ScriptedSegmenter):
        def set_live(self, live: bool) -> None:
            told.append(live)

    monkeypatch.setattr(build, "make_segmenter", lambda config: Paced())
    monkeypatch.setattr(models, "make_detector", lambda config: ScriptedDetector(lambda seq: []))
    config: PipelineConfig = replace(LIGHT, deadline=DeadlineConfig(limit_ms=33.0))
    with BenchModels(config) as lent, lent.tracker() as tracker:
        tracker.set_live(True)
        tracker.set_live(False)
    assert told == [True, False]


def test_a_stopwatch_takes_inner_stages_away_from_outer_ones() -> None:
    watch = Stopwatch()
    with watch.stage("outer"), watch.stage("inner"):
        sum(range(20_000))
    watch.subtract("outer", "inner")
    watch.end_frame()
    assert 0.0 <= watch.wall_ms["outer"][0] < watch.wall_ms["inner"][0]
    assert watch.gpu_ms == {}
    watch.end_frame()
    assert len(watch.wall_ms["outer"]) == 1  # a frame without stages adds nothing
