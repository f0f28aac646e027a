"""The clip that every peer is given: two rendered hands, in memory and as a video file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.sam2_clip import Clip
from gest_stream.bench.clips import there_and_back
from gest_stream.types import Frame

Box = tuple[float, float, float, float]

_RENDERED_SIZE = (640, 360)
_ENLARGED = 2
_RATE = 30


@dataclass(frozen=True, slots=True)
class Footage:
    """A clip and where the hands are on its first frame.

    Args:
        images: (H, W, 3) uint8 RGB frames, in order.
        boxes: (x0, y0, x1, y1) in pixels of each hand on the first frame, by object id.
        path: The same frames as an H.264 file at 30 fps; none is there where PyAV is not installed.
    """

    images: Sequence[NDArray[np.uint8]]
    boxes: Mapping[int, Box]
    path: Path

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.images[0].shape[1], self.images[0].shape[0]

    def as_clip(self) -> Clip:
        """The frames and boxes as the SAM2 benchmarks take them."""
        return Clip(self.size, self.images, self.boxes)

    def first(self, frames: int, path: Path) -> Footage:
        """Its first frames, written to a file of their own."""
        return written(self.images[:frames], self.boxes, path)


def rendered_footage(frames: int, distinct: int, path: Path) -> Footage:
    """1280x720 frames of two hands that nothing hides, so that every system has two of them on every frame.

    Rendering takes longer than anything that is measured, so the clip is rendered at half its size and enlarged, and
    its distinct frames are played to and fro.

    Args:
        frames: Frames of the clip.
        distinct: How many of them are rendered, 2 or more.
        path: The file, .mp4.
    """
    import cv2

    from gest_stream.synthetic import ClipRenderer, preset

    renderer = ClipRenderer(replace(preset("easy"), size=_RENDERED_SIZE, frames=distinct))
    found = [renderer.frame(seq) for seq in range(distinct)]
    size = (_RENDERED_SIZE[0] * _ENLARGED, _RENDERED_SIZE[1] * _ENLARGED)
    images = [np.asarray(cv2.resize(one.frame.image, size, interpolation=cv2.INTER_CUBIC), np.uint8) for one in found]
    boxes: dict[int, Box] = {}
    for hand in found[0].hands:
        left, top, right, bottom = (_ENLARGED * side for side in hand.landmarks.box_xyxy_px)
        boxes[hand.index + 1] = (left, top, right, bottom)
    return written(list(islice(cycle(there_and_back(images)), frames)), boxes, path)


def written(images: Sequence[NDArray[np.uint8]], boxes: Mapping[int, Box], path: Path) -> Footage:
    """Footage of these frames, after writing them; without PyAV, as on a bare GPU machine, SAM2 alone can take it."""
    if find_spec("av") is not None:
        from gest_stream.build import save_frames
        from gest_stream.testing import ListSource

        frames = [Frame(image, seq, Fraction(1, _RATE), 0, seq) for seq, image in enumerate(images)]
        asyncio.run(save_frames(ListSource(frames), path))
    return Footage(images, boxes, path)
