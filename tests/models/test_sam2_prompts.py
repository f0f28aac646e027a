"""Prompts are checked against the frame and the objects, and become what SAM2's prompt encoder takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gest_stream.errors import InvalidInputError
from gest_stream.models.sam2_prompts import check_prompts, clicks_of, square_mask
from gest_stream.types import Prompt, PromptMode
from tests.models.sam2_nano import box, click

CPU = torch.device("cpu")
SIZE = (320, 180)
REFINE, APPEND = PromptMode.REFINE, PromptMode.APPEND


def check(prompts: Any, live: tuple[int, ...] = (5,), retired: tuple[int, ...] = (9,)) -> dict[int, tuple[Prompt, ...]]:
    return check_prompts(prompts, SIZE, live, set(retired))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({1: click(321, 10)}, r"object 1: point \(321.0, 10.0\) lies outside the frame of 320x180 pixels; points are"),
        ({1: click(10, 180.5)}, r"object 1: point \(10.0, 180.5\) lies outside"),
        ({1: click(-1, 10)}, r"object 1: point \(-1.0, 10.0\) lies outside"),
        ({1: [click(5, 5), click(500, 10, mode=REFINE)]}, r"point \(500.0, 10.0\) lies outside"),
        ({1: box(0, 0, 320, 181)}, r"box \(0, 0, 320, 181\) reaches outside the frame of 320x180 pixels; clip it"),
        ({1: box(-2, 0, 20, 20)}, "reaches outside.*clip it"),
        ({1: box(2, 0, float("inf"), 20)}, "reaches outside.*clip it"),
        ({1: Prompt.from_mask(np.ones((320, 180), bool))}, r"frame's size \(180, 320\), got \(320, 180\)"),
        ({1: Prompt.from_mask(np.ones((90, 160), bool))}, r"frame's size \(180, 320\), got \(90, 160\)"),
        (
            {1: click(5, 5, mode=REFINE)},
            "object 1: there is no mask to refine, the object is unknown; use the mode res",
        ),
        ({9: click(5, 5)}, "object 9: was forgotten, and ids are not used twice; take a new id"),
        ({1: [click(5, 5), click(6, 6, mode=APPEND)]}, "object 1: append comes first on a frame"),
        ({1: []}, "object 1: expected at least one prompt, got none"),
        ({1: None}, "expected an id and Prompts, got 1 and None"),
        ({1: (5, 5)}, r"expected an id and Prompts, got 1 and \(5, 5\)"),
        ({"hand": click(5, 5)}, "expected an id and Prompts, got 'hand'"),
        ({5: click(5, 5), 2: click(999, 5)}, r"object 2: point \(999.0, 5.0\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_value_and_the_remedy(prompts: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check(prompts)


def test_one_prompt_and_several_come_out_as_sequences() -> None:
    one, two = click(0, 0), click(320, 180, mode=REFINE)
    assert check({1: one, 5: [one, two], 6: (two,)}, live=(5, 6)) == {1: (one,), 5: (one, two), 6: (two,)}


def test_a_box_comes_before_points_and_everything_is_scaled_to_the_square() -> None:
    points = np.array([[160, 90], [32, 18]], np.float32)
    prompt = Prompt(points, np.array([1, 0], np.int32), (0, 45, 320, 180))
    clicks = clicks_of(prompt, SIZE, 64, CPU)
    assert clicks.labels.tolist() == [[2, 3, 1, 0]]
    expected = torch.tensor([[[0, 16], [64, 64], [32, 32], [6.4, 6.4]]])
    torch.testing.assert_close(clicks.points, expected)
    assert points.tolist() == [[160, 90], [32, 18]], "the caller's array was written to"


def test_only_a_single_point_leaves_doubt() -> None:
    assert clicks_of(click(1, 1), SIZE, 64, CPU).leave_doubt
    assert not clicks_of(box(0, 0, 5, 5), SIZE, 64, CPU).leave_doubt


def test_clicks_join_the_earlier_ones_behind_them() -> None:
    first, second = clicks_of(click(320, 180), SIZE, 64, CPU), clicks_of(click(0, 0, label=0), SIZE, 64, CPU)
    assert second.after(None) is second
    joined = second.after(first)
    assert (joined.points.tolist(), joined.labels.tolist()) == ([[[64, 64], [0, 0]]], [[1, 0]])
    assert not joined.leave_doubt


def test_a_mask_is_squared_as_upstream_does_it() -> None:
    rows, columns = np.mgrid[0:180, 0:320]
    mask = (columns - 250) ** 2 + (rows - 40) ** 2 < 35**2
    squared = square_mask(Prompt.from_mask(mask), 64, CPU)
    whole = torch.from_numpy(mask)[None, None].float()
    expected = F.interpolate(whole, size=(64, 64), mode="bilinear", align_corners=False, antialias=True) >= 0.5
    assert squared.shape == (1, 1, 64, 64)
    assert torch.equal(squared, expected.float())
    down, across = np.argwhere(squared[0, 0].numpy()).mean(axis=0) + 0.5
    assert (across, down) == pytest.approx((250 / 5, 40 / (180 / 64)), abs=0.5)


def test_a_read_only_mask_of_the_squares_size_is_taken_as_it_is() -> None:
    mask = np.random.default_rng(0).random((64, 64)) > 0.5
    mask.flags.writeable = False
    torch.set_warn_always(True)  # of read-only arrays, once in a process else
    try:
        squared = square_mask(Prompt.from_mask(mask), 64, CPU)
    finally:
        torch.set_warn_always(False)
    assert torch.equal(squared[0, 0], torch.from_numpy(mask.copy()).float())
