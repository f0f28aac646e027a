"""Fakes for tests of code that uses gest_stream: scripted sources, detectors, segmenters, redetectors and sinks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from gest_stream.audio import AudioFeed
from gest_stream.clock import now_ns
from gest_stream.interfaces import SourceInfo
from gest_stream.types import (
    Frame,
    FrameResult,
    Handedness,
    HandLandmarks,
    HandMask,
    HandProbability,
    MaskSource,
    Observation,
    Prompt,
    ReinitialisedBy,
)

_OPEN_RIGHT_HAND = np.array(
    [
        *[(0, 0), (-2.6, -1.6), (-4.4, -3.3), (-5.6, -5.0), (-6.5, -6.4)],
        *[(-2.2, -8.0), (-2.6, -11.6), (-2.8, -13.8), (-2.9, -15.6)],
        *[(0, -8.4), (0, -12.6), (0, -15.2), (0, -17.1)],
        *[(2.0, -7.9), (2.3, -11.7), (2.5, -14.1), (2.6, -15.9)],
        *[(3.7, -6.9), (4.5, -9.7), (5.0, -11.4), (5.3, -12.9)],
    ],
    np.float32,
)


_CLICK_RADIUS_PX = 20


def make_frame(seq: int = 0, size: tuple[int, int] = (64, 48), value: int = 0, rate: int = 30) -> Frame:
    """A frame of one grey value whose pts is `seq` in units of 1/`rate` s."""
    image = np.full((size[1], size[0], 3), value, np.uint8)
    return Frame(image, seq, Fraction(1, rate), now_ns(), seq)


def make_landmarks(
    center_xy_px: tuple[float, float] = (100.0, 100.0),
    size_px: float = 80.0,
    handedness: Handedness = Handedness.RIGHT,
    score: float = 0.9,
) -> HandLandmarks:
    """An open upright hand, palm to the camera, `size_px` high, centred at `center_xy_px`."""
    points = _OPEN_RIGHT_HAND.copy()
    if handedness is Handedness.LEFT:
        points[:, 0] *= -1
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) * np.float32(size_px / (high - low)[1]) + np.array(center_xy_px, np.float32)
    points_px = np.concatenate([points, np.zeros((21, 1), np.float32)], axis=1).astype(np.float32)
    return HandLandmarks(points_px, None, handedness, score)


def hull_mask(landmarks: HandLandmarks, frame_size: tuple[int, int]) -> HandMask:
    """The convex hull of the landmarks as a mask."""
    alpha = np.zeros((frame_size[1], frame_size[0]), np.uint8)
    hull = cv2.convexHull(landmarks.points_xy_px.round().astype(np.int32))
    cv2.fillConvexPoly(alpha, hull, 255)
    return HandMask.from_full(alpha, 1.0, MaskSource.SCRIPTED)


def probability_of(masks: Sequence[HandMask], frame_size: tuple[int, int], cell_px: int = 4) -> HandProbability:
    """What a perfect redetector says of a frame of (width, height) pixels with these hands, in cells of `cell_px`."""
    whole = np.zeros((frame_size[1], frame_size[0]), np.float32)
    for mask in masks:
        rows, columns = mask.slices
        whole[rows, columns] = np.maximum(whole[rows, columns], mask.crop / np.float32(255))
    grid = (max(1, frame_size[0] // cell_px), max(1, frame_size[1] // cell_px))
    return HandProbability(np.clip(cv2.resize(whole, grid, interpolation=cv2.INTER_AREA), 0, 1), frame_size)


class ListSource:
    """A source that yields the given frames, or makes them on demand.

    Args:
        frames: The frames, in order.
        live: What `info.live` says.
        error: Raised after the last frame.
        audio: What `audio` returns.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        live: bool = False,
        error: Exception | None = None,
        audio: AudioFeed | None = None,
    ) -> None:
        self._frames = frames
        self._error = error
        self._stopped = False
        self.audio = audio
        self.closed = False
        self.info = SourceInfo("list", live, frames[0].size, frames[0].time_base, Fraction(30), len(frames))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.closed = True

    async def __aiter__(self) -> AsyncIterator[Frame]:
        for frame in self._frames:
            if self._stopped:
                return
            yield Frame(frame.image, frame.pts, frame.time_base, now_ns(), frame.seq)
            await asyncio.sleep(0)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End after the current frame."""
        self._stopped = True


def _discs(prompt: Prompt, frame_size: tuple[int, int]) -> HandMask:
    alpha = np.zeros((frame_size[1], frame_size[0]), np.uint8)
    for (x, y), label in zip(prompt.points_xy_px.tolist(), prompt.labels.tolist(), strict=True):
        cv2.circle(alpha, (round(x), round(y)), _CLICK_RADIUS_PX, 255 if label else 0, -1)
    return HandMask.from_full(alpha, 1.0, MaskSource.SCRIPTED)


class ScriptedDetector:
    """A detector that answers by the frame's seq.

    Args:
        script: Returns the hands of frame `seq`; it may raise.
    """

    def __init__(self, script: Callable[[int], Sequence[HandLandmarks]]) -> None:
        self._script = script
        self.closed = False

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The scripted hands."""
        return tuple(self._script(frame.seq))

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class ScriptedSegmenter:
    """A segmenter whose mask is the hull of the landmarks, or a region, kept in place while both are missing.

    A prompt of points alone, without either, gives a disc around its positive points.

    Args:
        before_step: Called with the frame's seq before each step; it may raise or wait.
    """

    def __init__(self, before_step: Callable[[int], None] | None = None) -> None:
        self._before_step = before_step
        self._last: dict[int, HandMask] = {}
        self.observations: list[tuple[Observation, ...]] = []
        self.takes_clicks = True
        self.resets = 0
        self.closed = False

    def encode(self, frame: Frame) -> Frame:
        """The frame itself."""
        return frame

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """A hull for every hand that has or had landmarks."""
        if self._before_step is not None:
            self._before_step(encoded.seq)
        self.observations.append(tuple(observations))
        for observation in observations:
            if observation.landmarks is not None:
                self._last[observation.object_id] = hull_mask(observation.landmarks, encoded.size)
            elif observation.region is not None:
                self._last[observation.object_id] = observation.region
            elif observation.prompt is not None:
                self._last[observation.object_id] = _discs(observation.prompt, encoded.size)
        return {o.object_id: self._last[o.object_id] for o in observations if o.object_id in self._last}

    def forget(self, object_id: int) -> None:
        """Drop a hand."""
        self._last.pop(object_id, None)

    def reset(self) -> None:
        """Drop every hand."""
        self._last.clear()
        self.resets += 1

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class ScriptedRedetector:
    """A redetector that answers by the frame; it remembers which frames it was asked about.

    Args:
        script: Returns the map of a frame; it may raise or wait.
        kind: What results call it.
    """

    def __init__(
        self, script: Callable[[Frame], HandProbability], kind: ReinitialisedBy = ReinitialisedBy.DINO
    ) -> None:
        self._script = script
        self.kind = kind
        self.asked: list[int] = []
        self.closed = False

    def segment(self, frame: Frame) -> HandProbability:
        """The scripted map."""
        self.asked.append(frame.seq)
        return self._script(frame)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class RecordingSink:
    """A sink that keeps everything it is given.

    Args:
        name: What it is called.
        on_write: Called with each result before it is kept; it may raise.
    """

    def __init__(self, name: str = "recording", on_write: Callable[[FrameResult], None] | None = None) -> None:
        self.name = name
        self._on_write = on_write
        self.info: SourceInfo | None = None
        self.results: list[FrameResult] = []
        self.closed = 0

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Keep what it was opened with."""
        self.info = info

    async def write(self, result: FrameResult) -> None:
        """Keep the result."""
        if self._on_write is not None:
            self._on_write(result)
        self.results.append(result)

    async def close(self) -> None:
        """Count the calls."""
        self.closed += 1


def grey_ramp(count: int, size: tuple[int, int] = (64, 48)) -> list[Frame]:
    """`count` frames whose grey value tells their seq (modulo 256)."""
    return [make_frame(seq, size, seq % 256) for seq in range(count)]
