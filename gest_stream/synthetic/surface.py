"""The hand's surface: a smooth union of tapered capsules, found by cone marching. Runs in torch, on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_CELL_PX = 8
_COARSE_STEPS = 32
_FINE_STEPS = 24
_HIT_PX = 0.06


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What the capsules say at N points.

    Args:
        distance: (N,) signed distance to the surface, pixels.
        weights: (N, K) share of each capsule in the surface there, rows sum to 1.
        normals: (N, 3) unit normals.
        on_sleeve: (N,) bool, True where the sleeve is the surface.
    """

    distance: torch.Tensor
    weights: torch.Tensor
    normals: torch.Tensor
    on_sleeve: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Capsules:
    """Tapered capsules in scene space: x and y in pixels of the frame, z in pixels away from the camera.

    Args:
        a: (K, 3) one end of each. The last `sleeve_count` capsules are the sleeve.
        b: (K, 3) the other end.
        radius_a: (K,) at `a`, pixels.
        radius_b: (K,) at `b`, pixels.
        blend_px: Width of the smooth union.
        sleeve_count: Capsules of the sleeve, joined without blending.
        cuff_point: (3,) on the plane that cuts the sleeve.
        cuff_normal: (3,) unit, toward the hand.
    """

    a: torch.Tensor
    b: torch.Tensor
    radius_a: torch.Tensor
    radius_b: torch.Tensor
    blend_px: float
    sleeve_count: int
    cuff_point: torch.Tensor
    cuff_normal: torch.Tensor

    def _axial(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N, K) position along each capsule (0 to 1), distance to its axis and distance to its surface."""
        axis = self.b - self.a
        square = (axis * axis).sum(1).clamp(min=1e-6)
        along = points @ axis.T - (self.a * axis).sum(1)
        share = (along / square).clamp_(0.0, 1.0)
        to_a = (points * points).sum(1, keepdim=True) - 2.0 * (points @ self.a.T) + (self.a * self.a).sum(1)
        reach = (to_a - 2.0 * share * along + share * share * square).clamp_(min=1e-8).sqrt_()
        return share, reach, reach - (self.radius_a + (self.radius_b - self.radius_a) * share)

    def distance(self, points: torch.Tensor) -> torch.Tensor:
        """(N,) signed distance of (N, 3) points, pixels; at most the true distance.

        Source: round cones and unions after Quilez, "Distance functions"; the smooth union is the log-sum-exp one.
        """
        import torch

        body = self.a.shape[0] - self.sleeve_count
        _, _, each = self._axial(points)
        smooth = -self.blend_px * torch.logsumexp(each[:, :body] / -self.blend_px, 1)
        if not self.sleeve_count:
            return smooth
        beyond = (points - self.cuff_point) @ self.cuff_normal
        return torch.minimum(smooth, torch.maximum(each[:, body:].amin(1), beyond))

    def sample(self, points: torch.Tensor) -> Sample:
        """Distance, weights and normals at (N, 3) points."""
        import torch

        share, reach, each = self._axial(points)
        body = self.a.shape[0] - self.sleeve_count
        smooth = -self.blend_px * torch.logsumexp(each[:, :body] / -self.blend_px, 1)
        weights = torch.zeros_like(each)
        weights[:, :body] = torch.softmax(each[:, :body] / -self.blend_px, 1)
        distance, on_sleeve, on_rim = smooth, torch.zeros_like(smooth, dtype=torch.bool), None
        if self.sleeve_count:
            beyond = (points - self.cuff_point) @ self.cuff_normal
            tube, nearest = each[:, body:].min(1)
            sleeve = torch.maximum(tube, beyond)
            on_sleeve, on_rim = sleeve < smooth, beyond > tube
            distance = torch.minimum(smooth, sleeve)
            weights[on_sleeve] = 0.0
            rows = on_sleeve.nonzero()[:, 0]
            weights[rows, body + nearest[rows]] = 1.0
        pull = weights / reach
        normals = points * pull.sum(1, keepdim=True) - pull @ self.a - (pull * share) @ (self.b - self.a)
        if on_rim is not None:
            normals[on_sleeve & on_rim] = self.cuff_normal
        normals = torch.nn.functional.normalize(normals, dim=1)
        return Sample(distance, weights, normals, on_sleeve)

    def window(self, frame_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the part of the frame that the capsules can reach; may be empty."""
        margin = self.blend_px * 1.5 + 2.0
        radius = self.radius_a.maximum(self.radius_b)[:, None] + margin
        low = (self.a.minimum(self.b) - radius).amin(0)
        high = (self.a.maximum(self.b) + radius).amax(0)
        left, top = max(0, int(low[0])), max(0, int(low[1]))
        return left, top, min(frame_size[0], int(high[0]) + 1), min(frame_size[1], int(high[1]) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The pixels of a window that see the surface, or pass it within a pixel.

    Args:
        rows: (N,) row of each pixel in the window.
        columns: (N,) column of each pixel in the window.
        points: (N, 3) where the surface is seen, or the nearest approach to it.
        coverage: (N,) share of the pixel that the surface covers, above 0, up to 1.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    points: torch.Tensor
    coverage: torch.Tensor


def march(capsules: Capsules, window: tuple[int, int, int, int]) -> Hits:
    """See the surface along parallel rays, one a pixel.

    Blocks of pixels are marched first with the cone that holds them all, so that single rays start close to the surface
    and empty blocks cost one ray.

    Source: sphere tracing, Hart 1996; cone marching, Bálint and Valasek 2018.
    """
    starts, columns, rows = _march_blocks(capsules, window)
    return _march_pixels(capsules, window, starts, columns, rows)


def _march_blocks(
    capsules: Capsules, window: tuple[int, int, int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Start depth, column and row of every pixel whose block may see the surface."""
    import torch

    left, top, right, bottom = window
    device, cell = capsules.a.device, _CELL_PX
    grid_x = torch.arange(0, right - left, cell, device=device)
    grid_y = torch.arange(0, bottom - top, cell, device=device)
    block_y, block_x = (v.reshape(-1) for v in torch.meshgrid(grid_y, grid_x, indexing="ij"))
    radius = torch.maximum(capsules.radius_a, capsules.radius_b)
    near = float((torch.minimum(capsules.a, capsules.b)[:, 2] - radius).amin()) - 2.0 * capsules.blend_px
    far = float((torch.maximum(capsules.a, capsules.b)[:, 2] + radius).amax()) + capsules.blend_px
    points = torch.stack(
        [block_x + (left + cell / 2), block_y + (top + cell / 2), torch.full_like(block_x, near)], 1
    ).float()
    points[:, 2] = near
    cone = cell * 0.5**0.5
    going = torch.arange(points.shape[0], device=device)
    seen = torch.zeros(points.shape[0], dtype=torch.bool, device=device)
    for _ in range(_COARSE_STEPS):
        step = capsules.distance(points[going]) - cone
        points[going, 2] += step.clamp(min=0.0)
        seen[going] = step < 1.0
        going = going[(step >= 1.0) & (points[going, 2] < far)]
        if going.numel() == 0:
            break
    seen[going] = True
    inner = torch.arange(cell, device=device)
    columns = (block_x[seen, None, None] + inner[None, None, :]).expand(-1, cell, cell).reshape(-1)
    rows = (block_y[seen, None, None] + inner[None, :, None]).expand(-1, cell, cell).reshape(-1)
    starts = points[seen, 2].repeat_interleave(cell * cell)
    inside = (columns < right - left) & (rows < bottom - top)
    return starts[inside], columns[inside], rows[inside]


def _march_pixels(
    capsules: Capsules,
    window: tuple[int, int, int, int],
    starts: torch.Tensor,
    columns: torch.Tensor,
    rows: torch.Tensor,
) -> Hits:
    import torch

    points = torch.stack([columns + (window[0] + 0.5), rows + (window[1] + 0.5), starts], 1)
    # a ray that misses by more than this much beyond its nearest approach will not come back
    nearest = torch.full_like(starts, float("inf"))
    nearest_z = starts.clone()
    radius = torch.maximum(capsules.radius_a, capsules.radius_b)
    far = float((torch.maximum(capsules.a, capsules.b)[:, 2] + radius).amax()) + capsules.blend_px
    going = torch.arange(points.shape[0], device=points.device)
    for _ in range(_FINE_STEPS):
        distance = capsules.distance(points[going])
        closer = distance < nearest[going]
        nearest[going] = torch.where(closer, distance, nearest[going])
        nearest_z[going] = torch.where(closer, points[going, 2], nearest_z[going])
        points[going, 2] += distance.clamp(min=0.5 * _HIT_PX)
        going = going[(distance > _HIT_PX) & (points[going, 2] < far)]
        if going.numel() == 0:
            break
    coverage = (1.0 - nearest).clamp(0.0, 1.0)
    coverage = torch.where(nearest <= _HIT_PX, torch.ones_like(coverage), coverage)
    kept = coverage > 0.02
    points[:, 2] = nearest_z
    return Hits(rows[kept], columns[kept], points[kept], coverage[kept])


def to_tensor(values: NDArray[np.float32], device: str) -> torch.Tensor:
    """A float32 tensor of `values` on `device`."""
    import torch

    return torch.as_tensor(np.ascontiguousarray(values, np.float32), device=device)
