"""Renders one hand of a clip: its cut-out of the frame and where its landmarks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array, Light, Look
from gest_stream.synthetic.layer import Layer
from gest_stream.synthetic.motion import HandState
from gest_stream.synthetic.shading import make_skin_map, shade, texture_tensor
from gest_stream.synthetic.skeleton import FOREARM, HandShape, PosedHand, mirror, pose_hand
from gest_stream.synthetic.surface import Capsules, march, to_tensor
from gest_stream.types import Handedness

if TYPE_CHECKING:
    import torch

HAND, ARM = 0, 1
"""Parts of a hand's layer."""

_BLEND_CM = 0.27
_PALM_CM = np.array([-0.2, 6.0, 0.0], np.float32)
_UP_IS_MINUS_Y = np.diag([1.0, -1.0, -1.0]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RenderedHand:
    """One hand on one frame, as if it were alone.

    Args:
        layer: Its cut-out, with the parts `HAND` and `ARM`.
        depth: (h, w) float32 z of the surface in pixels away from the camera; infinite where there is none.
        depth_origin_xy_px: Top left pixel of `depth`.
        landmarks_px: (21, 3) float32; x, y and z in pixels of the scene.
        radii_px: (21,) float32 thickness of the flesh around each landmark.
        box_xyxy_px: Around every point of the hand, not clipped to the frame.
    """

    layer: Layer
    depth: Array
    depth_origin_xy_px: tuple[int, int]
    landmarks_px: Array
    radii_px: Array
    box_xyxy_px: tuple[float, float, float, float]

    def unhidden(self) -> NDArray[np.bool_]:
        """(21,) True where only its own flesh lies between a landmark and the camera."""
        (left, top), (height, width) = self.depth_origin_xy_px, self.depth.shape
        columns = np.floor(self.landmarks_px[:, 0]).astype(int) - left
        rows = np.floor(self.landmarks_px[:, 1]).astype(int) - top
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        front = np.full(21, -np.inf, np.float32)
        front[inside] = self.depth[rows[inside], columns[inside]]
        # where the surface is missed altogether, a blunt tip was just grazed: it is not hidden
        return np.asarray(inside & (self.landmarks_px[:, 2] - front < 1.45 * self.radii_px))


class HandRenderer:
    """Renders one hand in any pose.

    Args:
        shape: Its proportions.
        look: Its colours.
        handedness: Left or right.
        light: Of the clip.
        frame_size: (width, height) in pixels.
        device: Where torch computes.
    """

    def __init__(
        self,
        shape: HandShape,
        look: Look,
        handedness: Handedness,
        light: Light,
        frame_size: tuple[int, int],
        device: str,
    ) -> None:
        self._shape, self._look, self._light = shape, look, light
        self._frame_size, self._device = frame_size, device
        self.handedness = handedness
        self._mirror = mirror(handedness)
        self._skin = make_skin_map(shape, device)
        self._volume = texture_tensor(look, device)

    def render(self, state: HandState) -> RenderedHand:
        """The hand in `state`."""
        posed = pose_hand(self._shape, state.pose)
        turn = state.px_per_cm * (_UP_IS_MINUS_Y @ self._mirror @ state.rotation)
        shift = np.append(state.palm_xy_px, 0).astype(np.float32) - turn @ _PALM_CM
        landmarks = posed.carry(self._shape.joints, self._shape.joint_segments) @ turn.T + shift
        capsules, to_rest = self._place(posed, turn, shift, state.px_per_cm)
        radii = self._shape.radii * np.float32(state.px_per_cm)
        reach = radii[:, None]
        low, high = (landmarks[:, :2] - reach).min(0), (landmarks[:, :2] + reach).max(0)
        box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        layer, depth = self._see(capsules, to_rest, posed, turn, shift, state.px_per_cm)
        return RenderedHand(layer, depth, layer.origin_xy_px, landmarks.astype(np.float32), radii, box)

    def _place(self, posed: PosedHand, turn: Array, shift: Array, px_per_cm: float) -> tuple[Capsules, Array]:
        """The capsules in the scene, and the map of each back to rest space, (K, 3, 4)."""
        shape, sleeve = self._shape, self._look.sleeve
        ends = [posed.carry(shape.ends[k], shape.end_segments[k]) for k in range(2)]
        radii, segments = list(shape.end_radii), shape.end_segments[0]
        arm = np.flatnonzero(segments == FOREARM)
        loose = np.zeros(0, np.intp) if sleeve is None else arm
        standing_off = np.float32(0.0 if sleeve is None else sleeve.loose_cm)
        ends = [np.concatenate([end, end[loose]]) @ turn.T + shift for end in ends]
        radii = [np.concatenate([r, r[loose] + standing_off]) * np.float32(px_per_cm) for r in radii]
        segments = np.concatenate([segments, segments[loose]])
        turns = turn @ posed.rotations[segments]
        shifts = posed.shifts[segments] @ turn.T + shift
        back = np.linalg.inv(turns).astype(np.float32)
        to_rest = np.concatenate([back, -(back @ shifts[:, :, None])], axis=2)
        cuff = np.array([0.0, 0.0 if sleeve is None else -sleeve.start_cm, 0.0], np.float32)
        cuff_point = (posed.rotations[FOREARM] @ cuff + posed.shifts[FOREARM]) @ turn.T + shift
        cuff_normal = turn @ posed.rotations[FOREARM] @ np.array([0, 1, 0], np.float32) / np.float32(px_per_cm)
        tensors = [to_tensor(v, self._device) for v in (*ends, *radii)]
        capsules = Capsules(
            *tensors,
            blend_px=_BLEND_CM * px_per_cm,
            sleeve_count=loose.size,
            cuff_point=to_tensor(cuff_point, self._device),
            cuff_normal=to_tensor(cuff_normal, self._device),
        )
        return capsules, to_rest.astype(np.float32)

    def _see(
        self, capsules: Capsules, to_rest: Array, posed: PosedHand, turn: Array, shift: Array, px_per_cm: float
    ) -> tuple[Layer, Array]:
        import torch

        left, top, right, bottom = capsules.window(self._frame_size)
        if left >= right or top >= bottom:
            return _empty_layer(), np.zeros((0, 0), np.float32)
        size = (bottom - top, right - left)
        with torch.inference_mode():
            hits = march(capsules, (left, top, right, bottom))
            sample = capsules.sample(hits.points)
            colour, rest = shade(
                hits.points,
                sample,
                capsules,
                to_tensor(to_rest, self._device),
                self._skin,
                self._volume,
                self._look,
                self._light,
                px_per_cm,
            )
            wrist, normal = self._wrist_plane(posed, turn, shift, px_per_cm)
            beyond = (hits.points - wrist) @ normal > 0.0
            digits = sample.weights[:, self._digit_capsules()].sum(1) > 0.5
            is_hand = ((beyond | digits) & ~sample.on_sleeve).to(hits.coverage.dtype)
            at = hits.rows * size[1] + hits.columns
            planes = torch.zeros((size[0] * size[1], 6), device=self._device)
            planes[:, 5] = float("inf")
            cover = hits.coverage[:, None]
            values = torch.cat(
                [colour * cover, cover * is_hand[:, None], cover * (1 - is_hand[:, None]), hits.points[:, 2:]], 1
            )
            planes[at] = values
        image = planes.cpu().numpy().reshape(*size, 6)
        parts = np.ascontiguousarray(image[..., 3:5].transpose(2, 0, 1))
        return Layer((left, top), np.ascontiguousarray(image[..., :3]), parts), np.ascontiguousarray(image[..., 5])

    def _digit_capsules(self) -> list[int]:
        return [k for k, segment in enumerate(self._shape.end_segments[0]) if segment not in (0, FOREARM)]

    def _wrist_plane(
        self, posed: PosedHand, turn: Array, shift: Array, px_per_cm: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Point and normal of the plane that halves the angle between hand and forearm; the hand lies before it."""
        up = np.array([0, 1, 0], np.float32)
        between = up + posed.rotations[FOREARM] @ up
        between = turn @ (between / np.linalg.norm(between)) / np.float32(px_per_cm)
        return to_tensor(shift, self._device), to_tensor(between, self._device)


def _empty_layer() -> Layer:
    return Layer((0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((2, 0, 0), np.float32))
