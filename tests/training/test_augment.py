from dataclasses import replace

import cv2
import numpy as np
import pytest

from gest_stream.training.augment import augment
from gest_stream.training.config import AugmentConfig
from gest_stream.training.labels import HAND, IGNORE, LabelledImage
from tests.training.made_data import STILL

WIDTH, HEIGHT = 80, 60


@pytest.fixture
def picture() -> LabelledImage:
    """Hand pixels are red and forearm pixels blue, so that picture and labels can be held against each other."""
    rng = np.random.default_rng(0)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[10:30, 15:45], labels[30:, 22:38] = HAND, 2
    image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    image[labels == HAND], image[labels == 2] = (230, 20, 20), (20, 20, 230)
    return LabelledImage(image + rng.integers(0, 8, image.shape, dtype=np.uint8), labels)


def run(
    picture: LabelledImage, config: AugmentConfig, seed: int = 0, canvas: tuple[int, int] = (WIDTH, HEIGHT)
) -> LabelledImage:
    return augment(picture, canvas, np.random.default_rng(seed), config)


def test_without_changes_a_picture_of_the_canvas_size_stays_as_it_is(picture: LabelledImage) -> None:
    same = run(picture, STILL)
    assert np.array_equal(same.image, picture.image) and np.array_equal(same.labels, picture.labels)


def test_flip_mirrors_both(picture: LabelledImage) -> None:
    flipped = run(picture, replace(STILL, flip=1.0))
    assert np.array_equal(flipped.image, picture.image[:, ::-1])
    assert np.array_equal(flipped.labels, picture.labels[:, ::-1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("canvas", [(80, 60), (28, 28), (210, 140)])
def test_labels_follow_the_picture_wherever_it_is_moved(
    picture: LabelledImage, seed: int, canvas: tuple[int, int]
) -> None:
    moved = run(picture, replace(STILL, flip=0.5, zoom=1.8, turn_deg=40, on_hand=0.5), seed, canvas)
    assert moved.size == canvas
    red, blue = moved.image[..., 0] > 130, moved.image[..., 2] > 130
    known = moved.labels != IGNORE
    inside = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    wrong = (red != (moved.labels == HAND)) & inside, (blue != (moved.labels == 2)) & inside
    edge = cv2.morphologyEx(np.where(known, moved.labels, 0).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    assert all(not (one & (edge == 0)).any() for one in wrong)
    assert set(np.unique(moved.labels)) <= {0, 1, 2, IGNORE}


def test_beyond_the_edge_nothing_is_known(picture: LabelledImage) -> None:
    labels = run(picture, STILL, canvas=(80, 120)).labels
    known = (labels != IGNORE).all(axis=1)
    top = int(np.flatnonzero(known)[0])
    assert known[top : top + HEIGHT].all() and known.sum() == HEIGHT
    assert np.array_equal(labels[top : top + HEIGHT], picture.labels)


def test_a_crop_on_the_hand_shows_it(picture: LabelledImage) -> None:
    wide = LabelledImage(np.tile(picture.image, (1, 20, 1)), np.zeros((HEIGHT, 20 * WIDTH), np.uint8))
    wide.labels[:, :WIDTH] = picture.labels
    shown = {}
    for on_hand in (0.0, 1.0):
        config = replace(STILL, zoom=10.0, on_hand=on_hand)
        crops = [run(wide, config, seed, canvas=wide.size).labels for seed in range(30)]
        shown[on_hand] = sum(bool((crop == HAND).any()) for crop in crops)
    assert shown[1.0] == 30 and shown[0.0] < 25


def test_light_changes_the_picture_and_no_label(picture: LabelledImage) -> None:
    means = []
    for seed in range(20):
        changed = run(picture, replace(STILL, light=0.35, tint=0.08), seed)
        assert np.array_equal(changed.labels, picture.labels)
        means.append(changed.image.mean())
    assert max(means) > 1.15 * picture.image.mean() and min(means) < 0.85 * picture.image.mean()


@pytest.mark.parametrize("name", ["blur", "noise", "jpeg"])
def test_the_camera_s_faults_change_the_picture_a_little(picture: LabelledImage, name: str) -> None:
    changed = run(picture, replace(STILL, **{name: 1.0}))
    difference = np.abs(changed.image.astype(int) - picture.image)
    assert 0.2 < difference.mean() < 20 and np.array_equal(changed.labels, picture.labels)


def test_equal_seeds_change_alike_and_others_do_not(picture: LabelledImage) -> None:
    first, again, other = (run(picture, AugmentConfig(), seed) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)
