"""The tracker on real landmarks: two hands that never leave the picture are two ids."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gest_stream.config import HandsConfig
from gest_stream.models.hands import MediaPipeHands
from gest_stream.testing import ScriptedSegmenter
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, Handedness, TrackState

pytestmark = [pytest.mark.weights, pytest.mark.clips]


@pytest.fixture(scope="module")
def results(clips_folder: Path, hand_model: Path) -> list[FrameResult]:
    import av

    with (
        av.open(str(clips_folder / "two_hands.mp4")) as container,
        TrackerCore(MediaPipeHands(HandsConfig(), hand_model), ScriptedSegmenter()) as core,
    ):
        done = []
        for seq, picture in enumerate(container.decode(video=0)):
            image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            done.append(core.step(Frame(image, picture.pts or 0, Fraction(picture.time_base or 0), 0, seq)))
    return done


def test_two_hands_are_two_ids_from_the_first_frame_to_the_last(results: list[FrameResult]) -> None:
    assert len(results) == 210
    assert {track.id for result in results for track in result.tracks} == {1, 2}
    held = [sum(track.landmarks is not None or track.mask is not None for track in result.tracks) for result in results]
    assert held.count(2) >= 0.95 * len(results)


def test_each_hand_keeps_its_handedness(results: list[FrameResult]) -> None:
    names = {(track.id, track.handedness) for result in results for track in result.tracks}
    assert len(names) == 2
    assert {name for _, name in names} == {Handedness.LEFT, Handedness.RIGHT}
    assert all(track.state is not TrackState.TENTATIVE for result in results[2:] for track in result.tracks)
