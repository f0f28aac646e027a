"""How hands move in the built-in models' training clips: any view, any pose, near each other and past each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.motion import HAND_CM, Drift, HandState, ease, there_and_back
from gest_stream.synthetic.pose import GESTURES, HandPose

Array = NDArray[np.float32]

_ANY_POSE: Final = 0.35
_COMMON: Final = frozenset({"open", "wide", "relaxed", "flat", "cup", "pinch"})
_JITTER: Final = np.array([6.0] * 12 + [2.5] * 4 + [7.0] * 4 + [16.0, 9.0])


@dataclass(frozen=True, slots=True)
class Crossing:
    """A hand goes over to another place and comes back, or stays.

    Args:
        start_s: When it begins.
        duration_s: How long it takes, there and back.
        by_xy_px: How far it goes.
        stays: It does not come back.
    """

    start_s: float
    duration_s: float
    by_xy_px: tuple[float, float]
    stays: bool = False

    def offset(self, time_s: float) -> NDArray[np.float64]:
        """(2,) pixels from where the hand would be without it."""
        progress = (time_s - self.start_s) / self.duration_s
        share = ease(progress) if self.stays else there_and_back(min(max(progress, 0.0), 1.0))
        return share * np.array(self.by_xy_px)


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a hand is and how the camera sees it.

    Args:
        home_xy_px: About where its palm stays.
        length_px: From wrist to fingertips, were it flat.
        first_person: It is the camera's wearer's own: from below, seen from behind, reaching away.
        middle_s: The moment at which it is at home.
        duration_s: Of the clip.
        crossings: Its ways across.
        grip: Pose in which it holds something; None for a free hand.
    """

    home_xy_px: tuple[float, float]
    length_px: float
    first_person: bool
    middle_s: float
    duration_s: float
    crossings: tuple[Crossing, ...] = ()
    grip: HandPose | None = None


def any_pose(rng: np.random.Generator) -> HandPose:
    """A named gesture, a mixture of two, or fingers bent each as it likes."""
    chances = np.array([2.0 if name in _COMMON else 1.0 for name in GESTURES])
    chosen = rng.choice(list(GESTURES), 2, p=chances / chances.sum())
    first, second = (GESTURES[str(name)] for name in chosen)
    if rng.random() < _ANY_POSE:
        common = rng.uniform(0.0, 0.9)
        curl = np.clip(common + rng.normal(0.0, 0.25, 4), 0.0, 1.0)
        return HandPose.of(
            (float(curl[0]), float(curl[1]), float(curl[2]), float(curl[3])),
            float(rng.uniform(-1, 1)),
            float(rng.random()),
            float(rng.random()),
            float(rng.random()),
            (float(rng.normal(0, 20)), float(rng.normal(0, 10))),
        )
    return first.toward(second, float(rng.choice((0.0, 0.0, rng.random()))))


class HandPath:
    """One hand's way through a clip.

    Args:
        placing: Where it is.
        rng: How it moves there.
    """

    def __init__(self, placing: Placing, rng: np.random.Generator) -> None:
        self._placing = placing
        self._home = np.array(placing.home_xy_px)
        self._angles = _first_person(rng) if placing.first_person else _third_person(rng)
        self._lively = float(rng.uniform(0.2, 1.6))
        self._reach = placing.length_px * rng.uniform(0.03, 0.3, 2)
        self._speed = placing.length_px * rng.normal(0.0, 0.45, 2)
        self._approach = rng.normal(0.0, 0.12)
        self._place = Drift(rng, 2, 0.1, 0.7)
        self._tilt = Drift(rng, 3, 0.08, 0.5)
        self._jitter = Drift(rng, 22, 0.2, 1.0)
        self._poses = self._draw_poses(rng)

    def _draw_poses(self, rng: np.random.Generator) -> list[tuple[float, HandPose]]:
        if self._placing.grip is not None:
            return [(0.0, self._placing.grip)]
        start = -float(rng.uniform(0.0, 1.0))
        poses = [(start, any_pose(rng))]
        while start < self._placing.duration_s:
            start += float(rng.uniform(0.5, 1.8))
            poses.append((start, any_pose(rng)))
        return poses

    def _pose(self, time_s: float) -> HandPose:
        before = max(k for k, (start, _) in enumerate(self._poses) if start <= time_s or k == 0)
        start, pose = self._poses[before]
        if before + 1 < len(self._poses):
            end, following = self._poses[before + 1]
            pose = pose.toward(following, ease((time_s - start) / (end - start)))
        held = 0.25 if self._placing.grip is not None else 1.0
        return pose.jittered((held * self._jitter.at(time_s) * _JITTER).astype(np.float32))

    def at(self, time_s: float) -> HandState:
        """The hand at `time_s` seconds from the start of the clip."""
        since = time_s - self._placing.middle_s
        # it turns back at the end of its reach, so that it does not leave for good in long clips
        palm = self._home + self._reach * self._place.at(time_s) + 0.5 * self._speed * np.sin(2.0 * since)
        for crossing in self._placing.crossings:
            palm = palm + crossing.offset(time_s)
        roll, yaw, tilt = self._angles + self._lively * self._tilt.at(time_s) * (10.0, 18.0, 12.0)
        scale = self._placing.length_px / HAND_CM * float(np.exp(self._approach * np.sin(1.5 * since)))
        return HandState(self._pose(time_s), _rotation(roll, yaw, tilt), palm.astype(np.float32), scale)


def _rotation(roll: float, yaw: float, tilt: float) -> Array:
    """(3, 3) by degrees: yaw about the hand, then tilted to the camera, then rolled in the picture."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("ZXY", [roll, tilt, yaw], degrees=True).as_matrix(), np.float32)


def _third_person(rng: np.random.Generator) -> NDArray[np.float64]:
    """Roll, yaw and tilt: fingers mostly up, some sideways, few down; palms more often than backs."""
    way = rng.random()
    if way < 0.62:
        roll = rng.normal(0.0, 32.0)
    elif way < 0.85:
        roll = rng.choice((-1.0, 1.0)) * rng.uniform(55, 125)
    else:
        roll = rng.uniform(-180, 180)
    side = rng.random()
    yaw = rng.normal(0, 32) if side < 0.55 else 180 + rng.normal(0, 32) if side < 0.88 else rng.uniform(-180, 180)
    return np.array([roll, yaw, rng.normal(0.0, 22.0)])


def _first_person(rng: np.random.Generator) -> NDArray[np.float64]:
    """Roll, yaw and tilt of the wearer's right hand: the arm comes from below, on its own side."""
    yaw = 180 + rng.normal(0, 35) if rng.random() < 0.75 else rng.normal(0, 45)
    return np.array([rng.normal(22.0, 25.0), yaw, -rng.uniform(5.0, 70.0)])
