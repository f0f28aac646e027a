"""How a picture of the built-in models' training clips is laid together, and what is known of it then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic.appearance import Array
from gest_stream.synthetic.layer import Layer, compose, visible_parts
from gest_stream.training.wide_camera import Camera, expose
from gest_stream.training.wide_clips import ClipKind, WideClip

RATE: Final = 30
_SHADOWED: Final = 0.4
_STRIDES: Final = (1, 2, 2, 3, 4, 6, 8)
_ASPECTS: Final = ((4, 3), (4, 3), (4, 3), (16, 9), (16, 9), (3, 4), (1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One layer of a scene.

    Args:
        layer: Of a hand with the parts hand and arm, or of anything else.
        hand: Number of the hand; None for anything else.
    """

    layer: Layer
    hand: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SceneFrame:
    """A picture before a camera takes it, and the truth about it; N hands.

    Args:
        picture: (H, W, 3) float32 sRGB, 0 to 255.
        hands: (N, H, W) uint8 alpha of what is seen of each.
        arms: (H, W) uint8 alpha of all arms and sleeves.
        landmarks: (N, 21, 2) float32 pixels; NaN where unknown.
        shown: (N,) float32 share of each hand in the frame that nothing hides; 0 where none is in the frame.
    """

    picture: Array
    hands: NDArray[np.uint8]
    arms: NDArray[np.uint8]
    landmarks: Array
    shown: Array


def lay_together(background: Array, items: Sequence[Item], landmarks: Array) -> SceneFrame:
    """Lay `items`, the furthest first, over a background.

    Args:
        background: (H, W, 3) float32 sRGB.
        items: Each hand's layer once, and anything else.
        landmarks: (N, 21, 2) of the hands.
    """
    count, shape = len(landmarks), background.shape[:2]
    hands, arms = np.zeros((count, *shape), np.float32), np.zeros(shape, np.float32)
    shown = np.zeros(count, np.float32)
    layers = [item.layer for item in items]
    for k, item in enumerate(items):
        if item.hand is None or not item.layer.parts.size:
            continue
        seen = visible_parts(item.layer, layers[k + 1 :])
        hands[item.hand][item.layer.slices] = seen[0]
        arms[item.layer.slices] += seen[1]
        whole = float(item.layer.parts[0].sum())
        shown[item.hand] = float(seen[0].sum()) / whole if whole > 1.0 else 0.0
    return SceneFrame(compose(background, layers), _alpha(hands), _alpha(arms), landmarks, shown)


def _alpha(shares: Array) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(255.0 * shares), 0, 255), np.uint8)


def as_clip(frames: Sequence[SceneFrame], camera: Camera, kind: ClipKind, rng: np.random.Generator) -> WideClip:
    """The clip that a camera takes of the frames."""
    return WideClip(
        np.stack([expose(frame.picture, camera, rng) for frame in frames]),
        np.stack([frame.hands for frame in frames]),
        np.stack([frame.arms for frame in frames]),
        np.zeros((len(frames), *frames[0].picture.shape[:2]), np.bool_),
        np.stack([frame.landmarks for frame in frames]).astype(np.float32),
        np.stack([frame.shown for frame in frames]).astype(np.float32),
        kind,
    )


@dataclass(frozen=True, slots=True)
class Shadow:
    """What hands throw on what lies behind them.

    Args:
        away_px: How far right and down it lies of the hand.
        soft_px: Standard deviation of its blur.
        dark: Share of the light it takes.
    """

    away_px: tuple[float, float]
    soft_px: float
    dark: float

    def of(self, layer: Layer, frame_size: tuple[int, int]) -> Layer:
        """The shadow of a layer."""
        import cv2

        full = np.zeros((frame_size[1], frame_size[0]), np.float32)
        full[layer.slices] = layer.coverage
        move = np.array([[1, 0, self.away_px[0]], [0, 1, self.away_px[1]]], np.float64)
        spread = cv2.GaussianBlur(cv2.warpAffine(full, move, frame_size), (0, 0), self.soft_px)
        share = np.asarray(self.dark * spread, np.float32)
        return Layer((0, 0), np.zeros((*share.shape, 3), np.float32), share[None])


def draw_shadow(rng: np.random.Generator, length_px: float) -> Shadow | None:
    """A shadow for hands of that length, or none."""
    away = rng.normal(0.0, 0.25, 2) * length_px
    shadow = Shadow(
        (float(away[0]), float(away[1])),
        float(length_px * rng.uniform(0.01, 0.12) + 0.5),
        float(rng.uniform(0.1, 0.6)),
    )
    return shadow if rng.random() < _SHADOWED else None


def draw_size(rng: np.random.Generator, longer_side: int) -> tuple[int, int]:
    """(width, height) of a clip."""
    across, down = _ASPECTS[int(rng.integers(len(_ASPECTS)))]
    scale = longer_side / max(across, down)
    return round(across * scale), round(down * scale)


def draw_times(rng: np.random.Generator, frames: int) -> list[float]:
    """The moments of a clip's frames, seconds: at 30 a second, some left out."""
    stride = int(rng.choice(_STRIDES))
    return [k * stride / RATE for k in range(frames)]


def check_side(longer_side: int) -> None:
    """Raise InvalidInputError for pictures that are too small to show a hand."""
    if longer_side < 64:
        raise InvalidInputError(f"longer side of the clips: expected 64 or more pixels, got {longer_side}")
