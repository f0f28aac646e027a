"""Where hands are in a frame and how they pass each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gest_stream.training.wide_motion import Crossing

_TOUCHING, _CROSSING = 0.3, 0.35


def draw_homes(
    size: tuple[int, int],
    lengths: Sequence[float],
    first_person: bool,
    rng: np.random.Generator,
    touching: bool | None = None,
) -> list[tuple[float, float]]:
    """Where each hand is about, pixels: apart from each other, or touching.

    Args:
        size: (width, height) of the frame, pixels.
        lengths: Of each hand, pixels.
        first_person: The hands come from below.
        rng: Where from.
        touching: They are at each other; None draws.
    """
    width, height = size
    homes: list[tuple[float, float]] = []
    if touching is None:
        touching = bool(rng.random() < _TOUCHING)
    for length in lengths:
        tight = min(0.5, 0.28 * length / min(size) + 0.1)
        low, high = np.array([tight, tight]), np.array([1 - tight, 1 - tight])
        if first_person:
            low[1], high[1] = 0.38, 0.82
        home = rng.uniform(low, np.maximum(high, low + 0.01)) * (width, height)
        if homes and touching:
            angle = rng.uniform(0, 2 * np.pi)
            home = np.array(homes[-1]) + length * rng.uniform(0.15, 0.7) * np.array([np.cos(angle), np.sin(angle)])
            home = np.clip(home, 0.05 * np.array(size), 0.95 * np.array(size))
        elif homes:
            tries = rng.uniform(low, np.maximum(high, low + 0.01), (12, 2)) * (width, height)
            gaps = np.linalg.norm(tries[:, None] - np.array(homes), axis=2).min(axis=1)
            home = tries[int((gaps > 0.95 * length).argmax())] if (gaps > 0.95 * length).any() else tries[gaps.argmax()]
        homes.append((float(home[0]), float(home[1])))
    return homes


def draw_crossings(
    duration_s: float,
    times: int | None,
    homes: Sequence[tuple[float, float]],
    lengths: Sequence[float],
    rng: np.random.Generator,
) -> list[tuple[Crossing, ...]]:
    """For each hand its ways across; the first two hands pass each other.

    Args:
        duration_s: Of the clip.
        times: How often; None draws once or not at all.
        homes: Where the hands are about.
        lengths: Of the hands, pixels.
        rng: When, and how far.
    """
    found: list[tuple[Crossing, ...]] = [() for _ in homes]
    if len(homes) < 2:
        return found
    if times is None:
        times = int(rng.random() < _CROSSING)
    apart = np.array(homes[1]) - np.array(homes[0])
    for number in range(times):
        part_s = duration_s / times
        # in short clips only a part of the way is seen
        takes_s = float(rng.uniform(0.7, 1.5)) * max(0.5, 0.75 * part_s)
        start_s = (number + float(rng.uniform(0.4, 0.6))) * part_s - takes_s / 2
        for k, way in ((0, 1.0), (1, -1.0)):
            by = way * apart * rng.uniform(0.7, 1.15) + rng.normal(0, 0.12, 2) * lengths[k]
            found[k] = (*found[k], Crossing(start_s, takes_s, (float(by[0]), float(by[1]))))
    return found
