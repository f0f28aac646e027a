"""Things in a hand: how the hand holds them, and which of their pixels lie before the fingers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array, Light
from gest_stream.synthetic.layer import Layer
from gest_stream.synthetic.motion import HandState
from gest_stream.synthetic.pose import HandPose
from gest_stream.synthetic.render import PALM_CM, Perspective, RenderedHand, scene_turn
from gest_stream.training.wide_things import Thing, ball, bottle, cup, see_thing, slab, stick
from gest_stream.types import Handedness

_HAND_DRAWN = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Grip:
    """A thing in a hand.

    Args:
        thing: What is held.
        pose: How the hand holds it.
        turn: (3, 3) from the thing's axes to the hand's.
        at_cm: (3,) where its origin lies in the hand's frame.
    """

    thing: Thing
    pose: HandPose
    turn: Array
    at_cm: Array


def draw_grip(rng: np.random.Generator) -> Grip:
    """A hand around a bottle, cup or ball, behind a phone or book, or at a pen."""
    from scipy.spatial.transform import Rotation

    kind = rng.choice(5, p=(0.22, 0.2, 0.28, 0.15, 0.15))
    wobble = rng.normal(0, 14, 3)
    if kind in (0, 1):
        thing = bottle(rng) if kind == 0 else cup(rng)
        radius = thing.solids[0].half[0]
        bend = float(np.clip(0.78 - 0.09 * radius + rng.normal(0, 0.04), 0.3, 0.8))
        pose = HandPose.of((bend, bend, bend, bend), opposition=0.75, thumb_curl=0.15)
        # across the palm, its top toward the thumb
        turn = Rotation.from_euler("ZXY", [-90 + wobble[0], *wobble[1:]], degrees=True)
        at = PALM_CM + np.array([0.0, 1.5, radius + 1.0])
    elif kind == 2:
        thing = slab(rng)
        thick = thing.solids[0].half[2]
        bend = float(rng.uniform(0.2, 0.45))
        pose = HandPose.of((bend, bend, bend, bend), opposition=0.8, thumb_curl=float(rng.uniform(0, 0.6)))
        turn = Rotation.from_euler("ZXY", [rng.choice((0.0, 0.0, 90.0)) + wobble[0], *wobble[1:]], degrees=True)
        at = PALM_CM + np.array([0.0, rng.uniform(1.0, 5.0), thick + 1.3])
    elif kind == 3:
        thing = stick(rng)
        pose = HandPose.of((0.5, 0.5, 0.6, 0.65), opposition=0.75, thumb_curl=0.3, adduction=0.3)
        turn = Rotation.from_euler("ZXY", [rng.uniform(-60, 60), rng.uniform(20, 80), 0], degrees=True)
        at = np.array([2.6, 9.5, 3.6])
    else:
        thing = ball(rng)
        radius = thing.solids[0].half[0]
        bend = float(np.clip(0.62 - 0.06 * radius, 0.2, 0.6))
        pose = HandPose.of((bend, bend, bend, bend), spread=0.6, opposition=0.8, thumb_curl=0.25)
        turn = Rotation.from_euler("ZXY", rng.uniform(-90, 90, 3), degrees=True)
        at = PALM_CM + np.array([0.0, 2.0, radius + 1.1])
    return Grip(thing, pose, turn.as_matrix().astype(np.float32), np.asarray(at, np.float32))


def held(
    grip: Grip,
    state: HandState,
    hand: RenderedHand,
    handedness: Handedness,
    light: Light,
    frame_size: tuple[int, int],
    camera: Perspective | None,
) -> tuple[Layer, Layer]:
    """The held thing as two layers: all of it, to lie behind the hand, and what of it lies before the hand."""
    turn = scene_turn(state, handedness)
    centre = (turn @ (grip.at_cm - PALM_CM) + np.append(state.palm_xy_px, 0.0))[None].astype(np.float32)
    scale = 1.0
    if camera is not None:
        scale, centre = float(camera.scale(centre[:, 2])[0]), camera.project(centre)
    whole, depth = see_thing(grip.thing, (scale * turn @ grip.turn).astype(np.float32), centre[0], light, frame_size)
    surface = np.full((frame_size[1], frame_size[0]), np.inf, np.float32)
    covered = hand.layer.coverage > _HAND_DRAWN
    surface[hand.layer.slices][covered] = hand.depth_px[covered]
    before: NDArray[np.bool_] = depth < surface[whole.slices]
    return whole, Layer(whole.origin_xy_px, whole.colour * before[..., None], whole.parts * before)
