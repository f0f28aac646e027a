"""What is in the picture besides hands: people, things, skin that is no hand, and what passes before the hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array, Light
from gest_stream.synthetic.layer import Layer
from gest_stream.training.wide_backdrop import Backdrop
from gest_stream.training.wide_people import HEAD_SPAN, SIDE, draw_person, head_pivot
from gest_stream.training.wide_sprites import Sprite, SpritePath
from gest_stream.training.wide_things import THINGS, Thing, see_thing, skin_lump

_THING_SIDE: Final = 200
_PERSON, _SECOND_PERSON, _LUMP, _LYING, _BEFORE = 0.5, 0.2, 0.16, 0.35, 0.3


@dataclass(frozen=True, slots=True)
class Stage:
    """What the surroundings are drawn around.

    Args:
        size: (width, height) of the frame, pixels.
        light: Of the clip.
        tone: Monk tone of the hands.
        homes_xy_px: Where the hands are about; may be none.
        length_px: Length of a hand.
        first_person: The camera's wearer's own hands: fewer faces.
    """

    size: tuple[int, int]
    light: Light
    tone: float
    homes_xy_px: tuple[tuple[float, float], ...]
    length_px: float
    first_person: bool


class Surroundings:
    """The background and all that is no hand.

    Args:
        stage: What it is drawn around.
        rng: What there is.
        pictures: Photographs for backgrounds; may be none.
    """

    def __init__(self, stage: Stage, rng: np.random.Generator, pictures: Sequence[Path]) -> None:
        self._stage = stage
        self._backdrop = Backdrop(stage.size, rng, pictures)
        self._behind: list[tuple[Sprite, SpritePath]] = []
        self._before: list[tuple[Sprite, SpritePath]] = []
        if rng.random() < _LYING:
            self._behind += [
                self._lying(rng, THINGS[rng.integers(len(THINGS))](rng)) for _ in range(rng.integers(1, 4))
            ]
        if rng.random() < (0.3 if stage.first_person else 1.0) * _PERSON:
            if rng.random() < _SECOND_PERSON:
                self._behind.append(self._person(rng, anywhere=True))
            self._behind.append(self._person(rng, anywhere=not stage.homes_xy_px))
        if rng.random() < _LUMP:
            self._behind.append(self._lying(rng, skin_lump(rng)))
        if stage.homes_xy_px and rng.random() < _BEFORE:
            self._before.append(self._passing(rng))

    def background(self, time_s: float) -> Array:
        """(H, W, 3) float32 sRGB."""
        return self._backdrop.at(time_s)

    def behind(self, time_s: float) -> list[Layer]:
        """What lies behind the hands, the furthest first."""
        return [sprite.placed(path.at(time_s), self._stage.size) for sprite, path in self._behind]

    def before(self, time_s: float) -> list[Layer]:
        """What lies before the hands."""
        return [sprite.placed(path.at(time_s), self._stage.size) for sprite, path in self._before]

    def _person(self, rng: np.random.Generator, anywhere: bool) -> tuple[Sprite, SpritePath]:
        stage = self._stage
        width, height = stage.size
        same = rng.random() < 0.7
        tone = float(np.clip(stage.tone + rng.normal(0, 0.4), 1, 10)) if same else float(rng.uniform(1, 10))
        head_px = stage.length_px * rng.uniform(0.6, 1.3)
        if anywhere:
            head_px = height * rng.uniform(0.1, 0.6)
            home = rng.uniform((0.05, 0.1), (0.95, 0.7)) * (width, height)
        else:
            middle = np.mean(stage.homes_xy_px, axis=0)
            home = middle + stage.length_px * np.array([rng.normal(0, 0.8), -rng.uniform(-0.2, 1.6)])
            home = np.clip(home, (0.05 * width, 0.08 * height), (0.95 * width, 0.8 * height))
        scale = head_px / (HEAD_SPAN * SIDE)
        pivot = head_pivot()
        path = SpritePath(
            rng,
            (float(pivot[0]), float(pivot[1])),
            (float(home[0]), float(home[1])),
            scale,
            float(rng.normal(0, 8)),
            reach_px=0.12 * head_px,
            lively=0.35,
        )
        return draw_person(rng, stage.light, tone), path

    def _lying(self, rng: np.random.Generator, thing: Thing) -> tuple[Sprite, SpritePath]:
        """Something behind the hands, anywhere, of any size."""
        width, height = self._stage.size
        size_px = height * float(np.exp(rng.uniform(np.log(0.12), np.log(0.8))))
        home = rng.uniform(0.0, 1.0, 2) * (width, height)
        return self._thing(rng, thing, size_px, home, reach_px=0.03 * height)

    def _passing(self, rng: np.random.Generator) -> tuple[Sprite, SpritePath]:
        """Something before a hand."""
        stage = self._stage
        home = np.array(stage.homes_xy_px[rng.integers(len(stage.homes_xy_px))])
        away = rng.normal(0, 0.45, 2) * stage.length_px
        thing = THINGS[rng.integers(len(THINGS))](rng)
        size_px = stage.length_px * rng.uniform(0.5, 1.4)
        return self._thing(rng, thing, size_px, home + away, reach_px=stage.length_px * rng.uniform(0.05, 0.8))

    def _thing(
        self, rng: np.random.Generator, thing: Thing, size_px: float, home: NDArray[np.floating], reach_px: float
    ) -> tuple[Sprite, SpritePath]:
        from scipy.spatial.transform import Rotation

        side = int(np.clip(1.2 * size_px, 24, _THING_SIDE))
        turn = Rotation.random(rng=rng).as_matrix() * (0.46 * side / thing.radius_cm)
        centre = np.array([side / 2, side / 2, 0.0], np.float32)
        layer, _ = see_thing(thing, turn.astype(np.float32), centre, self._stage.light, (side, side))
        colour, parts = np.zeros((side, side, 3), np.float32), np.zeros((1, side, side), np.float32)
        colour[layer.slices] = layer.colour
        parts[0][layer.slices] = layer.parts[0]
        path = SpritePath(
            rng,
            (side / 2, side / 2),
            (float(home[0]), float(home[1])),
            size_px / (0.92 * side),
            reach_px=reach_px,
        )
        return Sprite(colour, parts), path
