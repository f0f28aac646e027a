import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gest_stream.training.sam2_correction import correction
from gest_stream.training.sam2_prompting import (
    PROMPT_SHARES,
    PromptKind,
    draw_kind,
    interior_points,
    mask_points,
    padded,
)

SIDE = 64


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def test_without_chance_the_first_point_is_the_deepest_and_the_others_lie_apart() -> None:
    mask = disc(20, 30, 10)
    points = interior_points(mask, 5, None)
    assert np.abs(points[0] - [20, 30]).max() <= 1
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)[~np.eye(5, dtype=bool)]
    assert apart.min() > 3
    assert np.array_equal(points, interior_points(mask, 5, None))


def test_points_lie_on_the_object_and_chance_moves_them() -> None:
    mask = disc(20, 30, 10) | disc(50, 12, 4)
    first, second = (interior_points(mask, 6, np.random.default_rng(seed)) for seed in (0, 1))
    for points in (first, second):
        assert mask[points[:, 1].astype(int), points[:, 0].astype(int)].all()
    assert not np.array_equal(first, second)


def test_an_object_of_one_pixel_has_one_point() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[63, 0] = True
    assert interior_points(mask, 5, None).tolist() == [[0.0, 63.0]]


def test_the_tracker_s_prompt_is_a_box_points_on_the_object_and_one_off_it_on_each_other() -> None:
    mask, other = disc(20, 30, 10), disc(45, 30, 8)
    found = mask_points(mask, [other], PromptKind.TRACKER, None)
    assert found is not None
    points, labels = found
    assert labels.tolist() == [2, 3, 1, 1, 1, 1, 1, 0]
    assert points[:2].tolist() == [[11.0, 21.0], [30.0, 40.0]]
    on = [bool(mask[int(y), int(x)]) for x, y in points[2:]]
    assert on == [True] * 5 + [False] and other[int(points[-1, 1]), int(points[-1, 0])]


@pytest.mark.parametrize(
    ("kind", "labels"),
    [(PromptKind.POINT, [1]), (PromptKind.BOX, [2, 3]), (PromptKind.POINTS, [1] * 5)],
)
def test_other_kinds_give_a_part_of_it(kind: PromptKind, labels: list[int]) -> None:
    found = mask_points(disc(20, 30, 10), [], kind, None)
    assert found is not None and found[1].tolist() == labels and len(found[0]) == len(labels)


def test_a_box_is_off_by_a_tenth_of_its_size_at_most_and_inside_the_square() -> None:
    mask = disc(55, 30, 12)
    boxes = []
    for seed in range(40):
        found = mask_points(mask, [], PromptKind.BOX, np.random.default_rng(seed))
        assert found is not None
        boxes.append(found[0])
    off = np.abs(np.array(boxes) - [[44.0, 19.0], [64.0, 42.0]])
    assert 0 < off.max() <= 20 / 1024 * SIDE + 1e-4 and np.array(boxes).max() <= SIDE
    assert len({box.tobytes() for box in boxes}) > 30


def test_no_object_has_no_prompt() -> None:
    assert mask_points(np.zeros((SIDE, SIDE), bool), [], PromptKind.TRACKER, None) is None


def test_a_mask_is_never_given_where_it_would_be_the_answer() -> None:
    rng = np.random.default_rng(0)
    assert {draw_kind(1, rng) for _ in range(200)} == set(PROMPT_SHARES) - {PromptKind.MASK}
    assert {draw_kind(2, rng) for _ in range(200)} == set(PROMPT_SHARES)


def test_prompts_are_padded_and_an_object_without_one_has_padding_alone() -> None:
    points, labels = padded([(np.ones((2, 2), np.float32), np.array([1, 0], np.int32)), None])
    assert points.shape == (2, 2, 2) and labels.tolist() == [[1, 0], [-1, -1]]


def clicks(
    said: NDArray[np.bool_], true: NDArray[np.bool_], void: NDArray[np.bool_] | None = None
) -> tuple[list[float], int]:
    logits = torch.from_numpy(np.where(said, 5.0, -5.0)).float()[None]
    unknown = None if void is None else torch.from_numpy(void)[None]
    points, labels = correction(logits, torch.from_numpy(true).float()[None], unknown, np.random.default_rng(0))
    assert points.shape == (1, 1, 2) and labels.shape == (1, 1)
    return points[0, 0].tolist(), int(labels[0, 0])


def test_a_click_lands_in_the_largest_error_positive_where_it_was_missed_negative_where_it_is_too_much() -> None:
    true, extra, small = disc(20, 20, 10), disc(50, 50, 6), disc(50, 10, 3)
    (x, y), label = clicks(extra, true)
    assert label == 1 and true[int(y), int(x)]
    (x, y), label = clicks(true | extra, true)
    assert label == 0 and extra[int(y), int(x)]
    (x, y), label = clicks(extra | small, small)
    assert label == 0 and extra[int(y), int(x)]


def test_nothing_is_clicked_where_the_mask_is_right_or_nobody_knows() -> None:
    true, extra = disc(20, 20, 10), disc(50, 50, 6)
    assert clicks(true, true)[1] == -1
    assert clicks(true | extra, true, void=disc(50, 50, 7))[1] == -1
