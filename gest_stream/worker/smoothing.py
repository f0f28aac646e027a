"""Masks that change gently: each is mixed with that of the frame before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.types import FrameResult, HandMask, MaskSource, Track

_LEAST_ALPHA: Final = 4.0  # less is nothing: a trail ends


@dataclass(frozen=True, slots=True, eq=False)
class _Remembered:
    alpha: NDArray[np.float32]
    origin_xy_px: tuple[int, int]
    score: float
    source: MaskSource


class MaskSmoother:
    """Smooths the masks of a stream over time, each hand's on its own: an exponential moving average of alpha.

    A hand whose mask is missing on a frame fades. One that is gone from the results is forgotten.
    """

    def __init__(self) -> None:
        self._remembered: dict[int, _Remembered] = {}

    def reset(self) -> None:
        """Forget every hand."""
        self._remembered.clear()

    def smooth(self, result: FrameResult, share: float) -> FrameResult:
        """The result with smoothed masks.

        Args:
            result: Of the next frame; of the size of those before, or `reset` was called.
            share: Part that is carried over, 0 (none) to below 1.
        """
        if share == 0:
            self._remembered.clear()
            return result
        before, self._remembered = self._remembered, {}
        tracks = [self._smoothed(track, before.get(track.id), result.frame.size, share) for track in result.tracks]
        return replace(result, tracks=tuple(tracks))

    def _smoothed(self, track: Track, old: _Remembered | None, size: tuple[int, int], share: float) -> Track:
        mask = track.mask if track.mask is not None and track.mask.crop.size else None
        if old is None:
            if mask is not None:
                alpha = mask.crop.astype(np.float32)
                self._remembered[track.id] = _Remembered(alpha, mask.origin_xy_px, mask.score, mask.source)
            return track
        mixed = _mixed(mask, old, share)
        if mixed is None:
            return replace(track, mask=None)
        self._remembered[track.id] = mixed
        crop = np.rint(mixed.alpha).astype(np.uint8)
        return replace(track, mask=HandMask(crop, mixed.origin_xy_px, size, mixed.score, mixed.source))


def _mixed(mask: HandMask | None, old: _Remembered, share: float) -> _Remembered | None:
    """Old and new on the box around both, cut to where something is left; None where nothing is."""
    boxes = [(old.origin_xy_px, old.alpha.shape)]
    if mask is not None:
        boxes.append((mask.origin_xy_px, mask.crop.shape))
    left, top = min(x for (x, _), _ in boxes), min(y for (_, y), _ in boxes)
    right, bottom = max(x + w for (x, _), (_, w) in boxes), max(y + h for (_, y), (h, _) in boxes)
    alpha = np.zeros((bottom - top, right - left), np.float32)
    _part(alpha, old.origin_xy_px, (left, top), old.alpha.shape)[...] = old.alpha * np.float32(share)
    score, source = old.score, MaskSource.CARRIED
    if mask is not None:
        part = _part(alpha, mask.origin_xy_px, (left, top), mask.crop.shape)
        part += mask.crop * np.float32(1 - share)
        score, source = mask.score, mask.source
    alpha[alpha < _LEAST_ALPHA] = 0
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if rows.size == 0:
        return None
    kept = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Remembered(kept, (left + int(columns[0]), top + int(rows[0])), score, source)


def _part(
    whole: NDArray[np.float32], origin: tuple[int, int], corner: tuple[int, int], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    x, y = origin[0] - corner[0], origin[1] - corner[1]
    return whole[y : y + shape[0], x : x + shape[1]]
