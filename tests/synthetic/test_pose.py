import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic.pose import ANGLE_NAMES, GESTURES, LOWER_DEG, UPPER_DEG, HandPose

ANGLES = arrays(np.float32, 22, elements=st.floats(-720, 720, width=32))


@given(ANGLES)
def test_any_pose_stays_within_human_limits_and_keeps_what_lies_within(angles: NDArray[np.float32]) -> None:
    pose = HandPose(angles)
    assert (pose.angles_deg >= LOWER_DEG).all() and (pose.angles_deg <= UPPER_DEG).all()
    within = (angles >= LOWER_DEG) & (angles <= UPPER_DEG)
    assert np.array_equal(pose.angles_deg[within], angles[within])


def test_every_angle_is_named_and_has_a_range() -> None:
    assert len(ANGLE_NAMES) == len(set(ANGLE_NAMES)) == LOWER_DEG.size == UPPER_DEG.size
    assert (LOWER_DEG < UPPER_DEG).all()


def test_fingers_bend_no_further_than_measured_in_people() -> None:
    limits = dict(zip(ANGLE_NAMES, UPPER_DEG, strict=True))
    assert limits["index_mcp_flexion"] == 90
    assert limits["index_pip_flexion"] <= 110
    assert limits["index_dip_flexion"] <= 90
    assert limits["index_spread"] == 15


def test_the_end_joint_follows_the_middle_one_by_two_thirds() -> None:
    pose = HandPose.of(curl=(0.5, 0, 0, 0))
    assert pose.angles_deg[2] == pytest.approx(2 / 3 * pose.angles_deg[1])


def test_half_way_between_two_poses_is_their_mean() -> None:
    half = GESTURES["open"].toward(GESTURES["fist"], 0.5)
    mean = (GESTURES["open"].angles_deg + GESTURES["fist"].angles_deg) / 2
    assert np.allclose(half.angles_deg, mean)


@pytest.mark.parametrize("angles", [np.zeros(21, np.float32), np.full(22, np.nan, np.float32)])
def test_angles_of_another_shape_or_nan_are_refused(angles: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidInputError, match=r"expected \(22,\) finite degrees"):
        HandPose(angles)
