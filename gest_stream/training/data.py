"""From the sets a user names to pictures to learn from and pictures to measure with, checked."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.training.config import DataKind, DataSource, DecoderTraining
from gest_stream.training.labels import LabelledImage, LabelledSet
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress
from gest_stream.training.split import split_indices
from gest_stream.training.survey import Seen, survey

_MOST_THREADS: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The pictures of one set that are on one side of the split.

    Args:
        pictures: The whole set.
        indices: Which of it.
        seen: What they show, in the order of `indices`.
        weight: How often they are drawn, against those of the other sets.
        forearms_labelled: Whether background is sure to be no forearm.
    """

    pictures: LabelledSet
    indices: tuple[int, ...]
    seen: tuple[Seen, ...]
    weight: float
    forearms_labelled: bool

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """One picture: which part, and which of it."""

    part: Part
    number: int

    @property
    def seen(self) -> Seen:
        """What it shows."""
        return self.part.seen[self.number]

    def load(self) -> LabelledImage:
        """Read it."""
        return self.part.pictures.load(self.part.indices[self.number])


class TrainingData:
    """What is learnt from and what is measured with.

    Args:
        learnt: At least one picture.
        kept: Likewise.
    """

    def __init__(self, learnt: Sequence[Part], kept: Sequence[Part]) -> None:
        self._learnt, self._kept = tuple(learnt), tuple(kept)
        self._bounds = list(accumulate(part.weight * len(part) for part in self._learnt))

    def __len__(self) -> int:
        """Pictures to learn from."""
        return sum(len(part) for part in self._learnt)

    def draw(self, rng: np.random.Generator) -> Pick:
        """A picture to learn from, drawn by chance."""
        place = rng.random() * self._bounds[-1]
        part = self._learnt[min(bisect_right(self._bounds, place), len(self._bounds) - 1)]
        return Pick(part, int(rng.integers(len(part))))

    def kept_back(self, limit: int) -> list[Pick]:
        """The pictures to measure with, or `limit` of them, evenly spaced; 0 is no limit. One at least has a hand."""
        picks = [Pick(part, number) for part in self._kept for number in range(len(part))]
        if not limit or len(picks) <= limit:
            return picks
        picks.sort(key=lambda pick: not pick.seen.hand)
        return [picks[k * len(picks) // limit] for k in range(limit)]

    def fingerprint(self) -> str:
        """Sixteen hex digits that differ where other pictures would be drawn."""
        told = hashlib.sha256()
        for part in (*self._learnt, *self._kept):
            names = [part.pictures.group(index) for index in part.indices]
            told.update(repr((part.weight, part.forearms_labelled, part.indices, names)).encode())
        return told.hexdigest()[:16]


def loading_threads(config: DecoderTraining) -> int:
    """How many threads load pictures."""
    return config.workers or min(os.cpu_count() or 1, _MOST_THREADS)


def prepare_data(config: DecoderTraining, with_forearm: bool, on_progress: OnProgress) -> TrainingData:
    """Open, render where needed, read through and split what the settings name.

    Args:
        config: Settings.
        with_forearm: Whether forearms are asked for.
        on_progress: Is told how far it is.

    Raises:
        InvalidInputError: A set is empty, damaged or built differently.
        ConfigError: A class that is asked for is nowhere, or nothing is left to measure with.
    """
    learnt: list[Part] = []
    kept: list[Part] = []
    for source in config.data:
        pictures, seen = _opened(source, config, on_progress)
        everything = tuple(range(len(pictures)))
        sides = (everything, ()) if config.val else split_indices(pictures, config.val_share)
        forearms = any(one.forearm for one in seen)
        for side, indices in zip((learnt, kept), sides, strict=True):
            if indices:
                shown = tuple(seen[index] for index in indices)
                side.append(Part(pictures, tuple(indices), shown, source.weight, forearms))
    for source in config.val:
        pictures, seen = _opened(source, config, on_progress)
        forearms = any(one.forearm for one in seen)
        kept.append(Part(pictures, tuple(range(len(pictures))), seen, 1.0, forearms))
    _check(learnt, kept, config, with_forearm)
    return TrainingData(learnt, kept)


def _check(learnt: list[Part], kept: list[Part], config: DecoderTraining, with_forearm: bool) -> None:
    named = ", ".join(map(str, config.data))
    if not kept:
        raise ConfigError(
            f"data {named}: nothing is left to measure with, because all pictures belong to one video or clip; "
            "give other pictures for that: --val KIND:PATH"
        )
    if not any(one.hand for part in learnt for one in part.seen):
        raise ConfigError(
            f"data {named}: no pixel of {sum(map(len, learnt))} pictures is a hand; check what the masks' values mean"
        )
    if not any(one.hand for part in kept for one in part.seen):
        raise ConfigError(
            f"no pixel of the {sum(map(len, kept))} pictures to measure with is a hand; keep more back with "
            "--val-share, or give others with --val KIND:PATH"
        )
    if with_forearm and not any(one.forearm for part in learnt for one in part.seen):
        raise ConfigError(
            f"data {named}: no pixel of {sum(map(len, learnt))} pictures is a forearm; add data that has forearms "
            "(--data synthetic), or leave the class out: --classes hand"
        )


def _opened(
    source: DataSource, config: DecoderTraining, on_progress: OnProgress
) -> tuple[LabelledSet, tuple[Seen, ...]]:
    pictures = open_set(source, config, on_progress)
    total = len(pictures)
    if not total:
        raise InvalidInputError(f"{source}: holds no pictures")

    def tell(done: int) -> None:
        on_progress(TrainingProgress(Stage.READING, done, total, title=pictures.title))

    return pictures, survey(pictures, loading_threads(config), tell)


def open_set(source: DataSource, config: DecoderTraining, on_progress: OnProgress) -> LabelledSet:
    """The set that a user named.

    Raises:
        InvalidInputError: It is empty, damaged or built differently.
        SinkError: Rendered hands cannot be kept.
    """
    if source.kind is DataKind.SYNTHETIC:
        from gest_stream.training.rendered import render_ahead

        def tell(done: int, total: int) -> None:
            on_progress(TrainingProgress(Stage.RENDERING, done, total, title="synthetic"))

        return render_ahead(config.render, source.path or _cache_folder(), tell)
    assert source.path is not None
    if source.kind is DataKind.EGOHANDS:
        from gest_stream.training.egohands import EgoHands

        return EgoHands(source.path)
    if source.kind is DataKind.COCO:
        from gest_stream.training.coco import CocoSet

        return CocoSet(source.path, source.images, config.coco_hand, config.coco_forearm)
    from gest_stream.training.mask_folder import MaskFolder

    return MaskFolder(source.path, source.grey)


def _cache_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("gest_stream")) / "training"
