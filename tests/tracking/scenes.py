"""Hands on scripted paths, for the tracking tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gest_stream.config import TrackerConfig
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_frame, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import FrameResult, Handedness, HandLandmarks, Track

Script = Callable[[int], Sequence[HandLandmarks]]

LEFT, RIGHT = Handedness.LEFT, Handedness.RIGHT
SIZE = (640, 360)


def hand(
    x: float,
    y: float = 180.0,
    side: Handedness = RIGHT,
    score: float = 0.9,
    size_px: float = 80.0,
    label: Handedness | None = None,
    presence: float | None = None,
) -> HandLandmarks:
    """A hand at (x, y) whose shape is `side`, called `label` where the detector is wrong."""
    shape = make_landmarks((x, y), size_px, side, score)
    return HandLandmarks(shape.points_px, None, side if label is None else label, score, presence)


def jittered(landmarks: HandLandmarks, rng: np.random.Generator, sigma_px: float) -> HandLandmarks:
    """Every landmark, and the hand as a whole, moved by Gaussian noise."""
    points = landmarks.points_px.copy()
    points[:, :2] += rng.normal(0, sigma_px, (21, 2)) + rng.normal(0, sigma_px, (1, 2))
    return HandLandmarks(points.astype(np.float32), None, landmarks.handedness, landmarks.handedness_score)


def track_all(
    script: Script,
    frames: int,
    config: TrackerConfig | None = None,
    segmenter: ScriptedSegmenter | None = None,
) -> list[FrameResult]:
    """The results of a whole scripted run."""
    core = TrackerCore(ScriptedDetector(script), segmenter, config or TrackerConfig())
    return [core.step(make_frame(seq, SIZE)) for seq in range(frames)]


def ids(result: FrameResult) -> list[int]:
    """The ids on a frame, in the result's order."""
    return [track.id for track in result.tracks]


def by_id(result: FrameResult) -> dict[int, Track]:
    """The tracks of a frame by id."""
    return {track.id: track for track in result.tracks}


def center_x(track: Track) -> float:
    """Where a track's landmarks are."""
    assert track.landmarks is not None
    return float(track.landmarks.points_xy_px[:, 0].mean())


def prompted(segmenter: ScriptedSegmenter, object_id: int) -> list[int]:
    """Frames on which the hand was prompted."""
    return [
        seq
        for seq, observations in enumerate(segmenter.observations)
        if any(o.object_id == object_id and o.prompt is not None for o in observations)
    ]
