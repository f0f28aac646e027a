"""What a hand looks like: skin, nails, sleeve and light, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.noise import band_noise

Array = NDArray[np.float32]

MONK_TONES: Final = np.array(
    [
        *[(246, 237, 228), (243, 231, 219), (247, 234, 208), (234, 218, 186), (215, 189, 150)],
        *[(160, 126, 86), (130, 92, 67), (96, 65, 52), (58, 49, 42), (41, 36, 32)],
    ],
    np.float32,
)
"""The ten tones of the Monk Skin Tone Scale (Ellis Monk, 2023, CC BY), sRGB 0 to 255."""

# Hands are ruddier than the faces the scale was made for, and its last tones are nearly grey.
_WARMTH = np.array([[1.06, 0.97, 0.90], [1.35, 0.97, 0.78]], np.float32)


def linear(srgb: Array) -> Array:
    """Linear light 0 to 1 of sRGB values 0 to 255, by the 2.2 power law."""
    return np.asarray((np.clip(srgb, 0, 255) / 255.0) ** 2.2, np.float32)


def skin_tone(tone: float) -> Array:
    """(3,) linear albedo of a tone between 1 (lightest) and 10 (darkest) of the Monk scale."""
    at = np.clip(tone, 1.0, 10.0) - 1.0
    mixed = [np.interp(at, np.arange(10), linear(MONK_TONES[:, c])) for c in range(3)]
    warmth = _WARMTH[0] + (_WARMTH[1] - _WARMTH[0]) * np.clip((at - 4.0) / 5.0, 0.0, 1.0)
    return np.asarray(np.array(mixed) * warmth, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Sleeve:
    """A sleeve on the forearm.

    Args:
        start_cm: Distance of the cuff from the wrist.
        loose_cm: How far it stands off the arm.
        colour: (3,) linear albedo.
        stripe: (3,) linear albedo of its stripes.
        stripe_cm: Width of a stripe; 0 is plain.
    """

    start_cm: float
    loose_cm: float
    colour: Array
    stripe: Array
    stripe_cm: float


@dataclass(frozen=True, slots=True, eq=False)
class Glove:
    """A glove, from the fingertips to its rim.

    Args:
        colour: (3,) linear albedo.
        palm: (3,) linear albedo of its palm side.
        end_cm: Distance of its rim from the wrist, toward the elbow.
    """

    colour: Array
    palm: Array
    end_cm: float


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Something worn around a finger or the wrist: a ring, a watch strap.

    Args:
        point: (3,) its middle in the rest hand, centimetres.
        axis: (3,) unit, along the finger or arm.
        reach_cm: How far from the axis it goes.
        half_cm: Half of its width along the axis.
        colour: (3,) linear albedo.
        shiny: It glints as nails do.
    """

    point: Array
    axis: Array
    reach_cm: float
    half_cm: float
    colour: Array
    shiny: bool


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Everything that colours one hand.

    Args:
        tone: Monk tone, 1 to 10.
        back: (3,) linear albedo of the back of the hand.
        palm: (3,) linear albedo of the palm, paler on dark hands.
        nail: (3,) linear albedo of the nails.
        gloss: Strength of the highlights.
        creases: Strength of lines and knuckles.
        sleeve: None for a bare arm.
        texture: (32, 32, 32) float32 tileable noise in rest space, for mottling and pores.
        mottle: Strength of the texture.
        glove: None for a bare hand.
        bands: Rings and straps.
    """

    tone: float
    back: Array
    palm: Array
    nail: Array
    gloss: float
    creases: float
    sleeve: Sleeve | None
    texture: Array
    mottle: float = 0.05
    glove: Glove | None = None
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The light of a clip.

    Args:
        direction: (3,) unit vector to the key light in scene space (x right, y down, z away).
        key: (3,) linear colour of the key light.
        ambient: (3,) linear colour of the light from everywhere.
    """

    direction: Array
    key: Array
    ambient: Array


def make_look(rng: np.random.Generator, tone: float) -> Look:
    """Skin of the given Monk tone with everything else drawn from `rng`."""
    back = skin_tone(tone) * rng.uniform(0.92, 1.0, 3).astype(np.float32)
    pale = skin_tone(min(tone, 3.6 + 0.2 * tone)) * np.array([1.02, 0.84, 0.80], np.float32)
    share = np.float32(min(0.4 + 0.05 * tone, 0.72))
    palm = (1 - share) * back + share * pale
    if rng.random() < 0.2:
        nail = linear(rng.uniform((150, 20, 40), (230, 90, 120)).astype(np.float32))
    else:
        pink = linear(np.array([240, 190, 180], np.float32))
        nail = np.asarray(0.3 * back + (0.7 - 0.03 * tone) * palm + 0.03 * (11 - tone) * pink, np.float32)
    texture = 0.6 * band_noise((32, 32, 32), 2, 6, rng) + 0.7 * band_noise((32, 32, 32), 8, 16, rng)
    return Look(
        tone=tone,
        back=back,
        palm=palm,
        nail=nail,
        gloss=float(rng.uniform(0.03, 0.09)),
        creases=float(rng.uniform(0.7, 1.2)),
        sleeve=make_sleeve(rng) if rng.random() < 0.65 else None,
        texture=texture.astype(np.float32),
    )


def make_sleeve(rng: np.random.Generator) -> Sleeve:
    """A sleeve of a random length and cloth."""
    hue, value = rng.random(), rng.uniform(0.15, 0.85)
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue - np.array([0.0, 1 / 3, 2 / 3])))
    strength = rng.uniform(0.15, 0.8)
    colour = 255 * value * (1 - strength + strength * wheel)
    stripe = colour * rng.uniform(0.55, 0.85) if rng.random() < 0.7 else 255 - 0.3 * colour
    width = rng.uniform(0.5, 1.6) if rng.random() < 0.5 else 0.0
    return Sleeve(
        start_cm=float(rng.uniform(1.8, 9.0)),
        loose_cm=float(rng.uniform(0.45, 0.7)),
        colour=linear(colour.astype(np.float32)),
        stripe=linear(stripe.astype(np.float32)),
        stripe_cm=float(width),
    )


def make_light(rng: np.random.Generator, tones: Sequence[float]) -> Light:
    """A key light from above, left or right of the camera, with some fill.

    The camera exposes for the hands: the darker their Monk `tones`, the longer.
    """
    side, height = rng.uniform(-0.9, 0.9), rng.uniform(0.25, 0.9)
    direction = np.array([side, -height, -rng.uniform(0.7, 1.1)])
    warm = rng.uniform(-0.1, 0.12)
    exposure = 1.0 + 0.09 * max(0.0, sum(tones) / len(tones) - 5.0)
    key = exposure * rng.uniform(0.66, 0.86) * np.array([1 + warm, 1.0, 1 - warm])
    ambient = exposure * rng.uniform(0.28, 0.42) * np.array([1 - 0.4 * warm, 1.0, 1 + 0.4 * warm])
    return Light(
        (direction / np.linalg.norm(direction)).astype(np.float32), key.astype(np.float32), ambient.astype(np.float32)
    )
