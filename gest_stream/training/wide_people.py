"""Painted people without hands: faces, hair and shoulders, so that skin alone does not make a hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array, Light, linear, skin_tone
from gest_stream.synthetic.noise import power_noise
from gest_stream.training.wide_look import any_colour, lit
from gest_stream.training.wide_sprites import Sprite

SIDE = 256
"""Of a person's picture, pixels."""

HEAD_SPAN = 0.46
"""Height of the head as a share of the picture's."""

_CENTRE = (0.0, -0.42)  # of the head; the picture spans -1 to 1 both ways
_HALF = np.array([0.33, 0.44])


class _Canvas:
    """Paints shapes with soft edges over each other."""

    def __init__(self) -> None:
        steps = (np.arange(SIDE, dtype=np.float32) + 0.5) * np.float32(2.0 / SIDE) - 1
        self.x, self.y = np.meshgrid(steps, steps)
        self.colour = np.zeros((SIDE, SIDE, 3), np.float32)
        self.coverage = np.zeros((SIDE, SIDE), np.float32)

    def ellipse(self, centre: tuple[float, float], half: tuple[float, float], turn: float = 0.0) -> Array:
        """(S, S) coverage of an ellipse, its edge about a pixel wide."""
        x, y = self.x - centre[0], self.y - centre[1]
        u = (np.cos(turn) * x + np.sin(turn) * y) / half[0]
        v = (-np.sin(turn) * x + np.cos(turn) * y) / half[1]
        reach = np.hypot(u, v)
        return np.asarray(np.clip(0.5 - (reach - 1.0) * min(half) * SIDE / 2, 0.0, 1.0), np.float32)

    def soft(self, centre: tuple[float, float], half: tuple[float, float]) -> Array:
        """(S, S) a spot without an edge."""
        square = ((self.x - centre[0]) / half[0]) ** 2 + ((self.y - centre[1]) / half[1]) ** 2
        return np.asarray(np.exp(-square), np.float32)

    def paint(self, share: Array, colour: Array) -> None:
        """Lay a colour, (3,) or (S, S, 3) sRGB, over what is there."""
        self.colour += share[..., None] * (colour - self.colour)
        self.coverage += share * (1.0 - self.coverage)


def draw_person(rng: np.random.Generator, light: Light, tone: float) -> Sprite:
    """A head on shoulders with skin of a Monk tone, looking at the camera or a little aside; a sprite of one part."""
    canvas = _Canvas()
    skin = skin_tone(tone) * rng.uniform(0.9, 1.08, 3).astype(np.float32)
    hair = linear(
        np.array([(20, 16, 14), (60, 38, 24), (120, 80, 45), (200, 170, 110), (150, 150, 150), (110, 45, 25)])
    )
    hair_colour = np.asarray(hair[rng.integers(len(hair))] * rng.uniform(0.7, 1.3), np.float32)
    long, bald = rng.random() < 0.4, rng.random() < 0.1
    strands = power_noise((SIDE, SIDE), 1.2, rng)[..., None]
    if long and not bald:
        fall = canvas.ellipse((0, -0.2), (0.44 + rng.uniform(0, 0.12), 0.62))
        canvas.paint(fall, _shaded(canvas, hair_colour, (0, -0.2), (0.5, 0.7), light) * (1 + 0.08 * strands))
    _shoulders(canvas, rng, light)
    neck = canvas.ellipse((0, 0.12), (0.17, 0.3))
    canvas.paint(neck, 0.78 * _shaded(canvas, skin, (0, 0.1), (0.2, 0.8), light))
    _collar(canvas, rng, skin, light)
    for side in (-1.0, 1.0):
        canvas.paint(
            canvas.ellipse((side * 0.335, -0.4), (0.05, 0.1)),
            0.85 * _shaded(canvas, skin, (0, -0.4), (0.5, 0.5), light),
        )
    half = (float(_HALF[0] * rng.uniform(0.88, 1.02)), float(_HALF[1] * rng.uniform(0.94, 1.04)))
    face = _shaded(canvas, skin, _CENTRE, half, light) * (1 + 0.015 * strands)
    canvas.paint(canvas.ellipse(_CENTRE, half), face)
    _features(canvas, rng, skin, face, float(rng.normal(0, 0.045)))
    if not bald:
        top = canvas.ellipse((0, -0.55), (half[0] + 0.05, 0.42))
        line = -0.62 + 0.1 * rng.uniform(-1, 1) + rng.uniform(-0.3, 0.6) * canvas.x**2
        top *= np.clip((line - canvas.y) * 40 + 0.5, 0, 1)
        canvas.paint(top, _shaded(canvas, hair_colour, (0, -0.5), (0.5, 0.6), light) * (1 + 0.12 * strands))
    colour = np.clip(canvas.colour, 0, 255) * canvas.coverage[..., None]
    return Sprite(colour.astype(np.float32), canvas.coverage[None])


def _shaded(
    canvas: _Canvas, albedo: Array, centre: tuple[float, float], half: tuple[float, float], light: Light
) -> Array:
    """(S, S, 3) sRGB of an egg of that colour under the light."""
    u, v = (canvas.x - centre[0]) / half[0], (canvas.y - centre[1]) / half[1]
    depth = np.sqrt(np.clip(1.0 - u * u - v * v, 0.04, None))
    normals = np.stack([u, v, -depth], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return lit(albedo, normals.astype(np.float32), light, gloss=0.03, wrap=0.25)


def _shoulders(canvas: _Canvas, rng: np.random.Generator, light: Light) -> None:
    cloth = linear(any_colour(rng))
    width = rng.uniform(0.78, 1.0)
    slope = 0.28 + 0.55 * np.abs(canvas.x / width) ** rng.uniform(2.0, 4.0)
    body = np.clip((canvas.y - slope) * 60 + 0.5, 0, 1) * np.clip((width - np.abs(canvas.x)) * 60 + 0.5, 0, 1)
    colour = _shaded(canvas, cloth, (0, 0.9), (1.2, 0.9), light)
    if rng.random() < 0.4:
        count, other = rng.uniform(4, 14), linear(any_colour(rng))
        striped = np.sin(count * np.pi * (canvas.y if rng.random() < 0.6 else canvas.x)) > 0
        colour = np.where(striped[..., None], _shaded(canvas, other, (0, 0.9), (1.2, 0.9), light), colour)
    folds = 1.0 + 0.07 * power_noise((SIDE, SIDE), 2.0, rng)[..., None]
    canvas.paint(body.astype(np.float32), np.asarray(colour * folds, np.float32))


def _collar(canvas: _Canvas, rng: np.random.Generator, skin: Array, light: Light) -> None:
    """Skin below the neck, from none to bare shoulders."""
    depth = float(rng.uniform(0.05, 0.35))
    wide = 0.9 if rng.random() < 0.12 else float(rng.uniform(0.16, 0.3))
    share = canvas.ellipse((0, 0.3), (wide, depth)) * np.clip((canvas.y - 0.26) * 30, 0, 1)
    canvas.paint(share.astype(np.float32), 0.92 * _shaded(canvas, skin, (0, 0.5), (0.8, 1.0), light))


def _features(canvas: _Canvas, rng: np.random.Generator, skin: Array, face: Array, aside: float) -> None:
    """Eyes, brows, nose, mouth; some with beard or glasses. They lie `aside` of the middle."""
    dark = np.asarray(face * 0.42, np.float32)
    eye_y, apart = -0.46 + rng.uniform(-0.03, 0.03), rng.uniform(0.115, 0.15)
    iris = np.array([(50, 30, 20), (70, 90, 110), (60, 80, 50), (25, 18, 15)][rng.integers(4)], np.float32)
    wide = rng.uniform(0.012, 0.034)
    for side in (-1.0, 1.0):
        at = (side * apart + aside, eye_y)
        canvas.paint(0.35 * canvas.soft(at, (0.1, 0.07)), dark)
        canvas.paint(canvas.ellipse(at, (0.06, wide + 0.006)), dark)
        canvas.paint(canvas.ellipse(at, (0.054, wide)), 0.85 * face.max(axis=2, keepdims=True) + 25)
        canvas.paint(canvas.ellipse((at[0] + 0.3 * aside, at[1]), (min(0.026, wide + 0.006), wide + 0.002)), iris)
        brow = canvas.ellipse((at[0], eye_y - 0.085), (0.085, rng.uniform(0.008, 0.02)), side * rng.uniform(-0.1, 0.25))
        canvas.paint(0.8 * brow, dark * rng.uniform(0.4, 0.8))
    canvas.paint(0.4 * canvas.soft((aside + 0.045, -0.35), (0.03, 0.12)), dark)
    canvas.paint(0.35 * canvas.soft((1.3 * aside, -0.3), (0.035, 0.05)), np.minimum(255, face * 1.25))
    for side in (-1.0, 1.0):
        canvas.paint(0.7 * canvas.ellipse((1.3 * aside + side * 0.035, -0.255), (0.02, 0.012)), dark)
    if rng.random() < 0.25:
        beard = canvas.soft((aside, -0.12), (0.24, 0.15)) * (rng.uniform(0.4, 0.9))
        canvas.paint(beard.astype(np.float32), dark * rng.uniform(0.3, 0.9))
    lips = np.clip(face * np.array([0.95, 0.62, 0.62], np.float32) * rng.uniform(0.75, 1.1), 0, 255)
    open_by = max(0.0, rng.normal(0.0, 0.03))
    canvas.paint(canvas.ellipse((aside, -0.15), (rng.uniform(0.08, 0.13), 0.024 + open_by)), lips.astype(np.float32))
    if open_by > 0.015:
        canvas.paint(canvas.ellipse((aside, -0.15), (0.075, open_by)), np.array([55, 20, 20], np.float32))
        canvas.paint(
            canvas.ellipse((aside, -0.15 - 0.4 * open_by), (0.06, 0.4 * open_by)), np.array([225, 220, 210], np.float32)
        )
    else:
        canvas.paint(canvas.ellipse((aside, -0.15), (0.09, 0.006)), dark)
    if rng.random() < 0.25:
        frame = np.full(3, rng.uniform(10, 90), np.float32)
        for side in (-1.0, 1.0):
            at = (side * apart + aside, eye_y)
            rim = canvas.ellipse(at, (0.1, 0.075)) - canvas.ellipse(at, (0.09, 0.065))
            canvas.paint(np.clip(rim, 0, 1), frame)
        canvas.paint(canvas.ellipse((aside, eye_y - 0.01), (0.05, 0.008)), frame)


def head_pivot() -> NDArray[np.float64]:
    """(2,) the middle of the head in a person's picture, pixels."""
    return (np.array(_CENTRE) + 1.0) * SIDE / 2
