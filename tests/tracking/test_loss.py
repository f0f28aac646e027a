"""The loss machine, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gest_stream.config import LossConfig
from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.tracking.loss import (
    LossMemory,
    MaskEvidence,
    on_landmarks,
    on_mask,
    on_prompt,
    on_restart,
    on_sight,
)
from gest_stream.types import ReinitialisedBy, TrackState

CONFIG = LossConfig(
    confirm_after_frames=3,
    drop_tentative_after_frames=1,
    lost_after_frames=5,
    lost_after_frames_unmasked=2,
    remove_after_frames=8,
    hold_frames=6,
    reprompt_after_frames=3,
    reprompt_interval_frames=6,
)
SHORT = {"?": TrackState.TENTATIVE, "T": TrackState.TRACKED, "L": TrackState.LOST, "X": TrackState.REMOVED}
TRACKED = LossMemory(TrackState.TRACKED, seen_frames=9, prompt_due=False)


def run(seen: str, config: LossConfig = CONFIG) -> tuple[str, LossMemory]:
    """States after each frame of `seen` ("+" with landmarks, "-" without), as letters."""
    memory, states = LossMemory(), ""
    for sign in seen:
        memory = on_landmarks(memory, sign == "+", config).memory
        states += next(letter for letter, state in SHORT.items() if state is memory.state)
    return states, memory


@pytest.mark.parametrize(
    ("seen", "states"),
    [
        ("+", "?"),
        ("+++", "??T"),
        ("+-", "?X"),
        ("++-", "??X"),
        ("+++----", "??TTTTT"),
        ("+++-----", "??TTTTTL"),
        ("+++----+----", "??TTTTTTTTTT"),
        ("+++-----+", "??TTTTTLT"),
        ("+++-------", "??TTTTTLLL"),
        ("+++--------", "??TTTTTLLLX"),
        ("+++-------+-------", "??TTTTTLLLTTTTTLLL"),
    ],
)
def test_states_follow_landmarks(seen: str, states: str) -> None:
    assert run(seen)[0] == states


@pytest.mark.parametrize(
    ("config", "seen", "states"),
    [
        (replace(CONFIG, confirm_after_frames=1), "+", "T"),
        (replace(CONFIG, drop_tentative_after_frames=3), "+--+--+", "??????T"),
        (replace(CONFIG, drop_tentative_after_frames=3), "+---", "???X"),
        (replace(CONFIG, lost_after_frames=1, remove_after_frames=1), "+++--", "??TLX"),
    ],
)
def test_thresholds_move_the_transitions(config: LossConfig, seen: str, states: str) -> None:
    assert run(seen, config)[0] == states


def test_only_a_lost_hand_is_reinitialised() -> None:
    for memory in (LossMemory(), TRACKED, replace(TRACKED, missed_frames=4)):
        assert on_landmarks(memory, True, CONFIG).reinitialised_by is None
    lost = LossMemory(TrackState.LOST, seen_frames=9, missed_frames=6, prompt_due=False)
    step = on_landmarks(lost, True, CONFIG)
    assert step.reinitialised_by is ReinitialisedBy.LANDMARKS
    assert (step.memory.state, step.memory.missed_frames, step.memory.prompt_due) == (TrackState.TRACKED, 0, True)


def test_missed_frames_count_up_and_start_over() -> None:
    assert run("+++--")[1].missed_frames == 2
    assert run("+++--+")[1].missed_frames == 0
    assert run("+++--+-")[1].missed_frames == 1


def test_a_removed_track_takes_no_more_frames() -> None:
    with pytest.raises(InvalidInputError, match="removed track"):
        on_landmarks(LossMemory(TrackState.REMOVED), True, CONFIG)


def test_a_hand_whose_mask_is_gone_too_is_lost_sooner() -> None:
    memory, states = TRACKED, []
    for _ in range(2):
        memory = on_landmarks(memory, False, CONFIG).memory
        memory, _ = on_mask(memory, None, CONFIG)
        states.append(memory.state)
    assert states == [TrackState.TRACKED, TrackState.LOST]


def test_a_trusted_mask_does_not_shorten_the_patience() -> None:
    memory = TRACKED
    for _ in range(4):
        memory = on_landmarks(memory, False, CONFIG).memory
        memory, trusted = on_mask(memory, MaskEvidence(0.9, 1.0), CONFIG)
        assert trusted
    assert memory.state is TrackState.TRACKED


@pytest.mark.parametrize(
    ("evidence", "trusted"),
    [
        (None, False),
        (MaskEvidence(0.5, 1.0), True),
        (MaskEvidence(0.49, 1.0), False),
        (MaskEvidence(0.9, None), True),
        (MaskEvidence(0.9, 0.2), True),
        (MaskEvidence(0.9, 0.19), False),
        (MaskEvidence(0.9, 3.0), True),
        (MaskEvidence(0.9, 3.1), False),
    ],
)
def test_without_landmarks_score_and_area_decide_whether_a_mask_is_trusted(
    evidence: MaskEvidence | None, trusted: bool
) -> None:
    missing = replace(TRACKED, missed_frames=1)
    memory, got = on_mask(missing, evidence, CONFIG)
    assert got is trusted
    assert memory.unmasked is not trusted


def test_landmarks_vouch_for_every_mask_there_is() -> None:
    assert on_mask(TRACKED, MaskEvidence(0.01, 9.0, 1.0), CONFIG)[1]
    assert not on_mask(TRACKED, None, CONFIG)[1]


def frames_until_prompted(memory: LossMemory, agreements: list[float | None]) -> int | None:
    for index, agreed in enumerate(agreements):
        memory = on_landmarks(memory, True, CONFIG).memory
        if memory.prompt_due:
            return index
        memory, _ = on_mask(memory, MaskEvidence(0.9, 1.0, agreed), CONFIG)
    return None


def test_disagreement_prompts_again_after_several_frames_and_not_before_the_interval() -> None:
    long_ago = replace(TRACKED, frames_since_prompt=100)
    assert frames_until_prompted(long_ago, [0.1] * 10) == 3
    assert frames_until_prompted(on_prompt(long_ago), [0.1] * 10) == 5


@pytest.mark.parametrize("agreements", [[0.5] * 10, [None] * 10, [0.1, 0.1, 0.9] * 4, [0.1, 0.1, 0.9] * 4])
def test_agreement_or_passing_disagreement_prompts_nothing(agreements: list[float | None]) -> None:
    assert frames_until_prompted(replace(TRACKED, frames_since_prompt=100), agreements) is None


def test_a_missing_mask_is_a_disagreement() -> None:
    memory, _ = on_mask(TRACKED, None, CONFIG)
    assert memory.disagreed_frames == 1


def test_a_prompt_stays_due_until_it_is_sent() -> None:
    memory = on_restart(TRACKED)
    for seen in (False, True, True):
        memory = on_landmarks(memory, seen, CONFIG).memory
        assert memory.prompt_due
    assert not on_prompt(memory).prompt_due


def run_sights(frames: str, by: ReinitialisedBy, memory: LossMemory) -> tuple[str, LossMemory]:
    """States after each frame of `frames` without landmarks.

    "o" the hand is seen by `by` and its mask is good, "m" its mask is good, "-" there is no mask, "+" landmarks.
    """
    states = ""
    for index, sign in enumerate(frames):
        if index > 0 or memory.state is not TrackState.TENTATIVE:  # where it begins, only the sight is told
            memory = on_landmarks(memory, sign == "+", CONFIG).memory
        if sign == "o":
            memory = on_sight(memory, by).memory
        if memory.state is not TrackState.REMOVED:
            agreement = {"o": 0.9, "+": 1.0}.get(sign)
            memory, _ = on_mask(memory, None if sign == "-" else MaskEvidence(0.9, 1.0, agreement), CONFIG)
        states += next(letter for letter, state in SHORT.items() if state is memory.state)
        if memory.state is TrackState.REMOVED:
            break
    return states, memory


SPOTTED = LossMemory(missed_frames=1, unseen_frames=1, prompt_due=False)
GONE = LossMemory(TrackState.LOST, seen_frames=9, missed_frames=6, unseen_frames=6, prompt_due=False)


@pytest.mark.parametrize(
    ("memory", "frames", "states"),
    [
        (SPOTTED, "ommom", "???TT"),
        (SPOTTED, "ommmmmm", "??????X"),
        (SPOTTED, "o--", "??X"),
        (SPOTTED, "om++", "????"),
        (SPOTTED, "om+++", "????T"),
        (GONE, "ommmmmm", "TTTTTTL"),
        (GONE, "o--", "TTL"),
        (GONE, "ommommmmmm", "TTTTTTTTTL"),
        (GONE, "mm", "LX"),
        (TRACKED, "mmmmm", "TTTTL"),
        (TRACKED, "mmommmmm", "TTTTTTTT"),
        (replace(TRACKED, sights=4), "+mmmmm", "TTTTTL"),
    ],
)
def test_what_the_redetector_saw_is_held_by_its_mask_for_a_while(memory: LossMemory, frames: str, states: str) -> None:
    assert run_sights(frames, ReinitialisedBy.DINO, memory)[0] == states


@pytest.mark.parametrize(
    ("frames", "states"),
    [("o" + "m" * 40, "T" * 41), ("om---", "TTTLL"), ("om---m", "TTTLLT"), ("om" + "-" * 9, "TTTLLLLLLX")],
)
def test_what_a_user_started_lives_as_long_as_its_mask(frames: str, states: str) -> None:
    assert run_sights(frames, ReinitialisedBy.USER, replace(SPOTTED, of_user=True))[0] == states


def test_a_sight_reinitialises_a_lost_hand_alone() -> None:
    assert on_sight(GONE, ReinitialisedBy.DINO).reinitialised_by is ReinitialisedBy.DINO
    assert on_sight(GONE, ReinitialisedBy.DINO).memory.unseen_frames == 0
    for memory in (SPOTTED, TRACKED, replace(SPOTTED, sights=1)):
        assert on_sight(memory, ReinitialisedBy.DINO).reinitialised_by is None


def test_a_users_correction_is_not_overruled_by_landmarks_until_the_hand_was_lost() -> None:
    corrected = on_prompt(on_sight(replace(TRACKED, frames_since_prompt=100), ReinitialisedBy.USER).memory)
    assert frames_until_prompted(corrected, [0.1] * 30) is None
    lost = on_landmarks(replace(corrected, state=TrackState.LOST), True, CONFIG).memory
    assert frames_until_prompted(on_prompt(lost), [0.1] * 30) == 5


def test_a_correction_ends_with_its_mask() -> None:
    corrected = on_prompt(on_sight(replace(TRACKED, frames_since_prompt=100), ReinitialisedBy.USER).memory)
    assert on_mask(corrected, MaskEvidence(0.9, 1.0, 0.1), CONFIG)[0].corrected
    assert not on_mask(corrected, None, CONFIG)[0].corrected


@pytest.mark.parametrize(("agreement", "trusted"), [(0.25, True), (0.24, False)])
def test_on_the_frame_of_a_sight_the_mask_must_agree_with_it_whatever_its_score(
    agreement: float, trusted: bool
) -> None:
    assert on_mask(on_sight(GONE, ReinitialisedBy.DINO).memory, MaskEvidence(0.1, 9.0, agreement), CONFIG)[1] is trusted


@pytest.mark.parametrize(
    "wrong",
    [
        {"drop_tentative_after_frames": 0},
        {"lost_after_frames_unmasked": 0},
        {"min_mask_score": 1.5},
        {"min_agreement": -0.1},
        {"min_sight_agreement": 1.1},
        {"hold_frames": 0},
        {"min_mask_area_ratio": 4.0},
        {"remove_after_frames": 4},
        {"reprompt_after_frames": 0},
        {"reprompt_interval_frames": 0},
    ],
)
def test_settings_out_of_range_name_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"loss.{next(iter(wrong))}"):
        replace(LossConfig(), **wrong)  # type: ignore[arg-type]
