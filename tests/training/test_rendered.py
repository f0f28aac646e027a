import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic import ClipConfig, ClipRenderer
from gest_stream.training.config import RenderConfig
from gest_stream.training.labels import LabelledImage
from gest_stream.training.render_clips import ShardSpec, labelled_frame, read_shard_picture, render_shard, write_shard
from gest_stream.training.rendered import RenderedHands, render_ahead
from tests.training.conftest import RENDER, SPEC, Rendered
from tests.training.made_data import scene, write_image


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering would need a process, and there is none."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_the_labels_are_what_most_of_a_pixel_shows() -> None:
    renderer = ClipRenderer(ClipConfig(size=(160, 120), hands=2, seed=5))
    frame = renderer.frame(3)
    labels = labelled_frame(frame, renderer.background()).labels
    hands = np.sum([hand.hand_mask.full().astype(int) for hand in frame.hands], axis=0)
    forearms = np.sum([hand.arm_mask.full().astype(int) for hand in frame.hands], axis=0)
    assert (labels == 1)[hands >= 128].all() and not (labels == 1)[hands < 64].any()
    assert (labels == 2)[forearms >= 128].all() and not (labels == 2)[forearms < 64].any()
    assert (labels == 1).sum() > 500 and (labels == 2).sum() > 500


def test_another_background_shows_wherever_no_hand_is() -> None:
    renderer = ClipRenderer(ClipConfig(size=(160, 120), hands=1, seed=5, noise=0.0, shutter=0.0))
    frame, painted = renderer.frame(3), renderer.background()
    backdrop = np.full_like(painted, (0, 90, 200))
    changed = labelled_frame(frame, painted, backdrop)
    shown = frame.hands[0].hand_mask.full().astype(int) + frame.hands[0].arm_mask.full()
    assert np.abs(changed.image[shown == 0].astype(int) - (0, 90, 200)).max() <= 1
    assert np.abs(changed.image[shown == 255].astype(int) - frame.frame.image[shown == 255]).max() <= 1
    edge = (shown > 100) & (shown < 155)
    expected = frame.frame.image[edge] + (1 - shown[edge] / 255)[:, None] * (
        backdrop[edge].astype(float) - painted[edge]
    )
    assert edge.sum() > 20 and np.abs(changed.image[edge] - expected).max() < 2


def test_a_clip_follows_from_seed_and_number_alone() -> None:
    first, again = render_shard(SPEC, 3), render_shard(SPEC, 3)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].image, render_shard(replace(SPEC, seed=9), 3)[0].image)


def test_a_shard_keeps_labels_exactly_and_pictures_nearly(tmp_path: Path) -> None:
    pictures = [LabelledImage(image, mask) for image, mask in (scene(0, (64, 48)), scene(1, (64, 48)))]
    write_shard(tmp_path / "clip.npz", pictures)
    for number, picture in enumerate(pictures):
        found = read_shard_picture(tmp_path / "clip.npz", number)
        assert np.array_equal(found.labels, picture.labels)
        assert np.abs(found.image.astype(int) - picture.image).mean() < 12  # the picture is noise
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]


def test_a_damaged_shard_says_to_remove_it(tmp_path: Path) -> None:
    (tmp_path / "clip.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InvalidInputError, match=r"clip\.npz: is damaged .* remove it"):
        read_shard_picture(tmp_path / "clip.npz", 0)


def test_pictures_rendered_by_a_process_are_those_of_this_one(rendered_hands: Rendered) -> None:
    pictures = RenderedHands(rendered_hands.folder, RENDER)
    here = render_shard(SPEC, 5)[2]
    found = pictures.load(22)
    assert len(pictures) == 32 and pictures.group(22) == pictures.group(20) != pictures.group(19)
    assert np.array_equal(found.labels, here.labels)
    assert np.abs(found.image.astype(int) - here.image).mean() < 4


@pytest.mark.usefixtures("no_processes")
def test_what_is_there_is_not_rendered_again(rendered_hands: Rendered) -> None:
    assert len(render_ahead(RENDER, rendered_hands.root)) == 32
    assert len(render_ahead(replace(RENDER, frames=9), rendered_hands.root)) == 9
    for other in (replace(RENDER, seed=4), replace(RENDER, longer_side=128), replace(RENDER, frames=33)):
        with pytest.raises(AssertionError, match="a process was started"):
            render_ahead(other, rendered_hands.root)


def test_missing_clips_are_rendered_and_counted(rendered_hands: Rendered) -> None:
    assert rendered_hands.told == [(done, 32) for done in (12, 16, 20, 24, 28, 32)]
    assert sorted(path.name for path in rendered_hands.folder.iterdir()) == [f"clip_{k:06d}.npz" for k in range(8)]


def test_some_clips_have_no_hand_and_the_others_have() -> None:
    spec = ShardSpec(seed=0, frames_per_clip=1, longer_side=112)
    empty = [not render_shard(spec, number)[0].labels.any() for number in range(24)]
    assert 1 <= sum(empty) <= 6


def test_backgrounds_of_the_user_are_used_where_nothing_covers_a_hand(tmp_path: Path) -> None:
    green = write_image(tmp_path / "green.png", np.full((60, 90, 3), (0, 200, 0), np.uint8))
    spec = ShardSpec(seed=0, frames_per_clip=1, longer_side=112, backgrounds=(green,))
    laid_over = 0
    for number in range(12):
        picture = render_shard(spec, number)[0]
        rest = picture.image[picture.labels == 0].astype(int)
        laid_over += bool(len(rest)) and bool(np.median(np.abs(rest - (0, 200, 0))) < 12)
    assert 6 <= laid_over <= 12


@pytest.mark.parametrize(("make", "message"), [(False, "is not a folder of backgrounds"), (True, "holds no pictures")])
def test_backgrounds_that_are_not_there_are_refused(tmp_path: Path, make: bool, message: str) -> None:
    folder = tmp_path / "backgrounds"
    if make:
        folder.mkdir()
    with pytest.raises(InvalidInputError, match=message):
        render_ahead(RenderConfig(frames=1, backgrounds=folder), tmp_path)


def test_trouble_of_a_process_is_told(tmp_path: Path) -> None:
    backgrounds = tmp_path / "backgrounds"
    backgrounds.mkdir()
    (backgrounds / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InvalidInputError, match=r"broken\.jpg: is not an image"):
        render_ahead(replace(RENDER, backgrounds=backgrounds), tmp_path)


def test_a_process_that_dies_is_an_error_and_not_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InvalidInputError, match="a rendering process ended early"):
        render_ahead(RENDER, tmp_path)
