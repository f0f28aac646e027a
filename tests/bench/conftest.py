"""Small clips with scripted hands, so that nothing is rendered and no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gest_stream.bench import clips, footage
from gest_stream.bench.looped import PlayFile
from gest_stream.build import models
from gest_stream.config import PipelineConfig, RedetectorConfig, RedetectorKind, SegmenterKind
from gest_stream.synthetic import ClipConfig, HandTruth, SyntheticFrame
from gest_stream.testing import ScriptedDetector, hull_mask, make_frame, make_landmarks
from gest_stream.types import HandLandmarks, HandMask, MaskSource
from tests.media import Clip, make_clip

SIZE = (160, 120)
RATE = 50
LIGHT = PipelineConfig(segmenter=SegmenterKind.LIGHT, redetector=RedetectorConfig(kind=RedetectorKind.NONE))


def scripted_hand(index: int = 0, size: tuple[int, int] = SIZE) -> HandLandmarks:
    """The landmarks of hand `index` on every frame of a clip."""
    scale = size[0] / SIZE[0]
    return make_landmarks(((45 + 70 * index) * scale, 60 * scale), 60 * scale)


def truth_of(index: int = 0, shown: float = 1.0, size: tuple[int, int] = SIZE) -> HandTruth:
    """A hand whose mask is its hull; an empty one where nothing is shown."""
    landmarks = scripted_hand(index, size)
    empty = HandMask.from_full(np.zeros((size[1], size[0]), np.uint8), 1.0, MaskSource.SCRIPTED)
    mask = hull_mask(landmarks, size) if shown > 0 else empty
    return HandTruth(index, landmarks, np.ones(21, bool), mask, empty, True, shown, 0.0)


def fake_rendering(config: ClipConfig, workers: int) -> Iterator[SyntheticFrame]:
    """Grey frames with two hands, of which the second is covered for a third of the clip."""
    for seq in range(config.frames):
        covered = config.frames / 3 <= seq < config.frames * 2 / 3
        hands = (truth_of(0, 1.0, config.size), truth_of(1, 0.0 if covered else 1.0, config.size))
        yield SyntheticFrame(make_frame(seq, config.size, 60 + seq, config.rate), hands)


@pytest.fixture
def small_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own clip made small, and its hands found by a script."""
    sizes = {"480p": SIZE, "720p": (240, 180), "1080p": (320, 240)}
    monkeypatch.setattr(clips, "SIZES", sizes)
    for module in (clips, footage):
        monkeypatch.setattr(module, "main_config", lambda quick: ClipConfig(SIZE, frames=18, rate=RATE, seed=1))
    monkeypatch.setattr(clips, "render_in_processes", fake_rendering)
    monkeypatch.setattr(models, "make_detector", lambda config: ScriptedDetector(detected(config.hands.max_hands)))


def detected(hands: int) -> _Script:
    """A script that finds so many hands of a 160x120 picture."""
    return _Script(hands)


class _Script:
    def __init__(self, hands: int) -> None:
        self._found = [scripted_hand(index) for index in range(min(hands, 2))]

    def __call__(self, seq: int) -> Sequence[HandLandmarks]:
        return self._found


@pytest.fixture
def play_file(tmp_path: Path) -> PlayFile:
    """Twelve numbered frames."""
    path: Path = make_clip(tmp_path / "clip.mp4", Clip(size=SIZE, frames=12, rate=Fraction(RATE)))
    return PlayFile(path, SIZE, Fraction(RATE), 12)
