"""Turns rendered clips into batches for the small SAM2: augmented frames, truth, and the prompts of the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.small_sam2 import IMAGE_SIZE
from benchmarks.small_sam2_clips import TrainingClip
from gest_stream.tracking.prompts import build_prompt
from gest_stream.types import HandLandmarks

_MEAN: Final = torch.tensor([0.485, 0.456, 0.406])
_STD: Final = torch.tensor([0.229, 0.224, 0.225])
_MIN_SHOWN: Final = 0.3
"""The tracker prompts where landmarks are found, and they are not found on a hand that is mostly hidden."""

_MIN_PROMPTED_PX: Final = 200
_PRESENT_PX: Final = 16
_LANDMARK_NOISE: Final = 0.02
_AGAIN: Final = 0.25
"""Share of the sequences that are prompted once more on a later frame, which appends to the memory."""

_REFINED: Final = 0.2

_Points = tuple[NDArray[np.float32], NDArray[np.int32]]


class PromptKind(StrEnum):
    """What a batch's objects are started with; one kind a batch, because upstream counts a batch's points together."""

    TRACKER = "tracker"
    """The points and the box, as the engine gives them."""
    POINTS = "points"
    POINT = "point"
    """The palm's centre alone, which makes the model answer with several masks."""
    BOX = "box"
    MASK = "mask"


PROMPT_SHARES: Final = {
    PromptKind.TRACKER: 0.55,
    PromptKind.POINTS: 0.15,
    PromptKind.POINT: 0.1,
    PromptKind.BOX: 0.1,
    PromptKind.MASK: 0.1,
}


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
    """

    images: torch.Tensor
    clip_of: torch.Tensor
    masks: torch.Tensor
    present: torch.Tensor
    kind: PromptKind
    prompts: dict[int, tuple[torch.Tensor, torch.Tensor]]
    refine: bool


def prompt_points(
    landmarks: Sequence[HandLandmarks], hand: int, frame_size: tuple[int, int], kind: PromptKind
) -> _Points | None:
    """Points (P, 2) in pixels of the square and their labels (P,), the box first; None where there is no prompt."""
    others = [other for k, other in enumerate(landmarks) if k != hand]
    prompt = build_prompt(landmarks[hand], others, frame_size)
    if prompt is None or prompt.box_xyxy_px is None:
        return None
    box = np.array(prompt.box_xyxy_px, np.float32).reshape(2, 2)
    points, labels = prompt.points_xy_px, prompt.labels
    if kind is PromptKind.POINT:
        points, labels = points[:1], labels[:1]
    if kind in (PromptKind.TRACKER, PromptKind.BOX):
        keep = slice(None) if kind is PromptKind.TRACKER else slice(0)
        points = np.concatenate([box, points[keep]])
        labels = np.concatenate([np.array([2, 3], np.int32), labels[keep]])
    if len(points) == 0:
        return None
    return points * _to_square(frame_size), labels


def draw_batch(
    clips: Sequence[TrainingClip], frames: int, kind: PromptKind, rng: np.random.Generator, augment: bool = True
) -> Batch | None:
    """Augment a stretch of each clip and prompt every hand that its first frame shows.

    Args:
        clips: The clips; each gives one sequence.
        frames: Length of the sequences.
        kind: How to prompt.
        rng: Where stretches, augmentation and the landmarks' errors come from.
        augment: Whether to change pictures, to draw the stretch and to prompt again; without, the clip's first frames
            are taken as they are.

    Returns:
        The batch; None where no clip shows a hand on its first frame.
    """
    again = int(rng.integers(1, frames)) if augment and frames > 1 and rng.random() < _AGAIN else 0
    images: list[torch.Tensor] = []
    masks: list[NDArray[np.uint8]] = []
    prompts: dict[int, list[_Points | None]] = {0: [], again: []}
    clip_of: list[int] = []
    for index, clip in enumerate(clips):
        order = _stretch(clip, frames, rng) if augment else np.arange(frames)
        warp = _draw_warp(rng) if augment else np.eye(2, 3, dtype=np.float32)
        pictures = np.stack([_warped(clip.images[t], warp, cv2.BORDER_REPLICATE) for t in order])
        images.append(_normalised(pictures, rng if augment else None))
        given = {t: _prompts(clip, int(order[t]), warp, kind, rng if augment else None) for t in prompts}
        for k in np.flatnonzero([found is not None for found in given[0]]):
            truth = np.stack([_warped(clip.masks[t, k], warp, cv2.BORDER_CONSTANT) for t in order])
            if np.count_nonzero(truth[0] >= 128) >= _MIN_PROMPTED_PX:
                masks.append(truth)
                clip_of.append(index)
                for t, of_frame in prompts.items():
                    of_frame.append(given[t][k])
    if not masks:
        return None
    truths = torch.from_numpy(np.stack(masks, 1)).float() / 255.0
    return Batch(
        images=torch.stack(images, 1),
        clip_of=torch.tensor(clip_of),
        masks=truths,
        present=(truths >= 0.5).flatten(2).sum(2) >= _PRESENT_PX,
        kind=kind,
        prompts={t: _padded(whole) for t, found in prompts.items() if len(whole := _whole(found)) == len(masks)},
        refine=augment and kind is not PromptKind.MASK and rng.random() < _REFINED,
    )


def _prompts(
    clip: TrainingClip, frame: int, warp: NDArray[np.float32], kind: PromptKind, rng: np.random.Generator | None
) -> list[_Points | None]:
    """What the tracker would give for each of the clip's hands on a frame; None for a hand that it would not see."""
    landmarks = [_landmarks(clip, frame, k, warp, rng) for k in range(clip.shown.shape[1])]
    seen = [k for k in range(len(landmarks)) if clip.shown[frame, k] > _MIN_SHOWN]
    return [
        prompt_points([landmarks[j] for j in seen], seen.index(k), clip.frame_size, kind) if k in seen else None
        for k in range(len(landmarks))
    ]


def _whole(found: Sequence[_Points | None]) -> list[_Points]:
    return [points for points in found if points is not None]


def _to_square(frame_size: tuple[int, int]) -> NDArray[np.float32]:
    return np.float32(IMAGE_SIZE) / np.array(frame_size, np.float32)


def _stretch(clip: TrainingClip, frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of a stretch, forwards or backwards, that starts with a hand in view where the clip has such a frame."""
    total = len(clip.images)
    starts = [
        (start, step)
        for step in (1, -1)
        for start in range(total)
        if 0 <= start + step * (frames - 1) < total and clip.shown[start].max() > _MIN_SHOWN
    ]
    start, step = starts[rng.integers(len(starts))] if starts else (0, 1)
    return start + step * np.arange(frames)


def _draw_warp(rng: np.random.Generator) -> NDArray[np.float32]:
    """A turn, a scale, a shift and perhaps a mirror, as a (2, 3) matrix on pixels of the square."""
    middle = IMAGE_SIZE / 2
    scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.5))))
    warp = cv2.getRotationMatrix2D((middle, middle), float(rng.normal(0.0, 8.0)), scale)
    room = abs(scale - 1.0) * middle + 0.05 * IMAGE_SIZE
    warp[:, 2] += rng.uniform(-room, room, 2)
    if rng.random() < 0.5:
        warp = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ warp
        warp[0, 2] += IMAGE_SIZE
    return np.asarray(warp, np.float32)


def _warped(picture: NDArray[np.uint8], warp: NDArray[np.float32], border: int) -> NDArray[np.uint8]:
    side = (IMAGE_SIZE, IMAGE_SIZE)
    return np.asarray(cv2.warpAffine(picture, warp, side, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)


def _landmarks(
    clip: TrainingClip, frame: int, hand: int, warp: NDArray[np.float32], rng: np.random.Generator | None
) -> HandLandmarks:
    """A hand's landmarks after the warp, in pixels of the clip's frame, with a detector's errors if `rng` is there."""
    to_square = _to_square(clip.frame_size)
    warped = (clip.landmarks[frame, hand] * to_square) @ warp[:, :2].T + warp[:, 2]
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = warped / to_square
    if rng is not None:
        size = float(np.ptp(points[:, :2], axis=0).max())
        points[:, :2] += rng.normal(0.0, _LANDMARK_NOISE * size, (21, 2)) + rng.normal(0.0, _LANDMARK_NOISE * size, 2)
    return HandLandmarks(points)


def _normalised(pictures: NDArray[np.uint8], rng: np.random.Generator | None) -> torch.Tensor:
    """(T, 3, S, S) from (T, S, S, 3), its colours changed by one random mixture if `rng` is there."""
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255.0
    if rng is not None:
        grey = np.full((3, 3), 1 / 3)
        saturation = rng.uniform(0.6, 1.4)
        mix = (saturation * np.eye(3) + (1 - saturation) * grey) * rng.uniform(0.9, 1.1, (3, 1))
        gain, lift = rng.uniform(0.75, 1.25), rng.uniform(-0.1, 0.1)
        images = torch.einsum("ij,tjhw->tihw", torch.from_numpy(mix * gain).float(), images) + lift
        images = images.clamp_(0.0, 1.0)
    return (images - _MEAN[:, None, None]) / _STD[:, None, None]


def _padded(prompts: Sequence[_Points]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(labels) for _, labels in prompts)
    points = torch.zeros(len(prompts), longest, 2)
    labels = torch.full((len(prompts), longest), -1, dtype=torch.int32)
    for row, (xy, kinds) in enumerate(prompts):
        points[row, : len(xy)] = torch.from_numpy(xy)
        labels[row, : len(kinds)] = torch.from_numpy(kinds)
    return points, labels
