"""Colour of the surface points of one hand. Runs in torch, on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from gest_stream.synthetic.appearance import Array, Light, Look, Sleeve
from gest_stream.synthetic.capsules import to_tensor
from gest_stream.synthetic.march import Surface
from gest_stream.synthetic.skeleton import HandShape

if TYPE_CHECKING:
    import torch

_TEXTURE_CM = 3.2  # edge of the noise volume: its finest waves are 2 mm long
_PALM_LINES: Final = (
    ((2.9, 6.2), (1.4, 6.2), (0.2, 5.0), (-0.1, 3.2), (0.5, 1.6)),  # life
    ((3.1, 6.5), (1.2, 6.5), (-1.0, 5.4), (-2.9, 4.2)),  # head
    ((1.6, 8.1), (0.4, 7.4), (-1.4, 6.8), (-3.6, 6.4)),  # heart
)


@dataclass(frozen=True, slots=True, eq=False)
class SkinMap:
    """Where lines, knuckles and nails lie in rest space, as tensors; made once a hand.

    Args:
        crease_points: (C, 3) centimetres.
        crease_axes: (C, 3) unit, along the finger.
        crease_reach: (C,) half-length of the line.
        palm_lines: (2, L, 2) both ends of each piece of the palm's lines, x and y.
        nail_points: (5, 3) centre of each nail.
        nail_axes: (5, 3) unit, along the finger.
        nail_half: (5,) half width.
    """

    crease_points: torch.Tensor
    crease_axes: torch.Tensor
    crease_reach: torch.Tensor
    palm_lines: torch.Tensor
    nail_points: torch.Tensor
    nail_axes: torch.Tensor
    nail_half: torch.Tensor


def make_skin_map(shape: HandShape, device: str) -> SkinMap:
    """Place the lines of `shape`."""
    joints, radii = shape.joints, shape.radii
    creases: list[tuple[Array, Array, float]] = []
    nails: list[tuple[Array, Array, float]] = []
    for base in (1, 5, 9, 13, 17):
        for k in (1, 2) if base > 1 else (1, 2):
            axis = joints[base + k] - joints[base + k - 1]
            creases.append((joints[base + k], axis / np.linalg.norm(axis), 1.25 * float(radii[base + k])))
        axis = joints[base + 3] - joints[base + 2]
        axis = axis / np.linalg.norm(axis)
        nails.append((joints[base + 3] + np.float32(0.1) * axis, axis, 0.74 * float(radii[base + 3])))
        if base > 1:
            creases.append((joints[base] + np.float32(1.9) * axis, axis, 1.15 * float(radii[base])))
    pieces = [(a, b) for line in _PALM_LINES for a, b in zip(line, line[1:], strict=False)]

    def stack(rows: list[tuple[Array, Array, float]], k: int) -> torch.Tensor:
        return to_tensor(np.array([row[k] for row in rows], np.float32), device)

    return SkinMap(
        stack(creases, 0),
        stack(creases, 1),
        stack(creases, 2),
        to_tensor(np.array(pieces, np.float32).transpose(1, 0, 2), device),
        stack(nails, 0),
        stack(nails, 1),
        stack(nails, 2),
    )


def _lines(rest: torch.Tensor, skin: SkinMap) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) strength of the fine lines across the joints and of the wide knuckle folds."""
    import torch

    along = rest @ skin.crease_axes.T - (skin.crease_points * skin.crease_axes).sum(1)
    away = (rest * rest).sum(1, keepdim=True) - 2.0 * (rest @ skin.crease_points.T) + (skin.crease_points**2).sum(1)
    beside = away - along * along
    near = (beside < skin.crease_reach**2).to(rest.dtype)
    fine = (torch.exp(-((along / 0.07) ** 2).clamp(max=20.0)) * near).sum(1)
    fold = (torch.exp(-((along / 0.32) ** 2).clamp(max=20.0)) * near * (0.55 + 0.45 * torch.cos(along * 38.0))).sum(1)
    return fine.clamp(max=1.0), fold.clamp(max=1.0)


def _palm_line(rest: torch.Tensor, skin: SkinMap) -> torch.Tensor:
    """(N,) strength of the lines of the palm."""
    import torch

    a, b = skin.palm_lines[0], skin.palm_lines[1]
    offset, axis = rest[:, None, :2] - a, b - a
    share = ((offset * axis).sum(2) / (axis * axis).sum(1)).clamp(0.0, 1.0)
    square = ((offset - share[..., None] * axis) ** 2).sum(2).amin(1)
    return torch.exp(-(square / 0.0075).clamp(max=20.0))


def _nails(rest: torch.Tensor, facing: torch.Tensor, skin: SkinMap) -> torch.Tensor:
    """(N,) 0 to 1: how much a point belongs to a nail. `facing` is the rest normal's z, below 0 on the back."""
    import torch

    offset = rest[:, None] - skin.nail_points
    along = (offset * skin.nail_axes).sum(2)
    across = (offset - along[..., None] * skin.nail_axes)[..., :2].norm(dim=2)
    shape = ((along - 0.12) / (1.15 * skin.nail_half)) ** 4 + (across / skin.nail_half) ** 4
    inside = torch.sigmoid((1.0 - shape) * 9.0) * (offset[..., 2] < -0.05)
    return inside.amax(1) * torch.sigmoid((-facing - 0.35) * 12.0)


def texture_tensor(look: Look, device: str) -> torch.Tensor:
    """The look's noise volume, padded so that it can be sampled past its seam."""
    volume = np.pad(look.texture, (0, 1), mode="wrap")
    return to_tensor(volume, device)[None, None]


def _texture(rest: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
    import torch

    place = torch.remainder(rest / _TEXTURE_CM, 1.0) * 2.0 - 1.0
    return torch.nn.functional.grid_sample(volume, place[None, None, None], align_corners=True)[0, 0, 0, 0]


def _albedo(
    rest: torch.Tensor, rest_normal: torch.Tensor, skin: SkinMap, look: Look, grain: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3) albedo and (N,) share of nail."""
    import torch

    device = str(rest.device)
    back, palm = to_tensor(look.back, device), to_tensor(look.palm, device)
    palmar = torch.sigmoid((rest_normal[:, 2] - 0.25) * 8.0)[:, None]
    # the inside of the arm is paler than its outside, but darker than the palm
    colour = back + (palm - back) * palmar * (0.4 + 0.6 * torch.sigmoid(2.0 * rest[:, 1:2] + 1.0))
    nail = torch.zeros_like(grain)
    detailed = rest[:, 1] > -0.8
    colour[detailed], nail[detailed] = _detail(
        colour[detailed], rest[detailed], palmar[detailed, 0], rest_normal[detailed, 2], skin, look
    )
    colour = colour * (1.0 + look.mottle * grain[:, None])
    return _worn(colour, nail, rest, palmar, grain, look)


def _worn(
    colour: torch.Tensor,
    nail: torch.Tensor,
    rest: torch.Tensor,
    palmar: torch.Tensor,
    grain: torch.Tensor,
    look: Look,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put gloves, rings and straps over the skin; the (N, 3) albedo and (N,) share of what glints as nails do."""
    import torch

    device = str(rest.device)
    if look.glove is not None:
        back, palm = to_tensor(look.glove.colour, device), to_tensor(look.glove.palm, device)
        gloved = rest[:, 1] > -look.glove.end_cm
        cloth = (back + (palm - back) * palmar) * (1.0 + 0.08 * grain[:, None])
        colour = torch.where(gloved[:, None], cloth, colour)
        nail = torch.where(gloved, 0.0, nail)
    for band in look.bands:
        offset = rest - to_tensor(band.point, device)
        along = offset @ to_tensor(band.axis, device)
        beside = (offset * offset).sum(1) - along * along
        inside = (along.abs() < band.half_cm) & (beside < band.reach_cm**2)
        colour = torch.where(inside[:, None], to_tensor(band.colour, device), colour)
        nail = torch.where(inside, 1.0 if band.shiny else 0.0, nail)
    return colour, nail


def _detail(
    colour: torch.Tensor,
    rest: torch.Tensor,
    palmar: torch.Tensor,
    facing: torch.Tensor,
    skin: SkinMap,
    look: Look,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add lines, knuckles, fingertips and nails; the (N, 3) albedo and (N,) share of nail."""
    import torch

    device = str(rest.device)
    fine, fold = _lines(rest, skin)
    flat = _palm_line(rest, skin) * (palmar > 0.5) * (rest[:, 2] > 0.2)
    dark = look.creases * (palmar * 0.42 * torch.maximum(fine, flat) + (1 - palmar) * 0.24 * fold)
    blood = to_tensor(np.array([1.04, 0.82, 0.80], np.float32), device)
    tips = torch.exp(-((rest[:, None] - skin.nail_points) ** 2).sum(2).amin(1) / 1.6)
    ruddy = (0.75 * tips + 0.5 * dark).clamp(max=1.0)[:, None]
    colour = colour * (1.0 - dark[:, None]) * (1.0 + ruddy * (blood - 1.0))
    nail = _nails(rest, facing, skin)
    return colour + (to_tensor(look.nail, device) - colour) * (0.85 * nail[:, None]), nail


def shade(surface: Surface, skin: SkinMap, volume: torch.Tensor, look: Look, light: Light) -> torch.Tensor:
    """Light the surface.

    Args:
        surface: What is seen of the hand.
        skin: Of this hand.
        volume: `texture_tensor` of the look.
        look: Of this hand.
        light: Of the clip.

    Returns:
        (N, 3) sRGB 0 to 255.
    """
    import torch

    normals, device = surface.normals, str(surface.points.device)
    turn = surface.to_rest[:, :, :3]
    rest = (turn * surface.points[:, None]).sum(2) + surface.to_rest[:, :, 3]
    rest_normal = torch.nn.functional.normalize((turn * normals[:, None]).sum(2), dim=1)
    grain = _texture(rest, volume)
    colour, nail = _albedo(rest, rest_normal, skin, look, grain)
    if look.sleeve is not None:
        colour = torch.where(surface.on_sleeve[:, None], _cloth(rest, look.sleeve, grain), colour)
    skinny = (~surface.on_sleeve).to(rest.dtype)
    near, wide = surface.near_gap, surface.wide_gap
    towards = normals @ to_tensor(light.direction, device)
    # light enters skin and leaves beside: red wraps furthest around the terminator
    wrap = to_tensor(np.array([0.42, 0.24, 0.18], np.float32), device) * skinny[:, None]
    diffuse = ((towards[:, None] + wrap) / (1.0 + wrap)).clamp(min=0.0)
    shadow = (0.4 + 0.6 * near) * (0.55 + 0.45 * wide)
    sky = (0.25 + 0.75 * near) * (0.35 + 0.65 * wide) * (0.75 - 0.25 * normals[:, 1])
    received = to_tensor(light.key, device) * diffuse * shadow[:, None]
    received = received + to_tensor(light.ambient, device) * sky[:, None]
    half = light.direction + np.array([0.0, 0.0, -1.0], np.float32)
    glint = (normals @ to_tensor(half / np.linalg.norm(half), device)).clamp(min=0.0)
    gloss = skinny * (look.gloss * glint**18 + (0.22 * glint**60) * nail) * (1.0 + 0.12 * grain) * shadow
    lit = colour * received + gloss[:, None].clamp(min=0.0)
    return 255.0 * lit.clamp(1e-5, 1.0) ** (1 / 2.2)


def _cloth(rest: torch.Tensor, sleeve: Sleeve, grain: torch.Tensor) -> torch.Tensor:
    """(N, 3) albedo of the sleeve."""
    import torch

    device = str(rest.device)
    colour = to_tensor(sleeve.colour, device).expand(rest.shape[0], 3)
    if sleeve.stripe_cm:
        striped = torch.remainder(rest[:, 1] / sleeve.stripe_cm, 2.0) < 1.0
        colour = torch.where(striped[:, None], to_tensor(sleeve.stripe, device), colour)
    folds = 0.06 * torch.sin(2.3 * rest[:, 1] + 1.3 * torch.sin(1.1 * rest[:, 0] + 0.9 * rest[:, 2]))
    hem = ((-rest[:, 1] - sleeve.start_cm - 0.7).abs() < 0.06).to(rest.dtype)
    return colour * (1.0 + 0.07 * grain + folds - 0.3 * hem)[:, None]
