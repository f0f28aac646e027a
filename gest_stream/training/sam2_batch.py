"""From clips to a batch: stretches of frames in order, changed by chance, their truth, and what is to be prompted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.training.sam2_augment import draw_warp, normalised, warped
from gest_stream.training.sam2_clip import MIN_SHOWN, ClipSource, TrainingClip
from gest_stream.training.sam2_prompting import (
    LANDMARK_NOISE,
    Points,
    PromptKind,
    landmark_points,
    mask_points,
    padded,
)
from gest_stream.types import HandLandmarks

_PRESENT_PX: Final = 16


@dataclass(frozen=True, slots=True)
class SampleRules:
    """How stretches are drawn and prompted.

    Args:
        max_stride: Most frames from one frame of a stretch to the next.
        max_objects: Objects that are followed in a clip.
        min_started_px: Pixels of the square that an object must cover on the first frame to be followed.
        again: Share of the batches that are prompted once more on a later frame, which appends to the memory.
        refined: Share of the batches whose prompted frames are answered twice, the second time starting from the
            first answer.
        corrected: Share of the batches in which one frame or two are corrected by clicks on errors.
        max_clicks: Most clicks a corrected frame gets.
        outside_is_void: Whether what a warp brings in from outside the picture is no truth. It repeats the edge, where
            hands often end.
    """

    max_stride: int = 1
    max_objects: int = 2
    min_started_px: int = 200
    again: float = 0.25
    refined: float = 0.2
    corrected: float = 0.0
    max_clicks: int = 3
    outside_is_void: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sequences of several clips and the objects to follow in them.

    Args:
        images: (T, C, 3, S, S) float32, normalised as upstream does.
        clip_of: (B,) int64, which of the C clips an object is in.
        masks: (T, B, S, S) float32 truth, 0 to 1.
        present: (T, B) bool, whether anything of the object can be seen.
        kind: How the objects are prompted.
        prompts: Frame -> points (B, P, 2) float32 pixels of the square, padded, and labels (B, P) int32: 1 on, 0 off,
            2 and 3 the box's corners, -1 padding. The first frame is always among them.
        refine: Whether a prompted frame is answered twice, the second time starting from the first answer.
        void: (T, C, S, S) bool, where the truth is not known; None where it is known everywhere.
        corrections: Frame -> how many clicks correct it.
        seed: Of the places of those clicks.
    """

    images: torch.Tensor
    clip_of: torch.Tensor
    masks: torch.Tensor
    present: torch.Tensor
    kind: PromptKind
    prompts: dict[int, tuple[torch.Tensor, torch.Tensor]]
    refine: bool
    void: torch.Tensor | None = None
    corrections: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0

    def void_of(self, t: int) -> torch.Tensor | None:
        """(B, S, S) bool on a frame, for each object where the truth is not known."""
        return None if self.void is None else self.void[t][self.clip_of]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return replace(
            self,
            images=self.images.to(device),
            clip_of=self.clip_of.to(device),
            masks=self.masks.to(device),
            present=self.present.to(device),
            prompts={t: (points.to(device), labels.to(device)) for t, (points, labels) in self.prompts.items()},
            void=None if self.void is None else self.void.to(device),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    """One clip's share of a batch."""

    images: torch.Tensor
    masks: list[NDArray[np.uint8]]
    prompts: dict[int, list[Points | None]]
    void: NDArray[np.bool_]


def draw_batch(
    clips: Sequence[ClipSource],
    frames: int,
    kind: PromptKind,
    rng: np.random.Generator,
    augment: bool = True,
    rules: SampleRules | None = None,
) -> Batch | None:
    """Take a stretch of each clip, change it, and prompt every object that its first frame shows.

    Args:
        clips: The clips; each gives one sequence. All have squares of one size.
        frames: Length of the sequences; a clip with fewer goes back and forth.
        kind: How to prompt.
        rng: Where stretches, changes and the errors of prompts come from.
        augment: Whether to change pictures, to draw the stretch and to prompt again; without, one clip's first
            frames, from one that shows an object, are taken as they are.
        rules: How to draw; by default hands, each frame, without corrections.

    Returns:
        The batch; None where no clip shows an object on its first frame.
    """
    rules = rules if rules is not None else SampleRules()
    again = int(rng.integers(1, frames)) if augment and frames > 1 and rng.random() < rules.again else 0
    sequences = [
        _draw_sequence(clip, frames, sorted({0, again}), kind, rng if augment else None, rules) for clip in clips
    ]
    masks = [mask for sequence in sequences for mask in sequence.masks]
    if not masks:
        return None
    truths = torch.from_numpy(np.stack(masks, 1)).float() / 255.0
    prompts = {t: [one for sequence in sequences for one in sequence.prompts[t]] for t in sequences[0].prompts}
    if kind is PromptKind.MASK and len(prompts) == frames:
        prompts = {0: prompts[0]}  # with all masks given there would be nothing to learn
    refine = augment and kind is not PromptKind.MASK and rng.random() < rules.refined
    corrections = _draw_corrections(frames, kind, rng, rules) if augment and _happens(rules.corrected, rng) else {}
    void = np.stack([sequence.void for sequence in sequences], 1)
    return Batch(
        images=torch.stack([sequence.images for sequence in sequences], 1),
        clip_of=torch.tensor([index for index, sequence in enumerate(sequences) for _ in sequence.masks]),
        masks=truths,
        present=(truths >= 0.5).flatten(2).sum(2) >= _PRESENT_PX,
        kind=kind,
        prompts={t: padded(found) for t, found in prompts.items() if all(one is not None for one in found)},
        refine=refine,
        void=torch.from_numpy(void) if void.any() else None,
        corrections=corrections,
        seed=int(rng.integers(2**31)) if corrections else 0,
    )


def _happens(chance: float, rng: np.random.Generator) -> bool:
    """Whether something of that chance happens; what never happens draws nothing."""
    return chance > 0 and bool(rng.random() < chance)


def _draw_corrections(frames: int, kind: PromptKind, rng: np.random.Generator, rules: SampleRules) -> dict[int, int]:
    """One frame or two and their numbers of clicks; none on a frame whose mask is given."""
    able = np.arange(1 if kind is PromptKind.MASK else 0, frames)
    chosen = rng.choice(able, min(len(able), int(rng.integers(1, 3))), replace=False)
    return {int(t): int(rng.integers(1, rules.max_clicks + 1)) for t in sorted(chosen)}


def _draw_sequence(
    clip: ClipSource,
    frames: int,
    prompted: Sequence[int],
    kind: PromptKind,
    rng: np.random.Generator | None,
    rules: SampleRules,
) -> _Sequence:
    order = first_frames(clip, frames) if rng is None else draw_stretch(clip, frames, rules.max_stride, rng)
    objects = clip.startable(order[0])
    if len(objects) > rules.max_objects:
        keep = range(rules.max_objects) if rng is None else sorted(rng.permutation(len(objects))[: rules.max_objects])
        objects = tuple(objects[k] for k in keep)
    part = clip.take(order, objects)
    warp = np.eye(2, 3, dtype=np.float32) if rng is None else draw_warp(part.images.shape[1], rng)
    pictures = np.stack([warped(picture, warp, fill=None) for picture in part.images])
    images = normalised(pictures, rng)
    masks = np.stack([[warped(mask, warp, fill=0) for mask in of_frame] for of_frame in part.masks])
    given = {t: _prompts(part, t, masks[t], warp, kind, rng) for t in prompted}
    followed = range(masks.shape[1]) if part.followed is None else part.followed
    kept = [k for k in followed if given[0][k] is not None and _covers(masks[0, k], rules.min_started_px)]
    return _Sequence(
        images,
        [masks[:, k] for k in kept],
        {t: [of_frame[k] for k in kept] for t, of_frame in given.items()},
        _void_of(part, warp, rules.outside_is_void and rng is not None),
    )


def _covers(mask: NDArray[np.uint8], pixels: int) -> bool:
    return bool(np.count_nonzero(mask >= 128) >= pixels)


def _void_of(part: TrainingClip, warp: NDArray[np.float32], outside_is_void: bool) -> NDArray[np.bool_]:
    """(T, S, S), where the truth is not known after the warp."""
    shape = part.images.shape[:3]
    if part.void is None and not outside_is_void:
        return np.zeros(shape, bool)
    fill = 255 if outside_is_void else 0
    if part.void is None:
        return np.broadcast_to(warped(np.zeros(shape[1:], np.uint8), warp, fill) >= 128, shape)
    return np.stack([warped(of_frame.astype(np.uint8) * np.uint8(255), warp, fill) >= 128 for of_frame in part.void])


def draw_stretch(clip: ClipSource, frames: int, max_stride: int, rng: np.random.Generator) -> list[int]:
    """Indices of a stretch, forwards or backwards, that starts with an object in view where the clip has such a frame.

    A clip that is too short for its length is walked back and forth.
    """
    total = len(clip)
    steps = [sign * stride for stride in range(1, max_stride + 1) for sign in (1, -1)]
    able = [start for start in range(total) if clip.startable(start)]
    starts = [(start, step) for step in steps for start in able if 0 <= start + step * (frames - 1) < total]
    if starts:
        start, step = starts[rng.integers(len(starts))]
        return [start + step * k for k in range(frames)]
    start = able[rng.integers(len(able))] if able else 0
    return _back_and_forth(start, total, frames)


def first_frames(clip: ClipSource, frames: int) -> list[int]:
    """Indices of up to `frames` frames in order from the first that shows an object."""
    start = next((index for index in range(len(clip)) if clip.startable(index)), 0)
    return list(range(start, min(start + frames, len(clip))))


def _back_and_forth(start: int, total: int, frames: int) -> list[int]:
    order, step = [start], 1
    while len(order) < frames:
        if not 0 <= order[-1] + step < total:
            step = -step
        order.append(min(max(order[-1] + step, 0), total - 1))
    return order


def _prompts(
    part: TrainingClip,
    t: int,
    masks: NDArray[np.uint8],
    warp: NDArray[np.float32],
    kind: PromptKind,
    rng: np.random.Generator | None,
) -> list[Points | None]:
    """What would be given for each of the clip's objects on a frame; None for one that would not be seen."""
    if part.landmarks is None or part.shown is None:
        solid = [mask >= 128 for mask in masks]
        return [
            mask_points(mask, [other for j, other in enumerate(solid) if j != k], kind, rng)
            for k, mask in enumerate(solid)
        ]
    hands, side = range(part.shown.shape[1]), part.images.shape[1]
    landmarks = [_landmarks(part, t, k, warp, rng) for k in hands]
    seen = [k for k in hands if part.shown[t, k] > MIN_SHOWN]
    shown = [landmarks[k] for k in seen]
    return [landmark_points(shown, seen.index(k), part.frame_size, side, kind) if k in seen else None for k in hands]


def _landmarks(
    part: TrainingClip, t: int, hand: int, warp: NDArray[np.float32], rng: np.random.Generator | None
) -> HandLandmarks:
    """A hand's landmarks after the warp, in pixels of the clip's frame, with a detector's errors if `rng` is there."""
    assert part.landmarks is not None
    to_square = np.float32(part.images.shape[1]) / np.array(part.frame_size, np.float32)
    moved = (part.landmarks[t, hand] * to_square) @ warp[:, :2].T + warp[:, 2]
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = moved / to_square
    if rng is not None:
        size = float(np.ptp(points[:, :2], axis=0).max())
        points[:, :2] += rng.normal(0.0, LANDMARK_NOISE * size, (21, 2)) + rng.normal(0.0, LANDMARK_NOISE * size, 2)
    return HandLandmarks(points)
