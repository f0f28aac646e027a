"""The clips that a refiner learns from, in memory, and the episodes that are drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.errors import InvalidInputError
from gest_stream.training.builtin_refiner_episode import CUE_SHARES, Cue, Episode
from gest_stream.training.wide_clips import ClipKind, WideClip, held_out_paths, training_paths

_KIND_SHARES: Final = {ClipKind.RENDERED: 0.5, ClipKind.COMPOSITED: 0.35, ClipKind.REAL: 0.15}
_MOST_CLIPS: Final = {ClipKind.RENDERED: 1400, ClipKind.COMPOSITED: 700, ClipKind.REAL: 2500}
"""A clip of six frames takes about 3 MB in memory, a real picture a sixth of that."""

_LONGEST: Final = 5
_LONGEST_STILL: Final = 3


class ClipPool:
    """Clips with hands, all in memory.

    Args:
        clips: By kind; kinds without clips may be absent.

    Raises:
        InvalidInputError: There is no clip with a hand.
    """

    def __init__(self, clips: Sequence[WideClip]) -> None:
        by_kind: dict[ClipKind, list[WideClip]] = {}
        for clip in clips:
            if clip.hands.shape[1]:
                by_kind.setdefault(clip.kind, []).append(clip)
        if not by_kind:
            raise InvalidInputError("refiner: no clip has a hand; make some: python -m gest_stream.training.wide_data")
        self._clips = by_kind
        shares = np.array([_KIND_SHARES[kind] for kind in by_kind])
        self._shares = shares / shares.sum()

    @property
    def sizes(self) -> dict[str, int]:
        """Clips by kind."""
        return {str(kind): len(clips) for kind, clips in sorted(self._clips.items())}

    def draw(self, grid: int, unrolled: bool, rng: np.random.Generator) -> Episode:
        """A new episode.

        Args:
            grid: Cells of its crops' side.
            unrolled: It goes on over several frames, with the network's own masks.
            rng: Of all that is drawn.
        """
        kinds = list(self._clips)
        clips = self._clips[kinds[int(rng.choice(len(kinds), p=self._shares))]]
        clip = clips[int(rng.integers(len(clips)))]
        frames = draw_frames(len(clip), unrolled, rng)
        cue = list(CUE_SHARES)[int(rng.choice(len(CUE_SHARES), p=list(CUE_SHARES.values())))]
        return Episode(clip, _draw_hand(clip, frames, rng), cue, frames, grid, rng)

    def held(self, count: int) -> list[tuple[WideClip, int]]:
        """Up to so many clips, evenly spaced and longest first, each with the hand of which most is seen at first."""
        clips = [clip for kind in sorted(self._clips) for clip in self._clips[kind] if len(clip) > 1]
        clips = clips or [clip for kind in sorted(self._clips) for clip in self._clips[kind]]
        chosen = np.unique(np.linspace(0, len(clips) - 1, min(count, len(clips))).astype(int))
        areas = [(clips[k].hands[0] > 127).sum(axis=(1, 2)) for k in chosen]
        return [(clips[k], int(np.argmax(area))) for k, area in zip(chosen, areas, strict=True) if area.max() > 64]


def load_pool(root: Path, held_out: bool = False) -> ClipPool:
    """The clips under a folder.

    Args:
        root: With `rendered`, `composited` and `real`.
        held_out: Those that are measured with, instead of those to learn from.

    Raises:
        InvalidInputError: There is none with a hand, or one is damaged.
    """
    find = held_out_paths if held_out else training_paths
    clips = []
    for kind, most in _MOST_CLIPS.items():
        paths = find(root, kind)
        if len(paths) > most:
            paths = [paths[k] for k in np.linspace(0, len(paths) - 1, most).astype(int)]
        clips += [WideClip.load(path) for path in paths]
    return ClipPool(clips)


def draw_frames(length: int, unrolled: bool, rng: np.random.Generator) -> list[int]:
    """Which frames an episode takes: the first is only remembered. Some run backwards, some leave frames out."""
    if length == 1:
        return [0] * (1 + (int(rng.integers(1, _LONGEST_STILL + 1)) if unrolled else 1))
    stride = min(int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])), length - 1)
    most = (length - 1) // stride
    steps = int(rng.integers(1, min(most, _LONGEST) + 1)) if unrolled else 1
    first = int(rng.integers(length - steps * stride))
    frames = list(range(first, first + steps * stride + 1, stride))
    return frames[::-1] if rng.random() < 0.5 else frames


def _draw_hand(clip: WideClip, frames: Sequence[int], rng: np.random.Generator) -> int:
    """A hand that is seen at first, where there is one."""
    seen = np.flatnonzero((clip.hands[frames[0]] > 127).sum(axis=(1, 2)) > 64)
    return int(rng.choice(seen)) if seen.size else int(rng.integers(clip.hands.shape[1]))


class EpisodeStream:
    """Batches of samples, each slot of a batch an episode that goes on from batch to batch.

    Every `ROUND` batches all slots begin anew, drawn from the seed and the number of the round alone, so that a
    training that is resumed there goes on as if it had not stopped.

    Args:
        pool: What is learnt from.
        batch: Slots.
        grid: Cells of a crop's side.
        seed: Of everything.
        unroll_from: The batch from which on episodes have several frames.
    """

    ROUND: Final = 50

    def __init__(self, pool: ClipPool, batch: int, grid: int, seed: int, unroll_from: int) -> None:
        self._pool, self._batch, self._grid, self._seed, self._unroll_from = pool, batch, grid, seed, unroll_from
        self._slots: list[Episode | None] = [None] * batch
        self._rng = np.random.default_rng(seed)

    def begin(self, step: int) -> list[Episode]:
        """The episodes of batch number `step`; each is to be asked for its next sample."""
        if step % self.ROUND == 0 or self._slots[0] is None:
            self._rng = np.random.default_rng(np.random.SeedSequence((self._seed, step // self.ROUND)))
            self._slots = [None] * self._batch
        unrolled = step >= self._unroll_from
        self._slots = [
            one if one is not None and not one.over else self._pool.draw(self._grid, unrolled, self._rng)
            for one in self._slots
        ]
        return [one for one in self._slots if one is not None]


def held_episodes(pool: ClipPool, cue: Cue, count: int, grid: int, seed: int) -> list[Episode]:
    """Episodes to measure with, always the same, over whole clips."""
    episodes = []
    for number, (clip, hand) in enumerate(pool.held(count)):
        rng = np.random.default_rng(np.random.SeedSequence((seed, number)))
        frames = list(range(len(clip))) if len(clip) > 1 else [0, 0, 0]
        episodes.append(Episode(clip, hand, cue, frames, grid, rng, repaired=False))
    return episodes
