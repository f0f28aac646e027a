"""Photographs with pseudo labels as clips of one frame, with void where the labels are not to be trusted.

The labels are what GrabCut made of MediaPipe's landmarks. Looked at, the hands are mostly right, with some gaps between
fingers filled; what is grey in a mask, a corridor behind the wrist, misses a part of many forearms. So void is: the
grey, the half-disc behind each wrist where a forearm can be, and a pixel or two along the edge of each hand. In the
webcam set (subhih) hands without a label are rare, so the rest of its pictures, faces above all, counts as background.
In emre_gesture_mit hands are about a hundredth of the picture and second hands often have no label: it is cropped to
the surroundings of the labelled hands, and all but the hands' own boxes, enlarged, is void.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic.appearance import Array
from gest_stream.training.labels import read_mask, read_picture
from gest_stream.training.wide_clips import HELD_OUT_FROM, MAX_HANDS, ClipKind, WideClip
from gest_stream.training.wide_foregrounds import ManifestRow, read_manifest
from gest_stream.types import HAND_CONNECTIONS

UNLABELLED_HANDS: Final = frozenset({"emre_gesture_mit"})
"""Sets in which hands without a label are common."""

_HAND, _GREY = 255, 128
_FOREARM_LENGTHS: Final = 1.7  # radius of the half-disc, in hand lengths
_BEYOND_WRIST: Final = 0.12  # it begins this far before the wrist
_BOX_GROWTH: Final = 0.6
_CROP_LENGTHS: Final = (2.5, 5.0)


def real_rows(folders: Sequence[Path]) -> list[tuple[int, ManifestRow]]:
    """The pseudo-labelled pictures of all sets with their clip indices, the sets mixed evenly.

    Held-out pictures have indices from `HELD_OUT_FROM` on.

    Raises:
        InvalidInputError: A manifest cannot be read.
    """
    placed: list[tuple[float, int, ManifestRow]] = []
    for number, folder in enumerate(folders):
        rows = [row for row in read_manifest(folder) if not row.keyed and 0 < len(row.hands) <= MAX_HANDS]
        placed += [((k + 0.5) / len(rows), number, row) for k, row in enumerate(rows)]
    placed.sort(key=lambda entry: entry[:2])
    kept = [row for _, _, row in placed if not row.held_out]
    measured = [row for _, _, row in placed if row.held_out]
    return [*enumerate(kept), *enumerate(measured, HELD_OUT_FROM)]


def real_clip(row: ManifestRow, longer_side: int, rng: np.random.Generator) -> WideClip:
    """One photograph, its longer side resized to `longer_side` pixels.

    Args:
        row: Which.
        longer_side: Pixels.
        rng: How sets with unlabelled hands are cropped.

    Raises:
        InvalidInputError: A file cannot be read, or picture and mask differ in size.
    """
    import cv2

    image, mask = read_picture(row.image), read_mask(row.mask)
    if mask.shape != image.shape[:2]:
        raise InvalidInputError(
            f"{row.mask}: is not of the size of {row.image.name}, {image.shape[1]}x{image.shape[0]}"
        )
    points = _distinct(row.landmarks((image.shape[1], image.shape[0])))
    unsure = row.image.parent.parent.name in UNLABELLED_HANDS
    if unsure:
        image, mask, points = _cropped(image, mask, points, rng)
    scale = longer_side / max(image.shape[:2])
    size = max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale))
    image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))
    hand = cv2.resize((mask == _HAND).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    grey = cv2.resize((mask == _GREY).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    points = np.asarray(points * np.float32(scale), np.float32)
    alpha = np.rint(255 * np.asarray(hand)).astype(np.uint8)
    owner = _owners(points, size)
    hands = np.stack([np.where(owner == k, alpha, 0) for k in range(len(points))]).astype(np.uint8)
    void = grey | _edge(alpha, points) | _behind_wrists(points, size) & (alpha < 128)
    if unsure:
        void |= ~_near_hands(points, size) & (alpha < 128)
    return WideClip(
        image[None],
        hands[None],
        np.zeros((1, size[1], size[0]), np.uint8),
        void[None],
        points[None],
        np.full((1, len(points)), np.nan, np.float32),
        ClipKind.REAL,
    )


def _lengths(points: Array) -> Array:
    """(N,) about how long each hand is, pixels, whatever the fingers do."""
    palm = np.linalg.norm(points[:, 0] - points[:, 9], axis=1)
    box = (points.max(axis=1) - points.min(axis=1)).max(axis=1)
    return np.asarray(np.maximum(1.8 * palm, box), np.float32)


def _distinct(points: Array) -> Array:
    """The hands without those that MediaPipe found a second time."""
    kept: list[int] = []
    lengths = _lengths(points)
    for k in range(len(points)):
        middles = points[kept].mean(axis=1) - points[k].mean(axis=0)
        if not (np.linalg.norm(middles, axis=1) < 0.5 * lengths[k]).any():
            kept.append(k)
    return points[kept]


def _cropped(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], points: Array, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Array]:
    """The surroundings of one of the hands; the other hands stay where they fall within."""
    chosen = int(rng.integers(len(points)))
    length = float(_lengths(points)[chosen])
    across = min(image.shape[1], length * float(rng.uniform(*_CROP_LENGTHS)))
    down = min(image.shape[0], 0.75 * across)
    centre = points[chosen].mean(axis=0) + rng.uniform(-0.3, 0.3, 2) * (across, down)
    left = int(np.clip(centre[0] - across / 2, 0, image.shape[1] - across))
    top = int(np.clip(centre[1] - down / 2, 0, image.shape[0] - down))
    place = slice(top, top + int(down)), slice(left, left + int(across))
    moved = points - np.array([left, top], np.float32)
    inside = ((moved > 0) & (moved < (across, down))).all(axis=2).mean(axis=1) > 0.3
    inside[chosen] = True
    return np.ascontiguousarray(image[place]), np.ascontiguousarray(mask[place]), np.asarray(moved[inside], np.float32)


def _owners(points: Array, size: tuple[int, int]) -> NDArray[np.intp]:
    """(H, W) index of the hand whose bones are nearest."""
    import cv2

    far = []
    for hand in points:
        bones = np.ones((size[1], size[0]), np.uint8)
        for a, b in HAND_CONNECTIONS:
            start, end = (tuple(np.clip(np.rint(hand[k]), -4096, 4096).astype(int).tolist()) for k in (a, b))
            cv2.line(bones, start, end, (0,), 1)
        if bones.all():
            far.append(np.full(bones.shape, 1e6, np.float32))
        else:
            far.append(np.asarray(cv2.distanceTransform(bones, cv2.DIST_L2, 5), np.float32))
    return np.asarray(np.stack(far).argmin(axis=0), np.intp)


def _edge(alpha: NDArray[np.uint8], points: Array) -> NDArray[np.bool_]:
    """(H, W) a narrow band along the hands' edges."""
    import cv2

    width = 1 if float(_lengths(points).min()) < 120 else 2
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    there = (alpha >= 128).astype(np.uint8)
    return np.asarray(cv2.dilate(there, kernel) != cv2.erode(there, kernel))


def _behind_wrists(points: Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) where a forearm can be."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    found = np.zeros((size[1], size[0]), np.bool_)
    for hand, length in zip(points, _lengths(points), strict=True):
        way = (hand[0] - hand[9]) / (np.linalg.norm(hand[0] - hand[9]) + 1e-6)
        dx, dy = x - hand[0, 0], y - hand[0, 1]
        behind = dx * way[0] + dy * way[1] > -_BEYOND_WRIST * length
        found |= behind & (np.hypot(dx, dy) < _FOREARM_LENGTHS * length)
    return found


def _near_hands(points: Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) inside the enlarged boxes of the hands."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    found = np.zeros((size[1], size[0]), np.bool_)
    for hand, length in zip(points, _lengths(points), strict=True):
        low, high = hand.min(axis=0) - _BOX_GROWTH * length, hand.max(axis=0) + _BOX_GROWTH * length
        found |= (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
    return found
