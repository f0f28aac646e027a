import logging
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.sources.timeline import Picture, Timeline

MS = Fraction(1, 1000)


def picture(pts: int | None, size: tuple[int, int] = (4, 2), time_base: Fraction = MS) -> Picture:
    return Picture(np.zeros((size[1], size[0], 3), np.uint8), pts, time_base, 7)


def placed(*pts: int | None, rate: int = 25) -> list[int]:
    timeline = Timeline("clip", MS, Fraction(rate))
    return [timeline.frame(picture(value)).pts for value in pts]


def test_increasing_pts_are_passed_on_untouched() -> None:
    assert placed(-40, 0, 1, 700, 90_000) == [-40, 0, 1, 700, 90_000]


def test_missing_pts_follow_at_the_nominal_rate() -> None:
    assert placed(None, None, 100, None, None) == [0, 40, 100, 140, 180]


def test_a_repeated_or_small_backward_pts_becomes_its_predecessors_plus_one() -> None:
    assert placed(0, 40, 40, 30, 120) == [0, 40, 41, 42, 120]


def test_a_clock_that_falls_back_by_a_second_goes_on_one_frame_later_with_its_spacing() -> None:
    assert placed(5000, 5040, 0, 40, 100) == [5000, 5040, 5080, 5120, 5180]


def test_the_shift_of_a_discontinuity_is_told_in_seconds() -> None:
    timeline = Timeline("clip", MS, Fraction(25))
    for pts in (5000, 5040, 0):
        timeline.frame(picture(pts))
    assert timeline.shift_s == Fraction(5080, 1000)


def test_pictures_of_another_time_base_are_converted() -> None:
    timeline = Timeline("clip", MS, Fraction(25))
    timeline.frame(picture(0))
    assert timeline.frame(picture(9000, time_base=Fraction(1, 90_000))).pts == 100


def test_frames_are_numbered_from_zero_and_keep_their_capture_time() -> None:
    timeline = Timeline("clip", MS, None)
    frames = [timeline.frame(picture(pts)) for pts in (3, 9)]
    assert [(f.seq, f.captured_ns, f.time_base) for f in frames] == [(0, 7, MS), (1, 7, MS)]


def test_a_repair_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        placed(0, 40, 40, 40, 40)
    assert [record.getMessage() for record in caplog.records] == ["clip: timestamp 40 does not follow 40; repaired"]


def test_a_new_picture_size_is_told_with_both_sizes(caplog: pytest.LogCaptureFixture) -> None:
    timeline = Timeline("clip", MS, None)
    with caplog.at_level(logging.WARNING):
        sizes = [timeline.frame(picture(i, size)).size for i, size in enumerate([(4, 2), (6, 8), (6, 8)])]
    assert sizes == [(4, 2), (6, 8), (6, 8)]
    assert [record.getMessage() for record in caplog.records] == ["clip: the picture size changed from 4x2 to 6x8"]


@given(st.lists(st.none() | st.integers(-(10**6), 10**6), max_size=60))
def test_pts_always_increase(values: list[int | None]) -> None:
    got = placed(*values)
    assert all(a < b for a, b in zip(got, got[1:], strict=False))
    assert len(got) == len(values)
