"""Renders one hand of a clip: its cut-out of the frame and where its landmarks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array, Light, Look
from gest_stream.synthetic.capsules import Capsules, Cuff, to_tensor
from gest_stream.synthetic.layer import Layer
from gest_stream.synthetic.march import Surface, see_surface
from gest_stream.synthetic.motion import HandState
from gest_stream.synthetic.shading import make_skin_map, shade, texture_tensor
from gest_stream.synthetic.skeleton import FOREARM, PALM, HandShape, PosedHand, mirror, pose_hand
from gest_stream.types import Handedness

if TYPE_CHECKING:
    import torch

HAND, ARM = 0, 1
"""Parts of a hand's layer."""

_BLEND_CM = 0.2
_NEAR_GAP_CM, _WIDE_GAP_CM = 0.45, 1.4
_THICKEST = 2.5  # radii between a joint's centre and its own skin; more is another part of the palm seen edge-on
_NEAREST = 0.3  # of the camera's distance
PALM_CM: Final = np.array([-0.2, 6.0, 0.0], np.float32)
"""Middle of the palm in the hand's frame."""
_UP_IS_MINUS_Y = np.diag([1.0, -1.0, -1.0]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RenderedHand:
    """One hand on one frame, as if it were alone.

    Args:
        layer: Its cut-out, not blurred, with the parts `HAND` and `ARM`.
        landmarks_px: (21, 3) float32; x, y and z in pixels of the scene.
        depth_px: (h, w) float32 z of the surface in each pixel of the layer; 0, and of no meaning, where there is none.
        unhidden: (21,) bool, True where only flesh of the joint itself lies between the landmark and the camera.
        box_xyxy_px: Around every point of the hand, not clipped to the frame.
    """

    layer: Layer
    landmarks_px: Array
    depth_px: Array
    unhidden: NDArray[np.bool_]
    box_xyxy_px: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Perspective:
    """A camera that sees near things larger; hands are rendered by parallel rays without one.

    Args:
        centre_xy_px: Where its axis meets the picture.
        distance_px: From the camera to the plane z = 0, in pixels of the picture there. `inf` is parallel rays.
    """

    centre_xy_px: tuple[float, float]
    distance_px: float

    def scale(self, z_px: Array) -> Array:
        """How much larger things at depth `z_px` are seen than at 0; limited close to the camera."""
        return np.asarray(1.0 / np.maximum(1.0 + z_px / np.float32(self.distance_px), _NEAREST), np.float32)

    def project(self, points_px: Array) -> Array:
        """(..., 3) points where parallel rays see them as the camera does; z keeps the order, spheres stay round."""
        scale = self.scale(points_px[..., 2:])
        centre = np.array([*self.centre_xy_px, 0.0], np.float32)
        return np.asarray((points_px - centre) * scale + centre, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Placement:
    """A posed hand in the scene: a point p of the hand's frame lies at `turn @ p + shift`, then seen by `camera`."""

    posed: PosedHand
    turn: Array
    shift: Array
    px_per_cm: float
    camera: Perspective | None

    def parallel(self, points_cm: Array) -> Array:
        """Where points lie before the camera's perspective."""
        return np.asarray(points_cm @ self.turn.T + self.shift, np.float32)

    def points(self, points_cm: Array) -> Array:
        at = self.parallel(points_cm)
        return at if self.camera is None else self.camera.project(at)

    def scale(self, points_cm: Array) -> Array:
        """How much larger than at the palm each point is seen."""
        if self.camera is None:
            return np.ones(len(points_cm), np.float32)
        return self.camera.scale(self.parallel(points_cm)[:, 2])

    def direction(self, direction: Array) -> Array:
        return np.asarray(self.turn @ direction / np.linalg.norm(self.turn @ direction), np.float32)


def scene_turn(state: HandState, handedness: Handedness) -> Array:
    """(3, 3) float32 from the right hand's frame in centimetres to the scene in pixels."""
    return np.asarray(state.px_per_cm * (_UP_IS_MINUS_Y @ mirror(handedness) @ state.rotation), np.float32)


class HandRenderer:
    """Renders one hand in any pose.

    Args:
        shape: Its proportions.
        look: Its colours.
        handedness: Left or right.
        light: Of the clip.
        frame_size: (width, height) in pixels.
        device: Where torch computes.
        camera: None for parallel rays.
    """

    def __init__(
        self,
        shape: HandShape,
        look: Look,
        handedness: Handedness,
        light: Light,
        frame_size: tuple[int, int],
        device: str,
        camera: Perspective | None = None,
    ) -> None:
        self._camera = camera
        self._shape, self._look, self._light = shape, look, light
        self._frame_size, self._device = frame_size, device
        self.handedness = handedness
        self._skin = make_skin_map(shape, device)
        self._volume = texture_tensor(look, device)

    def render(self, state: HandState) -> RenderedHand:
        """The hand in `state`."""
        turn = scene_turn(state, self.handedness)
        shift = np.asarray(np.append(state.palm_xy_px, 0) - turn @ PALM_CM, np.float32)
        placement = _Placement(pose_hand(self._shape, state.pose), turn, shift, state.px_per_cm, self._camera)
        landmarks = placement.points(placement.posed.carry(self._shape.joints, self._shape.joint_segments[0]))
        capsules, to_rest, segments = self._place(placement)
        layer, depth, segment = self._see(placement, capsules, to_rest, segments)
        reach = self._shape.radii[:, None] * np.float32(state.px_per_cm)
        low, high = (landmarks[:, :2] - reach).min(0), (landmarks[:, :2] + reach).max(0)
        return RenderedHand(
            layer,
            landmarks,
            depth,
            self._unhidden(landmarks, layer.origin_xy_px, depth, segment, state.px_per_cm),
            (float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        )

    def _place(self, placement: _Placement) -> tuple[Capsules, Array, NDArray[np.intp]]:
        """The capsules in the scene, the map of each back to rest space, (K, 3, 4), and its segment, (K,)."""
        shape, sleeve, posed = self._shape, self._look.sleeve, placement.posed
        body = shape.end_segments[0]
        loose = np.zeros(0, np.intp) if sleeve is None else np.flatnonzero(body == FOREARM)
        standing_off = np.float32(0.0 if sleeve is None else sleeve.loose_cm)
        ends, radii, scales = [], [], []
        for end in range(2):
            rest = posed.carry(shape.ends[end], shape.end_segments[end])
            points, scale = placement.points(rest), placement.scale(rest)
            radius = shape.end_radii[end]
            scales.append(np.concatenate([scale, scale[loose]]))
            ends.append(np.concatenate([points, points[loose]]))
            radii.append(
                np.concatenate([radius, radius[loose] + standing_off]) * scales[end] * np.float32(placement.px_per_cm)
            )
        segments = np.concatenate([body, body[loose]])
        back = np.linalg.inv(placement.turn @ posed.rotations[segments])
        offset = placement.parallel(posed.shifts[segments])
        if self._camera is not None:
            # a capsule is seen enlarged about the picture's middle, by as much as its own middle is
            enlarged = 0.5 * (scales[0] + scales[1])[:, None]
            centre = np.array([*self._camera.centre_xy_px, 0.0], np.float32)
            offset = centre + enlarged * (offset - centre)
            back = back / enlarged[:, :, None]
        to_rest = np.concatenate([back, -(back @ offset[:, :, None])], axis=2)
        capsules = Capsules(
            a=to_tensor(ends[0], self._device),
            b=to_tensor(ends[1], self._device),
            radius_a=to_tensor(radii[0], self._device),
            radius_b=to_tensor(radii[1], self._device),
            is_sleeve=to_tensor(np.arange(segments.size) >= body.size, self._device) > 0,
            blend_px=_BLEND_CM * placement.px_per_cm,
            cuff=None if sleeve is None else self._cuff(placement, sleeve.start_cm),
        )
        return capsules, np.asarray(to_rest, np.float32), segments

    def _cuff(self, placement: _Placement, start_cm: float) -> Cuff:
        arm, offset = placement.posed.rotations[FOREARM], placement.posed.shifts[FOREARM]
        point = placement.points(-start_cm * arm[:, 1] + offset)
        return Cuff(to_tensor(point, self._device), to_tensor(placement.direction(arm[:, 1]), self._device))

    def _see(
        self, placement: _Placement, capsules: Capsules, to_rest: Array, segments: NDArray[np.intp]
    ) -> tuple[Layer, Array, Array]:
        """The hand's layer, and (h, w) depth and segment of the surface in each of its pixels."""
        import torch

        left, top, right, bottom = capsules.window(self._frame_size)
        if left >= right or top >= bottom:
            nothing = np.zeros((0, 0), np.float32)
            return Layer((0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((2, 0, 0), np.float32)), nothing, nothing
        near, wide = _NEAR_GAP_CM * placement.px_per_cm, _WIDE_GAP_CM * placement.px_per_cm
        with torch.inference_mode():
            maps = to_tensor(to_rest, self._device)
            of_capsule = to_tensor(segments.astype(np.float32), self._device)
            planes = torch.zeros(((bottom - top) * (right - left), 7), device=self._device)
            surface = see_surface(capsules, maps, (left, top, right, bottom), near, wide)
            colour = shade(surface, self._skin, self._volume, self._look, self._light)
            segment, cover = of_capsule[surface.capsule], surface.coverage[:, None]
            hand = self._beyond_wrist(placement, surface, segment)[:, None] * cover
            at = surface.rows * (right - left) + surface.columns
            planes[at] = torch.cat([colour * cover, hand, cover - hand, surface.points[:, 2:], segment[:, None]], 1)
        image = planes.cpu().numpy().reshape(bottom - top, right - left, 7)
        parts = np.ascontiguousarray(image[..., 3:5].transpose(2, 0, 1))
        return Layer((left, top), np.ascontiguousarray(image[..., :3]), parts), image[..., 5], image[..., 6]

    def _beyond_wrist(self, placement: _Placement, surface: Surface, segment: torch.Tensor) -> torch.Tensor:
        """(N,) 1.0 on the hand, 0.0 on forearm and sleeve.

        The border is the plane through the wrist that halves the angle between hand and forearm; digits belong to the
        hand wherever they bend to.
        """
        up = np.array([0, 1, 0], np.float32)
        between = placement.direction(up + placement.posed.rotations[FOREARM] @ up)
        offset = surface.points - to_tensor(placement.points(self._shape.joints[0]), self._device)
        beyond = (offset @ to_tensor(between, self._device) > 0) | ((segment > PALM) & (segment < FOREARM))
        return (beyond & ~surface.on_sleeve).to(offset.dtype)

    def _unhidden(
        self, landmarks: Array, origin: tuple[int, int], depth: Array, segment: Array, px_per_cm: float
    ) -> NDArray[np.bool_]:
        columns = np.floor(landmarks[:, 0]).astype(int) - origin[0]
        rows = np.floor(landmarks[:, 1]).astype(int) - origin[1]
        inside = (columns >= 0) & (columns < depth.shape[1]) & (rows >= 0) & (rows < depth.shape[0])
        own = np.zeros(21, np.bool_)
        seen = segment[rows[inside], columns[inside]]
        own[inside] = (seen == self._shape.joint_segments[:, inside]).any(axis=0)
        thickness = landmarks[inside, 2] - depth[rows[inside], columns[inside]]
        own[inside] &= thickness < _THICKEST * self._shape.radii[inside] * px_per_cm
        return own
