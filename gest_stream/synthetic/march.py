"""Finds the surface along parallel rays, one a pixel, and what it is like there. Runs in torch, on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gest_stream.synthetic.capsules import CapsuleField, Capsules

if TYPE_CHECKING:
    import torch

_BLOCK_PX = 8
_CELL_PX = 2
_CELL_STEPS = 5  # rays that are not there by then just start further away
_STEPS = 24
_BLOCK_STEPS = 3  # steps that the rays of a block go together
_HIT_PX = 0.12
_LEAP_PX = 1.5  # how much further than is surely free a ray may go
_SHORTEST_STEP_PX = 0.35  # takes rays past an edge that they graze; the depth is wrong by less than this


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The pixels of a window that see the surface, or pass it within a pixel.

    Args:
        rows: (N,) row of each pixel in the window.
        columns: (N,) column of each pixel in the window.
        points: (N, 3) where the surface is seen, or the nearest approach to it; scene space.
        coverage: (N,) share of the pixel that the surface covers, above 0, up to 1.
        normals: (N, 3) unit normals.
        to_rest: (N, 3, 4) affine map of the flesh there to rest space.
        capsule: (N,) int64 index of the capsule that the point belongs to most.
        on_sleeve: (N,) bool.
        near_gap: (N,) 0 to 1: how free the space right above the surface is.
        wide_gap: (N,) 0 to 1: how free the space is a finger's width above it.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    points: torch.Tensor
    coverage: torch.Tensor
    normals: torch.Tensor
    to_rest: torch.Tensor
    capsule: torch.Tensor
    on_sleeve: torch.Tensor
    near_gap: torch.Tensor
    wide_gap: torch.Tensor


def see_surface(
    capsules: Capsules,
    to_rest: torch.Tensor,
    window: tuple[int, int, int, int],
    near_gap_px: float,
    wide_gap_px: float,
) -> Surface:
    """See the surface through every pixel of a window.

    Blocks of pixels are marched first, with the cone that holds their rays, so that single rays start close to the
    surface and empty blocks cost one ray. A block's rays look only at the capsules near them.

    Args:
        capsules: What there is to see.
        to_rest: (K, 3, 4) affine map of each capsule from the scene to rest space.
        window: (left, top, right, bottom), part of the frame.
        near_gap_px: How high above the surface `near_gap` looks.
        wide_gap_px: How high above the surface `wide_gap` looks.

    Source: sphere tracing, Hart 1996; cone marching, Bálint and Valasek 2018; gaps as ambient occlusion, Evans 2006.
    """
    import torch

    corners, index, depths = _march_blocks(capsules, window)
    maps = torch.cat([to_rest, torch.zeros_like(to_rest[:1])]).reshape(-1, 12)
    field = capsules.gather(index)
    points = _grid_points(corners, _CELL_PX, depths[:, None])
    _march_cones(field, points, _CELL_PX * 0.5**0.5, _CELL_STEPS)
    points = _grid_points(corners, 1, _finer(points[..., 2]))
    coverage = _march_rays(field, points)
    return _describe(field, points, coverage, index, maps, window, (near_gap_px, wide_gap_px))


def _describe(
    field: CapsuleField,
    points: torch.Tensor,
    coverage: torch.Tensor,
    index: torch.Tensor,
    maps: torch.Tensor,
    window: tuple[int, int, int, int],
    gaps_px: tuple[float, float],
) -> Surface:
    sample = field.sample(points)
    near, wide = ((field.distance(points + gap_px * sample.normals) / gap_px).clamp_(0.0, 1.0) for gap_px in gaps_px)
    capsule = index.gather(1, sample.weights.argmax(2))
    columns, rows = (points[..., 0] - window[0]).long(), (points[..., 1] - window[1]).long()
    kept = (coverage > 0.02) & (columns < window[2] - window[0]) & (rows < window[3] - window[1])
    return Surface(
        rows[kept],
        columns[kept],
        points[kept],
        coverage[kept],
        sample.normals[kept],
        (sample.weights @ maps[index])[kept].reshape(-1, 3, 4),
        capsule[kept],
        sample.on_sleeve[kept],
        near[kept],
        wide[kept],
    )


def _march_blocks(
    capsules: Capsules, window: tuple[int, int, int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The blocks that may see the surface: (B, 2) top left pixel, (B, S) near capsules, (B,) depth to go on from."""
    import torch

    left, top, right, bottom = window
    near = capsules.near()
    device = capsules.a.device
    grid_y = torch.arange(top, bottom, _BLOCK_PX, device=device)
    grid_x = torch.arange(left, right, _BLOCK_PX, device=device)
    rows, columns = (v.reshape(-1) for v in torch.meshgrid(grid_y, grid_x, indexing="ij"))
    corners = torch.stack([columns, rows], 1).float()
    cone = _BLOCK_PX * 0.5**0.5
    index = capsules.along_rays(corners + _BLOCK_PX / 2, cone)
    occupied = index[:, 0] < capsules.a.shape[0]
    corners, index = corners[occupied], index[occupied]
    depths = torch.full((corners.shape[0], 1), near, device=device)
    points = torch.cat([corners + _BLOCK_PX / 2, depths], 1)[:, None]
    seen = _march_cones(capsules.gather(index), points, cone, _STEPS)[:, 0]
    return corners[seen], index[seen], points[seen, 0, 2]


def _grid_points(corners: torch.Tensor, cell: int, depths: torch.Tensor) -> torch.Tensor:
    """(B, P, 3) the middles of the cells of each block, row by row, at `depths` (B, P) or (B, 1)."""
    import torch

    middles = torch.arange(0, _BLOCK_PX, cell, device=corners.device) + cell / 2
    count = middles.numel()
    x = middles.repeat(count) + corners[:, :1]
    y = middles.repeat_interleave(count) + corners[:, 1:]
    return torch.stack([x, y, depths.expand_as(x)], 2)


def _finer(depths: torch.Tensor) -> torch.Tensor:
    """(B, 64) depth of each pixel from (B, 16) depths of the cells that hold them."""
    count = _BLOCK_PX // _CELL_PX
    square = depths.reshape(-1, count, count)
    return square.repeat_interleave(_CELL_PX, 1).repeat_interleave(_CELL_PX, 2).reshape(-1, _BLOCK_PX**2)


def _march_cones(field: CapsuleField, points: torch.Tensor, cone_px: float, steps: int) -> torch.Tensor:
    """Move (B, P, 3) `points` on until their cones touch the surface; (B, P) bool tells which do."""
    import torch

    seen = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
    blocks = torch.arange(points.shape[0], device=points.device)
    at = points.clone()
    for _ in range(steps):
        step = field.distance(at) - cone_px
        at[..., 2] += step.clamp(min=0.0)
        touched = step < 0.1 * cone_px
        seen[blocks] |= touched
        points[blocks] = at
        on_the_way = ~touched & (at[..., 2] < field.far)
        going = on_the_way.any(1)
        if not bool(going.any()):
            return seen
        last = blocks[going], on_the_way[going]
        blocks, at, field = _narrow(blocks, at, field, going)
    # a cone that still creeps along an edge may yet hold something
    seen[last[0]] |= last[1]
    return seen


def _march_rays(field: CapsuleField, points: torch.Tensor) -> torch.Tensor:
    """Move (B, P, 3) `points` to the surface or their nearest approach; (B, P) how much of the pixel it covers."""
    import torch

    count = points.shape[1]
    nearest = torch.full_like(points[..., 2], float("inf")).reshape(-1)
    depths = points[..., 2].clone().reshape(-1)
    rays = torch.arange(nearest.numel(), device=points.device).reshape(-1, count)
    at = points.clone()
    before, moved = field.distance(at), torch.zeros_like(at[..., 2])
    for step in range(_STEPS):
        distance = before if step == 0 else field.distance(at)
        closer = distance < nearest[rays]
        better = rays[closer]
        nearest[better], depths[better] = distance[closer], at[..., 2][closer]
        going = (distance > _HIT_PX) & (at[..., 2] < field.far)
        if not bool(going.any()):
            break
        # the secant's root: on a convex surface it is never beyond the true one
        slope = ((before - distance) / moved.clamp(min=1e-3)).clamp(min=0.2)
        onward = torch.where((distance < before) & (moved > 0), distance / slope, distance)
        moved = torch.minimum(onward, distance + _LEAP_PX).clamp(min=_SHORTEST_STEP_PX)
        at[..., 2] += torch.where(going, moved, 0.0)
        before = distance
        if step == _BLOCK_STEPS:
            # few rays are left, most of them grazing an edge: go on with them one by one
            field = field.blocks(rays[going] // count)
            rays, at, before, moved = (v[going][:, None] for v in (rays, at, before, moved))
        elif step > _BLOCK_STEPS and int(going.sum()) < 0.6 * going.numel():
            kept = going[:, 0]
            rays, at, before, moved, field = rays[kept], at[kept], before[kept], moved[kept], field.blocks(kept)
    points[..., 2] = depths.reshape(-1, count)
    nearest = nearest.reshape(-1, count)
    return torch.where(nearest <= _HIT_PX, torch.ones_like(nearest), (1.0 - nearest).clamp(0.0, 1.0))


def _narrow(
    blocks: torch.Tensor, at: torch.Tensor, field: CapsuleField, going: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, CapsuleField]:
    """Go on with the blocks that are `going`; copying pays once a quarter of them is done."""
    if int(going.sum()) > 0.75 * going.numel():
        return blocks, at, field
    return blocks[going], at[going], field.blocks(going)
