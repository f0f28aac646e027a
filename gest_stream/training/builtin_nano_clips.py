"""The built-in models' clips as SAM2 is trained on them: squares, and photographs set in motion."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.training.sam2_augment import warped
from gest_stream.training.sam2_clip import TrainingClip
from gest_stream.training.wide_clips import ClipKind, WideClip, held_out_paths, training_paths

KIND_SHARES: Final = {ClipKind.RENDERED: 0.5, ClipKind.COMPOSITED: 0.3, ClipKind.REAL: 0.2}
"""How often each kind is drawn, where it is there."""

_WITHOUT_LANDMARKS: Final = 0.2
"""Share of the clips that are prompted from their masks, as a user's clicks and a redetector's regions are."""

_LEAST_PX: Final = 8
_UNKNOWN: Final = 128


def square(clip: WideClip, side: int) -> TrainingClip:
    """Resize a clip to a square; hands without landmarks on any of them are told by their masks alone.

    Args:
        clip: Any of the three kinds, with one hand at least.
        side: Of the square, pixels.
    """
    import cv2

    def resized(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA), np.uint8)

    known = bool(np.isfinite(clip.landmarks).all())
    void = None
    if clip.void.any():
        void = np.stack([resized(of_frame.astype(np.uint8) * np.uint8(255)) >= _UNKNOWN for of_frame in clip.void])
    return TrainingClip(
        np.stack([resized(image) for image in clip.images]),
        np.stack([[resized(mask) for mask in of_frame] for of_frame in clip.hands]),
        clip.landmarks if known else None,
        np.nan_to_num(clip.shown, nan=1.0) if known else None,  # landmarks were found, so enough of it was seen
        clip.size,
        void,
    )


def in_motion(still: TrainingClip, frames: int, rng: np.random.Generator) -> TrainingClip:
    """A photograph as a hand-held camera would film it: the frames drift, turn and grow steadily from the first one on.

    Args:
        still: Of one frame.
        frames: How many are made of it.
        rng: Draws the motion.
    """
    side = still.images.shape[1]
    drift, turn, growth = rng.normal(0.0, 0.05 * side, 2), float(rng.normal(0.0, 6.0)), float(rng.normal(0.0, 0.12))
    warps = [_camera(side, k / max(frames - 1, 1), drift, turn, growth) for k in range(frames)]
    void = np.zeros(still.images.shape[1:3], np.uint8) if still.void is None else _byte(still.void[0])
    landmarks = None
    if still.landmarks is not None:
        scale = np.float32(side) / np.array(still.frame_size, np.float32)
        points = still.landmarks[0] * scale
        landmarks = np.stack([points @ warp[:, :2].T + warp[:, 2] for warp in warps]).astype(np.float32) / scale
    return TrainingClip(
        np.stack([warped(still.images[0], warp, fill=None) for warp in warps]),
        np.stack([[warped(mask, warp, fill=0) for mask in still.masks[0]] for warp in warps]),
        landmarks,
        None if still.shown is None else np.repeat(still.shown[:1], frames, axis=0),
        still.frame_size,
        np.stack([warped(void, warp, fill=255) >= _UNKNOWN for warp in warps]),
    )


def _byte(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return mask.astype(np.uint8) * np.uint8(255)


def _camera(side: int, share: float, drift: NDArray[np.float64], turn: float, growth: float) -> NDArray[np.float32]:
    import cv2

    warp = cv2.getRotationMatrix2D((side / 2, side / 2), share * turn, float(np.exp(share * growth)))
    warp[:, 2] += share * drift
    return np.asarray(warp, np.float32)


@dataclass(frozen=True, slots=True)
class NanoClips:
    """The clips of a folder.

    Args:
        by_kind: Those to learn from.
        held_out: Those to measure with, all of them sequences.
    """

    by_kind: dict[ClipKind, tuple[Path, ...]]
    held_out: tuple[Path, ...]

    @classmethod
    def find(cls, root: Path, held_out: int) -> NanoClips:
        """The clips that are there now; those of a rendering that goes on are met when `find` is asked again.

        Raises:
            InvalidInputError: There is nothing to learn from, or to measure with.
        """
        by_kind = {kind: tuple(training_paths(root, kind)) for kind in KIND_SHARES}
        most = max(1, held_out // 2)
        kept = [
            path
            for kind in (ClipKind.RENDERED, ClipKind.COMPOSITED)
            for path in _thinned(held_out_paths(root, kind), most)
        ]
        if not any(by_kind.values()) or not kept:
            what = "clips to measure with" if any(by_kind.values()) else "clips to learn from"
            raise InvalidInputError(f"{root}: holds no {what}; write them first, or name their folder with --data")
        return cls(by_kind, tuple(kept))

    def draw(self, frames: int, side: int, rng: np.random.Generator) -> TrainingClip | None:
        """One clip of about so many frames, a square of `side` pixels; None where it shows no hand."""
        kinds = [kind for kind, paths in self.by_kind.items() if paths]
        shares = np.array([KIND_SHARES[kind] for kind in kinds])
        kind = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
        paths = self.by_kind[kind]
        wide = _stretch(paths[rng.integers(len(paths))], frames, rng)
        if wide.hands.shape[1] == 0 or (wide.hands >= _UNKNOWN).sum() < _LEAST_PX:
            return None
        clip = square(wide, side)
        if len(clip) == 1 and frames > 1:
            clip = in_motion(clip, frames, rng)
        if rng.random() < _WITHOUT_LANDMARKS:
            clip = TrainingClip(clip.images, clip.masks, None, None, clip.frame_size, clip.void)
        return clip

    def measured(self, side: int) -> list[TrainingClip]:
        """Every held-out clip that shows a hand."""
        clips = [WideClip.load(path) for path in self.held_out]
        return [square(clip, side) for clip in clips if clip.hands.shape[1] and (clip.hands >= _UNKNOWN).any()]


def _stretch(path: Path, frames: int, rng: np.random.Generator) -> WideClip:
    """Some frames of a clip in order, at an even distance; only those are decoded.

    Raises:
        InvalidInputError: The clip is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as members:
            total = len(members["landmarks"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as exc:
        raise InvalidInputError(f"{path}: is damaged ({exc}); remove it, and it is made again") from exc
    frames = min(frames, total)
    furthest = max(1, (total - 1) // max(frames - 1, 1))
    stride = int(rng.integers(1, furthest + 1))
    start = int(rng.integers(total - stride * (frames - 1)))
    return WideClip.load(path, [start + stride * k for k in range(frames)])


def _thinned(paths: Sequence[Path], most: int) -> list[Path]:
    """Up to so many, spread evenly."""
    if len(paths) <= most:
        return list(paths)
    return [paths[k * len(paths) // most] for k in range(most)]
