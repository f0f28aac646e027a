"""What recorded pictures show: which frame of the clip, and what of it before the wall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.native.demo_clip import DemoClip, Pictures, iou, read_pictures

WALL = (20, 40, 220)
"""The colour behind the clip; nothing in it looks like that."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a recorded picture shows.

    Args:
        kind: "cut" (hands before the wall), "whole" (the clip as it is), "wall" (nothing before it) or "other".
        frame: The frame of the clip whose hands it shows; -1 for the wall.
        overlap: Intersection over union of its hands and that frame's; 1 where there is nothing to compare.
        apart: Mean difference to that frame where the picture shows it, grey levels.
    """

    kind: str
    frame: int
    overlap: float
    apart: float


class Judge:
    """Says what pictures show.

    Args:
        clip: What plays before the wall.
    """

    def __init__(self, clip: DemoClip) -> None:
        self._clip = clip
        self._small = clip.pictures[:, ::8, ::8].astype(np.int16)
        self._small_masks = clip.masks[:, ::4, ::4]

    def shown(self, picture: Pictures) -> Shown:
        """What one picture shows."""
        wall = np.array(WALL, np.int16)
        away = np.abs(picture.astype(np.int16) - wall).sum(axis=2) > 100  # between hand and wall: half and half
        covered = cv2.medianBlur(away.astype(np.uint8), 3) > 0
        if covered.mean() < 0.002:
            return Shown("wall", -1, 1.0, 0.0)
        if covered.mean() > 0.98:
            apart = np.abs(self._small - picture[::8, ::8]).mean(axis=(1, 2, 3))
            frame = int(apart.argmin())
            return Shown("whole" if apart[frame] < 8 else "other", frame, 1.0, float(apart[frame]))
        small = covered[::4, ::4]
        frame = int(
            ((self._small_masks & small).sum(axis=(1, 2)) / (self._small_masks | small).sum(axis=(1, 2))).argmax()
        )
        inside = shrunk(self._clip.masks[frame], 9)
        difference = np.abs(self._clip.pictures[frame].astype(np.int16) - picture)[inside].mean()
        return Shown("cut", frame, iou(covered, self._clip.masks[frame]), float(difference))

    def all_shown(self, recording: Path) -> list[Shown]:
        """What every picture of a recording shows."""
        return [self.shown(picture) for picture in read_pictures(recording)]


def runs(shown: Sequence[Shown]) -> list[tuple[str, int]]:
    """Pictures of one kind in a row, and how many; a single odd one is taken for a fade of the encoder's."""
    found: list[tuple[str, int]] = []
    for one in shown:
        if found and found[-1][0] == one.kind:
            found[-1] = (one.kind, found[-1][1] + 1)
        else:
            found.append((one.kind, 1))
    return [run for run in found if run[1] > 1]


def moves(shown: Sequence[Shown]) -> bool:
    """Whether at least every third picture is another one than the one before."""
    return sum(a.frame != b.frame for a, b in pairwise(shown)) > len(shown) / 3


def longest_stand(shown: Sequence[Shown]) -> int:
    """How many pictures in a row show the same frame of the clip."""
    longest = length = 1
    for a, b in pairwise(shown):
        length = length + 1 if a.frame == b.frame else 1
        longest = max(longest, length)
    return longest


def shrunk(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Without a rim of half of `width` pixels."""
    return np.asarray(cv2.erode(mask.astype(np.uint8), np.ones((width, width), np.uint8)), bool)
