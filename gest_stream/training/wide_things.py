"""Things that are held or lie about: boxes, cylinders and balls put together, seen by parallel rays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array, Light, linear, skin_tone
from gest_stream.synthetic.layer import Layer
from gest_stream.training.wide_look import any_colour, lit

_FINER = 2  # rays per pixel and side
_BEHIND = 1e9


class Form(Enum):
    """What a solid is."""

    BOX = "box"
    CYLINDER = "cylinder"
    """Along y."""
    BALL = "ball"


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """One part of a thing.

    Args:
        form: What it is.
        centre: (3,) centimetres in the thing's frame.
        half: (3,) half sizes, centimetres.
        colour: (3,) linear albedo.
        accent: (3,) linear albedo of its pattern.
        bands: Pattern: number of stripes along y; 0 is plain.
        panel: Pattern: share of its face, in front, that has the accent's colour, as a screen or label; 0 is plain.
    """

    form: Form
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    colour: Array
    accent: Array
    bands: int = 0
    panel: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Solids that belong together.

    Args:
        solids: Its parts; y is its long axis, its face looks along z.
        gloss: Strength of its highlights.
    """

    solids: tuple[Solid, ...]
    gloss: float

    @property
    def radius_cm(self) -> float:
        """Of a ball that holds it all."""
        return max(float(np.linalg.norm(np.abs(s.centre) + np.array(s.half))) for s in self.solids)


def see_thing(
    thing: Thing, turn: Array, centre_px: Array, light: Light, frame_size: tuple[int, int]
) -> tuple[Layer, Array]:
    """Draw a thing.

    Args:
        thing: What to draw.
        turn: (3, 3) from its centimetres to the scene's pixels: a rotation times the scale, y down, z away.
        centre_px: (3,) where its origin lies in the scene.
        light: Of the clip.
        frame_size: (width, height) in pixels.

    Returns:
        Its layer with one part, and (h, w) depth of its surface, 1e9 where it is not.
    """
    scale = float(np.linalg.norm(turn[:, 0]))
    reach = thing.radius_cm * scale + 1
    left, top = (max(0, int(v - reach)) for v in centre_px[:2])
    right, bottom = (min(side, int(v + reach) + 1) for v, side in zip(centre_px[:2], frame_size, strict=True))
    if left >= right or top >= bottom:
        return Layer((0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((1, 0, 0), np.float32)), np.zeros(
            (0, 0), np.float32
        )
    y = (np.arange(_FINER * top, _FINER * bottom) + 0.5) / _FINER
    x = (np.arange(_FINER * left, _FINER * right) + 0.5) / _FINER
    rays = np.stack([*np.meshgrid(x - centre_px[0], y - centre_px[1]), np.zeros((y.size, x.size))], axis=2)
    back = np.linalg.inv(turn.astype(np.float64))
    depth, colour = _see_solids(thing, rays @ back.T, back[:, 2], turn / scale, light)
    shape = bottom - top, _FINER, right - left, _FINER
    there = (depth < _BEHIND).astype(np.float32)
    coverage = there.reshape(shape).mean(axis=(1, 3))
    premultiplied = (colour * there[..., None]).reshape(*shape, 3).mean(axis=(1, 3))
    nearest = depth.reshape(shape).min(axis=(1, 3)) + np.where(coverage > 0, centre_px[2], 0.0)
    layer = Layer((left, top), premultiplied.astype(np.float32), coverage[None].astype(np.float32))
    return layer, np.asarray(nearest, np.float32)


def _see_solids(
    thing: Thing, origin: NDArray[np.float64], way: NDArray[np.float64], turn: Array, light: Light
) -> tuple[NDArray[np.float64], Array]:
    """(h, w) depth and (h, w, 3) sRGB of the nearest solid; rays are origin + t way, t is the scene's depth."""
    depth = np.full(origin.shape[:2], _BEHIND)
    colour = np.zeros((*origin.shape[:2], 3), np.float32)
    for solid in thing.solids:
        t = _MEET[solid.form](origin - np.array(solid.centre), way, np.array(solid.half))
        nearer = t < depth
        if not nearer.any():
            continue
        depth[nearer] = t[nearer]
        local = (origin[nearer] + t[nearer][:, None] * way - np.array(solid.centre)) / np.array(solid.half)
        normals = _NORMAL[solid.form](local) / np.array(solid.half)
        normals = (normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)) @ turn.T
        colour[nearer] = lit(_pattern(solid, local), normals.astype(np.float32), light, thing.gloss)
    return depth, colour


def _pattern(solid: Solid, local: NDArray[np.float64]) -> Array:
    """(N, 3) albedo at points in units of the half sizes."""
    accented = np.zeros(len(local), np.bool_)
    if solid.bands:
        accented |= np.floor((local[:, 1] + 1.0) * solid.bands) % 2 == 1
    if solid.panel:
        within = np.abs(local[:, :2]).max(axis=1) < solid.panel
        accented |= within & (local[:, 2] > 0 if solid.form is Form.CYLINDER else local[:, 2] > 0.98)
    return np.where(accented[:, None], solid.accent, solid.colour).astype(np.float32)


_Points = NDArray[np.float64]


def _meet_box(origin: _Points, way: _Points, half: _Points) -> _Points:
    """Depth at which rays meet a box, by its slabs."""
    inverse = 1.0 / np.where(np.abs(way) < 1e-9, 1e-9, way)
    a, b = (-half - origin) * inverse, (half - origin) * inverse
    enter, leave = np.minimum(a, b).max(axis=2), np.maximum(a, b).min(axis=2)
    return np.where(enter < leave, enter, _BEHIND)


def _meet_ball(origin: _Points, way: _Points, half: _Points) -> _Points:
    o, d = origin / half, way / half
    b, square = o @ d, float(d @ d)
    root = b * b - square * ((o * o).sum(axis=2) - 1.0)
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0.0))) / square, _BEHIND)


def _meet_cylinder(origin: _Points, way: _Points, half: _Points) -> _Points:
    o, d = origin / half, way / half
    flat_o, flat_d = o[..., ::2], d[::2]
    square = max(float(flat_d @ flat_d), 1e-9)
    b = flat_o @ flat_d
    root = b * b - square * ((flat_o * flat_o).sum(axis=2) - 1.0)
    spread = np.sqrt(np.maximum(root, 0.0))
    side_in, side_out = (-b - spread) / square, (-b + spread) / square
    along = d[1] if abs(d[1]) > 1e-9 else 1e-9
    cap_a, cap_b = (-1.0 - o[..., 1]) / along, (1.0 - o[..., 1]) / along
    enter, leave = np.maximum(side_in, np.minimum(cap_a, cap_b)), np.minimum(side_out, np.maximum(cap_a, cap_b))
    return np.where((root > 0) & (enter < leave), enter, _BEHIND)


def _box_normal(local: _Points) -> _Points:
    face = np.abs(local).argmax(axis=1)
    normal = np.zeros_like(local)
    rows = np.arange(len(local))
    normal[rows, face] = np.sign(local[rows, face])
    return normal


def _cylinder_normal(local: _Points) -> _Points:
    on_cap = np.abs(local[:, 1]) > 0.999
    normal = local * (1.0, 0.0, 1.0)
    normal[on_cap] = np.stack([0 * local[on_cap, 1], np.sign(local[on_cap, 1]), 0 * local[on_cap, 1]], axis=1)
    return normal


_MEET: Final = {Form.BOX: _meet_box, Form.CYLINDER: _meet_cylinder, Form.BALL: _meet_ball}
_NORMAL: Final[dict[Form, Callable[[_Points], _Points]]] = {
    Form.BOX: _box_normal,
    Form.CYLINDER: _cylinder_normal,
    Form.BALL: lambda local: local,
}


def bottle(rng: np.random.Generator) -> Thing:
    """A bottle with a neck, a cap and a label."""
    r, h = float(rng.uniform(2.4, 4.0)), float(rng.uniform(6.0, 10.0))
    body, cap = linear(any_colour(rng)), linear(any_colour(rng))
    label = float(rng.uniform(0.4, 0.8)) if rng.random() < 0.7 else 0.0
    return Thing(
        (
            Solid(Form.CYLINDER, (0, 0, 0), (r, h, r), body, linear(any_colour(rng)), panel=label),
            Solid(Form.BALL, (0, h, 0), (r, 0.8 * r, r), body, body),
            Solid(Form.CYLINDER, (0, h + 0.9 * r, 0), (0.4 * r, 0.7 * r, 0.4 * r), body, body),
            Solid(Form.CYLINDER, (0, h + 1.5 * r, 0), (0.45 * r, 0.3 * r, 0.45 * r), cap, cap),
        ),
        float(rng.uniform(0.1, 0.6)),
    )


def cup(rng: np.random.Generator) -> Thing:
    """A cup with a handle, or a can."""
    r, h = float(rng.uniform(3.0, 4.3)), float(rng.uniform(4.0, 6.5))
    colour, accent = linear(any_colour(rng)), linear(any_colour(rng))
    solids = [Solid(Form.CYLINDER, (0, 0, 0), (r, h, r), colour, accent, bands=int(rng.choice((0, 0, 2, 5))))]
    solids.append(Solid(Form.CYLINDER, (0, h, 0), (0.92 * r, 0.02, 0.92 * r), 0.3 * accent, accent))
    if rng.random() < 0.6:
        for y in (-0.5, 0.5):
            solids.append(Solid(Form.BOX, (r + 1.0, y * h, 0), (1.2, 0.4, 0.4), colour, colour))
        solids.append(Solid(Form.BOX, (r + 2.2, 0, 0), (0.4, 0.5 * h + 0.4, 0.4), colour, colour))
    return Thing(tuple(solids), float(rng.uniform(0.05, 0.5)))


def slab(rng: np.random.Generator) -> Thing:
    """A phone, a card, a remote control or a book."""
    half = [(3.6, 7.3, 0.4), (4.3, 2.7, 0.05), (2.2, 9.0, 0.9), (7.0, 10.0, 1.0)][int(rng.integers(4))]
    body = linear(any_colour(rng))
    front = linear(any_colour(rng, 5, 250))
    return Thing(
        (Solid(Form.BOX, (0, 0, 0), half, body, front, panel=float(rng.uniform(0.75, 0.97))),),
        float(rng.uniform(0.0, 0.5)),
    )


def stick(rng: np.random.Generator) -> Thing:
    """A pen, a brush or a spoon."""
    r, h = float(rng.uniform(0.35, 0.8)), float(rng.uniform(6.0, 10.0))
    body, tip = linear(any_colour(rng)), linear(any_colour(rng))
    end = (2.0, 3.0, 0.6) if rng.random() < 0.3 else (0.7 * r, 1.2, 0.7 * r)
    return Thing(
        (
            Solid(Form.CYLINDER, (0, 0, 0), (r, h, r), body, tip, bands=int(rng.choice((0, 0, 3)))),
            Solid(Form.BALL, (0, h, 0), end, tip, tip),
        ),
        float(rng.uniform(0.05, 0.6)),
    )


def ball(rng: np.random.Generator) -> Thing:
    """A ball or a fruit."""
    r = float(rng.uniform(2.5, 5.0))
    half = (r, r * float(rng.uniform(0.8, 1.4)), r)
    bands = int(rng.choice((0, 0, 0, 2, 4)))
    return Thing(
        (Solid(Form.BALL, (0, 0, 0), half, linear(any_colour(rng)), linear(any_colour(rng)), bands=bands),),
        float(rng.uniform(0.0, 0.4)),
    )


def skin_lump(rng: np.random.Generator) -> Thing:
    """Balls in the colour of skin: a knee, a shoulder, a foot. Never a hand."""
    tone = skin_tone(float(rng.uniform(1, 10))) * rng.uniform(0.85, 1.1, 3).astype(np.float32)
    count = int(rng.integers(1, 4))
    solids = [
        Solid(
            Form.BALL,
            tuple(rng.uniform(-5, 5, 3).tolist()),
            tuple(rng.uniform(3.0, 9.0, 3).tolist()),
            tone,
            tone,
        )
        for _ in range(count)
    ]
    return Thing(tuple(solids), float(rng.uniform(0.0, 0.1)))


THINGS: Final = (bottle, cup, slab, stick, ball)
"""What can be in a hand or before it."""
