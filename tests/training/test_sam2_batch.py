from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.synthetic import ClipConfig, render_clip
from gest_stream.training.sam2_batch import Batch, SampleRules, draw_batch, draw_stretch, first_frames
from gest_stream.training.sam2_clip import TrainingClip
from gest_stream.training.sam2_folder import FolderClip, open_folder
from gest_stream.training.sam2_prompting import PromptKind
from gest_stream.training.sam2_rendering import square_clip
from tests.training.sam2_scene import HIDDEN, write_clip

RULES = SampleRules(max_stride=3, max_objects=3, min_started_px=20, outside_is_void=True)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> FolderClip:
    root = tmp_path_factory.mktemp("discs")
    write_clip(root, frames=10)
    return open_folder(root, 64, 0.01, root)[0]


@pytest.fixture(scope="module")
def hands() -> TrainingClip:
    return square_clip(list(render_clip(ClipConfig(size=(160, 120), frames=2, seed=7, noise=0.0))), 256)


def drawn(
    clips: Sequence[TrainingClip | FolderClip], frames: int, kind: PromptKind, seed: int, rules: SampleRules
) -> Batch:
    batch = draw_batch(clips, frames, kind, np.random.default_rng(seed), rules=rules)
    assert batch is not None
    return batch


def test_a_batch_prompts_on_the_hand_and_off_it(hands: TrainingClip) -> None:
    batch = draw_batch([hands], 2, PromptKind.TRACKER, np.random.default_rng(0), augment=False)
    assert batch is not None and batch.present.all()
    points, labels = batch.prompts[0]
    assert points.shape[0] == 2
    for hand in range(2):
        for (x, y), label in zip(points[hand].tolist(), labels[hand].tolist(), strict=True):
            if label in (0, 1):
                assert (float(batch.masks[0, hand, int(y), int(x)]) > 0.5) == (label == 1)


def test_augmentation_moves_truth_and_prompts_together(hands: TrainingClip, discs: FolderClip) -> None:
    on = []
    for seed in range(12):
        for clip in (hands, discs):
            batch = drawn([clip], 1, PromptKind.POINT, seed, RULES)
            for mask, ((x, y),) in zip(batch.masks[0], batch.prompts[0][0].tolist(), strict=True):
                on.append(float(mask[int(y), int(x)]) > 0.5)
    assert np.mean(on) > 0.9


def test_augmentation_moves_picture_and_truth_together(discs: FolderClip) -> None:
    for seed in range(6):
        batch = drawn([discs], 2, PromptKind.POINT, seed, RULES)
        for t in range(2):
            for mask in batch.masks[t]:
                inside, picture = mask > 0.9, batch.images[t, 0]
                if inside.sum() > 30:  # a disc has one colour, the ground has not
                    assert float(picture[:, inside].std(dim=1).max()) < 0.5 * float(picture.flatten(1).std(dim=1).min())


def test_the_same_seed_draws_the_same_batch_and_another_another(discs: FolderClip) -> None:
    rules = replace(RULES, corrected=1.0)
    first, again, other = (drawn([discs, discs], 4, PromptKind.TRACKER, seed, rules) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images) and torch.equal(first.masks, again.masks)
    assert first.corrections == again.corrections and first.seed == again.seed
    assert all(torch.equal(a, b) for a, b in zip(first.prompts[0], again.prompts[0], strict=True))
    assert not torch.equal(first.images, other.images)


def test_an_object_that_vanishes_is_not_present_and_comes_back(discs: FolderClip) -> None:
    batch = draw_batch([discs], 9, PromptKind.MASK, np.random.default_rng(0), augment=False, rules=RULES)
    assert batch is not None
    assert batch.present[:, 0].all()
    assert [t for t in range(9) if not batch.present[t, 1]] == list(HIDDEN)


def test_stretches_keep_their_order_go_both_ways_and_start_with_an_object(discs: FolderClip) -> None:
    rng = np.random.default_rng(0)
    steps, orders = set(), [draw_stretch(discs, 4, 3, rng) for _ in range(300)]
    for order in orders:
        (step,) = set(np.diff(order).tolist())
        steps.add(step)
        assert 0 <= min(order) and max(order) < 10 and discs.startable(order[0])
    assert steps == {-3, -2, -1, 1, 2, 3}


def test_a_clip_that_is_too_short_is_walked_back_and_forth(discs: FolderClip) -> None:
    short = discs.take(range(3), (1, 2))
    order = draw_stretch(short, 6, 2, np.random.default_rng(1))
    assert len(order) == 6 and set(np.abs(np.diff(order)).tolist()) == {1} and set(order) == {0, 1, 2}
    assert first_frames(short, 6) == [0, 1, 2]
    assert draw_stretch(discs.take([0], (1,)), 3, 2, np.random.default_rng(0)) == [0, 0, 0]


def test_measuring_starts_with_the_first_frame_that_shows_an_object(discs: FolderClip) -> None:
    late = discs.take([*HIDDEN, 7, 8], (2,))
    assert first_frames(late, 3) == [2, 3]


def test_no_more_objects_than_asked_for_are_followed_and_any_of_them_may_be(discs: FolderClip) -> None:
    rules = replace(RULES, max_objects=1)
    areas = set()
    for seed in range(12):
        batch = drawn([discs, discs], 2, PromptKind.BOX, seed, rules)
        assert batch.clip_of.tolist() == [0, 1]
        areas.add(tuple(batch.images[0, k][:, batch.masks[0, k] > 0.9].mean(dim=1).argmax().item() for k in (0, 1)))
    assert len(areas) > 1  # the red one, the blue one


def test_what_comes_from_outside_the_picture_is_void_where_that_is_asked_for(discs: FolderClip) -> None:
    shares = [
        0.0 if batch.void is None else float(batch.void.float().mean())
        for batch in (drawn([discs], 2, PromptKind.BOX, seed, RULES) for seed in range(8))
    ]
    assert max(shares) > 0.03
    assert drawn([discs], 2, PromptKind.BOX, 0, replace(RULES, outside_is_void=False)).void is None


def test_void_is_told_for_each_object_from_its_own_clip(discs: FolderClip) -> None:
    batch = drawn([discs, discs], 2, PromptKind.BOX, 1, RULES)
    void = batch.void_of(1)
    assert batch.void is not None and void is not None and void.shape == batch.masks[1].shape
    assert all(torch.equal(void[k], batch.void[1, clip]) for k, clip in enumerate(batch.clip_of.tolist()))


def test_corrected_frames_are_later_ones_where_the_mask_is_given(discs: FolderClip) -> None:
    rules = replace(RULES, corrected=1.0, max_clicks=2)
    frames = {kind: set[int]() for kind in (PromptKind.MASK, PromptKind.TRACKER)}
    for kind, seen in frames.items():
        for seed in range(20):
            corrections = drawn([discs], 3, kind, seed, rules).corrections
            assert 1 <= len(corrections) <= 2 and set(corrections.values()) <= {1, 2}
            seen |= set(corrections)
    assert frames == {PromptKind.MASK: {1, 2}, PromptKind.TRACKER: {0, 1, 2}}


def test_of_two_frames_whose_masks_are_given_one_is_left_to_learn_from(discs: FolderClip) -> None:
    rules = replace(RULES, again=1.0)
    assert set(drawn([discs], 2, PromptKind.MASK, 0, rules).prompts) == {0}
    assert set(drawn([discs], 2, PromptKind.BOX, 0, rules).prompts) == {0, 1}


def test_a_clip_comes_back_from_disk(hands: TrainingClip, tmp_path: Path) -> None:
    hands.save(tmp_path / "clip.npz")
    back = TrainingClip.load(tmp_path / "clip.npz")
    assert back.frame_size == hands.frame_size and back.landmarks is not None and hands.landmarks is not None
    assert np.array_equal(back.images, hands.images) and np.array_equal(back.landmarks, hands.landmarks)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]
