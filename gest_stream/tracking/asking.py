"""When the redetector is asked. Pure logic: no picture, no model.

A question is wanted

    LOST          while a hand that was tracked is missing and no mask of it is trusted
    NONE          while neither landmarks nor masks show any hand
    DISAGREEMENT  while landmarks and mask of a hand disagree although it was prompted again
    VERIFY        once a hand has been held by its mask alone for `verify_after_frames`; sooner where it was found
                  only just now, because hands come out from behind things bit by bit
    FEWER         while some hand is in view, but fewer than the landmarks' detector looks for

and it is put at most every `interval_frames`, ever more rarely while the answers do not help. For FEWER alone it is put
every `seek_interval_frames`, with a back-off of its own that begins with the first answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from gest_stream.config import LossConfig, RedetectionConfig
from gest_stream.tracking.loss import LossMemory
from gest_stream.types import TrackState

_FIRST_VERIFY_FRAMES = 3
"""After it was found; the next times take twice as long each, up to `verify_after_frames`."""

_BLINK_FRAMES = 2
"""Landmarks are often missing on a single frame; that is no loss."""


class AskReason(StrEnum):
    """Why the redetector should look."""

    LOST = "lost"
    NONE = "none"
    DISAGREEMENT = "disagreement"
    VERIFY = "verify"
    FEWER = "fewer"


_OF_NO_LOSS = (AskReason.NONE, AskReason.FEWER)
"""They go on for as long as there is nothing more to see."""


@dataclass(frozen=True, slots=True)
class AskMemory:
    """What is remembered between questions.

    Args:
        frames_since: Source frames since the last question; None before the first.
        interval: Frames between questions now; 0 before the first answer.
        seek_interval: The same of questions about further hands alone.
        unhelpful: Answers in a row that helped nothing, but for those about further hands alone.
        wants: What the questions have been about, each with the hand it concerns (0 where none).
    """

    frames_since: int | None = None
    interval: float = 0.0
    seek_interval: float = 0.0
    unhelpful: int = 0
    wants: frozenset[tuple[AskReason, int]] = frozenset()

    @property
    def seeks(self) -> bool:
        """Whether there is nothing to ask about but further hands."""
        return bool(self.wants) and all(reason is AskReason.FEWER for reason, _ in self.wants)


def wanted(
    memories: Iterable[tuple[int, LossMemory]],
    loss: LossConfig,
    config: RedetectionConfig,
    most_hands: int | None = None,
) -> frozenset[tuple[AskReason, int]]:
    """What there is to ask about on this frame.

    Args:
        memories: Every live hand's id and memory, after `on_landmarks`; `unmasked` is that of the frame before.
        loss: When landmarks and mask count as disagreeing.
        config: When a hand held by its mask is looked for, and whether further ones are.
        most_hands: As many hands as the landmarks' detector looks for; None where that is not known.
    """
    wants, shown, hands = set(), False, 0
    for track_id, memory in memories:
        with_landmarks, masked = memory.missed_frames == 0, not memory.unmasked
        shown |= with_landmarks or masked
        hands += (with_landmarks or masked) and not (memory.of_user and memory.seen_frames == 0)
        if with_landmarks:
            # told apart from the first disagreement, which the landmarks themselves may settle
            lasting = memory.disagreed_frames > loss.reprompt_after_frames
            if lasting and 2 * memory.frames_since_prompt >= loss.reprompt_interval_frames and not memory.corrected:
                wants.add((AskReason.DISAGREEMENT, track_id))
        elif memory.of_user:
            continue  # it may be anything; only a hand can be looked for
        elif not masked and memory.state is not TrackState.TENTATIVE and memory.missed_frames >= _BLINK_FRAMES:
            wants.add((AskReason.LOST, track_id))
        elif config.verify_after_frames and memory.unseen_frames >= _verify_after(memory, config):
            wants.add((AskReason.VERIFY, track_id))
    if not shown and not wants:
        wants.add((AskReason.NONE, 0))
    if config.seek_interval_frames and most_hands is not None and 0 < hands < most_hands:
        wants.add((AskReason.FEWER, 0))
    return frozenset(wants)


def _verify_after(memory: LossMemory, config: RedetectionConfig) -> int:
    if memory.sights == 0:
        return config.verify_after_frames
    return min(config.verify_after_frames, _FIRST_VERIFY_FRAMES << min(memory.sights - 1, 16))


def on_frame(
    memory: AskMemory, wants: frozenset[tuple[AskReason, int]], steps: int, config: RedetectionConfig
) -> tuple[AskMemory, bool]:
    """One frame: is the redetector to be asked now?

    Args:
        memory: From the frame before.
        wants: From `wanted`.
        steps: Source frames since the frame before.
        config: Interval and back-off.

    Returns:
        The memory with the question taken as put, and whether it is. A new loss ends the back-off; that there is
        no hand at all, or no further one, does not, however often one is found for a moment.
    """
    fresh = any(reason not in _OF_NO_LOSS for reason, _ in wants - memory.wants)
    memory = replace(waited(memory, steps), wants=wants)
    if fresh:
        memory = replace(memory, interval=0.0, seek_interval=0.0, unhelpful=0)
    interval = max(memory.interval, config.interval_frames)
    due = max(memory.seek_interval, config.seek_interval_frames) if memory.seeks else interval
    if not wants or (memory.frames_since is not None and memory.frames_since < due):
        return memory, False
    return replace(memory, frames_since=0, interval=interval if not memory.seeks else memory.interval), True


def waited(memory: AskMemory, steps: int) -> AskMemory:
    """A frame on which nothing can be asked, because the last question is open."""
    since = None if memory.frames_since is None else memory.frames_since + steps
    return replace(memory, frames_since=since)


def on_answer(memory: AskMemory, helped: bool, config: RedetectionConfig) -> AskMemory:
    """An answer came: it found or confirmed a hand, or it did not."""
    if memory.seeks:
        longer = max(memory.seek_interval, config.seek_interval_frames) * config.backoff
        return replace(memory, seek_interval=0.0 if helped else min(longer, float(config.max_interval_frames)))
    if helped:
        return replace(memory, unhelpful=0, interval=float(config.interval_frames))
    unhelpful = memory.unhelpful + 1
    if unhelpful <= config.backoff_after:
        return replace(memory, unhelpful=unhelpful)
    grown = max(memory.interval, config.interval_frames) * config.backoff
    return replace(memory, unhelpful=unhelpful, interval=min(grown, float(config.max_interval_frames)))
