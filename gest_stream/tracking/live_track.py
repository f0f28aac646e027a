"""Everything the tracker remembers of one live hand."""

from __future__ import annotations

import numpy as np

from gest_stream.config import TrackerConfig
from gest_stream.tracking.agreement import agreement
from gest_stream.tracking.association import Candidate
from gest_stream.tracking.handedness import HandednessVote
from gest_stream.tracking.loss import (
    LossMemory,
    MaskEvidence,
    on_landmarks,
    on_mask,
    on_prompt,
    on_restart,
)
from gest_stream.tracking.motion import HandMotion
from gest_stream.types import HandLandmarks, HandMask, Reinitialisation, Track, TrackState

_SCORE_GAIN = 0.5


class LiveTrack:
    """One hand from its first sight until it is removed.

    Args:
        track_id: Its id, never used before.
        landmarks: The hand as first seen.
        config: Of the tracker.
    """

    def __init__(self, track_id: int, landmarks: HandLandmarks, config: TrackerConfig) -> None:
        self.id = track_id
        self._config = config
        self._motion = HandMotion(landmarks, config.association)
        self._vote = HandednessVote()
        self._score = _presence(landmarks)
        self._area_px = 0
        self._reinitialisation: Reinitialisation | None = None
        self._resized = False
        self.memory = LossMemory()
        self.was_prompted = False
        self.landmarks: HandLandmarks | None = None
        self.mask: HandMask | None = None

    @property
    def state(self) -> TrackState:
        """Where it stands in the loss machine."""
        return self.memory.state

    def candidate(self, steps: int) -> Candidate:
        """What association needs to know, `steps` source frames after the previous frame."""
        lost = self.state is TrackState.LOST
        expected = self._motion.predict(steps)
        # A lost hand may have stopped anywhere on its way, so the place it was last seen at counts as well. Not so
        # a hand that was just seen: two fast hands that cross stand where the other one was a frame ago.
        second = self._motion.last_px if lost else expected
        return Candidate(
            np.stack([expected, second]),
            self._motion.palm_width_px,
            self._vote.winner,
            self._vote.certainty,
            self.state is TrackState.TENTATIVE,
            lost,
            self.memory.missed_frames + steps - 1,
            self._resized or self.memory.missed_frames >= self._config.association.relocate_after_frames,
        )

    def see(self, landmarks: HandLandmarks, seq: int, steps: int, relocated: bool) -> None:
        """Frame `seq` has the hand's landmarks; `relocated` where they are far from where it was expected."""
        if relocated:
            self.memory = on_restart(self.memory)
        jumped = relocated or self.state is TrackState.LOST
        step = on_landmarks(self.memory, True, self._config.loss)
        self.memory, by = step.memory, step.reinitialised_by
        self._reinitialisation = Reinitialisation(by, seq, _presence(landmarks)) if by is not None else None
        self._motion.see(landmarks, steps, jumped)
        self._vote.add(landmarks)
        self._begin_frame(landmarks)

    def miss(self, steps: int) -> None:
        """This frame has no landmarks of the hand."""
        step = on_landmarks(self.memory, False, self._config.loss)
        self.memory, self._reinitialisation = step.memory, None
        self._motion.miss(steps)
        self._begin_frame(None)

    def _begin_frame(self, landmarks: HandLandmarks | None) -> None:
        self.landmarks, self.mask, self._resized = landmarks, None, False

    def prompted(self) -> None:
        """The segmenter is told where the hand is on this frame."""
        self.memory = on_prompt(self.memory)
        self.was_prompted = True

    def take_mask(self, mask: HandMask | None) -> None:
        """What the segmenter made of the hand on this frame; kept only where it is trusted."""
        area = mask.area_px if mask is not None else 0
        evidence = None
        if mask is not None and area > 0:
            ratio = area / self._area_px if self._area_px else None
            agreed = agreement(self.landmarks, mask) if self.landmarks is not None else None
            evidence = MaskEvidence(mask.score, ratio, agreed)
        self.memory, trusted = on_mask(self.memory, evidence, self._config.loss)
        self.mask = mask if trusted else None
        if self.landmarks is not None and area > 0:
            self._area_px = area

    def settle_score(self) -> None:
        """Move the score towards this frame's evidence: landmarks, else a trusted mask, else nothing."""
        if self.landmarks is not None:
            evidence = _presence(self.landmarks)
        else:
            evidence = self.mask.score if self.mask is not None else 0.0
        self._score += _SCORE_GAIN * (evidence - self._score)

    def resize(self, scale_xy: tuple[float, float], same_shape: bool) -> None:
        """The frame's size changed; where its shape did too, the hand may be anywhere."""
        self.memory = on_restart(self.memory)
        self._motion.rescale(scale_xy)
        self._resized = not same_shape

    def as_track(self) -> Track:
        """The hand on this frame."""
        return Track(
            self.id,
            self.state,
            self._vote.winner,
            min(max(self._score, 0.0), 1.0),
            self.landmarks,
            self.mask,
            self._reinitialisation,
            self.memory.missed_frames,
        )


def _presence(landmarks: HandLandmarks) -> float:
    """Confidence that the hand is there: the detector's own, else of its handedness, else full."""
    if landmarks.presence is not None:
        return landmarks.presence
    return landmarks.handedness_score or 1.0
