"""Many trackers over one set of weights."""

import gc
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest

from gest_stream.build import models
from gest_stream.build.shared import SharedModels
from gest_stream.config import HandsConfig, PipelineConfig, Sam2Config, SegmenterKind
from gest_stream.errors import ModelError
from gest_stream.interfaces import Redetector
from gest_stream.models.sam2_shared import SharedSam2
from gest_stream.models.sam2_weights import build_modules
from gest_stream.synthetic import preset, render_clip
from gest_stream.testing import ScriptedDetector, ScriptedRedetector, make_landmarks, probability_of
from tests.models.sam2_nano import NANO, SIDE

RGB = np.full((64, 96, 3), 90, np.uint8)


@pytest.fixture
def redetector(monkeypatch: pytest.MonkeyPatch) -> ScriptedRedetector:
    """What every tracker shares besides the weights of a tiny sam2."""
    made = ScriptedRedetector(lambda frame: probability_of([], frame.size))

    def load(config: PipelineConfig) -> SharedSam2:
        return SharedSam2(build_modules(config.sam2.size, SIDE, NANO), config.sam2, config.batching)

    def make(config: PipelineConfig) -> Redetector:
        return made

    monkeypatch.setattr(models, "load_shared_sam2", load)
    monkeypatch.setattr(models, "make_redetector", make)
    monkeypatch.setattr(
        models, "make_detector", lambda config: ScriptedDetector(lambda seq: [make_landmarks((48, 32), 40)])
    )
    return made


def test_trackers_share_weights_and_redetector_but_no_hands(redetector: ScriptedRedetector) -> None:
    config = PipelineConfig(segmenter=SegmenterKind.SAM2, sam2=Sam2Config(device="cpu", image_size=SIDE))
    shared = SharedModels(config)
    one, other = shared.tracker(), shared.tracker()
    for _ in range(3):
        result = one.step(RGB)
    assert [track.id for track in result.tracks] == [1]
    assert [track.id for track in other.step(RGB).tracks] == [1]  # its own count, its own hand
    one.close()
    closed_too_early = redetector.closed
    assert not closed_too_early
    assert [track.id for track in other.step(RGB).tracks] == [1]
    other.close()
    shared.close()
    assert redetector.closed
    with pytest.raises(ModelError, match="closed"):
        shared.tracker()


def test_light_is_each_trackers_own() -> None:
    shared = SharedModels(PipelineConfig(segmenter=SegmenterKind.LIGHT))
    assert shared.kind is SegmenterKind.LIGHT
    shared.close()


@pytest.mark.slow
@pytest.mark.weights
def test_sixty_trackers_one_after_another_leave_no_memory_behind(hand_model: Path) -> None:
    """A server makes one for every session, and a worker for every plugin."""
    shared = SharedModels(PipelineConfig(hands=HandsConfig(model_path=hand_model), segmenter=SegmenterKind.LIGHT))
    frames = [made.frame for made in islice(render_clip(preset("demo")), 6)]
    process, held = psutil.Process(), []
    for _ in range(60):
        with shared.tracker() as tracker:
            hands = [len(tracker.step(frame.image).tracks) for frame in frames]
            assert max(hands) == 2
        gc.collect()
        held.append(process.memory_info().rss)
    shared.close()
    assert max(held[-10:]) < max(held[10:20]) + 20 * 2**20
