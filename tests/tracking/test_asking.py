"""When the redetector is asked, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gest_stream.config import LossConfig, RedetectionConfig
from gest_stream.errors import ConfigError
from gest_stream.tracking.asking import AskMemory, AskReason, on_answer, on_frame, waited, wanted
from gest_stream.tracking.loss import LossMemory
from gest_stream.types import TrackState

LOSS = LossConfig(reprompt_after_frames=2)
CONFIG = RedetectionConfig(
    interval_frames=4,
    backoff_after=2,
    backoff=2.0,
    max_interval_frames=20,
    verify_after_frames=10,
    seek_interval_frames=6,
)
SEEN = LossMemory(TrackState.TRACKED, seen_frames=9)
LOST = LossMemory(TrackState.LOST, seen_frames=9, missed_frames=6, unseen_frames=6, unmasked=True)
WANT = frozenset({(AskReason.LOST, 1)})


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (SEEN, None),
        (replace(SEEN, missed_frames=1, unseen_frames=1, unmasked=True), None),
        (replace(SEEN, missed_frames=2, unseen_frames=2, unmasked=True), AskReason.LOST),
        (replace(SEEN, missed_frames=2, unseen_frames=2), None),
        (LOST, AskReason.LOST),
        (replace(LOST, unmasked=False), None),
        (replace(LOST, unmasked=False, unseen_frames=10), AskReason.VERIFY),
        (replace(LOST, unmasked=False, unseen_frames=2, sights=1), None),
        (replace(LOST, unmasked=False, unseen_frames=3, sights=1), AskReason.VERIFY),
        (replace(LOST, unmasked=False, unseen_frames=5, sights=2), None),
        (replace(LOST, unmasked=False, unseen_frames=6, sights=2), AskReason.VERIFY),
        (replace(LOST, unmasked=False, unseen_frames=9, sights=50), None),
        (replace(LOST, unmasked=False, unseen_frames=10, sights=50), AskReason.VERIFY),
        (replace(LOST, of_user=True), None),
        (replace(LOST, unmasked=False, unseen_frames=10, of_user=True), None),
        (replace(SEEN, disagreed_frames=2, frames_since_prompt=8), None),
        (replace(SEEN, disagreed_frames=3, frames_since_prompt=8), AskReason.DISAGREEMENT),
        (replace(SEEN, disagreed_frames=3, frames_since_prompt=7), None),
        (replace(SEEN, disagreed_frames=3, frames_since_prompt=8, corrected=True), None),
    ],
)
def test_what_is_asked_about_follows_from_the_hands_memory(memory: LossMemory, reason: AskReason | None) -> None:
    wants = wanted([(1, SEEN), (7, memory)], LOSS, CONFIG)
    assert wants == (frozenset() if reason is None else {(reason, 7)})


def test_where_no_hand_is_shown_hands_are_asked_for() -> None:
    assert wanted([], LOSS, CONFIG) == {(AskReason.NONE, 0)}
    assert wanted([(1, replace(LOST, unmasked=False))], LOSS, CONFIG) == frozenset()
    assert wanted([(1, LOST)], LOSS, CONFIG) == {(AskReason.LOST, 1)}


def test_nothing_is_verified_where_that_is_off() -> None:
    held = replace(LOST, unmasked=False, unseen_frames=500)
    assert wanted([(1, held)], LOSS, replace(CONFIG, verify_after_frames=0)) == frozenset()


@pytest.mark.parametrize(
    ("shown", "most", "asked"), [(1, 2, True), (2, 2, False), (3, 2, False), (1, 1, False), (1, None, False)]
)
def test_further_hands_are_asked_for_where_the_detector_could_see_more(
    shown: int, most: int | None, asked: bool
) -> None:
    seen = [(number, SEEN) for number in range(shown)]
    assert wanted(seen, LOSS, CONFIG, most) == ({(AskReason.FEWER, 0)} if asked else frozenset())
    assert wanted(seen, LOSS, replace(CONFIG, seek_interval_frames=0), most) == frozenset()
    assert wanted([], LOSS, CONFIG, most) == {(AskReason.NONE, 0)}


def asked_on(wants: list[frozenset[tuple[AskReason, int]]], helps: bool = False, steps: int = 1) -> list[int]:
    """Frames on which the question is put, each answered at once."""
    memory, asked = AskMemory(), []
    for frame, want in enumerate(wants):
        memory, now = on_frame(memory, want, steps, CONFIG)
        if now:
            asked.append(frame)
            memory = on_answer(memory, helps, CONFIG)
    return asked


def test_it_is_asked_at_once_then_at_the_interval_then_ever_more_rarely_up_to_a_limit() -> None:
    assert asked_on([WANT] * 80) == [0, 4, 8, 16, 32, 52, 72]


def test_answers_that_help_keep_the_interval() -> None:
    assert asked_on([WANT] * 30, helps=True) == list(range(0, 30, 4))


def test_a_new_loss_ends_the_back_off_but_not_the_interval() -> None:
    second = WANT | {(AskReason.LOST, 2)}
    assert asked_on([WANT] * 18 + [second] * 10) == [0, 4, 8, 16, 20, 24]


def test_a_hand_that_is_lost_anew_ends_the_back_off() -> None:
    assert asked_on([WANT] * 18 + [frozenset()] * 3 + [WANT] * 10) == [0, 4, 8, 16, 21, 25, 29]


def test_where_there_is_no_hand_a_passing_find_does_not_end_the_back_off() -> None:
    none = frozenset({(AskReason.NONE, 0)})
    asked = asked_on([none, none, none, frozenset()] * 30)
    assert all(b - a >= 20 for a, b in zip(asked[5:], asked[6:], strict=False)) and len(asked) > 6


def test_further_hands_are_asked_for_more_rarely_than_lost_ones() -> None:
    fewer = frozenset({(AskReason.FEWER, 0)})
    assert asked_on([fewer] * 80) == [0, 12, 32, 52, 72]
    assert asked_on([fewer] * 7 + [fewer | WANT] * 10, helps=True) == [0, 6, 10, 14]


def test_asking_for_further_hands_makes_no_other_question_rarer() -> None:
    fewer, none = frozenset({(AskReason.FEWER, 0)}), frozenset({(AskReason.NONE, 0)})
    assert asked_on([fewer] + [none] * 10)[:3] == [0, 4, 8]
    assert [frame for frame in asked_on([fewer] * 60 + [none] * 12) if frame >= 60] == [60, 64, 68]


def test_what_a_user_started_is_no_hand_that_is_counted() -> None:
    cup = LossMemory(TrackState.TRACKED, missed_frames=3, of_user=True)
    assert wanted([(1, SEEN), (2, cup)], LOSS, CONFIG, 2) == {(AskReason.FEWER, 0)}
    assert wanted([(2, cup)], LOSS, CONFIG, 2) == frozenset()


def test_dropped_frames_count() -> None:
    assert asked_on([WANT] * 6, helps=True, steps=2) == [0, 2, 4]


def test_frames_pass_while_a_question_is_open() -> None:
    memory, _ = on_frame(AskMemory(), WANT, 1, CONFIG)
    for _ in range(3):
        memory = waited(memory, 1)
    assert on_frame(memory, WANT, 1, CONFIG)[1]
    assert waited(AskMemory(), 1).frames_since is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_frames": 0},
        {"backoff": 0.5},
        {"backoff_after": -1},
        {"open_score": 1.5},
        {"seek_score": -0.1},
        {"max_interval_frames": 2},
        {"verify_after_frames": -1},
        {"seek_interval_frames": -1},
    ],
)
def test_settings_out_of_range_name_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"redetection.{next(iter(wrong))}"):
        replace(RedetectionConfig(), **wrong)  # type: ignore[arg-type]
