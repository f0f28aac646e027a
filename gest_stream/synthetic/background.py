"""Procedural backgrounds: plaster, clouds, a blurred room, boards and cloth, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.noise import power_noise

Array = NDArray[np.float32]


def make_background(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """A picture without hands.

    Args:
        size: (width, height) in pixels.
        rng: Which picture.

    Returns:
        (H, W, 3) float32 sRGB, 0 to 255.
    """
    paint = _PAINTERS[int(rng.integers(len(_PAINTERS)))]
    picture = paint(size, rng)
    y, x = _grid(size)
    centre = rng.uniform(0.25, 0.75, 2)
    far = np.hypot(x - centre[0], y - centre[1])
    picture *= (1.06 - rng.uniform(0.15, 0.4) * far**2)[..., None]
    return np.asarray(np.clip(picture, 6.0, 250.0), np.float32)


def _grid(size: tuple[int, int]) -> tuple[Array, Array]:
    """(H, 1) y and (1, W) x, both 0 to 1."""
    y = (np.arange(size[1], dtype=np.float32) + 0.5) / size[1]
    x = (np.arange(size[0], dtype=np.float32) + 0.5) / size[0]
    return np.asarray(y[:, None], np.float32), np.asarray(x[None, :], np.float32)


def _colour(rng: np.random.Generator, low: float, high: float, strength: float = 0.35) -> Array:
    """A colour whose brightness lies between `low` and `high`."""
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (rng.random() - np.array([0.0, 1 / 3, 2 / 3])))
    return np.asarray(rng.uniform(low, high) * (1 - strength + strength * wheel), np.float32)


def _cloud(size: tuple[int, int], falloff: float, rng: np.random.Generator) -> Array:
    return power_noise((size[1], size[0]), falloff, rng)


def _plaster(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = _grid(size)
    top, bottom = _colour(rng, 120, 225, 0.18), _colour(rng, 90, 190, 0.18)
    across = np.clip(y + 0.3 * (x - 0.5), 0, 1)[..., None]
    grain = 3.0 * _cloud(size, 1.0, rng) + 5.0 * _cloud(size, 2.0, rng)
    return np.asarray(top + (bottom - top) * across + grain[..., None], np.float32)


def _clouds(size: tuple[int, int], rng: np.random.Generator) -> Array:
    first, second, third = (_colour(rng, 50, 210, 0.3) for _ in range(3))
    a = 1 / (1 + np.exp(-1.4 * _cloud(size, 2.2, rng)))[..., None]
    b = 1 / (1 + np.exp(-1.4 * _cloud(size, 2.0, rng)))[..., None]
    return np.asarray((1 - b) * ((1 - a) * first + a * second) + b * third, np.float32)


def _soft_box(size: tuple[int, int], box: tuple[float, float, float, float], soft: float) -> Array:
    """(H, W) 0 to 1: a rectangle (x0, y0, x1, y1 in 0 to 1) seen out of focus."""
    y, x = _grid(size)

    def edge(v: Array, a: float, b: float) -> Array:
        return np.asarray(0.5 * np.tanh((v - a) / (2 * soft)) - 0.5 * np.tanh((v - b) / (2 * soft)), np.float32)

    return edge(y, box[1], box[3]) * edge(x, box[0], box[2])


def _room(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, _ = _grid(size)
    wall, floor = _colour(rng, 120, 225, 0.12), _colour(rng, 60, 140, 0.25)
    horizon = 1 / (1 + np.exp(-(y - rng.uniform(0.68, 0.85)) / 0.012))[..., None]
    picture = wall + (floor - wall) * horizon + np.zeros((size[1], size[0], 1), np.float32)
    for _ in range(int(rng.integers(5, 10))):
        left, top = rng.uniform(-0.1, 0.9), rng.uniform(-0.1, 0.75)
        box = (left, top, left + rng.uniform(0.06, 0.35), top + rng.uniform(0.08, 0.5))
        share = _soft_box(size, box, rng.uniform(0.004, 0.012))[..., None]
        picture = picture + share * (_colour(rng, 30, 235, 0.32) - picture) * rng.uniform(0.6, 1.0)
    return np.asarray(picture + 3.0 * _cloud(size, 1.4, rng)[..., None], np.float32)


def _boards(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = _grid(size)
    wood = np.array([168, 124, 84], np.float32) * rng.uniform(0.55, 1.2) * rng.uniform(0.92, 1.08, 3)
    count = int(rng.integers(4, 9))
    board = np.floor(y * count)
    tint = rng.uniform(0.82, 1.12, count + 1)[board.astype(int)]
    waves = 60.0 * y + 0.9 * _cloud(size, 2.4, rng) + 2.5 * np.sin(3.0 * x + board)
    grain = 0.07 * np.sin(waves * 2.2) + 0.035 * _cloud(size, 0.9, rng)
    seam = np.exp(-(((y * count - board) / 0.025) ** 2))
    tone = (tint + grain) * (1 - 0.5 * seam)
    return np.asarray(tone[..., None] * wood, np.float32)


def _cloth(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = _grid(size)
    base, stripe = _colour(rng, 70, 200, 0.35), _colour(rng, 60, 220, 0.35)
    angle, count = rng.uniform(0, np.pi), rng.uniform(5, 14)
    folds = 0.35 * _cloud(size, 2.6, rng)
    phase = count * (x * np.cos(angle) * size[0] / size[1] + y * np.sin(angle)) + folds
    share = 1 / (1 + np.exp(-8 * np.sin(2 * np.pi * phase)))[..., None]
    shade = 1 + 0.09 * _cloud(size, 2.2, rng) + 0.03 * _cloud(size, 0.4, rng)
    return np.asarray((base + (stripe - base) * share * 0.8) * shade[..., None], np.float32)


_PAINTERS: tuple[Callable[[tuple[int, int], np.random.Generator], Array], ...] = (
    _plaster,
    _clouds,
    _room,
    _boards,
    _cloth,
)
