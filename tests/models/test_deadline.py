"""Masks in time from a segmenter that is late."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gest_stream.clock import now_ns
from gest_stream.config import DeadlineConfig
from gest_stream.errors import ConfigError, ModelError
from gest_stream.interfaces import PacedSegmenter
from gest_stream.models.deadline import DeadlineSegmenter
from gest_stream.models.deadline_work import Job, SegmenterThread
from gest_stream.testing import ScriptedSegmenter, hull_mask, make_landmarks
from gest_stream.types import HandMask, MaskSource, Observation, Prompt, PromptMode
from tests.models.slow_segmenter import PASSED, PATIENCE_S, SIZE, SlowSegmenter, frame, late, step, wait_for_answer


def hand(x: float, object_id: int = 1, prompt: Prompt | None = None) -> Observation:
    return Observation(object_id, make_landmarks((x, 120), 120), prompt)


def start(x: float, y: float = 120.0) -> Prompt:
    return Prompt(np.array([[x, y]], np.float32), np.array([1], np.int32))


def left_of(mask: HandMask) -> float:
    box = mask.box_xyxy_px
    assert box is not None
    return box[0]


def test_an_answer_in_time_is_passed_on_as_it_is() -> None:
    outer = DeadlineSegmenter(ScriptedSegmenter(), DeadlineConfig(limit_ms=10_000))
    for seq in range(3):
        now = frame(seq, captured_ns=now_ns())
        mask = outer.step(outer.encode(now), [hand(100 + 10 * seq)])[1]
        assert (mask.source, mask.age_ms, mask.score) == (MaskSource.SCRIPTED, 0.0, 1.0)
        assert mask.iou(hull_mask(make_landmarks((100 + 10 * seq, 120), 120), SIZE)) == 1.0
    outer.close()


def test_a_new_hand_is_drawn_at_once() -> None:
    with late() as (_, outer):
        mask = step(outer, 0, hand(100))[1]
        assert (mask.source, mask.age_ms) == (MaskSource.SHAPE, 0.0)
        assert mask.iou(hull_mask(make_landmarks((100, 120), 120), SIZE)) > 0.5


def test_every_frame_has_a_mask_however_long_the_segmenter_takes() -> None:
    with late() as (inner, outer):
        sources = []
        for seq in range(30):
            sources.append(step(outer, seq, hand(60 + 5 * seq))[1].source)
            if seq == 0:
                assert inner.begun() == 0
            if seq == 12:
                inner.answer()
                wait_for_answer(outer)
        assert sources == [MaskSource.SHAPE] * 13 + [MaskSource.CARRIED] * 17


def test_a_carried_mask_lies_on_the_hand_and_tells_how_old_it_is() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(80))
        inner.begun()
        inner.answer()
        wait_for_answer(outer)
        mask = step(outer, 3, hand(220))[1]
        assert mask.source is MaskSource.CARRIED and mask.age_ms == pytest.approx(100.0)
        assert mask.iou(hull_mask(make_landmarks((220, 120), 120), SIZE)) > 0.85


def test_the_newest_frame_is_worked_on_and_those_between_are_left_out() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(100))
        assert inner.begun() == 0
        for seq in range(1, 6):
            step(outer, seq, hand(100))
        inner.answer()
        assert inner.begun() == 5


def test_a_frame_that_is_encoded_ahead_does_not_take_the_place_of_one_before_it() -> None:
    """As in the pipeline, whose threads encode two frames ahead of the one that is segmented."""
    outer = DeadlineSegmenter(ScriptedSegmenter(), DeadlineConfig(limit_ms=10_000))
    ahead = [outer.encode(frame(seq, captured_ns=now_ns())) for seq in range(6)]
    masks = [outer.step(encoded, [hand(100)])[1] for encoded in ahead]
    assert [mask.source for mask in masks] == [MaskSource.SCRIPTED] * 6
    outer.close()


def test_a_frame_whose_step_never_comes_holds_up_nothing() -> None:
    with late() as (inner, outer):
        outer.encode(frame(0))
        step(outer, 1, hand(100))
        assert inner.begun() == 1


def test_prompts_of_frames_that_were_left_out_come_with_the_next_one() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(100, prompt=start(100)))
        inner.begun()
        step(outer, 1, hand(110), hand(200, 2, start(200)))
        step(outer, 2, hand(120), hand(230, 2))
        inner.answer()
        assert inner.begun() == 2
        first, second = inner.observed[2]
        assert first.prompt is None and second.prompt is not None
        assert second.prompt.mode is PromptMode.RESET
        assert np.allclose(second.prompt.points_xy_px, [[230, 120]], atol=0.01)


@pytest.mark.parametrize("fade_frames", [0, 3])
def test_a_late_mask_replaces_the_carried_one_over_the_frames_of_the_fade(fade_frames: int) -> None:
    hull = hull_mask(make_landmarks((150, 120), 120), SIZE)
    x, y = hull.origin_xy_px
    with late(fade_frames) as (inner, outer):
        inner.masks = {0: hull, 1: HandMask(hull.crop, (x + 12, y), SIZE, 1.0, MaskSource.SCRIPTED)}
        step(outer, 0, hand(150))
        inner.begun()
        inner.answer()
        wait_for_answer(outer)
        shown = [step(outer, seq, Observation(1))[1] for seq in range(1, 6)]
        inner.begun()
        inner.answer()
        wait_for_answer(outer)
        shown += [step(outer, seq, Observation(1))[1] for seq in range(6, 11)]
    lefts = [left_of(mask) for mask in shown[4:]]
    expected = [x, *(x + 12 * share for share in ([0.25, 0.5, 0.75] if fade_frames else [1, 1, 1])), x + 12, x + 12]
    assert np.allclose(lefts, expected, atol=1.0)
    assert [round(mask.age_ms) for mask in shown[4:]] == [167, 167, 200, 233, 267, 300]


def test_what_was_seen_before_a_hand_started_anew_is_not_shown_of_it() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(100, prompt=start(100)))
        inner.begun()
        step(outer, 1, hand(250, prompt=start(250)))
        inner.answer()
        wait_for_answer(outer)
        assert step(outer, 2, hand(250))[1].source is MaskSource.SHAPE
        assert inner.begun() == 1
        inner.answer()
        wait_for_answer(outer)
        mask = step(outer, 3, hand(250))[1]
        assert mask.source is MaskSource.CARRIED and mask.age_ms == pytest.approx(200 / 3)


def test_a_hand_that_the_segmenter_does_not_see_has_no_mask() -> None:
    with late() as (inner, outer):
        inner.silent = {2}
        step(outer, 0, hand(80), hand(240, 2))
        inner.begun()
        inner.answer()
        wait_for_answer(outer)
        assert set(step(outer, 1, hand(80), hand(240, 2))) == {1}


def test_a_hand_whose_landmarks_came_back_since_it_was_not_seen_is_drawn() -> None:
    with late() as (inner, outer):
        step(outer, 0, Observation(1))
        inner.begun()
        inner.answer()
        wait_for_answer(outer)
        assert 1 not in step(outer, 1, Observation(1))
        assert step(outer, 2, hand(100))[1].source is MaskSource.SHAPE


def test_forget_and_reset_come_before_the_next_frame_in_order() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(80), hand(240, 2))
        inner.begun()
        outer.forget(2)
        step(outer, 1, hand(80))
        inner.answer()
        assert inner.begun() == 1
        outer.reset()
        outer.forget(1)
        step(outer, 2, hand(80, 3))
        inner.answer()
        assert inner.begun() == 2
        order = [("step", 0), ("forget", 2), ("step", 1), ("reset", None), ("forget", 1), ("step", 2)]
        assert inner.told == order


def test_an_answer_to_a_frame_before_a_reset_is_discarded() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(80))
        inner.begun()
        outer.reset()
        step(outer, 1, hand(80))
        inner.answer()
        assert inner.begun() == 1  # the first answer came, and was let go
        assert step(outer, 2, hand(80))[1].source is MaskSource.SHAPE


def test_a_forgotten_hand_is_in_no_later_answer() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(80), hand(240, 2))
        inner.begun()
        outer.forget(2)
        inner.answer()
        wait_for_answer(outer)
        assert step(outer, 1, hand(80), hand(240, 2))[2].source is MaskSource.SHAPE


def test_frames_of_another_size_start_anew() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(80))
        inner.begun()
        inner.answer()
        wait_for_answer(outer)
        step(outer, 1, hand(80))
        mask = outer.step(outer.encode(frame(2, (160, 120))), [Observation(1, make_landmarks((80, 60), 60))])[1]
        assert (mask.source, mask.frame_size) == (MaskSource.SHAPE, (160, 120))
        assert inner.begun() == 1
        inner.answer()
        assert inner.begun() == 2 and ("reset", None) in inner.told


def test_an_error_of_the_segmenter_ends_the_run_with_the_next_frame() -> None:
    with late() as (inner, outer):
        inner.error = ModelError("out of memory")
        step(outer, 0, hand(80))
        inner.begun()
        inner.answer()
        with outer.work.changed:
            assert outer.work.changed.wait_for(lambda: outer.work.answered, PATIENCE_S)
        with pytest.raises(ModelError, match="out of memory"):
            step(outer, 1, hand(80))


def test_closing_joins_the_thread_and_closes_the_segmenter() -> None:
    before = threading.active_count()
    with late() as (inner, outer):
        step(outer, 0, hand(80))
        inner.begun()
        step(outer, 1, hand(80))
    assert threading.active_count() == before
    assert inner.told == [("step", 0), ("close", None)]


def test_frames_that_wait_are_bounded() -> None:
    with late() as (inner, outer):
        step(outer, 0, hand(80))
        inner.begun()
        for seq in range(1, 100):
            outer.encode(frame(seq))
        assert len(outer.work._jobs) == 8


def test_files_count_the_deadline_from_the_frames_arrival() -> None:
    outer = DeadlineSegmenter(ScriptedSegmenter(), DeadlineConfig(limit_ms=10_000))
    assert isinstance(outer, PacedSegmenter)
    outer.set_live(False)
    mask = outer.step(outer.encode(frame(0, captured_ns=now_ns() - 10**12)), [hand(100)])[1]
    assert mask.source is MaskSource.SCRIPTED
    outer.close()


def test_no_frame_waits_for_an_answer_that_cannot_come_in_time() -> None:
    """The clock stands still, so that waiting would never end."""
    time_ns = [0]
    inner = SlowSegmenter()
    work = SegmenterThread(inner, lambda: time_ns[0])
    first, second = Job(frame(0), 0), Job(frame(1), 0)
    work.offer(first)
    work.tell(first, 0, [], {})
    inner.begun()
    time_ns[0] = 500_000_000
    inner.answer()
    with work.changed:
        assert work.changed.wait_for(lambda: work.answered, PATIENCE_S)
    work.offer(second)
    work.tell(second, 1, [], {})
    assert not work.wait(second, time_ns[0] + 33_000_000)
    inner.answer()
    work.close()


def test_a_mask_that_came_in_time_is_carried_from_where_it_was() -> None:
    """Of the way that the hand went before it, nothing may be added."""
    time_ns = [PASSED]
    inner = SlowSegmenter()
    outer = DeadlineSegmenter(inner, DeadlineConfig(33.0, fade_frames=0), clock=lambda: time_ns[0])
    step(outer, 0, hand(80))
    inner.begun()
    step(outer, 1, hand(130))
    time_ns[0] = 0  # it stands still: the next frame waits for as long as it takes
    inner.answer(3)
    assert step(outer, 2, hand(180))[1].source is MaskSource.SCRIPTED
    time_ns[0] = PASSED
    carried = step(outer, 3, Observation(1))[1]  # by the picture, which shows no motion
    assert carried.source is MaskSource.CARRIED and carried.age_ms == pytest.approx(1e3 / 30)
    assert carried.iou(hull_mask(make_landmarks((180, 120), 120), SIZE)) > 0.95
    inner.answer(10)
    outer.close()


def test_clicks_are_taken_where_the_segmenter_takes_them() -> None:
    with late() as (inner, outer):
        assert outer.takes_clicks
        inner.takes_clicks = False
        assert not outer.takes_clicks


def test_without_a_deadline_there_is_nothing_to_do() -> None:
    with pytest.raises(ConfigError, match="limit_ms"):
        DeadlineSegmenter(ScriptedSegmenter(), DeadlineConfig())
