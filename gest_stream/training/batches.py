"""Batches of changed pictures; which ones follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.training.augment import augment
from gest_stream.training.config import DecoderTraining
from gest_stream.training.data import Pick, TrainingData, loading_threads
from gest_stream.training.ordered import in_order
from gest_stream.training.targets import class_shares

if TYPE_CHECKING:
    import torch

    from gest_stream.models.dino_decoder import NetSpec

_AHEAD_BATCHES: Final = 2
_SHAPES: Final = ((1.0, 1.0), (1.0, 0.75), (1.0, 0.5625), (0.75, 1.0))
"""Of a canvas, as shares of the input's side: the network meets frames of all of them."""
_SHAPE_STREAM: Final = 1 << 20
"""Beyond any slot of a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step learns from.

    Args:
        images: (B, H, W, 3) uint8 RGB.
        shares: (B, K, h, w) uint8 from `class_shares`.
    """

    images: torch.Tensor
    shares: torch.Tensor


def canvas_of(seed: int, step: int, input_size: int) -> tuple[int, int]:
    """(width, height) of the pictures of a step, multiples of 14; the first step has the largest."""
    shape = _SHAPES[0]
    if step:
        shape = _SHAPES[int(np.random.default_rng((seed, step, _SHAPE_STREAM)).integers(len(_SHAPES)))]
    width, height = (max(1, round(share * input_size / 14)) * 14 for share in shape)
    return width, height


def batches(data: TrainingData, spec: NetSpec, config: DecoderTraining, first: int) -> Generator[Batch, None, None]:
    """Batches without end, loaded in threads ahead of their use.

    Args:
        data: What is learnt from.
        spec: What the network tells apart, and how large its input is.
        config: Seed, size of a batch, and how pictures are changed.
        first: Number of the step that the first batch is for.
    """
    import torch

    with_forearm = "forearm" in spec.classes

    def load(place: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        step, slot = place
        rng = np.random.default_rng((config.seed, step, slot))
        pick: Pick = data.draw(rng)
        canvas = canvas_of(config.seed, step, spec.input_size)
        picture = augment(pick.load(), canvas, rng, config.augment)
        grid = canvas[0] // 14 * 4, canvas[1] // 14 * 4
        return picture.image, class_shares(picture.labels, grid, with_forearm, pick.part.forearms_labelled)

    places = ((step, slot) for step in count(first) for slot in range(config.batch))
    loaded = in_order(load, places, loading_threads(config), _AHEAD_BATCHES * config.batch)
    try:
        while True:
            pictures = [next(loaded) for _ in range(config.batch)]
            images, shares = (np.stack(planes) for planes in zip(*pictures, strict=True))
            yield Batch(torch.from_numpy(images), torch.from_numpy(shares))
    finally:
        loaded.close()
