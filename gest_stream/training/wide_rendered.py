"""Clips of rendered hands in any view, light and company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.synthetic.appearance import Array
from gest_stream.synthetic.clip import one_thread
from gest_stream.synthetic.layer import Layer, blurred
from gest_stream.synthetic.motion import HAND_CM
from gest_stream.synthetic.render import HandRenderer, Perspective
from gest_stream.synthetic.skeleton import make_shape
from gest_stream.training.wide_grips import Grip, draw_grip, held
from gest_stream.training.wide_look import draw_light, draw_look
from gest_stream.training.wide_motion import HandPath, Placing
from gest_stream.training.wide_places import draw_crossings, draw_homes
from gest_stream.training.wide_scene import RATE, Item, SceneFrame, draw_shadow, lay_together
from gest_stream.training.wide_surroundings import Stage, Surroundings
from gest_stream.types import Handedness

_COUNTS: Final = (0.06, 0.38, 0.44, 0.12)
"""Chances of 0 to 3 hands."""

_FIRST_PERSON, _HOLDING, _PARALLEL = 0.34, 0.16, 0.3
_LENGTHS: Final = (0.1, 1.05)
"""Of a flat hand, as shares of the frame's height; folded or foreshortened it is smaller."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rendered scene is to show.

    Args:
        size: (width, height) in pixels.
        duration_s: How long it goes on.
        hands: How many, 0 to 3; None draws.
        first_person: None draws.
        crossings: How often two hands cross; None draws one or none.
        lengths: Least and greatest length of a flat hand, as shares of the frame's shorter side; None is from small to
            larger than the frame.
        touching: The hands begin at each other; None draws.
    """

    size: tuple[int, int]
    duration_s: float
    hands: int | None = None
    first_person: bool | None = None
    crossings: int | None = None
    lengths: tuple[float, float] | None = None
    touching: bool | None = None


class RenderedScene:
    """A scene whose frames can be rendered at any time and in any order.

    Args:
        plan: What it shows.
        rng: All the rest.
        pictures: Photographs for backgrounds; may be none.
        device: Where torch computes.
    """

    def __init__(self, plan: Plan, rng: np.random.Generator, pictures: Sequence[Path], device: str = "cpu") -> None:
        self._size = plan.size
        count = int(rng.choice(4, p=_COUNTS)) if plan.hands is None else plan.hands
        first_person = bool(rng.random() < _FIRST_PERSON) if plan.first_person is None else plan.first_person
        self._grips: list[Grip | None] = [draw_grip(rng) if rng.random() < _HOLDING else None for _ in range(count)]
        length_px, sides, placings = _place_hands(plan, count, first_person, self._grips, rng)
        tone = float(rng.uniform(1, 10))
        # mostly two hands of one person
        tones = [tone if rng.random() < 0.75 else float(rng.uniform(1, 10)) for _ in range(count)]
        self._light = draw_light(rng, tones)
        self._camera = None if rng.random() < _PARALLEL else _draw_camera(plan.size, length_px, rng)
        self._paths = [HandPath(placing, rng) for placing in placings]
        self._renderers = []
        for k in range(count):
            shape = make_shape(rng)
            look = draw_look(rng, tones[k], shape)
            self._renderers.append(HandRenderer(shape, look, sides[k], self._light, plan.size, device, self._camera))
        self._order = rng.permutation(count)
        self._shadow = draw_shadow(rng, length_px)
        self._exposure_s = float(rng.uniform(0.05, 0.7)) / RATE
        homes = tuple(placing.home_xy_px for placing in placings)
        stage = Stage(plan.size, self._light, tone, homes, length_px, first_person)
        self._surroundings = Surroundings(stage, rng, pictures)

    def at(self, time_s: float) -> SceneFrame:
        """The scene at a time, seconds from its start."""
        landmarks = np.zeros((len(self._paths), 21, 2), np.float32)
        items = [Item(layer) for layer in self._surroundings.behind(time_s)]
        shadows: list[Item] = []
        hands: list[Item] = []
        for k in self._order.tolist():
            found, landmarks[k] = self._hand(k, time_s)
            hands += found
            if self._shadow is not None:
                shadows += [Item(self._shadow.of(item.layer, self._size)) for item in found if item.hand == k]
        items += [*shadows, *hands]
        items += [Item(layer) for layer in self._surroundings.before(time_s)]
        return lay_together(self._surroundings.background(time_s), items, landmarks)

    def _hand(self, k: int, time_s: float) -> tuple[list[Item], Array]:
        """Layers of hand `k` and of what it holds, the furthest first, and its (21, 2) landmarks."""
        path, renderer = self._paths[k], self._renderers[k]
        state = path.at(time_s)
        half_s = self._exposure_s / 2
        move = path.at(time_s + half_s).palm_xy_px - path.at(time_s - half_s).palm_xy_px
        with one_thread():
            hand = renderer.render(state)

        def seen(layer: Layer) -> Layer:
            return blurred(layer, move, self._size)

        items = [Item(seen(hand.layer), k)]
        grip = self._grips[k]
        if grip is not None:
            whole, front = held(grip, state, hand, renderer.handedness, self._light, self._size, self._camera)
            items = [Item(seen(whole)), *items, Item(seen(front))]
        return items, hand.landmarks_px[:, :2]


def _draw_camera(size: tuple[int, int], length_px: float, rng: np.random.Generator) -> Perspective:
    """A camera at 25 to 120 cm from the hands."""
    distance_cm = float(np.exp(rng.uniform(np.log(25), np.log(120))))
    return Perspective((size[0] / 2, size[1] / 2), distance_cm * length_px / HAND_CM)


def _place_hands(
    plan: Plan, count: int, first_person: bool, grips: Sequence[Grip | None], rng: np.random.Generator
) -> tuple[float, list[Handedness], list[Placing]]:
    """Length of the hands in pixels, which hands they are, and where."""
    width, height = plan.size
    low, high = _LENGTHS
    high = min(high, (1.1, 1.05, 0.8, 0.6)[count] * (1.15 if first_person else 1.0))
    low = 0.3 if first_person else low
    if plan.lengths is not None:
        low, high = plan.lengths
    # more large hands than small ones: they show more
    length = low * (high / low) ** float(rng.random() ** 0.75) * min(height, width)
    lengths = [length * float(rng.uniform(0.88, 1.12) if k < 2 else rng.uniform(0.5, 1.1)) for k in range(count)]
    homes = draw_homes(plan.size, lengths, first_person, rng, plan.touching)
    right_first = first_person or rng.random() < 0.5
    order = (Handedness.RIGHT, Handedness.LEFT) if right_first else (Handedness.LEFT, Handedness.RIGHT)
    if rng.random() < 0.12:
        order = (order[0], order[0])
    sides = [order[k % 2] for k in range(count)]
    if first_person and count > 1 and homes[0][0] < homes[1][0] and rng.random() < 0.85:
        homes[0], homes[1] = homes[1], homes[0]  # the wearer's right hand is on the right
    if first_person and count == 1 and (homes[0][0] < width / 2) == (rng.random() < 0.85):
        sides = [Handedness.LEFT]
    crossings = draw_crossings(plan.duration_s, plan.crossings, homes, lengths, rng)
    placings = [
        Placing(
            homes[k],
            lengths[k],
            first_person and k < 2,
            plan.duration_s / 2,
            plan.duration_s,
            crossings[k],
            None if grip is None else grip.pose,
        )
        for k, grip in enumerate(grips)
    ]
    return length, sides, placings
