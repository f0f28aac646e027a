"""Ours from a video file to a segmented one or to landmarks, and MediaPipe as its own documentation uses it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.peers.footage import Footage
from benchmarks.peers.rounds import Clock, Outcome
from gest_stream.build import HandTracker, Pipeline, make_detectors
from gest_stream.config import PipelineConfig, SegmenterKind
from gest_stream.interfaces import Sink
from gest_stream.models.native_log import native_log_filtered
from gest_stream.sinks.video import segmented_video

_RATE = 30


class OurVideo:
    """`Pipeline`: a file in, every frame tracked, a segmented H.264 file out.

    Args:
        config: Its settings.
    """

    name = "ours"
    about = "gest_stream's Pipeline, lossless, one segmented H.264 file"

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config

    def run(self, footage: Footage) -> Outcome:
        """As `Way.run`."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "ours.mp4"
            outcome = asyncio.run(_tracked(footage, self._config, [segmented_video(out, self._config.effect)]))
            return replace(outcome, written_bytes=out.stat().st_size)


class OurLandmarks:
    """`Pipeline` with the segmenter `none` and no sink: ids, states and landmarks.

    Args:
        config: Its settings.
    """

    name = "ours, landmarks only"
    about = "gest_stream's Pipeline, lossless, the segmenter none, no output"

    def __init__(self, config: PipelineConfig) -> None:
        self._config = replace(config, segmenter=SegmenterKind.NONE)

    def run(self, footage: Footage) -> Outcome:
        """As `Way.run`."""
        return asyncio.run(_tracked(footage, self._config))


async def _tracked(footage: Footage, config: PipelineConfig, sinks: Sequence[Sink] = ()) -> Outcome:
    tracker = HandTracker(config, detector=make_detectors(config))
    clock = Clock()
    async with Pipeline.open(footage.path, config=config, sinks=sinks, tracker=tracker) as pipeline:
        async for result in pipeline:
            clock.frame(any(track.mask is not None for track in result.tracks))
    return clock.stop()


class MediaPipeAlone:
    """cv2.VideoCapture and MediaPipe's Hand Landmarker task in its video mode, on one thread.

    Args:
        config: The detector's settings; those that ours has.
    """

    name = "mediapipe alone"
    about = "cv2.VideoCapture and mediapipe.tasks.vision.HandLandmarker, no masks, no ids, no output"

    def __init__(self, config: PipelineConfig) -> None:
        self._hands = config.hands

    def run(self, footage: Footage) -> Outcome:
        """As `Way.run`."""
        import cv2
        import mediapipe
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions

        options = vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(self._model_path())),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=self._hands.max_hands,
            min_hand_detection_confidence=self._hands.min_detection_confidence,
            min_hand_presence_confidence=self._hands.min_presence_confidence,
            min_tracking_confidence=self._hands.min_tracking_confidence,
        )
        with ExitStack() as stack:
            with native_log_filtered():
                landmarker = stack.enter_context(vision.HandLandmarker.create_from_options(options))
                black = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.zeros((64, 64, 3), np.uint8))
                landmarker.detect_for_video(black, 0)  # builds the graph's last parts, as ours does when it is made
            clock = Clock()
            capture = cv2.VideoCapture(str(footage.path))
            while True:
                with clock.part("read"):
                    read, bgr = capture.read()
                if not read:
                    break
                with clock.part("convert"):
                    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
                with clock.part("landmarks"):
                    landmarker.detect_for_video(image, 1 + round(1000 * clock.frames / _RATE))
                clock.frame(False)
            capture.release()
            return clock.stop()

    def _model_path(self) -> Path:
        from gest_stream.models.registry import HAND_LANDMARKER
        from gest_stream.models.store import ModelStore

        return self._hands.model_path or ModelStore().fetch(HAND_LANDMARKER)
