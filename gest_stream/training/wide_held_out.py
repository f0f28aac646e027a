"""Videos to measure the built-in models with: rendered hands that no training has seen, over a few seconds.

Video number N is always the same with the same backgrounds. It is rendered once and kept as a `WideClip`, so that every
model is measured on the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.training.wide_camera import draw_camera
from gest_stream.training.wide_clips import ClipKind, WideClip
from gest_stream.training.wide_data import split_pictures
from gest_stream.training.wide_rendered import Plan, RenderedScene
from gest_stream.training.wide_scene import RATE, as_clip

VIDEOS: Final = 28
MEASURED: Final = 12
"""The first so many are what models are measured on; the others show what was not looked at while they were made."""

FRAMES: Final = 90

SEED: Final = 900_000
"""Of the videos that models are measured on; others show other scenes after the same plans."""
_QUALITY: Final = 90
_SIZES: Final = ((640, 480), (640, 360))
_LENGTHS: Final = (0.25, 0.65)
"""Of a hand, as shares of the frame's shorter side: what a webcam or glasses see."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One frame of a held-out video and the truth about its N hands, in the same order on every frame.

    Args:
        image: (H, W, 3) uint8 RGB.
        hands: (N, H, W) uint8 alpha of each hand's visible part.
        arms: (H, W) uint8 alpha of all forearms and sleeves.
        landmarks: (N, 21, 2) float32 pixels.
        shown: (N,) float32 share of each hand in the frame that nothing hides.
    """

    image: NDArray[np.uint8]
    hands: NDArray[np.uint8]
    arms: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    shown: NDArray[np.float32]


def video_plan(index: int) -> Plan:
    """What video number `index` shows: every other one hands that cross, every third the wearer's own hands.

    Raises:
        InvalidInputError: There is no such video.
    """
    if not 0 <= index < VIDEOS:
        raise InvalidInputError(f"held-out video: expected 0 to {VIDEOS - 1}, got {index}")
    crossing = index % 2 == 1
    return Plan(
        _SIZES[(index // 2) % 2],
        FRAMES / RATE,
        hands=2 if crossing or index % 4 == 0 else 1,
        first_person=index % 3 == 2,
        crossings=2 if crossing else 0,
        lengths=_LENGTHS,
        touching=False,
    )


def video_path(root: Path, index: int) -> Path:
    """Where video number `index` is kept."""
    return root / "heldout_video" / f"{index:03d}.npz"


def render_video(index: int, pictures: Sequence[Path] = (), device: str = "cpu", seed: int = SEED) -> WideClip:
    """Render a video; every other one over a photograph where there are any.

    Args:
        index: Which.
        pictures: Photographs for backgrounds, the whole folder; the part kept for measuring is used.
        device: Where torch computes.
        seed: Of what it shows.

    Raises:
        InvalidInputError: There is no such video, or a photograph cannot be read.
    """
    plan = video_plan(index)
    rng = np.random.default_rng((seed, index))
    camera = draw_camera(rng)
    over = split_pictures(pictures, held_out=True) if (index // 2) % 2 else ()
    scene = RenderedScene(plan, rng, over, device)
    return as_clip([scene.at(k / RATE) for k in range(FRAMES)], camera, ClipKind.RENDERED, rng)


def held_out_video(index: int, root: Path, pictures: Sequence[Path] = (), seed: int = SEED) -> Iterator[VideoFrame]:
    """The frames of a video, from disk, rendered first where it is not there yet (minutes on one core).

    Args:
        index: 0 to `VIDEOS` - 1.
        root: Of the shards.
        pictures: Photographs for backgrounds, where it must be rendered.
        seed: Of what it shows, where it must be rendered; each seed needs a root of its own.

    Raises:
        InvalidInputError: There is no such video, or what is on disk is damaged.
    """
    path = video_path(root, index)
    if not path.exists():
        clip = render_video(index, pictures, seed=seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        clip.save(path, _QUALITY)
    for number in range(FRAMES):
        clip = WideClip.load(path, frames=[number])
        yield VideoFrame(clip.images[0], clip.hands[0], clip.arms[0], clip.landmarks[0], clip.shown[0])


def crosses(index: int) -> bool:
    """Whether the hands of a video cross."""
    return bool(video_plan(index).crossings)
