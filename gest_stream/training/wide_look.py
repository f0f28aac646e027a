"""What hands and lights look like in the built-in models' training clips: wider than a demo needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import (
    Array,
    Band,
    Glove,
    Light,
    Look,
    linear,
    make_look,
    make_sleeve,
)
from gest_stream.synthetic.skeleton import HandShape

_BARE, _GLOVED, _RINGED, _STRAPPED, _POLISHED = 0.45, 0.08, 0.25, 0.18, 0.2
_METALS: Final = ((212, 175, 80), (190, 190, 195), (90, 85, 80), (230, 160, 140))


def any_colour(rng: np.random.Generator, low: float = 15.0, high: float = 240.0) -> Array:
    """(3,) sRGB of any hue, from grey to vivid, its brightest channel between `low` and `high`."""
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (rng.random() - np.array([0.0, 1 / 3, 2 / 3])))
    strength = rng.uniform(0.0, 1.0) ** 1.5
    return np.asarray(rng.uniform(low, high) * (1 - strength + strength * wheel), np.float32)


def draw_look(rng: np.random.Generator, tone: float, shape: HandShape) -> Look:
    """Skin of a Monk tone, with or without sleeve, glove, rings, strap and polish.

    Args:
        rng: Where the rest comes from.
        tone: 1 to 10.
        shape: Of the hand, for where rings go.
    """
    look = make_look(rng, tone)
    tint = 1.0 + rng.uniform(-0.09, 0.09, 3).astype(np.float32)
    nail = look.nail * tint
    if rng.random() < _POLISHED:
        nail = linear(any_colour(rng, 60))
    bands = _rings(rng, shape) if rng.random() < _RINGED else []
    if rng.random() < _STRAPPED:
        bands.append(_strap(rng))
    sleeve = make_sleeve(rng) if rng.random() > _BARE else None
    if sleeve is not None:
        sleeve = replace(
            sleeve,
            start_cm=float(rng.uniform(0.6, 12.0)),
            loose_cm=float(rng.uniform(0.3, 1.3)),
            colour=linear(any_colour(rng)),
        )
    return replace(
        look,
        back=look.back * tint,
        palm=look.palm * tint,
        nail=np.asarray(nail, np.float32),
        gloss=float(rng.uniform(0.0, 0.22)),
        creases=float(rng.uniform(0.3, 1.6)),
        mottle=float(rng.uniform(0.01, 0.13)),
        sleeve=sleeve,
        glove=_glove(rng) if rng.random() < _GLOVED else None,
        bands=tuple(bands),
    )


def _glove(rng: np.random.Generator) -> Glove:
    colour = linear(any_colour(rng))
    palm = colour if rng.random() < 0.5 else linear(any_colour(rng))
    return Glove(colour, palm, float(rng.uniform(0.0, 6.0)))


def _rings(rng: np.random.Generator, shape: HandShape) -> list[Band]:
    rings = []
    for _ in range(int(rng.integers(1, 4))):
        base = int(rng.choice((1, 5, 9, 13, 17)))
        near, far = shape.joints[base], shape.joints[base + 1]
        axis = (far - near) / np.linalg.norm(far - near)
        point = near + rng.uniform(0.45, 0.75) * (far - near)
        reach = 1.35 * float(max(shape.radii[base], shape.radii[base + 1]))
        colour = linear(np.array(_METALS[rng.integers(len(_METALS))], np.float32))
        rings.append(_band(point, axis, reach, float(rng.uniform(0.12, 0.4)), colour, True))
    return rings


def _strap(rng: np.random.Generator) -> Band:
    point = np.array([0.0, -rng.uniform(1.0, 3.5), 0.0])
    colour = linear(any_colour(rng, 15, 200))
    return _band(point, np.array([0.0, 1.0, 0.0]), 5.0, float(rng.uniform(0.4, 1.3)), colour, rng.random() < 0.5)


def _band(
    point: NDArray[np.floating],
    axis: NDArray[np.floating],
    reach_cm: float,
    half_cm: float,
    colour: Array,
    shiny: bool,
) -> Band:
    return Band(np.asarray(point, np.float32), np.asarray(axis, np.float32), reach_cm, half_cm, colour, shiny)


def draw_light(rng: np.random.Generator, tones: Sequence[float]) -> Light:
    """Any light a camera meets: soft or hard, from any side but straight behind, warm or cold.

    The camera exposes for the hands in half of the clips; in the others dark skin stays dark.
    """
    direction = np.array([rng.uniform(-1.0, 1.0), rng.uniform(-1.0, 0.45), -rng.uniform(0.15, 1.1)])
    warm = rng.normal(0.0, 0.12)
    tone = sum(tones) / max(1, len(tones)) if tones else 5.0
    exposure = 1.0 + (0.11 * max(0.0, tone - 5.0) if rng.random() < 0.6 else 0.0)
    exposure *= float(np.exp(rng.normal(0.0, 0.16)))
    hard = rng.uniform(0.15, 1.0)
    key = exposure * (0.25 + 0.75 * hard) * rng.uniform(0.7, 0.95) * np.array([1 + warm, 1.0, 1 - warm])
    fill = rng.normal(0.0, 0.1)
    ambient = exposure * (0.62 - 0.42 * hard) * rng.uniform(0.75, 1.25) * np.array([1 - fill, 1.0, 1 + fill])
    return Light(
        (direction / np.linalg.norm(direction)).astype(np.float32), key.astype(np.float32), ambient.astype(np.float32)
    )


def lit(albedo: Array, normals: Array, light: Light, gloss: float = 0.0, wrap: float = 0.0) -> Array:
    """(..., 3) sRGB 0 to 255 of a surface, as hands are lit but without shadows.

    Args:
        albedo: (..., 3) linear.
        normals: (..., 3) unit normals, scene space.
        light: Of the clip.
        gloss: Strength of the highlight.
        wrap: How far light goes around the terminator, as it does in skin.
    """
    towards = normals @ light.direction
    diffuse = np.clip((towards + wrap) / (1.0 + wrap), 0.0, None)[..., None]
    sky = 0.8 - 0.25 * normals[..., 1:2]
    half = light.direction + np.array([0.0, 0.0, -1.0], np.float32)
    glint = np.clip(normals @ (half / np.linalg.norm(half)), 0.0, None)[..., None]
    bright = albedo * (light.key * diffuse + light.ambient * sky) + gloss * light.key * glint**40
    return np.asarray(255.0 * np.clip(bright, 1e-5, 1.0) ** (1 / 2.2), np.float32)
