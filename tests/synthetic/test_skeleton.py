import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from gest_stream.synthetic.pose import GESTURES, HandPose
from gest_stream.synthetic.skeleton import FOREARM, Array, HandShape, make_shape, pose_hand
from gest_stream.types import HAND_CONNECTIONS

SHAPE = make_shape(np.random.default_rng(0))
ANGLES = arrays(np.float32, 22, elements=st.floats(-120, 120, width=32))


def joints_in(pose: HandPose, shape: HandShape = SHAPE) -> Array:
    return pose_hand(shape, pose).carry(shape.joints, shape.joint_segments[0])


@given(ANGLES)
def test_bones_keep_their_length_in_every_pose(angles: NDArray[np.float32]) -> None:
    posed = joints_in(HandPose(angles))
    for a, b in HAND_CONNECTIONS:
        assert np.linalg.norm(posed[a] - posed[b]) == pytest.approx(
            np.linalg.norm(SHAPE.joints[a] - SHAPE.joints[b]), abs=1e-3
        )


@given(ANGLES)
def test_both_segments_of_a_joint_hold_it_together(angles: NDArray[np.float32]) -> None:
    posed = pose_hand(SHAPE, HandPose(angles))
    one, other = (posed.carry(SHAPE.joints, SHAPE.joint_segments[k]) for k in range(2))
    assert np.allclose(one, other, atol=1e-3)


def test_a_fist_brings_the_fingertips_in_front_of_the_palm() -> None:
    tips = joints_in(GESTURES["fist"])[[8, 12, 16, 20]]
    assert (tips[:, 2] > 1.0).all()
    assert (tips[:, 1] < SHAPE.joints[[5, 9, 13, 17], 1]).all()


def test_opposition_brings_the_thumb_in_front_of_the_palm() -> None:
    away, opposed = joints_in(HandPose.of()), joints_in(HandPose.of(opposition=1.0))
    assert opposed[4, 2] > away[4, 2] + 2.0


def test_spread_moves_the_outer_fingertips_apart() -> None:
    closed, wide = joints_in(HandPose.of(spread=-0.8)), joints_in(HandPose.of(spread=1.0))
    assert wide[8, 0] - wide[20, 0] > closed[8, 0] - closed[20, 0] + 2.0


def test_a_flexed_wrist_turns_the_forearm_and_not_the_hand() -> None:
    straight, bent = pose_hand(SHAPE, HandPose.of()), pose_hand(SHAPE, HandPose.of(wrist_deg=(40.0, 0.0)))
    assert np.array_equal(straight.rotations[:FOREARM], bent.rotations[:FOREARM])
    up = bent.rotations[FOREARM] @ np.array([0.0, 1.0, 0.0])
    assert np.degrees(np.arccos(up[1])) == pytest.approx(40.0, abs=0.01)


def test_proportions_are_those_of_a_hand_whatever_the_seed() -> None:
    for seed in range(20):
        joints = make_shape(np.random.default_rng(seed)).joints
        length = np.linalg.norm(joints[12] - joints[0])
        assert 16.0 < length < 20.0
        assert 0.42 < np.linalg.norm(joints[9] - joints[0]) / length < 0.56
        assert 0.27 < np.linalg.norm(joints[5] - joints[17]) / length < 0.38
