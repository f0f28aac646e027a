"""Prompts that wait for a slow segmenter, merged and moved."""

from __future__ import annotations

import numpy as np

from gest_stream.models.deadline_prompts import PromptQueue
from gest_stream.models.landmark_warp import Similarity
from gest_stream.testing import make_landmarks
from gest_stream.types import HandMask, MaskSource, Observation, Prompt, PromptMode

SIZE = (320, 240)
HERE = Similarity()
MOVED = Similarity(1 + 0j, 20 + 10j)


def click(x: float, y: float, mode: PromptMode, label: int = 1) -> Prompt:
    return Prompt(np.array([[x, y]], np.float32), np.array([label], np.int32), None, mode)


def seen(prompt: Prompt | None, **more: object) -> list[Observation]:
    return [Observation(1, prompt=prompt, **more)]  # type: ignore[arg-type]


def take(queue: PromptQueue, number: int, pose: Similarity = HERE, **more: object) -> Observation:
    (one,) = queue.take(number, seen(None, **more), {1: pose}, SIZE)
    return one


def test_a_prompt_of_the_frame_itself_passes_untouched() -> None:
    queue, prompt = PromptQueue(), click(5, 6, PromptMode.RESET)
    queue.add(0, seen(prompt), {})
    assert take(queue, 0).prompt is prompt
    assert queue.empty


def test_a_prompt_of_a_frame_that_was_left_out_moves_with_the_hand() -> None:
    queue = PromptQueue()
    box = Prompt(np.array([[50, 60]], np.float32), np.array([1], np.int32), (40.0, 50.0, 80.0, 90.0))
    queue.add(0, seen(box), {1: HERE})
    prompt = take(queue, 3, MOVED).prompt
    assert prompt is not None
    assert prompt.points_xy_px.tolist() == [[70, 70]] and prompt.box_xyxy_px == (60.0, 60.0, 100.0, 100.0)


def test_landmarks_on_both_frames_say_better_how_it_moved() -> None:
    queue = PromptQueue()
    queue.add(0, seen(click(50, 60, PromptMode.RESET), landmarks=make_landmarks((50, 60), 80)), {1: HERE})
    prompt = take(queue, 3, MOVED, landmarks=make_landmarks((150, 60), 80)).prompt
    assert prompt is not None and np.allclose(prompt.points_xy_px, [[150, 60]], atol=0.01)


def test_a_prompt_of_a_later_frame_waits_on() -> None:
    queue = PromptQueue()
    queue.add(4, seen(click(5, 6, PromptMode.RESET)), {})
    assert take(queue, 3).prompt is None
    assert take(queue, 4).prompt is not None


def test_starting_anew_overrides_what_came_before() -> None:
    queue = PromptQueue()
    queue.add(0, seen(click(1, 1, PromptMode.RESET)), {})
    queue.add(1, seen(click(2, 2, PromptMode.REFINE)), {})
    queue.add(2, seen(click(9, 9, PromptMode.RESET)), {})
    prompt = take(queue, 2).prompt
    assert prompt is not None
    assert (prompt.points_xy_px.tolist(), prompt.mode) == ([[9, 9]], PromptMode.RESET)


def test_clicks_on_what_starts_anew_add_to_it() -> None:
    queue = PromptQueue()
    queue.add(0, seen(click(1, 1, PromptMode.RESET)), {})
    queue.add(1, seen(click(2, 2, PromptMode.REFINE, 0)), {})
    queue.add(2, seen(click(3, 3, PromptMode.REFINE)), {})
    prompt = take(queue, 2).prompt
    assert prompt is not None and prompt.mode is PromptMode.RESET
    assert (prompt.points_xy_px.tolist(), prompt.labels.tolist()) == ([[1, 1], [2, 2], [3, 3]], [1, 0, 1])


def test_what_is_added_to_a_memory_that_starts_anew_starts_it() -> None:
    queue = PromptQueue()
    queue.add(0, seen(click(1, 1, PromptMode.RESET)), {})
    queue.add(1, seen(click(2, 2, PromptMode.APPEND)), {})
    prompt = take(queue, 1).prompt
    assert prompt is not None
    assert (prompt.points_xy_px.tolist(), prompt.mode) == ([[2, 2]], PromptMode.RESET)


def test_clicks_on_a_mask_that_waits_go_with_the_next_frame() -> None:
    queue = PromptQueue()
    square = np.zeros((SIZE[1], SIZE[0]), np.bool_)
    square[50:90, 60:100] = True
    queue.add(0, seen(Prompt.from_mask(square)), {1: HERE})
    queue.add(1, seen(click(70, 60, PromptMode.REFINE)), {1: HERE})
    first = take(queue, 2, MOVED).prompt
    assert first is not None and first.mask is not None
    rows, columns = np.nonzero(first.mask)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (80, 60, 119, 99)
    second = take(queue, 3, MOVED).prompt
    assert second is not None
    assert (second.points_xy_px.tolist(), second.mode) == ([[90, 70]], PromptMode.REFINE)


def test_a_correction_of_what_the_segmenter_never_had_starts_it() -> None:
    queue = PromptQueue()
    queue.add(0, seen(click(1, 1, PromptMode.REFINE)), {})
    queue.add(1, seen(click(2, 2, PromptMode.REFINE)), {})
    first, second = take(queue, 0).prompt, take(queue, 1).prompt
    assert first is not None and first.mode is PromptMode.RESET
    assert second is not None and second.mode is PromptMode.REFINE


def test_what_moved_out_of_the_frame_is_no_prompt() -> None:
    queue = PromptQueue()
    queue.add(0, seen(click(310, 60, PromptMode.RESET)), {1: HERE})
    assert take(queue, 1, MOVED).prompt is None


def test_a_region_goes_with_its_prompt() -> None:
    queue = PromptQueue()
    region = HandMask(np.full((20, 30), 255, np.uint8), (100, 50), SIZE, 0.8, MaskSource.SCRIPTED)
    queue.add(0, seen(click(110, 60, PromptMode.RESET), region=region), {1: HERE})
    moved = take(queue, 1, MOVED).region
    assert moved is not None and moved.box_xyxy_px == (120.0, 60.0, 150.0, 80.0) and moved.score == 0.8


def test_a_forgotten_hand_has_no_prompts() -> None:
    queue = PromptQueue()
    queue.add(0, seen(click(1, 1, PromptMode.RESET)), {})
    queue.forget(1)
    assert queue.empty and take(queue, 0).prompt is None


def test_the_clicks_that_wait_are_bounded() -> None:
    queue = PromptQueue()
    for number in range(100):
        queue.add(number, seen(click(number, 1, PromptMode.REFINE)), {})
    prompt = take(queue, 100).prompt
    assert prompt is not None and prompt.points_xy_px[:, 0].tolist() == list(range(68, 100))
