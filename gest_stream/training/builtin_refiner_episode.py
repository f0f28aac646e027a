"""One hand of a clip followed for some frames, as the refiner is shown it while it learns.

From the second frame on the last frame's mask is the network's own, so that it learns to repair what it spoilt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.crop_window import CropWindow
from gest_stream.models.refiner_inputs import (
    Past,
    landmark_window,
    mask_window,
    past_planes,
    shape_plane,
    square_window,
    stack_inputs,
)
from gest_stream.training.builtin_refiner_cues import LandmarkNoise, coarse_mask, worn_mask
from gest_stream.training.builtin_refiner_view import View
from gest_stream.training.wide_clips import ClipKind, WideClip

_SEEN: Final = 0.1
_GONE: Final = 0.02
"""Visible share of a hand from which it is to be said to be there, and up to which it is gone."""

_LEAST_CELLS: Final = 24
_RIVAL_MASK: Final = np.float32(0.75)
_CUES_LOST: Final = 0.15


class Cue(StrEnum):
    """What is told of the hand on the first frame."""

    BOTH = "both"
    """Its landmarks, and where it was a frame ago."""
    LANDMARKS = "landmarks"
    PAST = "past"
    REGION = "region"
    """A coarse mask of this very frame."""
    GHOST = "ghost"
    """Where there is no such hand."""


CUE_SHARES: Final = {Cue.BOTH: 0.40, Cue.LANDMARKS: 0.14, Cue.PAST: 0.25, Cue.REGION: 0.10, Cue.GHOST: 0.11}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One frame of an episode, on the grid.

    Args:
        inputs: (10, grid, grid) float32.
        maps: (3, grid, grid) float32, what `refiner.MAPS` should be.
        known: (3, grid, grid) float32, 0 where nobody knows.
        there: 1.0 where the hand is to be said to be there, 0.0 where it is not, nan where neither.
    """

    inputs: NDArray[np.float32]
    maps: NDArray[np.float32]
    known: NDArray[np.float32]
    there: float


class Episode:
    """Takes one hand through a clip.

    Args:
        clip: At least one frame, with a hand.
        hand: Which hand.
        cue: What is told of it at first.
        frames: Frames of the clip, the first of them only remembered, never shown.
        grid: Cells of the crop's side.
        rng: Of all that is drawn.
        repaired: A mask that has lost the hand is replaced by one that has not, so that there is something to learn.
    """

    def __init__(
        self,
        clip: WideClip,
        hand: int,
        cue: Cue,
        frames: list[int],
        grid: int,
        rng: np.random.Generator,
        repaired: bool = True,
    ) -> None:
        self._clip, self._hand, self._cue, self._frames, self._grid, self._rng = clip, hand, cue, frames, grid, rng
        self._noises = [LandmarkNoise.draw(rng) for _ in range(clip.landmarks.shape[1])]
        self._view = View.draw(clip.size, rng)
        self._repaired = repaired
        self._step = 0
        self._past: Past | None = None
        self._now: Past | None = None
        self._maps: NDArray[np.float32] | None = None
        self._ghost_px: NDArray[np.float32] | None = None
        self._shake = 1.0 if clip.kind is ClipKind.REAL else 0.3
        self._begin()

    @property
    def over(self) -> bool:
        """No frame is left."""
        return self._step + 1 >= len(self._frames)

    def _begin(self) -> None:
        """Remember the frame before the first one that is shown."""
        frame = self._frames[0]
        if self._cue is Cue.LANDMARKS:
            return
        if self._cue is Cue.GHOST:
            self._begin_ghost(frame)
            return
        if self._cue is Cue.REGION:
            frame = self._frames[1]
        points = self._told(frame, self._hand)
        truth_window = self._window_of_truth(frame)
        if truth_window is None:
            self._cue = Cue.LANDMARKS
            return
        window = landmark_window(points, self._grid) if points is not None and self._cue is Cue.BOTH else truth_window
        window = self._jittered(window, 0.05)
        mask, others, arms, _ = self._view.planes(self._planes(frame), window)
        if self._cue is Cue.REGION:
            mask = coarse_mask(mask, self._rng)
        elif self._cue is Cue.BOTH and self._rng.random() < 0.05:
            mask = np.zeros_like(mask) if self._rng.random() < 0.5 else others
        else:
            mask = worn_mask(mask, (arms, others), self._rng)
        image = self._view.image(self._clip.images[frame], window, self._rng)
        self._past = Past(window, image, mask, points if self._cue is Cue.BOTH else None)

    def _begin_ghost(self, frame: int) -> None:
        """A mask that drifted off, or the memory of a hand that is no longer where it is looked for."""
        truth_window = self._window_of_truth(frame)
        if truth_window is None:
            truth_window = square_window(np.array(self._clip.size) / 2, 0.4 * max(self._clip.size), self._grid)
        center = self._empty_place(truth_window.width)
        window = square_window(center, truth_window.width, self._grid)
        mask = self._view.planes([self._clip.hands[frame, self._hand]], truth_window)[0]
        seen_at = window if self._rng.random() < 0.6 else truth_window
        image = self._view.image(self._clip.images[frame], seen_at, self._rng)
        mask = worn_mask(mask, (), self._rng)
        points = self._clip.landmarks[frame, self._hand]
        chance = self._rng.random()
        if chance < 0.5 and np.isfinite(points).all():
            points = self._view.points(points)
            self._ghost_px = (points - points.mean(axis=0) + center).astype(np.float32)
        if chance > 0.2 or self._ghost_px is None:
            self._past = Past(window, image, mask)

    def next(self) -> Sample:
        """The next frame; `feed` comes before the one after it."""
        self._step += 1
        frame = self._frames[self._step]
        if self._cue is not Cue.REGION or self._step > 1:
            self._view = self._view.shaken(self._clip.size, self._shake, self._rng)
        points = self._told_now(frame)
        window, shift = self._window_now(frame, points)
        image = self._view.image(self._clip.images[frame], window, self._rng)
        inside = self._view.inside(self._clip.size, window)
        shape = shape_plane(points, window) if points is not None else None
        past = past_planes(self._past, window, points, shift) if self._past is not None else None
        inputs = stack_inputs(image, inside, shape, self._rivals(frame, window), past)
        self._now = Past(window, image, inside, points)
        self._maps, known, there = self._truth(frame, window)
        return Sample(inputs, self._maps, known, there)

    def feed(self, mask: NDArray[np.float32]) -> None:
        """What the network made of the frame, (grid, grid) float32, 0 to 1: the next frame's past."""
        assert self._now is not None and self._maps is not None
        now, truth = self._now, self._maps[0] > 0.5
        wanted, found = np.count_nonzero(truth), np.count_nonzero(truth & (mask > 0.5))
        if self._repaired and wanted > _LEAST_CELLS and found < 0.3 * wanted:
            mask = worn_mask(self._maps[0], list(self._maps[1:]), self._rng)
        self._past = Past(now.window, now.image, mask, now.points_xy_px)

    def _truth(self, frame: int, window: CropWindow) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        clip, ghost = self._clip, self._cue is Cue.GHOST
        planes = self._view.planes(self._planes(frame), window)
        maps, own = planes[:3], planes[0].copy()
        known = np.repeat(1.0 - planes[3:], 3, axis=0)
        if clip.kind is ClipKind.REAL:
            known[1:] = 0.0
        cells, shown = np.count_nonzero(own > 0.5), float(clip.shown[frame, self._hand])
        if ghost:
            maps[1] = np.maximum(maps[1], own)
            maps[0] = 0.0
            known[0] *= 1.0 - own
            return maps, known, 0.0 if cells < _LEAST_CELLS else np.nan
        if cells >= _LEAST_CELLS and not shown < _SEEN:
            return maps, known, 1.0
        return maps, known, 0.0 if cells < _LEAST_CELLS / 4 or shown < _GONE else np.nan

    def _planes(self, frame: int) -> list[NDArray[np.uint8]]:
        """The hand, all others, the forearms, and where nobody knows; (H, W) uint8."""
        hands, void = self._clip.hands[frame], self._clip.void[frame]
        others = [hands[k] for k in range(len(hands)) if k != self._hand]
        rest = np.max(others, axis=0) if others else np.zeros_like(hands[0])
        return [hands[self._hand], rest, self._clip.arms[frame], void.view(np.uint8) * np.uint8(255)]

    def _told(self, frame: int, hand: int) -> NDArray[np.float32] | None:
        """A hand's landmarks as the detector has them, in the view; None where nobody knows them."""
        points = self._clip.landmarks[frame, hand]
        if not np.isfinite(points).all():
            return None
        return self._noises[hand].applied(self._view.points(points), self._rng)

    def _told_now(self, frame: int) -> NDArray[np.float32] | None:
        if self._cue is Cue.GHOST:
            return self._ghost_px
        held = self._past is not None
        if held and (self._cue in (Cue.PAST, Cue.REGION) or self._rng.random() < _CUES_LOST):
            return None
        # A detector finds no hand of which next to nothing is seen.
        if held and float(self._clip.shown[frame, self._hand]) < self._rng.uniform(0.0, 0.5):
            return None
        return self._told(frame, self._hand)

    def _window_now(self, frame: int, points: NDArray[np.float32] | None) -> tuple[CropWindow, tuple[float, float]]:
        """Where to look on this frame, and how the hand is thought to have moved since the last one."""
        if points is not None:
            return self._jittered(landmark_window(points, self._grid), 0.04), (0.0, 0.0)
        if self._past is None:
            window = self._window_of_truth(frame)
            if window is None:
                window = square_window(np.array(self._clip.size) / 2, 0.5 * max(self._clip.size), self._grid)
            return self._jittered(window, 0.06), (0.0, 0.0)
        box = _box_of(self._past)
        if box is None:
            return self._jittered(self._past.window, 0.03), (0.0, 0.0)
        window = mask_window(box[:4], box[4], self._grid)
        shift = self._moved(frame) if self._cue in (Cue.BOTH, Cue.PAST) else np.zeros(2)
        middle = np.array([window.left, window.top]) + window.width / 2 + shift
        return self._jittered(square_window(middle, window.width, self._grid), 0.05), (float(shift[0]), float(shift[1]))

    def _moved(self, frame: int) -> NDArray[np.float64]:
        """How the hand seems to move, in the view: about as it does, where that is told at all."""
        before, after = (_middle(self._clip.hands[k, self._hand]) for k in (self._frames[self._step - 1], frame))
        if before is None or after is None or self._rng.random() < 0.4:
            return np.zeros(2)
        moved = self._view.points(np.stack([before, after]).astype(np.float32))
        return np.asarray((moved[1] - moved[0]) * self._rng.uniform(0.3, 1.2), np.float64)

    def _rivals(self, frame: int, window: CropWindow) -> NDArray[np.float32] | None:
        """The other hands as they are told, where they are told."""
        planes = []
        for other in range(self._clip.hands.shape[1]):
            if other == self._hand and self._cue is not Cue.GHOST:
                continue
            chance, shown = self._rng.random(), float(self._clip.shown[frame, other])
            points = self._told(frame, other) if chance < 0.6 and not shown < 0.2 else None
            if points is not None:
                planes.append(shape_plane(points, window))
            elif chance < 0.85:
                seen = self._view.planes([self._clip.hands[frame, other]], window)[0]
                planes.append(_RIVAL_MASK * worn_mask(seen, (), self._rng))
        return np.max(planes, axis=0) if planes else None

    def _window_of_truth(self, frame: int) -> CropWindow | None:
        import cv2

        inside = (self._clip.hands[frame, self._hand] > 127).view(np.uint8)
        area = cv2.countNonZero(inside)
        if area < 4:
            return None
        left, top, width, height = cv2.boundingRect(inside)
        corners = np.array([[x, y] for x in (left, left + width - 1) for y in (top, top + height - 1)], np.float32)
        seen = self._view.points(corners)
        low, high = seen.min(axis=0), seen.max(axis=0)
        box = (float(low[0]), float(low[1]), float(high[0]) + 1.0, float(high[1]) + 1.0)
        return mask_window(box, float(area), self._grid)

    def _empty_place(self, side_px: float) -> NDArray[np.float32]:
        """A point in the view around which there is as little of the hand as can be found in a few tries."""
        (width, height), half = self._clip.size, round(0.4 * side_px)
        hand = self._clip.hands[self._frames[1], self._hand]
        tries = self._rng.uniform((0.1, 0.1), (0.9, 0.9), (8, 2)) * (width, height)
        costs = []
        for x, y in tries.astype(int):
            part = hand[max(y - half, 0) : y + half, max(x - half, 0) : x + half : 2]
            costs.append(float(part.mean()))
        [place] = self._view.points(tries[int(np.argmin(costs))][None].astype(np.float32))
        return np.asarray(place, np.float32)

    def _jittered(self, window: CropWindow, strength: float) -> CropWindow:
        middle = np.array([window.left, window.top]) + window.width / 2
        middle = middle + self._rng.standard_normal(2) * strength * window.width
        side = window.width * float(np.exp(self._rng.normal(0.0, 1.2 * strength)))
        return square_window(middle, side, self._grid)


def _middle(alpha: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    import cv2

    moments = cv2.moments(alpha)
    if moments["m00"] < 255.0:
        return None
    return np.asarray((moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]), np.float64)


def _box_of(past: Past) -> tuple[float, float, float, float, float] | None:
    """Box and area of a remembered mask, pixels; None where it is empty."""
    import cv2

    inside = (past.mask > 0.5).view(np.uint8)
    cells = cv2.countNonZero(inside)
    if cells < _LEAST_CELLS:
        return None
    left, top, width, height = cv2.boundingRect(inside)
    step, x, y = past.window.width / past.window.grid_size[0], past.window.left, past.window.top
    return x + left * step, y + top * step, x + (left + width) * step, y + (top + height) * step, cells * step * step
