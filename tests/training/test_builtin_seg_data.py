"""What hand-seg learns from: labels, batches, and that nothing held out is among it."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import InvalidInputError
from gest_stream.training import builtin_seg_data
from gest_stream.training.builtin_seg_data import (
    SegPicture,
    SegPictures,
    batches,
    load_held_out_pictures,
    load_training_pictures,
    network_input,
    pasted,
    pictures_of,
    training_clips,
)
from gest_stream.training.config import AugmentConfig
from gest_stream.training.labels import BACKGROUND, FOREARM, HAND, IGNORE, LabelledImage
from gest_stream.training.wide_clips import ClipKind, WideClip
from tests.training.wide_scene import disc_clip, write_discs


def clip_of(kind: ClipKind = ClipKind.RENDERED, hands: int = 2) -> WideClip:
    """One frame: hand, forearm, void and background side by side, 80 pixels each."""
    images = np.full((1, 240, 320, 3), 100, np.uint8)
    masks = np.zeros((1, hands, 240, 320), np.uint8)
    arms, void = np.zeros((1, 240, 320), np.uint8), np.zeros((1, 240, 320), np.bool_)
    if hands:
        masks[0, -1, :, :80] = 255
    arms[0, :, 40:160] = 255  # a hand before a forearm is the hand
    void[0, :, 160:240] = True
    unknown = np.full((1, hands, 21, 2), np.nan, np.float32), np.full((1, hands), np.nan, np.float32)
    return WideClip(images, masks, arms, void, *unknown, kind)


def a_picture(labels: int, arms_labelled: bool = True, size: tuple[int, int] = (256, 144)) -> SegPicture:
    width, height = size
    image = np.full((height, width, 3), 200, np.uint8)
    return SegPicture(LabelledImage(image, np.full((height, width), labels, np.uint8)), arms_labelled)


def read_nothing(done: int, total: int) -> None:
    pass


def test_hands_cover_forearms_and_what_nobody_knows_is_not_learnt() -> None:
    (seen,) = pictures_of(clip_of())
    assert seen.picture.size == (256, 192) and seen.arms_labelled
    row = seen.picture.labels[96]
    assert [int(row[x]) for x in (10, 54, 74, 118, 138, 182, 202, 250)] == [
        *(HAND, HAND, FOREARM, FOREARM),
        *(IGNORE, IGNORE, BACKGROUND, BACKGROUND),
    ]


def test_a_clip_without_hands_is_background_and_forearms() -> None:
    (seen,) = pictures_of(clip_of(hands=0))
    assert set(np.unique(seen.picture.labels)) == {BACKGROUND, FOREARM, IGNORE}


def test_the_background_of_pseudo_labelled_pictures_is_only_no_hand() -> None:
    (real,) = pictures_of(clip_of(ClipKind.REAL))
    assert not real.arms_labelled
    _, shares = network_input(real)
    assert shares[:, 40, 110].tolist() == [0, 0, 0, 255]
    _, shares = network_input(pictures_of(clip_of())[0])
    assert shares[:, 40, 110].tolist() == [255, 0, 0, 0]


def test_black_fills_up_what_the_network_needs_and_nothing_is_known_of_it() -> None:
    image, shares = network_input(a_picture(HAND))
    assert image.shape == (160, 256, 3) and shares.shape == (4, 80, 128)
    assert image[:144].min() == 200 and image[144:].max() == 0
    assert shares[1, :72].min() == 255 and shares[:, 72:].max() == 0


def test_what_is_held_out_is_never_learnt_from(tmp_path: Path) -> None:
    write_discs(tmp_path, learnt=3, held_out=2, kinds=(ClipKind.RENDERED, ClipKind.REAL))
    learnt = load_training_pictures(tmp_path, 2, read_nothing)
    kept = load_held_out_pictures(tmp_path, 256, 2)
    assert learnt.counts == {"rendered": 6, "real": 3} and kept.counts == {"rendered": 2, "real": 2}
    images = {one.picture.image.tobytes() for own in learnt.by_kind.values() for one in own}
    assert not images & {one.picture.image.tobytes() for own in kept.by_kind.values() for one in own}


def test_clips_that_come_later_are_added_and_none_is_read_twice(tmp_path: Path) -> None:
    write_discs(tmp_path, learnt=2, held_out=0)
    pictures = load_training_pictures(tmp_path, 1, read_nothing)
    write_discs(tmp_path, learnt=1, held_out=1, kinds=(ClipKind.REAL,))
    pictures.read(training_clips(tmp_path), None, 1)
    assert pictures.counts == {"rendered": 4, "real": 1}


def test_held_out_clips_are_measured_evenly_up_to_a_limit(tmp_path: Path) -> None:
    write_discs(tmp_path, learnt=1, held_out=6)
    assert load_held_out_pictures(tmp_path, 9, 1).counts == {"rendered": 3}
    assert load_held_out_pictures(tmp_path, 256, 1).counts == {"rendered": 6}


def test_an_empty_folder_names_the_way_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"holds no clips to train on.*--data"):
        load_training_pictures(tmp_path, 1, read_nothing)


def test_kinds_are_drawn_by_their_shares_and_what_is_absent_is_left_to_the_others() -> None:
    hand, arm = a_picture(HAND), a_picture(FOREARM)
    both = SegPictures({ClipKind.RENDERED: [hand] * 9, ClipKind.REAL: [arm]})
    rng = np.random.default_rng(0)
    drawn = Counter(id(both.draw(rng)) for _ in range(2000))
    assert drawn[id(hand)] / 2000 == pytest.approx(0.45 / 0.75, abs=0.04)
    assert drawn[id(hand)] + drawn[id(arm)] == 2000


def test_only_pictures_whose_forearms_are_labelled_are_cut_out() -> None:
    both = SegPictures({ClipKind.RENDERED: [a_picture(HAND)], ClipKind.REAL: [a_picture(HAND, arms_labelled=False)]})
    rng = np.random.default_rng(0)
    assert all(both.draw(rng, cut_out=True).arms_labelled for _ in range(50))
    assert not all(both.draw(rng).arms_labelled for _ in range(50))


def test_hands_and_forearms_are_pasted_over_and_nothing_else() -> None:
    labels = np.full((64, 96), BACKGROUND, np.uint8)
    labels[:, 20:40], labels[:, 40:60], labels[:, 60:80] = HAND, FOREARM, IGNORE
    above = LabelledImage(np.full((64, 96, 3), 250, np.uint8), labels)
    below = LabelledImage(np.full((64, 96, 3), 10, np.uint8), np.full((64, 96), IGNORE, np.uint8))
    both = pasted(below, above)
    assert both.labels[30, [10, 25, 50, 70, 90]].tolist() == [IGNORE, HAND, FOREARM, IGNORE, IGNORE]
    assert both.image[30, [10, 25, 50, 70, 90], 0].tolist() == [10, 250, 250, 10, 10]
    assert 10 < both.image[30, 20, 0] < 250


def test_hands_and_forearms_alone_are_seen_in_another_light(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.full((144, 256), BACKGROUND, np.uint8)
    labels[:, :64] = HAND
    plain = AugmentConfig(flip=0.0, zoom=1.0, turn_deg=0.0, light=0.0, tint=0.0, blur=0.0, noise=0.0, jpeg=0.0)
    monkeypatch.setattr(builtin_seg_data, "AUGMENT", plain)
    monkeypatch.setattr(builtin_seg_data, "PASTE", 0.0)
    monkeypatch.setattr(builtin_seg_data, "RELIT", 1.0)
    for arms_labelled in (True, False):
        seen = SegPicture(LabelledImage(np.full((144, 256, 3), 120, np.uint8), labels), arms_labelled)
        batch = next(batches(SegPictures({ClipKind.RENDERED: [seen]}), 0, 8, 0, 1))
        hand = batch.shares[:, 1].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2) == 255
        none = batch.shares[:, 0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2) == 255
        if arms_labelled:
            assert (batch.images[none] == 120).float().mean() > 0.98
            assert (batch.images[hand] != 120).float().mean() > 0.9
        else:
            assert bool((batch.images[hand] == 120).all())


def test_batches_follow_from_the_seed_and_the_step_alone() -> None:
    pictures = SegPictures({ClipKind.RENDERED: pictures_of(disc_clip(0, ClipKind.RENDERED))})
    straight = list(islice(batches(pictures, 7, 2, 0, 2), 4))
    later = next(batches(pictures, 7, 2, 3, 1))
    other = next(batches(pictures, 8, 2, 3, 1))
    assert later.images.equal(straight[3].images) and later.shares.equal(straight[3].shares)
    assert later.images.shape != other.images.shape or not later.images.equal(other.images)


def test_batches_have_the_shapes_of_frames(tmp_path: Path) -> None:
    pictures = SegPictures({ClipKind.RENDERED: pictures_of(disc_clip(0, ClipKind.RENDERED))})
    shapes = Counter(tuple(batch.images.shape[1:3]) for batch in islice(batches(pictures, 0, 1, 0, 2), 40))
    assert set(shapes) == {(192, 256), (160, 256), (256, 256), (256, 192), (256, 160)}
    assert shapes[192, 256] + shapes[160, 256] > 20


def test_pictures_are_smaller_until_the_step_that_is_told() -> None:
    pictures = SegPictures({ClipKind.RENDERED: pictures_of(disc_clip(0, ClipKind.RENDERED))})
    sides = [max(batch.images.shape[1:3]) for batch in islice(batches(pictures, 0, 1, 0, 1, small_until=3), 5)]
    assert sides == [160, 160, 160, 256, 256]


def test_empty_clips_are_learnt_as_background_in_their_share() -> None:
    (empty,) = pictures_of(clip_of(ClipKind.EMPTY, hands=0))
    assert empty.arms_labelled and HAND not in np.unique(empty.picture.labels)
    pictures = SegPictures({ClipKind.RENDERED: [a_picture(HAND)], ClipKind.EMPTY: [empty]})
    rng = np.random.default_rng(0)
    drawn = sum(pictures.draw(rng) is empty for _ in range(4000))
    assert 0.41 < drawn / 4000 < 0.47  # 0.35 of 0.35 + 0.45
    assert not any(pictures.draw(rng, cut_out=True) is empty for _ in range(100))
