"""How the hands of a clip move: smooth paths and gestures drawn from a seed, and the scripted events on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.config import ClipConfig, Event, EventKind
from gest_stream.synthetic.pose import GESTURES, HandPose

Array = NDArray[np.float32]

HAND_CM: Final = 18.5
_WEIGHTS: Final = {
    "open": 5.0,
    "relaxed": 4.0,
    "wide": 2.5,
    "cup": 1.5,
    "two": 1.5,
    "three": 1.5,
    "point": 1.5,
    "pinch": 1.5,
    "flat": 1.0,
    "fist": 0.5,
    "thumb_up": 0.5,
}


@dataclass(frozen=True, slots=True, eq=False)
class HandState:
    """One hand at one moment.

    Args:
        pose: Its joint angles.
        rotation: (3, 3) float32 from the right hand's frame (x thumb, y fingers, z out of the palm) to the picture's
            (x right, y up, z to the camera), before mirroring.
        palm_xy_px: Where the middle of the palm lies.
        px_per_cm: Scale.
    """

    pose: HandPose
    rotation: Array
    palm_xy_px: Array
    px_per_cm: float


class Drift:
    """A smooth wander around 0 with amplitude of about 1: a sum of three sines."""

    def __init__(self, rng: np.random.Generator, count: int, slowest_hz: float, fastest_hz: float) -> None:
        self._rates = 2 * np.pi * rng.uniform(slowest_hz, fastest_hz, (count, 3))
        self._phases = rng.uniform(0, 2 * np.pi, (count, 3))

    def at(self, time_s: float) -> NDArray[np.float64]:
        """(count,) values."""
        return np.asarray(np.sin(self._rates * time_s + self._phases).sum(1) / 1.9)


def ease(share: float) -> float:
    """0 to 1 with no speed at either end."""
    share = min(max(share, 0.0), 1.0)
    return share**3 * (share * (6.0 * share - 15.0) + 10.0)


def there_and_back(progress: float, travel: float = 0.4) -> float:
    """0 at both ends, 1 in the middle; `travel` is the share of the time each way takes."""
    return ease(progress / travel) * ease((1.0 - progress) / travel)


def _turn(roll: float, yaw: float, pitch: float) -> Array:
    """Rotation by degrees: pitch about x first, then yaw about y, then roll about z."""
    cr, cy, cp = np.cos(np.radians([roll, yaw, pitch]))
    sr, sy, sp = np.sin(np.radians([roll, yaw, pitch]))
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return np.asarray(about_z @ about_y @ about_x, np.float32)


class HandMotion:
    """The path of one hand through a clip.

    Args:
        config: Of the clip.
        index: Which hand.
        rng: Where its path comes from.
    """

    def __init__(self, config: ClipConfig, index: int, rng: np.random.Generator) -> None:
        self._config = config
        self._index = index
        width, height = config.size
        share = 0.5 if config.hands == 1 else (0.29, 0.71)[index]
        self._home = np.array([share * width, rng.uniform(0.49, 0.55) * height])
        room = np.array([width / config.hands, height])
        self._reach = room * rng.uniform(0.05, 0.085, 2)
        hand_px = min(0.46 * height, 0.62 * room[0]) * rng.uniform(0.92, 1.06)
        self._px_per_cm = hand_px / HAND_CM
        self._place = Drift(rng, 2, 0.1, 0.4)
        self._tilt = Drift(rng, 3, 0.08, 0.3)
        self._size = Drift(rng, 1, 0.1, 0.25)
        self._jitter = Drift(rng, 22, 0.2, 0.8)
        self._lean = rng.uniform(2.0, 14.0)
        self._back = rng.random() < 0.3
        self._gestures = self._draw_gestures(rng)

    def _draw_gestures(self, rng: np.random.Generator) -> list[tuple[float, HandPose]]:
        names = list(_WEIGHTS)
        chances = np.array(list(_WEIGHTS.values()))
        time_s, gestures = 0.0, [(0.0, GESTURES["open"])]
        while time_s < self._config.duration_s:
            time_s += rng.uniform(0.9, 1.6)
            gestures.append((time_s, GESTURES[names[rng.choice(len(names), p=chances / chances.sum())]]))
        return gestures

    def _pose(self, time_s: float) -> HandPose:
        before = max(k for k, (start, _) in enumerate(self._gestures) if start <= time_s or k == 0)
        start, pose = self._gestures[before]
        if before + 1 < len(self._gestures):
            end, following = self._gestures[before + 1]
            pose = pose.toward(following, ease((time_s - start - 0.3) / (end - start - 0.3)))
        jitter = self._jitter.at(time_s) * np.array([3.0] * 12 + [1.5] * 4 + [4.0] * 4 + [9.0, 6.0])
        return pose.jittered(jitter.astype(np.float32))

    def _events(self, kind: EventKind, time_s: float) -> list[tuple[Event, float]]:
        found = [(event, event.progress(time_s)) for event in self._config.events if event.kind is kind]
        mine = [(e, p) for e, p in found if p is not None and (kind is EventKind.CROSS or e.hand == self._index)]
        return mine

    def _side(self, time_s: float) -> float:
        """How far right of its home a hand stands that leaves on one side and returns on the other, pixels."""
        turns = [e.start_s + e.duration_s / 2 for e in self._config.events if e.elsewhere and e.hand == self._index]
        if not turns:
            return 0.0
        changes = sum(time_s >= turn for turn in turns)
        return 0.22 * self._config.size[0] * (1.0 if changes % 2 else -1.0)

    def at(self, time_s: float) -> HandState:
        """The hand at `time_s` seconds from the start of the clip."""
        width, height = self._config.size
        palm = self._home + self._reach * self._place.at(time_s)
        inward = 1.0 if self._index == 0 else -1.0
        tilt = self._tilt.at(time_s) * (9.0, 20.0, 13.0)
        roll, yaw, pitch = -inward * self._lean + tilt[0], tilt[1], tilt[2]
        palm[0] += self._side(time_s)
        for _, progress in self._events(EventKind.CROSS, time_s):
            away = there_and_back(progress)
            palm[0] += inward * 0.4 * width * away
            palm[1] -= inward * 0.04 * height * away
        for event, progress in self._events(EventKind.SWIPE, time_s):
            strength = there_and_back(progress, 0.3)
            palm[0] += 0.075 * width * strength * np.sin(2 * np.pi * 2.0 * progress * event.duration_s)
        arm = np.radians(roll)
        for _, progress in self._events(EventKind.LEAVE, time_s):
            # along the forearm, as an arm is drawn back
            palm += there_and_back(progress, 0.38) * 1.05 * height * np.array([np.sin(arm), np.cos(arm)])
        yaw += 180.0 if self._back else 0.0
        # the angles are those of the picture; the left hand's frame is mirrored afterwards
        rotation = _turn(inward * roll, inward * yaw, pitch)
        scale = self._px_per_cm * (1.0 + 0.05 * float(self._size.at(time_s)[0]))
        return HandState(self._pose(time_s), rotation, palm.astype(np.float32), scale)
