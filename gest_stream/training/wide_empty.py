"""Clips without a hand: people, things and skin-coloured lumps that must not be taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gest_stream.training.wide_look import draw_light
from gest_stream.training.wide_scene import Item, SceneFrame, lay_together
from gest_stream.training.wide_surroundings import Stage, Surroundings


class EmptyScene:
    """A scene without a hand whose frames can be made at any time.

    Args:
        size: (width, height) in pixels.
        rng: What it shows.
        pictures: Photographs that show nobody, for backgrounds; may be none.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator, pictures: Sequence[Path]) -> None:
        tone = float(rng.uniform(1, 10))
        length_px = float(rng.uniform(0.12, 0.7)) * min(size)  # what a hand of this picture would measure
        stage = Stage(size, draw_light(rng, (tone,)), tone, (), length_px, bool(rng.random() < 0.3))
        self._surroundings = Surroundings(stage, rng, pictures)

    def at(self, time_s: float) -> SceneFrame:
        """The scene at a time, seconds from its start."""
        items = [Item(layer) for layer in self._surroundings.behind(time_s)]
        return lay_together(self._surroundings.background(time_s), items, np.zeros((0, 21, 2), np.float32))
