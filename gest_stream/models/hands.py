"""Hand landmarks from MediaPipe's Hand Landmarker task."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from gest_stream.clock import media_time_ms
from gest_stream.config import HandsConfig
from gest_stream.errors import MissingDependencyError, ModelError, WeightsError
from gest_stream.models.native_log import native_log_filtered
from gest_stream.types import Frame, Handedness, HandLandmarks

if TYPE_CHECKING:
    from mediapipe.tasks.python.vision import HandLandmarker, HandLandmarkerResult

_log = logging.getLogger(__name__)

_HANDEDNESS = {"Left": Handedness.LEFT, "Right": Handedness.RIGHT}
_MIRRORED = {Handedness.LEFT: Handedness.RIGHT, Handedness.RIGHT: Handedness.LEFT}
_SAME_HAND_PALM_WIDTHS = 0.25
_WARM_UP_SIDE_PX = 64


class MediaPipeHands:
    """MediaPipe's hand landmarker in its video mode; a `HandDetector`.

    The whole picture is handed over as it is: MediaPipe itself scales it to 192x192 to look for palms and cuts each
    hand out of the full picture for the landmarks, so a smaller picture saves less than the scaling costs. Python's
    `Image` copies the pixels once. It computes on one CPU core; the tasks interface of 1.2 has no setting for threads,
    and gives no presence score, so `HandLandmarks.presence` is None.

    MediaPipe names the person's own hand on a picture that is not mirrored, as `Handedness` does.

    Args:
        config: Number of hands, thresholds, mirroring.
        model_path: A verified `hand_landmarker.task` (`ModelStore.fetch`).

    Raises:
        MissingDependencyError: mediapipe is not installed.
        WeightsError: `model_path` is absent or no hand landmarker bundle.
    """

    def __init__(self, config: HandsConfig, model_path: Path) -> None:
        self._mirrored = config.mirrored
        self._timestamps = StreamTimestamps()
        with native_log_filtered():
            landmarker = _create_landmarker(config, model_path)
            self._landmarker = landmarker
            self._release = weakref.finalize(self, _release, landmarker)
            # The first picture builds the graph's last parts and writes its last native warning: not on a real frame.
            black = np.zeros((_WARM_UP_SIDE_PX, _WARM_UP_SIDE_PX, 3), np.uint8)
            landmarker.detect_for_video(_as_mediapipe_image(black), self._timestamps.FIRST_MS)
        _log.debug("hand landmarker ready: %s, %d hands", model_path, config.max_hands)

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The hands on `frame`, the surest first; empty where there is none.

        Frames may change size and their pts may jump; hands that were followed before are then looked for anew
        as soon as they are not where they were.

        Raises:
            ModelError: MediaPipe failed, or `close` was called before.
        """
        if not self._release.alive:
            raise ModelError("hand landmarker: detect called after close; make a new one")
        timestamp_ms = self._timestamps.next_ms(media_time_ms(frame.pts, frame.time_base))
        try:
            result = self._landmarker.detect_for_video(_as_mediapipe_image(frame.image), timestamp_ms)
        except (RuntimeError, ValueError) as exc:
            raise ModelError(
                f"hand landmarker: failed on frame {frame.seq} ({frame.width}x{frame.height}, pts {frame.pts}): {exc}"
            ) from exc
        return suppress_duplicates(_read_result(result, frame.size, self._mirrored))

    def close(self) -> None:
        """Free the model and join its thread; safe to call again."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class StreamTimestamps:
    """Makes media times strictly increasing milliseconds, which is what MediaPipe's video mode insists on.

    Two frames in one millisecond are set one apart. A time that goes backwards (a new stream, a loop) goes on one
    millisecond after the last one given, and the times after it keep their distance to it.
    """

    FIRST_MS = 0
    """Given away before the first frame; every frame gets more."""

    def __init__(self) -> None:
        self._given_ms = self.FIRST_MS
        self._media_ms: int | None = None
        self._offset_ms = 0

    def next_ms(self, media_ms: int) -> int:
        """The timestamp of a frame at `media_ms`, larger than any before."""
        if self._media_ms is None or media_ms < self._media_ms:
            self._offset_ms = self._given_ms + 1 - media_ms
        self._media_ms = media_ms
        self._given_ms = max(media_ms + self._offset_ms, self._given_ms + 1)
        return self._given_ms


def suppress_duplicates(hands: Iterable[HandLandmarks]) -> tuple[HandLandmarks, ...]:
    """Drop the weaker of two outputs that lie on the same hand.

    MediaPipe follows each hand in its own window, and a window whose hand is lost can slide onto the other hand. Two
    outputs are the same hand where more than half of the 21 landmarks lie within a quarter of the palm's width of each
    other, whatever left or right they are called. Two real hands, folded ones too, do not come that close.

    Args:
        hands: The hands of one frame.

    Returns:
        Those that remain, the highest `handedness_score` first.

    Source:
        The idea of mediapipe's hand_landmarks_deduplication_calculator.cc, which compares the same way before the
        windows of the next frame are set.
    """
    kept: list[HandLandmarks] = []
    for hand in sorted(hands, key=lambda hand: hand.handedness_score, reverse=True):
        if not any(_same_hand(hand, other) for other in kept):
            kept.append(hand)
    return tuple(kept)


def _same_hand(a: HandLandmarks, b: HandLandmarks) -> bool:
    distances_px = np.linalg.norm(a.points_xy_px - b.points_xy_px, axis=1)
    return float(np.median(distances_px)) < _SAME_HAND_PALM_WIDTHS * min(a.palm_width_px, b.palm_width_px)


def _create_landmarker(config: HandsConfig, model_path: Path) -> HandLandmarker:
    if not model_path.is_file():
        raise WeightsError(
            f"{model_path}: no such file; 'gest-stream models fetch hand_landmarker.task' fetches the official one"
        )
    try:
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions
    except ImportError as exc:
        raise MissingDependencyError(f"hand landmarks need mediapipe ({exc}): pip install 'mediapipe>=1.2'") from exc
    options = vision.HandLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model_path)),
        running_mode=vision.RunningMode.VIDEO,
        num_hands=config.max_hands,
        min_hand_detection_confidence=config.min_detection_confidence,
        min_hand_presence_confidence=config.min_presence_confidence,
        min_tracking_confidence=config.min_tracking_confidence,
    )
    try:
        return vision.HandLandmarker.create_from_options(options)
    except (RuntimeError, ValueError, OSError) as exc:
        raise WeightsError(
            f"{model_path}: not a hand landmarker bundle that mediapipe can load: {exc}; "
            "check it with 'gest-stream models verify hand_landmarker.task'"
        ) from exc


def _release(landmarker: HandLandmarker) -> None:
    try:
        landmarker.close()
    except RuntimeError:
        # At interpreter exit the thread pool it calls its library through has already ended. The memory goes with
        # the process; without a handle, its __del__ does not try again and write "Exception ignored in …".
        landmarker._handle = None


def _as_mediapipe_image(image: NDArray[np.uint8]) -> Any:
    import mediapipe

    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)


def _read_result(result: HandLandmarkerResult, frame_size: tuple[int, int], mirrored: bool) -> list[HandLandmarks]:
    width, height = frame_size
    hands = []
    for landmarks, world, categories in zip(
        result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True
    ):
        best = categories[0]
        handedness = _HANDEDNESS.get(best.category_name, Handedness.UNKNOWN)
        if mirrored:
            handedness = _MIRRORED.get(handedness, handedness)
        hands.append(
            HandLandmarks(
                points_px=_xyz(landmarks) * np.array([width, height, width], np.float32),
                points_world_m=_xyz(world),
                handedness=handedness,
                handedness_score=min(max(float(best.score), 0.0), 1.0),
            )
        )
    return hands


def _xyz(landmarks: Sequence[Any]) -> NDArray[np.float32]:
    return np.array([(point.x, point.y, point.z) for point in landmarks], np.float32)
