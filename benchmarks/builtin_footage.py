"""What the built-in segmenters are measured on: held-out videos, and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gest_stream.bench.quality import MIN_AREA_PX, MIN_SHOWN
from gest_stream.clock import now_ns
from gest_stream.training.wide_held_out import SEED, crosses, held_out_video
from gest_stream.types import Frame, HandMask, MaskSource


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """Frames, and what is known of them.

    Args:
        name: For messages and file names.
        frames: In order, numbered from 0.
        masks: Of every frame, of every hand: its visible part; empty where nothing is known.
        shown: Of every frame, of every hand: the visible share.
        crossing: Its hands cross.
    """

    name: str
    frames: Sequence[Frame]
    masks: Sequence[Sequence[HandMask]] = ()
    shown: Sequence[Sequence[float]] = ()
    crossing: bool = False

    @property
    def hand_count(self) -> int:
        """Hands whose truth is known."""
        return len(self.masks[0]) if self.masks else 0

    def truth(self, number: int, hand: int) -> HandMask | None:
        """The hand's mask on a frame; None where too little of it can be seen to ask for one."""
        mask = self.masks[number][hand]
        return mask if self.shown[number][hand] >= MIN_SHOWN and mask.area_px >= MIN_AREA_PX else None


def frame_of(image: NDArray[np.uint8], number: int, rate: int = 30) -> Frame:
    """A picture as the tracker gets it."""
    return Frame(np.ascontiguousarray(image), number, Fraction(1, rate), now_ns(), number)


def held_out_footage(number: int, root: Path, seed: int = SEED) -> Footage:
    """Held-out video of that number, rendered first, with that seed, where it is not under `root` yet."""
    truth = list(held_out_video(number, root, seed=seed))
    return Footage(
        f"video-{number:02d}",
        [frame_of(one.image, k) for k, one in enumerate(truth)],
        [[as_mask(alpha) for alpha in one.hands] for one in truth],
        [one.shown.tolist() for one in truth],
        crosses(number),
    )


def read_footage(path: Path) -> Footage:
    """A video file's frames; nothing is known of them."""
    import av

    with av.open(str(path)) as container:
        images = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    return Footage(path.stem, [frame_of(np.asarray(image, np.uint8), number) for number, image in enumerate(images)])


def as_mask(alpha: NDArray[np.uint8]) -> HandMask:
    """A truth, (H, W) uint8, as a mask."""
    return HandMask.from_full(alpha, 1.0, MaskSource.SCRIPTED)
