"""Where a hand's pixels were on an earlier frame, told by its landmarks on both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.types import HAND_CONNECTIONS

_STARTS, _ENDS = np.array(HAND_CONNECTIONS).T
_STIFF_PALMS = 0.15
_REACH_PALMS = 0.06


@dataclass(frozen=True, slots=True)
class Similarity:
    """A turn, a growth and a shift of the picture: z -> turn * z + shift over complex x + iy.

    Args:
        turn: Direction is the angle, length the growth; never 0.
        shift: Pixels.
    """

    turn: complex = 1 + 0j
    shift: complex = 0j

    @classmethod
    def fit(
        cls,
        before_xy: NDArray[np.floating],
        after_xy: NDArray[np.floating],
        growth: tuple[float, float] = (0.1, 10.0),
    ) -> Similarity:
        """The least squares one that takes points (N, 2) to others.

        A shift alone where the points are all one, or would grow by less or more than `growth` allows.
        """
        a, b = _complex(before_xy), _complex(after_xy)
        a_free, b_free = a - a.mean(), b - b.mean()
        spread = float((np.abs(a_free) ** 2).sum())
        turn = complex((a_free.conj() * b_free).sum()) / spread if spread > 0.0 else 1 + 0j
        if not growth[0] < abs(turn) < growth[1]:
            turn = 1 + 0j
        return cls(turn, complex(b.mean()) - turn * complex(a.mean()))

    def then(self, later: Similarity) -> Similarity:
        """This one, and `later` after it."""
        return Similarity(later.turn * self.turn, later.turn * self.shift + later.shift)

    def inverse(self) -> Similarity:
        """The way back."""
        return Similarity(1 / self.turn, -self.shift / self.turn)

    def move(self, points_xy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (..., 2) moved, float32."""
        moved = self.turn * _complex(points_xy) + self.shift
        return np.stack([moved.real, moved.imag], axis=-1).astype(np.float32)


def bones_back(
    now_xy: NDArray[np.float32], then_px: NDArray[np.float32], now_px: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Follow places back in time as if each of them were fixed to the bones near it.

    Along a bone a place keeps its share of the bone's length, across it its distance, scaled as the whole hand is: a
    finger that points at the camera looks shorter, not thinner. A bone that is too short on either frame to have a
    direction goes with the whole hand.

    Source: skeletal subspace deformation as in Lewis, Cordner and Fong, "Pose Space Deformation", 2000, in the picture.

    Args:
        now_xy: (..., 2) float32 places on this frame, pixels.
        then_px: (21, 2) float32 landmarks on the earlier frame, pixels.
        now_px: The same hand's on this frame.

    Returns:
        (..., 2) float32 pixels on the earlier frame.
    """
    whole = Similarity.fit(now_px, then_px)
    places = _complex(now_xy).reshape(-1, 1)
    now, then = _complex(now_px), _complex(then_px)
    palm = max(float(np.abs(now[[5, 17, 17]] - now[[0, 0, 5]]).max()), 1.0)
    bone, bone_then = now[_ENDS] - now[_STARTS], then[_ENDS] - then[_STARTS]
    # of a short bone only the whole hand's turn is known
    stiff = (_STIFF_PALMS * palm) ** 2
    turn = (bone.conj() * bone_then + stiff * whole.turn) / (np.abs(bone) ** 2 + stiff)
    turn /= np.maximum(np.abs(turn), 1e-6)
    growth = abs(whole.turn)
    length = np.maximum(np.abs(bone), 1e-3)
    stretch = (np.abs(bone_then) * length + stiff * growth) / (length**2 + stiff)

    local = (places - now[_STARTS]) * (bone / length).conj()
    on_bone = np.clip(local.real, 0.0, length)
    beyond = local.real - on_bone
    direction = bone / length
    back = then[_STARTS] + direction * turn * (on_bone * stretch + growth * (beyond + 1j * local.imag))
    away = (beyond**2 + local.imag**2) / palm**2
    weight = 1.0 / (away + _REACH_PALMS**2) ** 2
    mean = (weight * back).sum(axis=1) / weight.sum(axis=1)
    return np.stack([mean.real, mean.imag], axis=-1).astype(np.float32).reshape(now_xy.shape)


def _complex(points_xy: NDArray[np.floating]) -> NDArray[np.complex128]:
    return np.asarray(points_xy[..., 0] + 1j * points_xy[..., 1], np.complex128)
