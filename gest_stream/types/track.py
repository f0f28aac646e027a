"""One hand followed over time, and everything known about one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from gest_stream.errors import InvalidInputError, MissingDependencyError
from gest_stream.types.frame import Frame
from gest_stream.types.hand import Handedness, HandLandmarks
from gest_stream.types.mask import HandMask

if TYPE_CHECKING:
    import supervision

_HANDEDNESS_CLASS = {Handedness.LEFT: 0, Handedness.RIGHT: 1, Handedness.UNKNOWN: 2}


class TrackState(StrEnum):
    """Where a track stands in the loss machine."""

    TENTATIVE = "tentative"
    TRACKED = "tracked"
    LOST = "lost"
    REMOVED = "removed"


class ReinitialisedBy(StrEnum):
    """What found a hand (again)."""

    LANDMARKS = "landmarks"
    DINO = "dino"
    """The redetector `dino`."""
    BUILTIN = "builtin"
    """The redetector `builtin`."""
    USER = "user"
    """Somebody's click."""


@dataclass(frozen=True, slots=True)
class Reinitialisation:
    """A lost hand was found again, or one that the landmarks do not show was found.

    Args:
        by: What found it.
        seq: Frame on which it was seen; an answer that took its time is used on a later one.
        score: How surely, 0 to 1.
    """

    by: ReinitialisedBy
    seq: int
    score: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise InvalidInputError(f"reinitialisation score: expected 0 to 1, got {self.score}")


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One hand on one frame.

    Args:
        id: Stable over the stream, from 1, never reused.
        state: Where it stands in the loss machine.
        handedness: Which hand, voted over the track's life.
        score: Confidence that the hand is there, 0 to 1.
        landmarks: On this frame; None where they were not found.
        mask: On this frame; None where no mask is trusted.
        reinitialisation: Set on the one frame on which the hand was found again.
        missed_frames: Consecutive frames without landmarks, 0 when they were found on this one.
    """

    id: int
    state: TrackState
    handedness: Handedness
    score: float
    landmarks: HandLandmarks | None = None
    mask: HandMask | None = None
    reinitialisation: Reinitialisation | None = None
    missed_frames: int = 0

    def __post_init__(self) -> None:
        if self.id < 1:
            raise InvalidInputError(f"track id: expected 1 or more, got {self.id}")
        if not 0.0 <= self.score <= 1.0:
            raise InvalidInputError(f"track score: expected 0 to 1, got {self.score}")

    @property
    def reinitialised_by(self) -> ReinitialisedBy | None:
        """What found the hand again on this frame."""
        return self.reinitialisation.by if self.reinitialisation is not None else None

    @property
    def box_xyxy_px(self) -> tuple[float, float, float, float] | None:
        """Box of the mask, else of the landmarks, else None; pixels."""
        box = self.mask.box_xyxy_px if self.mask is not None else None
        if box is None and self.landmarks is not None:
            box = self.landmarks.box_xyxy_px
        return box


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """A frame and the hands on it.

    Args:
        frame: The frame itself, unchanged.
        tracks: Every live hand, ordered by id; empty where there is none (that is a result, not an error).
        timings_ms: Milliseconds by stage name. `total` runs from the frame's capture to this result.
    """

    frame: Frame
    tracks: tuple[Track, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def captured_ns(self) -> int:
        """When the frame entered the process."""
        return self.frame.captured_ns

    def to_supervision(self) -> supervision.Detections:
        """The hands that have a box, as `supervision.Detections`.

        Returns:
            Detections with xyxy (N, 4) float32 pixels, mask (N, H, W) bool, confidence (N,), tracker_id (N,),
            class_id (N,): 0 left, 1 right, 2 unknown, and the names under data["class_name"].

        Raises:
            MissingDependencyError: The package `supervision` is not installed.
        """
        try:
            import supervision as sv
        except ImportError as exc:
            raise MissingDependencyError(
                "to_supervision() needs the package supervision: pip install 'gest-stream[supervision]'"
            ) from exc
        boxed = [(track, box) for track in self.tracks if (box := track.box_xyxy_px) is not None]
        if not boxed:
            return sv.Detections.empty()
        masks = np.zeros((len(boxed), self.frame.height, self.frame.width), bool)
        for mask, (track, _) in zip(masks, boxed, strict=True):
            if track.mask is not None:
                mask[track.mask.slices] = track.mask.inside
        data: dict[str, Any] = {"class_name": np.array([str(track.handedness) for track, _ in boxed])}
        return sv.Detections(
            xyxy=np.array([box for _, box in boxed], np.float32),
            mask=masks,
            confidence=np.array([track.score for track, _ in boxed], np.float32),
            class_id=np.array([_HANDEDNESS_CLASS[track.handedness] for track, _ in boxed]),
            tracker_id=np.array([track.id for track, _ in boxed]),
            data=data,
        )
