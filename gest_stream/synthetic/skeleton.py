"""The hand's rest shape and how joint angles move it: segments, joints and the capsules that carry the surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.pose import HandPose
from gest_stream.types import Handedness

Array = NDArray[np.float32]

PALM: Final = 0
THUMB: Final = 13
FOREARM: Final = 16
SEGMENTS: Final = 17
"""Rigid segments: the palm, three a finger (1 to 12), three of the thumb (13 to 15), the forearm."""

_WRIST = np.array([0.0, 0.6, 0.0])
_FINGER_BASES = np.array([[2.45, 9.0, 0.05], [0.35, 9.3, 0.1], [-1.6, 8.75, 0.05], [-3.25, 7.7, -0.15]])
_FINGER_LENGTHS = np.array([[4.1, 2.4, 1.95], [4.5, 2.75, 2.05], [4.15, 2.6, 2.0], [3.25, 1.95, 1.75]])
_FINGER_FAN_DEG = (7.0, 1.0, -5.0, -13.0)
_FINGER_RADII = np.array(
    [[1.0, 0.86, 0.74, 0.6], [1.02, 0.88, 0.75, 0.61], [0.98, 0.83, 0.71, 0.58], [0.88, 0.7, 0.61, 0.5]]
)
_THUMB_JOINTS = np.array([[2.3, 2.2, 0.75], [4.35, 4.75, 1.25], [5.65, 7.45, 1.35], [6.45, 9.75, 1.25]])
_THUMB_RADII = np.array([1.45, 1.12, 0.92, 0.68])
_THUMB_FLEXION_AXIS = np.array([0.24, -0.42, 0.87])
ARM_LENGTH_CM: Final = 46.0


@dataclass(frozen=True, slots=True, eq=False)
class HandShape:
    """The rest shape of one right hand in centimetres: x to the thumb, y to the fingertips, z out of the palm.

    Lengths follow Buryanov and Kotiuk, "Proportions of hand segments" (Int. J. Morphol. 28(3), 2010); the joints lie
    where MediaPipe's landmarks lie: joint centres, the tip under the nail, the wrist on the crease.

    Args:
        joints: (21, 3) float32, landmarks at rest.
        joint_segments: (2, 21) segments that meet at each landmark; the first carries it.
        radii: (21,) float32 radius of the flesh around each landmark.
        ends: (2, K, 3) float32, both ends of each capsule at rest.
        end_segments: (2, K) segment that carries each end.
        end_radii: (2, K) float32.
        flexion_axes: (4, 3) float32, about which each finger bends.
    """

    joints: Array
    joint_segments: NDArray[np.intp]
    radii: Array
    ends: Array
    end_segments: NDArray[np.intp]
    end_radii: Array
    flexion_axes: Array

    @property
    def capsule_count(self) -> int:
        """Number of capsules, K."""
        return int(self.ends.shape[1])


def _rotation(axis: NDArray[np.floating], degrees: float) -> NDArray[np.float64]:
    """Rotation about `axis` by Rodrigues' formula."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


_X, _Y, _Z = np.eye(3)


def _rest_joints(lengths: NDArray[np.float64], slimness: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    joints, axes = np.zeros((21, 3)), np.zeros((4, 3))
    joints[0] = _WRIST
    joints[1:5] = _THUMB_JOINTS
    for finger in range(4):
        turn = _rotation(_Z, -_FINGER_FAN_DEG[finger])
        axes[finger] = turn @ _X
        steps = np.concatenate([[0.0], np.cumsum(lengths[finger])])
        joints[5 + 4 * finger : 9 + 4 * finger] = _FINGER_BASES[finger] + steps[:, None] * (turn @ _Y)
    joints[:, 0] *= slimness
    return joints, axes


def make_shape(rng: np.random.Generator) -> HandShape:
    """A hand shape with proportions and thickness drawn from `rng`, within a tenth of the mean hand's."""
    lengths = _FINGER_LENGTHS * rng.uniform(0.96, 1.05) * rng.uniform(0.98, 1.02, (4, 1))
    joints, axes = _rest_joints(lengths, rng.uniform(0.94, 1.03))
    thickness = rng.uniform(0.92, 1.06)
    radii = np.concatenate([[1.8], _THUMB_RADII, _FINGER_RADII.ravel()]) * thickness
    firsts = (THUMB, 1, 4, 7, 10)
    carriers = [PALM, *(s for first in firsts for s in (PALM, first, first + 1, first + 2))]
    others = [FOREARM, *(s for first in firsts for s in (first, first + 1, first + 2, first + 2))]
    capsules = [*_digits(joints, radii), *_palm(joints, thickness), *_forearm(thickness)]
    ends = np.array([[c[0] for c in capsules], [c[1] for c in capsules]], np.float32)
    end_radii = np.array([[c[2] for c in capsules], [c[3] for c in capsules]], np.float32)
    end_segments = np.array([[c[4] for c in capsules], [c[5] for c in capsules]])
    return HandShape(
        joints.astype(np.float32),
        np.array([carriers, others]),
        radii.astype(np.float32),
        ends,
        end_segments,
        end_radii,
        axes.astype(np.float32),
    )


_Capsule = tuple[NDArray[np.float64], NDArray[np.float64], float, float, int, int]


def _digits(joints: NDArray[np.float64], radii: NDArray[np.float64]) -> list[_Capsule]:
    capsules: list[_Capsule] = []
    for base, segment in ((1, 13), (5, 1), (9, 4), (13, 7), (17, 10)):
        for k in range(3):
            a, b = base + k, base + k + 1
            capsules.append((joints[a], joints[b], radii[a], radii[b], segment + k, segment + k))
    return capsules


def _palm(joints: NDArray[np.float64], thickness: float) -> list[_Capsule]:
    t = thickness

    def inside(a: tuple[float, float, float], b: tuple[float, float, float], ra: float, rb: float) -> _Capsule:
        return np.array(a), np.array(b), ra * t, rb * t, PALM, PALM

    roots = [(1.35, 1.0, 0.05), (0.5, 1.0, 0.0), (-0.5, 1.0, 0.0), (-1.4, 1.0, 0.0)]
    capsules = [
        (np.array(root), joints[5 + 4 * finger] + (0, 0, -0.1), 1.5 * t, (1.15, 1.15, 1.1, 1.0)[finger] * t, PALM, PALM)
        for finger, root in enumerate(roots)
    ]
    capsules += [
        (joints[5 + 4 * f] + (0, -0.5, 0.1), joints[9 + 4 * f] + (0, -0.5, 0.1), 1.0 * t, 0.95 * t, PALM, PALM)
        for f in range(3)
    ]
    capsules += [
        inside((-1.75, 2.2, 0.35), (-2.95, 5.9, 0.2), 1.4, 1.1),  # hypothenar
        inside((1.6, 1.8, 0.6), (2.6, 4.6, 0.45), 1.35, 1.1),  # thenar, the part that stays with the palm
    ]
    web_a, web_b = 0.5 * (joints[1] + joints[2]), 0.45 * joints[1] + 0.55 * joints[5]
    capsules.append((web_a, web_b, 0.95 * t, 0.8 * t, THUMB, PALM))
    return capsules


def _forearm(thickness: float) -> list[_Capsule]:
    t = thickness
    capsules: list[_Capsule] = []
    for side in (-1.0, 1.0):
        wrist, mid = np.array([0.85 * side, 0.6, 0.0]), np.array([0.95 * side, -16.0, 0.0])
        end = np.array([1.1 * side, -ARM_LENGTH_CM, 0.0])
        capsules.append((wrist, mid, 1.8 * t, 2.9 * t, FOREARM, FOREARM))
        capsules.append((mid, end, 2.9 * t, 3.7 * t, FOREARM, FOREARM))
    return capsules


@dataclass(frozen=True, slots=True, eq=False)
class PosedHand:
    """A hand in one pose, still a right hand in its own frame, centimetres.

    Args:
        rotations: (17, 3, 3) float32 of each segment.
        shifts: (17, 3) float32; a rest point x of segment s lies at `rotations[s] @ x + shifts[s]`.
    """

    rotations: Array
    shifts: Array

    def carry(self, points: Array, segments: NDArray[np.intp]) -> Array:
        """Move rest points (N, 3) with their segments (N,)."""
        moved = np.einsum("nij,nj->ni", self.rotations[segments], points) + self.shifts[segments]
        return np.asarray(moved, np.float32)


def pose_hand(shape: HandShape, pose: HandPose) -> PosedHand:
    """Forward kinematics: where every segment goes in `pose`."""
    rotations, shifts = np.tile(np.eye(3), (SEGMENTS, 1, 1)), np.zeros((SEGMENTS, 3))
    angles = pose.angles_deg.astype(np.float64)

    def hinge(segment: int, parent: int, pivot: Array, turn: NDArray[np.float64]) -> None:
        rotations[segment] = rotations[parent] @ turn
        shifts[segment] = rotations[parent] @ (pivot - turn @ pivot) + shifts[parent]

    for finger in range(4):
        axis, first = shape.flexion_axes[finger], 1 + 3 * finger
        bend = [_rotation(axis, angles[3 * finger + k]) for k in range(3)]
        bend[0] = _rotation(_Z, -angles[12 + finger]) @ bend[0]
        for k in range(3):
            parent = PALM if k == 0 else first + k - 1
            hinge(first + k, parent, shape.joints[5 + 4 * finger + k], bend[k])
    opposition, adduction, mcp, ip = angles[16:20]
    swing = _rotation(np.array([0.25, 1.0, 0.1]), -opposition) @ _rotation(_Z, adduction)
    hinge(THUMB, PALM, shape.joints[1], swing)
    hinge(THUMB + 1, THUMB, shape.joints[2], _rotation(_THUMB_FLEXION_AXIS, mcp))
    hinge(THUMB + 2, THUMB + 1, shape.joints[3], _rotation(_THUMB_FLEXION_AXIS, ip))
    # the hand's frame is the palm's, so the wrist turns the forearm, the other way
    flexion, deviation = angles[20:22]
    hinge(FOREARM, PALM, shape.joints[0], _rotation(_Z, deviation) @ _rotation(_X, -flexion))
    return PosedHand(rotations.astype(np.float32), shifts.astype(np.float32))


def mirror(handedness: Handedness) -> Array:
    """(3, 3) float32 that makes of the right hand's frame that of `handedness`."""
    return np.diag([-1.0 if handedness is Handedness.LEFT else 1.0, 1.0, 1.0]).astype(np.float32)
