"""What a refiner is shown while it learns, and what it is told."""

from __future__ import annotations

import numpy as np
import pytest

from gest_stream.training.builtin_refiner_cues import LandmarkNoise, coarse_mask, worn_mask
from gest_stream.training.builtin_refiner_episode import Cue, Episode, Sample
from gest_stream.training.builtin_refiner_pool import ClipPool, EpisodeStream, draw_frames, load_pool
from gest_stream.training.wide_clips import ClipKind, clip_path
from tests.training.refiner_clips import drawn_clip

GRID = 64


def episode(cue: Cue, seed: int = 0, frames: int = 3, **clip: object) -> Episode:
    made = drawn_clip(**clip)  # type: ignore[arg-type]
    numbers = list(range(frames)) if len(made) > 1 else [0] * frames
    return Episode(made, 0, cue, numbers, GRID, np.random.default_rng(seed))


def cover(plane: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two planes."""
    a, b = plane > 0.25, truth > 0.5
    return float((a & b).sum() / max((a | b).sum(), 1))


def mean_cover(cue: Cue, channel: int) -> float:
    samples = [episode(cue, seed).next() for seed in range(12)]
    return float(np.mean([cover(one.inputs[channel], one.maps[0]) for one in samples]))


def test_landmarks_and_past_lie_about_where_the_hand_is() -> None:
    assert mean_cover(Cue.BOTH, 4) > 0.6 and mean_cover(Cue.BOTH, 6) > 0.5


def test_the_cues_are_those_that_were_asked_for() -> None:
    landmarks, past, region = (episode(cue).next().inputs for cue in (Cue.LANDMARKS, Cue.PAST, Cue.REGION))
    assert landmarks[4].any() and not landmarks[6:].any()
    assert not past[4].any() and past[6].any()
    assert not region[4].any() and set(np.unique(region[6].round(3))) > {0.0, 1.0}


def test_a_region_comes_with_the_colours_of_its_own_frame() -> None:
    inputs = episode(Cue.REGION).next().inputs
    shown, before = inputs[:3], inputs[7:]
    inner = (before != before[:, :1, :1]).any(axis=0) & (inputs[3] > 0)
    assert np.corrcoef(shown[:, inner].ravel(), before[:, inner].ravel())[0, 1] > 0.6


def test_a_hand_is_there_and_a_ghost_is_not() -> None:
    samples: list[Sample] = [episode(Cue.GHOST, seed, frames=2).next() for seed in range(12)]
    assert episode(Cue.BOTH).next().there == 1.0
    assert all(one.there == 0.0 or np.isnan(one.there) for one in samples)
    assert any(one.there == 0.0 for one in samples) and not any(one.maps[0].any() for one in samples)
    assert all(one.inputs[4].any() or one.inputs[6].any() for one in samples), "something must promise a hand"


def test_a_hand_that_vanished_is_to_be_said_to_be_gone() -> None:
    one = episode(Cue.PAST, gone=(1, 2))
    assert one.next().there == 0.0


def test_the_next_past_is_what_the_network_made_of_this_frame() -> None:
    one = episode(Cue.PAST)
    mask = one.next().maps[0] * np.float32(0.9)
    one.feed(mask)
    shown = one.next().inputs[6]
    assert shown.max() == pytest.approx(0.9, abs=0.02) and one.over


def test_a_mask_that_lost_the_hand_is_repaired_in_training_and_not_in_measuring() -> None:
    made = drawn_clip()
    for repaired in (True, False):
        one = Episode(made, 0, Cue.PAST, [0, 1, 2], GRID, np.random.default_rng(0), repaired)
        one.next()
        one.feed(np.zeros((GRID, GRID), np.float32))
        assert bool(one.next().inputs[6].any()) is repaired


def test_nobody_knows_what_lies_outside_the_frame_or_in_the_void() -> None:
    made = drawn_clip(frames=1, kind=ClipKind.REAL)
    made.void[0, :, :80] = True
    sample = Episode(made, 0, Cue.LANDMARKS, [0, 0], GRID, np.random.default_rng(0)).next()
    assert 0.0 < sample.known[0].mean() < 0.9
    assert not sample.known[1:].any(), "other hands and forearms of photographs are not labelled"
    assert (sample.known[0] <= sample.inputs[3] + 0.05).all()


def test_another_hand_is_told_of_and_is_not_this_one() -> None:
    made = drawn_clip(hands=2)
    told = 0
    for seed in range(10):
        sample = Episode(made, 0, Cue.BOTH, [0, 1], GRID, np.random.default_rng(seed)).next()
        told += bool(sample.inputs[5].any() and sample.maps[1].any())
        assert not ((sample.maps[0] > 0.5) & (sample.maps[1] > 0.5)).any()
    assert told >= 5


def test_the_same_seed_shows_the_same() -> None:
    pool = ClipPool([drawn_clip(seed) for seed in range(3)])
    first, second = (EpisodeStream(pool, 4, GRID, 7, 0).begin(50) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.next().inputs, other.next().inputs)


def test_a_slot_goes_on_with_its_episode_until_it_is_over() -> None:
    stream = EpisodeStream(ClipPool([drawn_clip()]), 3, GRID, 0, 0)
    for step in range(12):
        episodes = stream.begin(step)
        for one in episodes:
            one.feed(one.next().maps[0]) if not one.over else None
        later = stream.begin(step) if step % EpisodeStream.ROUND else episodes
        assert all(a is b for a, b in zip(episodes, later, strict=True) if not a.over)


@pytest.mark.parametrize("length", [1, 2, 6])
def test_episodes_take_frames_that_are_there(length: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_frames(length, unrolled, rng) for unrolled in (True, False) for _ in range(200)]
    assert all(2 <= len(frames) and 0 <= min(frames) and max(frames) < length for frames in drawn)
    assert all(len(frames) == 2 for frames in drawn[200:])
    assert len({len(frames) for frames in drawn[:200]}) > 1 or length == 2


def test_pools_take_training_and_held_out_clips_apart(tmp_path: object) -> None:
    from pathlib import Path

    root = Path(str(tmp_path))
    for kind in ClipKind:
        (root / kind).mkdir()
    for index in (0, 1, 100_000):
        drawn_clip(index).save(clip_path(root, ClipKind.RENDERED, index))
    assert load_pool(root).sizes == {"rendered": 2} and load_pool(root, held_out=True).sizes == {"rendered": 1}


def test_worn_masks_still_lie_on_the_hand() -> None:
    mask = np.zeros((GRID, GRID), np.float32)
    mask[16:48, 20:44] = 1.0
    rng = np.random.default_rng(0)
    worn = [worn_mask(mask, (np.roll(mask, 24, axis=1),), rng) for _ in range(40)]
    covers = [cover(one, mask) for one in worn]
    assert 0.55 < float(np.mean(covers)) < 0.95 and len({round(value, 3) for value in covers}) > 30
    assert all(one.dtype == np.float32 and 0.0 <= one.min() and one.max() <= 1.0 for one in worn)


def test_a_coarse_mask_is_all_or_nothing() -> None:
    mask = np.zeros((GRID, GRID), np.float32)
    mask[16:48, 20:44] = 1.0
    coarse = coarse_mask(mask, np.random.default_rng(0))
    assert set(np.unique(coarse)) <= {0.0, 1.0} and cover(coarse, mask) > 0.6


def test_landmark_noise_is_about_as_large_as_mediapipes() -> None:
    points = drawn_clip().landmarks[0, 0]
    palm = max(float(np.linalg.norm(points[0] - points[k])) for k in (5, 9, 17))
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(400):
        moved = LandmarkNoise.draw(rng).applied(points, rng)
        errors.append(float(np.linalg.norm(moved - points, axis=1).mean() / palm))
    assert 0.03 < np.median(errors) < 0.09 and 0.08 < np.percentile(errors, 90) < 0.25
