"""Photographed hands that can be cut out exactly: from keyed pictures, with a soft edge and without the old ground."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic.appearance import Array, Light, linear, skin_tone
from gest_stream.synthetic.noise import power_noise
from gest_stream.training.labels import read_mask, read_picture
from gest_stream.training.wide_look import any_colour, lit
from gest_stream.training.wide_sprites import Sprite

HELD_OUT_EVERY: Final = 10
"""Every tenth picture of a manifest is for measuring only."""

_HAND, _ARM = 255, 128
_SLEEVED, _RECOLOURED = 0.55, 0.5
_SMALLEST_PX: Final = 30
_ABOVE: Final = 2


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One picture of a set.

    Args:
        image: Path of the picture.
        mask: Path of its mask.
        keyed: The mask is near exact, and 128 in it is the forearm; else it is a pseudo label, and 128 is not known.
        hands: The 21 landmarks of each hand that was found, x and y as shares of width and height.
        held_out: It is not to be trained on.
    """

    image: Path
    mask: Path
    keyed: bool
    hands: tuple[tuple[tuple[float, float], ...], ...]
    held_out: bool

    def landmarks(self, size: tuple[int, int]) -> Array:
        """(N, 21, 2) float32 pixels in a picture of (width, height)."""
        return np.array(self.hands, np.float32).reshape(-1, 21, 2) * np.array(size, np.float32)


def read_manifest(folder: Path) -> list[ManifestRow]:
    """The pictures with masks that a set's manifest.jsonl tells of.

    Args:
        folder: Of the set; paths in the manifest are relative to the folder above it.

    Raises:
        InvalidInputError: There is no manifest, or a line of it cannot be understood.
    """
    path = folder / "manifest.jsonl"
    try:
        lines = path.read_text().splitlines()
    except OSError as exc:
        raise InvalidInputError(f"{path}: cannot be read ({exc.strerror}); a set has images/, masks/ and it") from exc
    rows = []
    for number, line in enumerate(lines):
        try:
            entry: dict[str, Any] = json.loads(line)
            if not entry["has_mask"] or entry["mask_kind"] not in ("keyed", "pseudo"):
                continue
            hands = tuple(tuple((float(x), float(y)) for x, y in hand["p"]) for hand in entry.get("hands") or ())
            rows.append(
                ManifestRow(
                    folder.parent / entry["file"],
                    folder.parent / entry["mask"],
                    entry["mask_kind"] == "keyed",
                    hands,
                    number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1,
                )
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise InvalidInputError(f"{path}:{number + 1}: is no picture of a set ({exc!r})") from exc
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """A hand that was cut out, upright: its arm leaves downward.

    Args:
        sprite: With the parts hand and arm.
        landmarks: (21, 2) float32 sprite pixels; NaN where they were not found.
        pivot_xy: Middle of the hand.
        length_px: Longer side of the hand's box.
    """

    sprite: Sprite
    landmarks: Array
    pivot_xy: tuple[float, float]
    length_px: float


def cut_out(row: ManifestRow, rng: np.random.Generator, light: Light) -> Foreground | None:
    """A keyed picture's hand, some in another skin tone or with a sleeve; None where there is too little of it.

    What the picture's border cuts off of the arm is made up, as bare arm or sleeve.

    Raises:
        InvalidInputError: A file cannot be read, or its mask has another size.
    """
    image, mask = read_picture(row.image), read_mask(row.mask)
    if mask.shape != image.shape[:2]:
        raise InvalidInputError(
            f"{row.mask}: is not of the size of {row.image.name}, {image.shape[1]}x{image.shape[0]}"
        )
    found = row.landmarks((image.shape[1], image.shape[0]))
    points = found[0] if len(found) else np.full((21, 2), np.nan, np.float32)
    image, mask, points = _upright(image, mask, points)
    rows, columns = np.nonzero(mask == _HAND)
    if len(rows) < _SMALLEST_PX**2 / 2:
        return None
    length = float(max(np.ptp(rows), np.ptp(columns)) + 1)
    colour = _without_ground(image, mask > 0)
    if rng.random() < _RECOLOURED:
        colour = _recoloured(colour, mask == _HAND, rng)
    hand, arm, colour = _with_arm(colour, mask, rng, light)
    corner = np.array([_margin(mask), _ABOVE], np.float32)
    sprite = Sprite(np.asarray(colour * (hand + arm)[..., None], np.float32), np.stack([hand, arm]))
    pivot = corner + np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    return Foreground(sprite, points + corner, (float(pivot[0]), float(pivot[1])), length)


def _margin(mask: NDArray[np.uint8]) -> int:
    """Room left and right of the picture, for a sleeve wider than the arm."""
    width: int = mask.shape[1]
    return round(0.35 * width) + 2


def _upright(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], points: Array
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Array]:
    """Turn all by quarters so that the arm leaves through the lower border."""
    quarters = _quarters(mask, points)
    for _ in range(quarters):
        # a quarter counterclockwise takes (x, y) to (y, width - x)
        points = np.stack([points[:, 1], mask.shape[1] - points[:, 0]], axis=1)
        image, mask = np.rot90(image), np.rot90(mask)
    return np.ascontiguousarray(image), np.ascontiguousarray(mask), np.asarray(points, np.float32)


def _quarters(mask: NDArray[np.uint8], points: Array) -> int:
    """How often to turn counterclockwise until the side where the arm leaves is below."""
    sides = (mask[-1], mask[:, 0], mask[0], mask[:, -1])  # each comes below after that many quarters
    touching = np.array([2.0 * (side == _ARM).sum() + (side == _HAND).sum() for side in sides])
    if np.isfinite(points).all():
        way = (points[0] - points[9]).astype(np.float64)
        way /= np.linalg.norm(way) + 1e-6
        facing = np.array([way[1], -way[0], -way[1], way[0]])
        touching = touching / (touching.max() + 1.0) + 2.0 * facing
    best: np.intp = touching.argmax()
    return int(best)


def _without_ground(image: NDArray[np.uint8], there: NDArray[np.bool_]) -> Array:
    """The picture with the colours of the hand carried on beyond its edge, so that soft edges show no old ground."""
    import cv2

    inside = cv2.erode(there.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(np.float32)
    colour = image.astype(np.float32)
    filled, weight = colour * inside[..., None], inside.copy()
    for sigma in (1.5, 4.0):
        spread = cv2.GaussianBlur(colour * inside[..., None], (0, 0), sigma)
        share = cv2.GaussianBlur(inside, (0, 0), sigma)
        empty = (weight < 0.5) & (share > 1e-3)
        filled[empty] = spread[empty] / share[empty][:, None]
        weight[empty] = 1.0
    return np.asarray(filled, np.float32)


def _recoloured(colour: Array, hand: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """The hand in another skin tone."""
    bright = linear(colour)
    now = bright[hand].mean(axis=0)
    gain = skin_tone(float(rng.uniform(1, 10))) / np.maximum(now, 0.02)
    gain = np.clip(gain / max(1.0, float(gain.max() / 2.2)), 0.1, 2.2)
    return np.asarray(255.0 * np.clip(bright * gain, 0, 1) ** (1 / 2.2), np.float32)


def _with_arm(
    colour: Array, mask: NDArray[np.uint8], rng: np.random.Generator, light: Light
) -> tuple[Array, Array, Array]:
    """Soft (h, w) shares of hand and arm, and the colours, all with more arm below where the border cut it off."""
    import cv2

    below = np.flatnonzero(mask[-1])
    longer = round(1.6 * max(mask.shape)) if len(below) > 3 else 2
    colour = np.concatenate([colour, np.zeros((longer, *colour.shape[1:]), np.float32)])
    solid = np.concatenate([mask, np.zeros((longer, mask.shape[1]), np.uint8)])
    wide = _margin(mask)
    colour = np.pad(colour, ((_ABOVE, 0), (wide, wide), (0, 0)))
    solid = np.pad(solid, ((_ABOVE, 0), (wide, wide)))
    if len(below) > 3:
        # two rows up: the border's own row is often dark
        edge = colour[mask.shape[0] + _ABOVE - 3, wide + below[0] : wide + below[-1] + 1]
        _draw_arm(colour, solid, mask.shape[0] + _ABOVE, wide + below[0], wide + below[-1] + 1, edge, rng, light)
    there = cv2.GaussianBlur((solid > 0).astype(np.float32), (0, 0), 0.7)
    of_hand = cv2.GaussianBlur((solid == _HAND).astype(np.float32), (0, 0), 0.7)
    hand = np.minimum(of_hand, there)
    return np.asarray(hand, np.float32), np.asarray(there - hand, np.float32), np.asarray(colour, np.float32)


def _draw_arm(
    colour: Array,
    solid: NDArray[np.uint8],
    top: int,
    left: int,
    right: int,
    edge: Array,
    rng: np.random.Generator,
    light: Light,
) -> None:
    """Carry the arm on from row `top` downward, between the columns `left` and `right` at first."""
    rows = np.arange(solid.shape[0] - top, dtype=np.float32)[:, None]
    middle, half = 0.5 * (left + right), 0.5 * (right - left)
    sleeved = rng.random() < _SLEEVED
    loose = rng.uniform(1.03, 1.25) if sleeved else 1.0
    half_at = half * loose * (1.0 + rng.uniform(0.0, 0.3) * rows / len(rows))
    across = (np.arange(solid.shape[1], dtype=np.float32)[None] + 0.5 - middle) / half_at
    inside = np.abs(across) < 1.0
    noise = power_noise((len(rows), solid.shape[1]), 1.5, rng)[..., None]
    if sleeved:
        clipped = np.clip(across, -0.98, 0.98)
        normals = np.stack([clipped, np.zeros_like(clipped), -np.sqrt(1 - clipped**2)], axis=2)
        cloth, stripe = linear(any_colour(rng)), linear(any_colour(rng))
        striped = (rows // rng.uniform(4, 20)) % 2 == (0 if rng.random() < 0.5 else 3)
        albedo = np.where((striped & inside)[..., None], stripe, cloth).astype(np.float32)
        drawn = lit(albedo, normals.astype(np.float32), light) * (1 + 0.08 * noise)
    else:
        at = np.clip((across * 0.92 + 1.0) / 2, 0, 1) * (len(edge) - 1)
        drawn = np.stack([np.interp(at, np.arange(len(edge)), edge[:, c]) for c in range(3)], axis=2)
        drawn = drawn * (1 + 0.04 * noise)
    margin = np.abs(across) < 1.0 + 4.0 / half
    colour[top:][margin] = np.clip(drawn, 0, 255)[margin]
    solid[top:][inside] = _ARM


def keyed_rows(folders: Sequence[Path]) -> list[ManifestRow]:
    """The keyed pictures of all sets, in order."""
    return [row for folder in folders for row in read_manifest(folder) if row.keyed]
