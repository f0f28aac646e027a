"""Reads every labelled picture once before the training: what is wrong with the data shows then and not later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gest_stream.training.labels import FOREARM, HAND, LabelledSet
from gest_stream.training.ordered import in_order


@dataclass(frozen=True, slots=True)
class Seen:
    """What one picture shows.

    Args:
        size: (width, height) in pixels.
        hand: A pixel of it is a hand.
        forearm: A pixel of it is a forearm.
    """

    size: tuple[int, int]
    hand: bool
    forearm: bool


def survey(pictures: LabelledSet, threads: int, on_progress: Callable[[int], None] | None = None) -> tuple[Seen, ...]:
    """Read every picture of a set.

    Args:
        pictures: The set.
        threads: How many are read at a time.
        on_progress: Is told how many are done.

    Returns:
        What each shows, in their order.

    Raises:
        InvalidInputError: Of the first picture, in their order, that is of no use.
    """

    def look(index: int) -> Seen:
        picture = pictures.load(index)
        counts = np.bincount(picture.labels.ravel(), minlength=256)
        return Seen(picture.size, bool(counts[HAND]), bool(counts[FOREARM]))

    found: list[Seen] = []
    for seen in in_order(look, range(len(pictures)), threads, ahead=4 * threads):
        found.append(seen)
        if on_progress is not None:
            on_progress(len(found))
    return tuple(found)
