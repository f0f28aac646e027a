"""Masks over time."""

import numpy as np
import pytest

from gest_stream.testing import make_frame
from gest_stream.types import FrameResult, Handedness, HandMask, MaskSource, Track, TrackState
from gest_stream.worker.smoothing import MaskSmoother

SIZE = (64, 48)


def mask(left: int, top: int, value: int = 255, side: int = 10) -> HandMask:
    return HandMask(np.full((side, side), value, np.uint8), (left, top), SIZE, 0.9, MaskSource.SCRIPTED)


def result(*masks: HandMask | None) -> FrameResult:
    tracks = [
        Track(i + 1, TrackState.TRACKED, Handedness.RIGHT, 1.0, None, each) for i, each in enumerate(masks)
    ]  # fmt: skip
    return FrameResult(make_frame(0, SIZE), tuple(tracks))


def alpha(shown: FrameResult, index: int = 0) -> np.ndarray:
    found = shown.tracks[index].mask
    return np.zeros((48, 64), np.uint8) if found is None else found.full()


def test_without_smoothing_results_pass_as_they_are() -> None:
    given = result(mask(5, 5))
    assert MaskSmoother().smooth(given, 0) is given


def test_a_first_mask_is_shown_at_once() -> None:
    assert np.array_equal(alpha(MaskSmoother().smooth(result(mask(5, 5)), 0.8)), mask(5, 5).full())


def test_a_mask_that_stays_stays() -> None:
    smoother = MaskSmoother()
    for _ in range(20):
        shown = alpha(smoother.smooth(result(mask(5, 5)), 0.8))
    assert np.array_equal(shown, mask(5, 5).full())


def test_a_mask_that_moves_is_mixed_with_where_it_was() -> None:
    smoother = MaskSmoother()
    smoother.smooth(result(mask(10, 10)), 0.25)
    shown = alpha(smoother.smooth(result(mask(15, 12)), 0.25))
    old, new = mask(10, 10).full(), mask(15, 12).full()
    assert np.abs(shown.astype(float) - (0.25 * old + 0.75 * new)).max() <= 0.5


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_missing_mask_fades_to_nothing(share: float) -> None:
    smoother = MaskSmoother()
    smoother.smooth(result(mask(10, 10)), share)
    levels = [255.0]
    while levels[-1] and len(levels) < 200:
        shown = smoother.smooth(result(None), share)
        levels.append(float(alpha(shown).max()))
    assert levels[1] == pytest.approx(255 * share, abs=0.5)
    assert levels[-1] == 0
    assert shown.tracks[0].mask is None
    assert all(b <= a for a, b in zip(levels, levels[1:], strict=False))


def test_each_hand_is_smoothed_on_its_own() -> None:
    smoother = MaskSmoother()
    smoother.smooth(result(mask(0, 0), mask(40, 30)), 0.5)
    shown = smoother.smooth(result(mask(0, 0), None), 0.5)
    assert alpha(shown, 0).max() == 255
    assert alpha(shown, 1).max() == 128


def test_a_hand_that_is_gone_is_forgotten() -> None:
    smoother = MaskSmoother()
    smoother.smooth(result(mask(0, 0)), 0.5)
    smoother.smooth(result(), 0.5)
    assert smoother.smooth(result(None), 0.5).tracks[0].mask is None


def test_after_a_reset_nothing_is_carried_over() -> None:
    smoother = MaskSmoother()
    smoother.smooth(result(mask(0, 0)), 0.5)
    smoother.reset()
    assert np.array_equal(alpha(smoother.smooth(result(mask(20, 20)), 0.5)), mask(20, 20).full())


def test_an_empty_mask_is_none() -> None:
    smoother = MaskSmoother()
    empty = HandMask(np.zeros((0, 0), np.uint8), (0, 0), SIZE, 0.5, MaskSource.SCRIPTED)
    smoother.smooth(result(empty), 0.5)
    assert np.array_equal(alpha(smoother.smooth(result(mask(3, 3)), 0.5)), mask(3, 3).full())
