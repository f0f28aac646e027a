"""Wide clips that are drawn in a moment: a disc on a bar, for a hand on its forearm, over patches of colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gest_stream.training.wide_clips import HELD_OUT_FROM, ClipKind, WideClip, clip_path

HAND_RGB, ARM_RGB = (200, 150, 120), (90, 60, 200)


def disc_clip(index: int, kind: ClipKind, size: tuple[int, int] = (320, 240), frames: int = 2) -> WideClip:
    """The clip of that number, the same on every call."""
    import cv2

    rng = np.random.default_rng(index)
    width, height = size
    images = np.zeros((frames, height, width, 3), np.uint8)
    hands = np.zeros((frames, 1, height, width), np.uint8)
    arms = np.zeros((frames, height, width), np.uint8)
    for k in range(frames):
        patches = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = np.asarray(cv2.resize(patches, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        middle = int(rng.integers(50, width - 50)), int(rng.integers(50, height - 50))
        below = (middle[0], height)
        cv2.line(image, middle, below, ARM_RGB, 25)
        cv2.line(arms[k], middle, below, 255, 25)
        cv2.circle(image, middle, 40, HAND_RGB, -1)
        cv2.circle(hands[k, 0], middle, 40, 255, -1)
        arms[k][hands[k, 0] > 0] = 0
        images[k] = image
    unknown = np.full((frames, 1, 21, 2), np.nan, np.float32), np.full((frames, 1), np.nan, np.float32)
    return WideClip(images, hands, arms, np.zeros(arms.shape, np.bool_), *unknown, kind)


def write_discs(root: Path, learnt: int, held_out: int, kinds: tuple[ClipKind, ...] = (ClipKind.RENDERED,)) -> Path:
    """A folder of such clips."""
    for kind in kinds:
        (root / kind).mkdir(parents=True, exist_ok=True)
        for index in [*range(learnt), *range(HELD_OUT_FROM, HELD_OUT_FROM + held_out)]:
            disc_clip(index, kind, frames=1 if kind is ClipKind.REAL else 2).save(clip_path(root, kind, index))
    return root
