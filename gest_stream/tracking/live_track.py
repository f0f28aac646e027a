"""Everything the tracker remembers of one live hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

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
    on_sight,
)
from gest_stream.tracking.motion import HandMotion
from gest_stream.tracking.regions import HandRegion, mask_center_px
from gest_stream.types import HandLandmarks, HandMask, Prompt, Reinitialisation, ReinitialisedBy, Track, TrackState

_SCORE_GAIN = 0.5
_PALMS_A_HAND = 1.3
"""Square root of a hand's area, in palm widths: the median of 56 rendered hands (10 to 90 %: 1.22 to 1.36)."""

_GROWTH = 0.5
_SHRINKAGE = 0.05
"""Share of the way from the size it had to that of its newest mask, which may show a part of it only."""

_USER_SIZE_SHARE = 0.2
"""What a click alone says of its object's size: nothing; this only lasts until its first mask."""


class LiveTrack:
    """One hand from its first sight until it is removed.

    Args:
        track_id: Its id, never used before.
        motion: Where it was first seen, and how large it is.
        score: How sure that is.
        config: Of the tracker.
    """

    def __init__(self, track_id: int, motion: HandMotion, score: float, config: TrackerConfig) -> None:
        self.id = track_id
        self._config = config
        self._motion = motion
        self._vote = HandednessVote()
        self._score = score
        self._area_px = 0
        self._size_px = 0.0
        self._seen_mask: HandMask | None = None
        self.reinitialisation: Reinitialisation | None = None
        self._resized = self._jumped = False
        self._steps = 1
        self.memory = LossMemory()
        self.was_prompted = False
        self.landmarks: HandLandmarks | None = None
        self.mask: HandMask | None = None
        self.last_mask: HandMask | None = None
        self.region: HandRegion | None = None

    @classmethod
    def seen_first(cls, track_id: int, landmarks: HandLandmarks, config: TrackerConfig) -> LiveTrack:
        """A hand that the landmarks show; `see` it next."""
        motion = HandMotion(landmarks.points_xy_px, landmarks.palm_width_px, config.association)
        return cls(track_id, motion, _presence(landmarks), config)

    @classmethod
    def spotted_first(
        cls, track_id: int, center_xy_px: NDArray[np.float32], size_px: float, score: float, config: TrackerConfig
    ) -> LiveTrack:
        """A hand of which only place and size (square root of its area, pixels) are known; `spot` it next."""
        points = np.repeat(center_xy_px[None], 21, axis=0).astype(np.float32)
        motion = HandMotion(points, max(size_px / _PALMS_A_HAND, 1.0), config.association)
        track = cls(track_id, motion, score, config)
        track.memory = LossMemory(missed_frames=1, unseen_frames=1, prompt_due=False)
        return track

    @classmethod
    def of_user(cls, track_id: int, prompt: Prompt, frame_size: tuple[int, int], config: TrackerConfig) -> LiveTrack:
        """What a user points at on a frame of (width, height) pixels; `spot` it next."""
        if prompt.box_xyxy_px is not None:
            box = np.array(prompt.box_xyxy_px, np.float32).reshape(2, 2)
            center, size = box.mean(axis=0), float(np.sqrt(np.prod(box[1] - box[0])))
        else:
            center = prompt.points_xy_px[prompt.labels == 1].mean(axis=0)
            size = _USER_SIZE_SHARE * min(frame_size)
        track = cls.spotted_first(track_id, center, size, 1.0, config)
        track.memory = replace(track.memory, of_user=True)
        return track

    @property
    def state(self) -> TrackState:
        """Where it stands in the loss machine."""
        return self.memory.state

    @property
    def is_object(self) -> bool:
        """A user started it, and landmarks have never said that it is a hand."""
        return self.memory.of_user and self.memory.seen_frames == 0

    @property
    def is_waiting(self) -> bool:
        """It was never trusted, and nothing shows it on this frame: it waits to be seen again, and nobody is told."""
        held = self.memory.sights > 0 and not self.memory.unmasked
        return self.state is TrackState.TENTATIVE and self.memory.unseen_frames > 0 and not held

    @property
    def place_xy_px(self) -> NDArray[np.float32]:
        """(2,) middle of where it was last seen."""
        return np.asarray(self._motion.last_px.mean(axis=0), np.float32)

    @property
    def expected_xy_px(self) -> NDArray[np.float32]:
        """(2,) middle of where it is now if it went on as it was last seen to move."""
        return np.asarray(self._motion.predict(0).mean(axis=0), np.float32)

    def waits_at(self, region: HandRegion) -> bool:
        """Whether it waits to be seen again about where a region is, and landmarks alone have shown it so far."""
        apart = float(np.linalg.norm(region.center_xy_px - self.place_xy_px))
        return self.is_waiting and self.memory.sights == 0 and apart <= max(region.size_px, self.size_px)

    @property
    def size_px(self) -> float:
        """Square root of its area, pixels, of late; something before it makes it little smaller."""
        return self._size_px if self._size_px else _PALMS_A_HAND * self._motion.palm_width_px

    def candidate(self, steps: int) -> Candidate:
        """What association needs to know, `steps` source frames after the previous frame."""
        lost = self.state is TrackState.LOST
        expected = self._motion.predict(steps)
        # A lost hand may have stopped anywhere on its way, so the place it was last seen at counts as well. Not so
        # a hand that was just seen: two fast hands that cross stand where the other one was a frame ago.
        second = self._motion.last_px if lost else self._carried_px(steps)
        if second is None:
            second = expected
        return Candidate(
            np.stack([expected, second]),
            self._motion.palm_width_px,
            self._vote.winner,
            self._vote.certainty,
            self.state is TrackState.TENTATIVE,
            lost,
            self.memory.missed_frames + steps - 1,
            self._resized or self.memory.missed_frames >= self._config.association.relocate_after_frames,
            self.mask if self.memory.missed_frames > 0 else None,
            self.memory.sights > 0
            and not lost
            and self.memory.unseen_frames <= self._config.redetection.verify_after_frames,
            self.memory.missed_frames > 0,
        )

    def _carried_px(self, steps: int) -> NDArray[np.float32] | None:
        """(21, 2) where the landmarks are that were last seen, if they moved as the mask since then and still does."""
        masks = (self._seen_mask, self.last_mask, self.mask)
        if self.memory.missed_frames == 0 or self.memory.sights > 0:
            return None
        first, before, now = (mask_center_px(m) if m is not None and m.area_px else None for m in masks)
        if first is None or before is None or now is None:
            return None
        travelled = (now - first) + (now - before) * np.float32(steps / self._steps)
        return np.asarray(self._motion.last_px + travelled, np.float32)

    def see(self, landmarks: HandLandmarks, seq: int, steps: int, relocated: bool) -> None:
        """Frame `seq` has the hand's landmarks; `relocated` where they are far from where it was expected."""
        if relocated:
            self.memory = on_restart(self.memory)
        jumped = relocated or self.state is TrackState.LOST
        step = on_landmarks(self.memory, True, self._config.loss)
        self.memory, by = step.memory, step.reinitialised_by
        self.reinitialisation = Reinitialisation(by, seq, _presence(landmarks)) if by is not None else None
        self._motion.see(landmarks, steps, jumped)
        self._vote.add(landmarks)
        self._begin_frame(landmarks, steps)

    def miss(self, steps: int) -> None:
        """This frame has no landmarks of the hand."""
        step = on_landmarks(self.memory, False, self._config.loss)
        self.memory, self.reinitialisation = step.memory, None
        self._motion.miss(steps)
        self._begin_frame(None, steps)
        if self.is_waiting:
            self.memory = replace(on_restart(self.memory), seen_frames=0)  # what flickers is not trusted for that

    def give_up(self) -> None:
        """It was another hand all along; remove it."""
        self.memory = replace(self.memory, state=TrackState.REMOVED)

    def _begin_frame(self, landmarks: HandLandmarks | None, steps: int) -> None:
        self.landmarks, self.last_mask, self.mask = landmarks, self.mask, None
        self.region, self._resized, self._jumped, self._steps = None, False, False, steps

    def spot(self, by: ReinitialisedBy, seq: int, score: float, region: HandRegion | None, prompted: bool) -> None:
        """Something else than the landmarks saw the hand; comes after `see` or `miss` of the same frame.

        Args:
            by: Who saw it.
            seq: Frame on which that was.
            score: How surely, 0 to 1.
            region: What was seen, where that was a redetector.
            prompted: The segmenter starts the hand anew, or corrects it, from this.
        """
        step = on_sight(self.memory, by)
        self.memory = step.memory
        if prompted:
            self.prompted()
            self._jumped = True
        if prompted or step.reinitialised_by is not None:
            self.reinitialisation = Reinitialisation(by, seq, score)
        self.region = region
        if region is not None and self.landmarks is None:
            self._motion.move_to(region.center_xy_px, jumped=prompted)
            if prompted:
                self._area_px = region.mask.area_px
                self._size_px = (self._size_px + region.size_px) / 2 if self._size_px else region.size_px
        if prompted and by is ReinitialisedBy.USER:
            self._area_px, self._size_px = 0, 0.0  # the user says how large it is

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
            evidence = MaskEvidence(mask.score, ratio, self._agreement(mask))
        self.memory, trusted = on_mask(self.memory, evidence, self._config.loss)
        self.mask = mask if trusted else None
        fresh = self.landmarks is not None or self.region is not None or self._area_px == 0
        if self.memory.of_user or (trusted and fresh):
            self._area_px = area or self._area_px
            self._grow_to(float(np.sqrt(self._area_px)))
        if self.landmarks is not None:
            self._seen_mask = self.mask
        if self.landmarks is None and self.mask is not None and self.memory.sights > 0:
            self._motion.move_to(mask_center_px(self.mask), self._jumped)

    def _grow_to(self, size_px: float) -> None:
        gain = _GROWTH if size_px > self._size_px else _SHRINKAGE
        self._size_px = self._size_px + gain * (size_px - self._size_px) if self._size_px else size_px

    def _agreement(self, mask: HandMask) -> float | None:
        if self.landmarks is not None:
            return agreement(self.landmarks, mask)
        return self.region.mask.iou(mask) if self.region is not None else None

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
        self.mask = self._seen_mask = None
        self._area_px = round(self._area_px * scale_xy[0] * scale_xy[1])
        self._size_px *= float(np.sqrt(scale_xy[0] * scale_xy[1]))

    def as_track(self) -> Track:
        """The hand on this frame."""
        return Track(
            self.id,
            self.state,
            self._vote.winner,
            min(max(self._score, 0.0), 1.0),
            self.landmarks,
            self.mask,
            self.reinitialisation,
            self.memory.missed_frames,
        )


def _presence(landmarks: HandLandmarks) -> float:
    """Confidence that the hand is there: the detector's own, else of its handedness, else full."""
    if landmarks.presence is not None:
        return landmarks.presence
    return landmarks.handedness_score or 1.0
