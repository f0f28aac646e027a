"""Prompts that wait for the next frame a slow segmenter works on, and what is left of them there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.landmark_warp import Similarity
from gest_stream.types import HandLandmarks, HandMask, Observation, Prompt, PromptMode

_log = logging.getLogger(__name__)

_MAX_WAITING = 32
"""Prompts of one hand that wait at most; only a user's clicks add up, all others replace what was there."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A prompt, the step it came with, and where the hand stood then."""

    number: int
    prompt: Prompt
    region: HandMask | None
    landmarks: HandLandmarks | None
    pose: Similarity


class PromptQueue:
    """The prompts that the segmenter has not seen. Not safe from several threads at once."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[_Waiting]] = {}
        self._started: set[int] = set()

    @property
    def empty(self) -> bool:
        """Nothing waits."""
        return not self._waiting

    def add(self, number: int, observations: Sequence[Observation], poses: Mapping[int, Similarity]) -> None:
        """Keep the prompts of step `number`; one that starts a hand anew overrides those before it."""
        for one in observations:
            if one.prompt is None:
                continue
            before = [] if one.prompt.mode is PromptMode.RESET else self._waiting.get(one.object_id, [])
            pose = poses.get(one.object_id, Similarity())
            if len(before) >= _MAX_WAITING:
                _log.warning("hand %d: more than %d prompts wait; its oldest is let go", one.object_id, _MAX_WAITING)
                before = before[1:]
            entry = _Waiting(number, one.prompt, one.region, one.landmarks, pose)
            self._waiting[one.object_id] = [*before, entry]

    def take(
        self,
        number: int,
        observations: Sequence[Observation],
        poses: Mapping[int, Similarity],
        frame_size: tuple[int, int],
    ) -> tuple[Observation, ...]:
        """The observations of step `number` with every prompt up to then, moved to where the hand is on that frame."""
        return tuple(
            self._with_prompt(one, number, poses.get(one.object_id, Similarity()), frame_size) for one in observations
        )

    def forget(self, object_id: int) -> None:
        """The hand is gone."""
        self._waiting.pop(object_id, None)
        self._started.discard(object_id)

    def clear(self) -> None:
        """Every hand is gone."""
        self._waiting.clear()
        self._started.clear()

    def _with_prompt(self, one: Observation, number: int, pose: Similarity, frame_size: tuple[int, int]) -> Observation:
        waiting = self._waiting.pop(one.object_id, [])
        due = [entry for entry in waiting if entry.number <= number]
        if len(due) < len(waiting):
            self._waiting[one.object_id] = waiting[len(due) :]
        prompt, region = None, one.region
        for entry in due:
            moved, its_region = _at(entry, one, number, pose, frame_size)
            if moved is None:
                continue
            if prompt is not None and not _combine(prompt, moved):
                # a mask comes alone: the clicks on it go with the next frame
                self._waiting[one.object_id] = [entry, *self._waiting.get(one.object_id, [])]
                continue
            prompt = moved if prompt is None else _combined(prompt, moved)
            region = one.region if one.region is not None else its_region
        if prompt is not None and prompt.mode is PromptMode.REFINE and one.object_id not in self._started:
            # what was clicked on was drawn here: the segmenter has no mask of its own to correct
            prompt = replace(prompt, mode=PromptMode.RESET)
        if prompt is not None:
            self._started.add(one.object_id)
        return replace(one, prompt=prompt, region=region)


def _at(
    entry: _Waiting, one: Observation, number: int, pose: Similarity, frame_size: tuple[int, int]
) -> tuple[Prompt | None, HandMask | None]:
    """A prompt and its region where the hand is on the frame of step `number`; None where it left the frame."""
    if entry.number == number:
        return entry.prompt, entry.region
    if entry.landmarks is not None and one.landmarks is not None:
        motion = Similarity.fit(entry.landmarks.points_xy_px, one.landmarks.points_xy_px)
    else:
        motion = entry.pose.inverse().then(pose)
    region = _moved_region(entry.region, motion) if entry.region is not None else None
    return _moved_prompt(entry.prompt, motion, frame_size), region


def _combine(first: Prompt, second: Prompt) -> bool:
    """Whether both fit into one prompt."""
    return second.mode is not PromptMode.REFINE or (first.mask is None and second.mask is None)


def _combined(first: Prompt, second: Prompt) -> Prompt:
    """What two prompts in a row say in one."""
    if second.mode is PromptMode.RESET:
        return second
    if second.mode is PromptMode.APPEND and first.mode is not PromptMode.REFINE:
        return replace(second, mode=first.mode)
    mode = PromptMode.APPEND if second.mode is PromptMode.APPEND else first.mode
    if first.mask is not None or second.mask is not None:
        return replace(second, mode=mode)
    points = np.concatenate([first.points_xy_px, second.points_xy_px])
    labels = np.concatenate([first.labels, second.labels])
    box = second.box_xyxy_px if second.box_xyxy_px is not None else first.box_xyxy_px
    return Prompt(points, labels, box, mode)


def _moved_prompt(prompt: Prompt, motion: Similarity, frame_size: tuple[int, int]) -> Prompt | None:
    """The prompt with the hand's motion; None where nothing that says where it is lies inside the frame."""
    if prompt.mask is not None:
        mask = _warped(prompt.mask.astype(np.uint8), motion, frame_size) > 0
        return replace(prompt, mask=mask) if mask.any() else None
    points = motion.move(prompt.points_xy_px)
    inside = ((points >= 0) & (points <= np.array(frame_size) - 1)).all(axis=1)
    box = _moved_box(prompt.box_xyxy_px, motion, frame_size) if prompt.box_xyxy_px is not None else None
    points, labels = points[inside], prompt.labels[inside]
    if box is None and len(points) == 0:
        return None
    if box is None and (prompt.labels == 1).any() and not (labels == 1).any():
        return None
    return Prompt(points, labels, box, prompt.mode)


def _moved_box(
    box: tuple[float, float, float, float], motion: Similarity, frame_size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """A box as wide and high as before but for the growth, around the moved middle, clipped; None where outside."""
    left, top, right, bottom = box
    half = abs(motion.turn) * np.array([right - left, bottom - top]) / 2.0
    middle = motion.move(np.array([(left + right) / 2.0, (top + bottom) / 2.0], np.float32))
    low, high = np.maximum(middle - half, 0.0), np.minimum(middle + half, np.array(frame_size, np.float64))
    if (high - low < 1.0).any():
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _moved_region(region: HandMask, motion: Similarity) -> HandMask:
    alpha = _warped(region.full(), motion, region.frame_size)
    return HandMask.from_full(alpha, region.score, region.source)


def _warped(picture: NDArray[np.uint8], motion: Similarity, frame_size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    turn, shift = motion.turn, motion.shift
    forth = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return np.asarray(cv2.warpAffine(picture, forth, frame_size, flags=cv2.INTER_LINEAR), np.uint8)
