"""Clips of photographed hands, cut out and moved over other backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic.appearance import Array, Light
from gest_stream.synthetic.layer import Layer, blurred
from gest_stream.training.wide_foregrounds import Foreground, ManifestRow, cut_out
from gest_stream.training.wide_look import draw_light
from gest_stream.training.wide_motion import Crossing
from gest_stream.training.wide_places import draw_crossings, draw_homes
from gest_stream.training.wide_scene import RATE, Item, SceneFrame, draw_shadow, lay_together
from gest_stream.training.wide_sprites import SpritePath, moved_points
from gest_stream.training.wide_surroundings import Stage, Surroundings

_COUNTS: Final = (0.42, 0.44, 0.14)
"""Chances of 1 to 3 hands."""

_LARGEST_SCALE: Final = 2.5
"""Small photographs enlarged further would teach what blur looks like."""

_TRIES: Final = 20


class CompositedScene:
    """A scene of cut-out hands whose frames can be made at any time.

    Args:
        size: (width, height) in pixels.
        duration_s: How long it goes on.
        rng: What it shows.
        foregrounds: Keyed pictures to choose from.
        pictures: Photographs for backgrounds; may be none.

    Raises:
        InvalidInputError: There is no foreground with a hand.
    """

    def __init__(
        self,
        size: tuple[int, int],
        duration_s: float,
        rng: np.random.Generator,
        foregrounds: Sequence[ManifestRow],
        pictures: Sequence[Path],
    ) -> None:
        self._size = size
        count = 1 + int(rng.choice(3, p=_COUNTS))
        tone = float(rng.uniform(1, 10))
        light = draw_light(rng, (tone,))
        self._hands = [_draw_foreground(rng, foregrounds, light) for _ in range(count)]
        high = (0.95, 0.7, 0.5)[count - 1]
        length = 0.12 * (high / 0.12) ** float(rng.random() ** 0.8) * min(size)
        scales = [min(_LARGEST_SCALE, length * rng.uniform(0.85, 1.15) / hand.length_px) for hand in self._hands]
        lengths = [scale * hand.length_px for scale, hand in zip(scales, self._hands, strict=True)]
        homes = draw_homes(size, lengths, False, rng)
        self._paths = [
            SpritePath(
                rng,
                hand.pivot_xy,
                home,
                scale,
                _draw_roll(rng),
                bool(rng.random() < 0.5),
                reach_px=0.35 * longest,
                lively=1.4,
            )
            for hand, home, scale, longest in zip(self._hands, homes, scales, lengths, strict=True)
        ]
        self._crossings = draw_crossings(duration_s, None, homes, lengths, rng)
        self._shadow = draw_shadow(rng, float(np.mean(lengths)))
        self._exposure_s = float(rng.uniform(0.05, 0.7)) / RATE
        stage = Stage(size, light, tone, tuple(homes), float(np.mean(lengths)), False)
        self._surroundings = Surroundings(stage, rng, pictures)

    def at(self, time_s: float) -> SceneFrame:
        """The scene at a time, seconds from its start."""
        landmarks = np.zeros((len(self._hands), 21, 2), np.float32)
        items = [Item(layer) for layer in self._surroundings.behind(time_s)]
        hands: list[Item] = []
        for k in range(len(self._hands)):
            layer, landmarks[k] = self._hand(k, time_s)
            hands.append(Item(layer, k))
        if self._shadow is not None:
            items += [Item(self._shadow.of(item.layer, self._size)) for item in hands]
        items += hands
        items += [Item(layer) for layer in self._surroundings.before(time_s)]
        return lay_together(self._surroundings.background(time_s), items, landmarks)

    def _hand(self, k: int, time_s: float) -> tuple[Layer, Array]:
        hand, path, half_s = self._hands[k], self._paths[k], self._exposure_s / 2
        before, matrix, after = (
            path.at(at_s, _offset(self._crossings[k], at_s)) for at_s in (time_s - half_s, time_s, time_s + half_s)
        )
        pivot = np.array([hand.pivot_xy])
        move = moved_points(pivot, after)[0] - moved_points(pivot, before)[0]
        layer = blurred(hand.sprite.placed(matrix, self._size), move, self._size)
        return layer, moved_points(hand.landmarks, matrix)


def _offset(crossings: Sequence[Crossing], time_s: float) -> Array:
    return np.asarray(sum((crossing.offset(time_s) for crossing in crossings), np.zeros(2)), np.float32)


def _draw_roll(rng: np.random.Generator) -> float:
    """Degrees; 0 has the arm leave downward."""
    if rng.random() < 0.65:
        return float(rng.normal(0, 38))
    return float(rng.uniform(-180, 180))


def _draw_foreground(rng: np.random.Generator, rows: Sequence[ManifestRow], light: Light) -> Foreground:
    for _ in range(_TRIES if rows else 0):
        found = cut_out(rows[int(rng.integers(len(rows)))], rng, light)
        if found is not None:
            return found
    raise InvalidInputError("composited clips: no keyed picture of a hand among the sets; give one with --real")
