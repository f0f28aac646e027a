"""When a hand is trusted, lost and given up. Pure logic: no picture, no model.

    TENTATIVE --confirm_after_frames with landmarks--------------------> TRACKED
    TENTATIVE --drop_tentative_after_frames without--------------------> REMOVED
    TRACKED   --lost_after_frames without------------------------------> LOST
    TRACKED   --lost_after_frames_unmasked without, and no trusted mask-> LOST
    LOST      --landmarks----------------------------------------------> TRACKED, re-initialised
    LOST      --remove_after_frames unseen-----------------------------> REMOVED

A redetector or a user sees hands as well, though not on every frame. Of a hand that one of them vouches for:

    TENTATIVE --its second sight---------------------------------------> TRACKED
    LOST      --a sight------------------------------------------------> TRACKED, re-initialised
    TENTATIVE, TRACKED --hold_frames unseen, its mask trusted all along-> REMOVED, LOST

What a user started is held for as long as its mask is trusted, and is back as soon as it is trusted again.

Each frame is up to three steps, because a prompt must be known before the segmenter runs and a mask only after it:
`on_landmarks`, then `on_sight` where something else saw the hand, then `on_mask` where there is a segmenter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gest_stream.config import LossConfig
from gest_stream.errors import InvalidInputError
from gest_stream.types import ReinitialisedBy, TrackState


@dataclass(frozen=True, slots=True)
class LossMemory:
    """What the machine remembers of one hand.

    Args:
        state: Where it stands.
        seen_frames: Frames with landmarks since the track began.
        missed_frames: Consecutive frames without landmarks.
        unseen_frames: Consecutive frames on which nothing saw it: neither landmarks nor redetector nor user.
        sights: Times that redetector or user saw it since it last had landmarks, or was last started anew.
        of_user: A user started it.
        corrected: A user corrected its mask, so that landmarks which disagree with it change nothing.
        unmasked: The segmenter was asked on the previous frame and had no mask to trust.
        disagreed_frames: Consecutive frames on which landmarks and mask disagreed.
        frames_since_prompt: Frames since the segmenter was last prompted.
        prompt_due: The segmenter must be told where the hand is as soon as there are landmarks.
    """

    state: TrackState = TrackState.TENTATIVE
    seen_frames: int = 0
    missed_frames: int = 0
    unseen_frames: int = 0
    sights: int = 0
    of_user: bool = False
    corrected: bool = False
    unmasked: bool = False
    disagreed_frames: int = 0
    frames_since_prompt: int = 0
    prompt_due: bool = True


@dataclass(frozen=True, slots=True)
class LossStep:
    """What one frame did: the new memory, and what found a lost hand again."""

    memory: LossMemory
    reinitialised_by: ReinitialisedBy | None = None


@dataclass(frozen=True, slots=True)
class MaskEvidence:
    """What the segmenter's mask says.

    Args:
        score: The segmenter's confidence, 0 to 1.
        area_ratio: Its area over the area of the last mask with landmarks; None where there was none yet.
        agreement: Of the mask with landmarks, or with what the redetector saw, 0 to 1; None where there is neither.
    """

    score: float
    area_ratio: float | None = None
    agreement: float | None = None


def on_landmarks(memory: LossMemory, seen: bool, config: LossConfig) -> LossStep:
    """First step of a frame: were the hand's landmarks found?

    Raises:
        InvalidInputError: The track was removed before.
    """
    if memory.state is TrackState.REMOVED:
        raise InvalidInputError("on_landmarks: a removed track takes no more frames; forget it")
    waited = replace(memory, frames_since_prompt=memory.frames_since_prompt + 1)
    return _seen(waited, config) if seen else LossStep(_missed(waited, config))


def _seen(memory: LossMemory, config: LossConfig) -> LossStep:
    seen = memory.seen_frames + 1
    memory = replace(memory, seen_frames=seen, missed_frames=0, unseen_frames=0, sights=0, unmasked=False)
    if memory.state is TrackState.LOST:
        found = replace(memory, state=TrackState.TRACKED, prompt_due=True, corrected=False)
        return LossStep(found, ReinitialisedBy.LANDMARKS)
    if memory.state is TrackState.TENTATIVE and memory.seen_frames >= config.confirm_after_frames:
        memory = replace(memory, state=TrackState.TRACKED)
    due = (
        not memory.corrected
        and memory.disagreed_frames >= config.reprompt_after_frames
        and memory.frames_since_prompt >= config.reprompt_interval_frames
    )
    return LossStep(replace(memory, prompt_due=memory.prompt_due or due))


def _missed(memory: LossMemory, config: LossConfig) -> LossMemory:
    missed, unseen, state = memory.missed_frames + 1, memory.unseen_frames + 1, memory.state
    held = (memory.sights > 0 or memory.of_user) and not memory.unmasked
    if state is TrackState.TENTATIVE and unseen >= (config.hold_frames if held else config.drop_tentative_after_frames):
        state = TrackState.REMOVED
    elif state is TrackState.LOST and unseen >= config.remove_after_frames:
        state = TrackState.REMOVED
    elif state is TrackState.TRACKED and unseen >= _patience(memory, held, config):
        state = TrackState.LOST
    return replace(memory, state=state, missed_frames=missed, unseen_frames=unseen, disagreed_frames=0)


def _patience(memory: LossMemory, held: bool, config: LossConfig) -> int:
    """Frames that a tracked hand may go unseen."""
    if held:
        return config.hold_frames
    if memory.unmasked:
        return min(config.lost_after_frames, config.lost_after_frames_unmasked)
    return config.lost_after_frames


def on_sight(memory: LossMemory, by: ReinitialisedBy) -> LossStep:
    """A redetector or a user saw the hand; comes after `on_landmarks` of the same frame.

    Args:
        memory: After `on_landmarks`.
        by: Who saw it.

    Returns:
        The new memory; re-initialised where the hand was lost.
    """
    user = by is ReinitialisedBy.USER
    sure = memory.state is TrackState.LOST or memory.sights > 0 or user
    seen = replace(
        memory,
        state=TrackState.TRACKED if sure else memory.state,
        unseen_frames=0,
        sights=memory.sights + 1,
        corrected=memory.corrected or user,
        unmasked=False,
    )
    return LossStep(seen, by if memory.state is TrackState.LOST else None)


def on_prompt(memory: LossMemory) -> LossMemory:
    """The segmenter is told where the hand is on this frame."""
    sights = min(memory.sights, 1)
    return replace(memory, prompt_due=False, disagreed_frames=0, frames_since_prompt=0, sights=sights)


def on_restart(memory: LossMemory) -> LossMemory:
    """What the segmenter remembers of the hand is worthless: the hand jumped, or the frame's size changed."""
    return replace(memory, prompt_due=True, disagreed_frames=0)


def on_mask(memory: LossMemory, evidence: MaskEvidence | None, config: LossConfig) -> tuple[LossMemory, bool]:
    """Last step of a frame: what the segmenter made of it; only where there is a segmenter.

    Args:
        memory: After `on_landmarks` and `on_sight`.
        evidence: None where the segmenter gave no mask, or an empty one.
        config: Thresholds.

    Returns:
        The new memory, and whether the mask is to be trusted. With landmarks every mask is, because they vouch for
        the hand; on a frame on which the redetector saw it, one that agrees with that; else its score and area must
        hold.
    """
    if memory.missed_frames == 0:
        agreement = 0.0 if evidence is None else evidence.agreement
        disagree = agreement is not None and agreement < config.min_agreement
        frames = memory.disagreed_frames + 1 if disagree else 0
        corrected = memory.corrected and evidence is not None  # there is nothing left of a correction without a mask
        return replace(memory, disagreed_frames=frames, corrected=corrected), evidence is not None
    trusted = evidence is not None and _holds(evidence, config)
    if memory.of_user and trusted:
        state = TrackState.TRACKED if memory.state is TrackState.LOST else memory.state
        memory = replace(memory, state=state, unseen_frames=0)
    return replace(memory, unmasked=not trusted), trusted


def _holds(evidence: MaskEvidence, config: LossConfig) -> bool:
    if evidence.agreement is not None:
        return evidence.agreement >= config.min_sight_agreement
    if evidence.score < config.min_mask_score:
        return False
    ratio = evidence.area_ratio
    return ratio is None or config.min_mask_area_ratio <= ratio <= config.max_mask_area_ratio
