"""When a hand is trusted, lost and given up. Pure logic: no picture, no model.

    TENTATIVE --confirm_after_frames with landmarks--------------------> TRACKED
    TENTATIVE --drop_tentative_after_frames without--------------------> REMOVED
    TRACKED   --lost_after_frames without------------------------------> LOST
    TRACKED   --lost_after_frames_unmasked without, and no trusted mask-> LOST
    LOST      --landmarks----------------------------------------------> TRACKED, re-initialised
    LOST      --remove_after_frames without----------------------------> REMOVED

Each frame is two steps, because a prompt must be known before the segmenter runs and a mask only after it:
`on_landmarks`, then `on_mask` where there is a segmenter.
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
        unmasked: The segmenter was asked on the previous frame and had no mask to trust.
        disagreed_frames: Consecutive frames on which landmarks and mask disagreed.
        frames_since_prompt: Frames since the segmenter was last prompted.
        prompt_due: The segmenter must be told where the hand is as soon as there are landmarks.
    """

    state: TrackState = TrackState.TENTATIVE
    seen_frames: int = 0
    missed_frames: int = 0
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
        agreement: Of landmarks and mask, 0 to 1; None where there are no landmarks to compare.
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
    memory = replace(memory, seen_frames=memory.seen_frames + 1, missed_frames=0, unmasked=False)
    if memory.state is TrackState.LOST:
        found = replace(memory, state=TrackState.TRACKED, prompt_due=True)
        return LossStep(found, ReinitialisedBy.LANDMARKS)
    if memory.state is TrackState.TENTATIVE and memory.seen_frames >= config.confirm_after_frames:
        memory = replace(memory, state=TrackState.TRACKED)
    due = (
        memory.disagreed_frames >= config.reprompt_after_frames
        and memory.frames_since_prompt >= config.reprompt_interval_frames
    )
    return LossStep(replace(memory, prompt_due=memory.prompt_due or due))


def _missed(memory: LossMemory, config: LossConfig) -> LossMemory:
    missed = memory.missed_frames + 1
    state = memory.state
    if state is TrackState.TENTATIVE and missed >= config.drop_tentative_after_frames:
        state = TrackState.REMOVED
    elif state is TrackState.LOST and missed >= config.remove_after_frames:
        state = TrackState.REMOVED
    elif state is TrackState.TRACKED:
        patience = config.lost_after_frames
        if memory.unmasked:
            patience = min(patience, config.lost_after_frames_unmasked)
        if missed >= patience:
            state = TrackState.LOST
    return replace(memory, state=state, missed_frames=missed, disagreed_frames=0)


def on_prompt(memory: LossMemory) -> LossMemory:
    """The segmenter is told where the hand is on this frame."""
    return replace(memory, prompt_due=False, disagreed_frames=0, frames_since_prompt=0)


def on_restart(memory: LossMemory) -> LossMemory:
    """What the segmenter remembers of the hand is worthless: the hand jumped, or the frame's size changed."""
    return replace(memory, prompt_due=True, disagreed_frames=0)


def on_mask(memory: LossMemory, evidence: MaskEvidence | None, config: LossConfig) -> tuple[LossMemory, bool]:
    """Second step of a frame: what the segmenter made of it; only where there is a segmenter.

    Args:
        memory: After `on_landmarks`.
        evidence: None where the segmenter gave no mask, or an empty one.
        config: Thresholds.

    Returns:
        The new memory, and whether the mask is to be trusted. With landmarks every mask is, because they vouch for
        the hand; without, its score and area must hold.
    """
    if memory.missed_frames == 0:
        agreement = 0.0 if evidence is None else evidence.agreement
        disagree = agreement is not None and agreement < config.min_agreement
        return replace(memory, disagreed_frames=memory.disagreed_frames + 1 if disagree else 0), evidence is not None
    trusted = evidence is not None and evidence.score >= config.min_mask_score
    if trusted and evidence is not None and evidence.area_ratio is not None:
        trusted = config.min_mask_area_ratio <= evidence.area_ratio <= config.max_mask_area_ratio
    return replace(memory, unmasked=not trusted), trusted
