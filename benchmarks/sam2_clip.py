"""What every system of the SAM2 benchmark is given: the same frames, prompts and weights.

There are no official weights in it: time does not depend on what they are, and seeded ones are there on every machine.
The nano model is the product's own size (models/sam2_nano.py), for runs of very many steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.config import Precision, Sam2Config, Sam2Runner, Sam2Size
from gest_stream.models.sam2_engine import Sam2Engine
from gest_stream.models.sam2_nano import NANO_OVERRIDES
from gest_stream.models.sam2_weights import build_modules
from gest_stream.types import Prompt
from tests.models.sam2_upstream import weights

DISTINCT_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Model:
    """Which model is measured.

    Args:
        size: The official configuration that it starts from.
        image_size: Side of the square that it takes, pixels.
        nano: Make it narrow, as the size nano.
    """

    size: Sam2Size
    image_size: int
    nano: bool = False

    @property
    def overrides(self) -> tuple[str, ...]:
        """Settings on top of the official configuration, "model.path.to.value=…"."""
        return NANO_OVERRIDES if self.nano else ()

    def state(self) -> dict[str, torch.Tensor]:
        """Seeded weights under which no path is degenerate."""
        return weights(self.size, self.image_size, overrides=self.overrides)


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames that are played in a loop, and a box for each object on the first.

    Args:
        frame_size: (width, height) in pixels.
        images: Distinct frames, (H, W, 3) uint8 RGB.
        boxes: (x0, y0, x1, y1) in pixels by object.
    """

    frame_size: tuple[int, int]
    images: Sequence[NDArray[np.uint8]]
    boxes: Mapping[int, tuple[float, float, float, float]]

    def image(self, frame: int) -> NDArray[np.uint8]:
        """The image of a frame."""
        return self.images[frame % len(self.images)]

    def prompts(self) -> dict[int, Prompt]:
        """The boxes as our engine takes them."""
        no_points, no_labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
        return {object_id: Prompt(no_points, no_labels, box) for object_id, box in self.boxes.items()}


def make_clip(frame_size: tuple[int, int], objects: int, seed: int = 0) -> Clip:
    """Soft coloured blobs that drift over the frame."""
    width, height = frame_size
    rng = np.random.default_rng(seed)
    cell = max(min(frame_size) // 12, 1)
    coarse = rng.integers(0, 256, (height // cell + 2, width // cell + 2, 3))
    picture: NDArray[np.floating[Any]] = np.kron(coarse, np.ones((cell, cell, 1)))[:height, :width]
    shifts = range(-(cell // 2), cell // 2 + 1)
    for axis in (0, 1):  # softened, so that resizing has something to do
        picture = np.asarray(np.stack([np.roll(picture, shift, axis) for shift in shifts]).mean(axis=0))
    images = [np.roll(picture, (step, 2 * step), (0, 1)).astype(np.uint8) for step in range(DISTINCT_FRAMES)]
    boxes = {}
    for index in range(objects):
        left, top = width * (0.1 + 0.6 * index / max(objects, 1)), height * (0.15 + 0.1 * index)
        boxes[index + 1] = (left, top, left + width * 0.25, top + height * 0.35)
    return Clip(frame_size, images, boxes)


def make_engine(
    model: Model,
    state: Mapping[str, torch.Tensor],
    device: str,
    runner: Sam2Runner,
    precision: Precision,
    max_objects: int,
    compile_: bool = False,
) -> Sam2Engine:
    """Our engine, computing what upstream computes: without non-overlap, which upstream does not have."""
    modules = build_modules(model.size, model.image_size, model.overrides)
    modules.load_state_dict(state)
    config = Sam2Config(
        size=model.size,
        image_size=model.image_size,
        device=device,
        precision=precision,
        runner=runner,
        compile=compile_,
        non_overlap=False,
    )
    return Sam2Engine(modules, config, max_objects)
