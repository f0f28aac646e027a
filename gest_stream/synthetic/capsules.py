"""The hand's surface: a smooth union of tapered capsules, as a signed distance. Runs in torch, on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_ABSENT_PX = 1e4  # a distance that no other exceeds
_MARGIN_BLENDS = 3.5  # a capsule further off than this many widths of the union adds about a tenth of a pixel


def to_tensor(values: NDArray[np.floating], device: str) -> torch.Tensor:
    """A float32 tensor of `values` on `device`."""
    import torch

    return torch.as_tensor(np.ascontiguousarray(values, np.float32), device=device)


@dataclass(frozen=True, slots=True, eq=False)
class Cuff:
    """Where the sleeve ends.

    Args:
        point: (3,) on the plane that cuts the sleeve, scene space.
        normal: (3,) unit, toward the hand.
    """

    point: torch.Tensor
    normal: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Capsules:
    """Tapered capsules in scene space: x and y in pixels of the frame, z in pixels away from the camera.

    Args:
        a: (K, 3) one end of each.
        b: (K, 3) the other end.
        radius_a: (K,) at `a`, pixels.
        radius_b: (K,) at `b`, pixels.
        is_sleeve: (K,) bool; sleeves join the body without blending.
        blend_px: Width of the smooth union.
        cuff: None where there is no sleeve.
    """

    a: torch.Tensor
    b: torch.Tensor
    radius_a: torch.Tensor
    radius_b: torch.Tensor
    is_sleeve: torch.Tensor
    blend_px: float
    cuff: Cuff | None

    def window(self, frame_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the part of the frame that the capsules can reach; may be empty."""
        radius = self.radius_a.maximum(self.radius_b)[:, None] + 1.5 * self.blend_px + 2.0
        low = (self.a.minimum(self.b) - radius).amin(0)
        high = (self.a.maximum(self.b) + radius).amax(0)
        left, top = max(0, int(low[0])), max(0, int(low[1]))
        return left, top, min(frame_size[0], int(high[0]) + 1), min(frame_size[1], int(high[1]) + 1)

    def near(self) -> float:
        """z before everything."""
        radius = self.radius_a.maximum(self.radius_b)
        return float((self.a.minimum(self.b)[:, 2] - radius).amin()) - 2.0 * self.blend_px

    def along_rays(self, xy_px: torch.Tensor, reach_px: float) -> torch.Tensor:
        """Which capsules matter to the rays through the discs around `xy_px`.

        Args:
            xy_px: (B, 2) centre of each disc.
            reach_px: Radius of the discs.

        Returns:
            (B, S) int64 indices, the closest first, filled up with K, which stands for none.
        """
        import torch

        axis = (self.b - self.a)[:, :2]
        offset = xy_px[:, None] - self.a[:, :2]
        share = ((offset * axis).sum(2) / (axis * axis).sum(1).clamp(min=1e-6)).clamp(0.0, 1.0)
        radius = self.radius_a + share * (self.radius_b - self.radius_a)
        clear = (offset - share[..., None] * axis).norm(dim=2) - radius
        margin = reach_px + _MARGIN_BLENDS * self.blend_px
        most = max(1, int((clear < margin).sum(1).amax())) if xy_px.shape[0] else 1
        nearest, index = clear.topk(most, dim=1, largest=False)
        return torch.where(nearest < margin, index, self.a.shape[0])

    def gather(self, index: torch.Tensor) -> CapsuleField:
        """The field of the capsules `index`, (B, S) as `along_rays` gives it, for each of B blocks of points."""
        import torch

        def pick(values: torch.Tensor, absent: float) -> torch.Tensor:
            return torch.cat([values, torch.full_like(values[:1], absent)])[index]

        a, axis = pick(self.a, 0.0), pick(self.b - self.a, 0.0)
        radius = pick(self.radius_a, -_ABSENT_PX)
        slope = pick(self.radius_b - self.radius_a, 0.0)
        sleeve = None if self.cuff is None else pick(self.is_sleeve.float(), 0.0)[:, None] * _ABSENT_PX
        return CapsuleField(a, axis, radius[:, None], slope[:, None], sleeve, self.blend_px, self.cuff)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What the field says at (B, P) points.

    Args:
        weights: (B, P, S) share of each capsule in the surface there; they add up to 1.
        normals: (B, P, 3) unit normals.
        on_sleeve: (B, P) bool, True where the sleeve is the surface.
    """

    weights: torch.Tensor
    normals: torch.Tensor
    on_sleeve: torch.Tensor


class CapsuleField:
    """The signed distance to S capsules for each of B blocks of points. Made by `Capsules.gather`.

    `far` is (B, 1), the z behind everything that each block's rays can meet.
    """

    def __init__(
        self,
        a: torch.Tensor,
        axis: torch.Tensor,
        radius: torch.Tensor,
        slope: torch.Tensor,
        sleeve: torch.Tensor | None,
        blend_px: float,
        cuff: Cuff | None,
    ) -> None:
        import torch

        self._parts = (a, axis, radius, slope, sleeve)
        self._blend_px, self._cuff = blend_px, cuff
        self._a, self._axis, self._radius, self._slope, self._sleeve = a, axis, radius, slope, sleeve
        ends = torch.maximum(a[..., 2], a[..., 2] + axis[..., 2]) + torch.maximum(radius, radius + slope)[:, 0]
        self.far = ends.amax(1, keepdim=True) + blend_px
        square = (axis * axis).sum(2)
        self._square = square[:, None]
        self._inverse = 1.0 / square.clamp(min=1e-6)[:, None]
        # products with (x, y, z): what lies along each axis, and the squared distance to its end less that of the point
        self._along = axis.transpose(1, 2).contiguous()
        self._along_a = (a * axis).sum(2)[:, None]
        self._to_end = (-2.0 * a).transpose(1, 2).contiguous()
        self._to_end_a = (a * a).sum(2)[:, None]

    def blocks(self, kept: torch.Tensor) -> CapsuleField:
        """The field of some of the blocks, chosen by index or bool."""
        a, axis, radius, slope, sleeve = (None if part is None else part[kept] for part in self._parts)
        assert a is not None and axis is not None and radius is not None and slope is not None
        return CapsuleField(a, axis, radius, slope, sleeve, self._blend_px, self._cuff)

    def _each(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, P, S) position along each capsule (0 to 1), distance to its axis and to its surface."""
        import torch

        along = points @ self._along - self._along_a
        to_end = (points @ self._to_end).add_(self._to_end_a).add_((points * points).sum(2, keepdim=True))
        share = (along * self._inverse).clamp_(0.0, 1.0)
        square = to_end.addcmul_(share, share * self._square - 2.0 * along)
        reach = square.clamp_(min=1e-8).sqrt_()
        return share, reach, torch.addcmul(reach - self._radius, share, self._slope, value=-1.0)

    def distance(self, points: torch.Tensor) -> torch.Tensor:
        """(B, P) signed distance of (B, P, 3) points, pixels; at most the true distance.

        Source: round cones and unions after Quilez, "Distance functions"; the smooth union is the log-sum-exp one.
        """
        _, _, each = self._each(points)
        return self._join(each, points)[0]

    def _join(
        self, each: torch.Tensor, points: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """(B, P) distance, where the sleeve is the surface, and where its rim is."""
        import torch

        body = each if self._sleeve is None else each + self._sleeve
        nearest = body.amin(2)
        # below -20 nothing is added, and torch.exp (and logsumexp) are ten times slower where results are denormal
        shares = ((nearest[..., None] - body) * (1.0 / self._blend_px)).clamp_(min=-20.0).exp_()
        smooth = nearest - self._blend_px * shares.sum(2).log_()
        if self._sleeve is None or self._cuff is None:
            return smooth, None, None
        tube = (each + (_ABSENT_PX - self._sleeve)).amin(2)
        beyond = (points - self._cuff.point) @ self._cuff.normal
        sleeve = torch.maximum(tube, beyond)
        return torch.minimum(smooth, sleeve), sleeve < smooth, beyond > tube

    def sample(self, points: torch.Tensor) -> Sample:
        """Weights and normals at (B, P, 3) points on the surface."""
        import torch

        share, reach, each = self._each(points)
        _, on_sleeve, on_rim = self._join(each, points)
        weighed = each if self._sleeve is None else each + self._sleeve
        if on_sleeve is not None and self._sleeve is not None:
            weighed = torch.where(on_sleeve[..., None], each + (_ABSENT_PX - self._sleeve), weighed)
        shares = ((weighed.amin(2, keepdim=True) - weighed) * (1.0 / self._blend_px)).clamp_(min=-20.0).exp_()
        weights = shares / shares.sum(2, keepdim=True)
        pull = weights / reach
        normals = points * pull.sum(2, keepdim=True) - pull @ self._a - (pull * share) @ self._axis
        normals = torch.nn.functional.normalize(normals, dim=2)
        if on_sleeve is None or on_rim is None or self._cuff is None:
            return Sample(weights, normals, torch.zeros_like(reach[..., 0], dtype=torch.bool))
        normals = torch.where((on_sleeve & on_rim)[..., None], self._cuff.normal, normals)
        return Sample(weights, normals, on_sleeve)
