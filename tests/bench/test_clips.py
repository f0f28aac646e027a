"""What is played: made once, there and back, with one, two and four hands; and its truth in a file."""

from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gest_stream.bench import clips
from gest_stream.bench.clips import hands_clips, in_plain_view, synthetic_clip, there_and_back
from gest_stream.bench.looped import decoded
from gest_stream.bench.truth_file import load_truth, save_truth, scaled_truth
from gest_stream.errors import InvalidInputError, SourceError
from gest_stream.synthetic import ClipConfig, ClipRenderer, SyntheticFrame
from tests.bench.conftest import RATE, SIZE, fake_rendering, truth_of

CONFIG = ClipConfig(SIZE, frames=18, rate=RATE, seed=1)


def silent(done: int, total: int) -> None:
    """Nobody watches."""


@pytest.mark.parametrize(("items", "both"), [([1, 2, 3, 4], [1, 2, 3, 4, 3, 2]), ([1, 2], [1, 2]), ([1], [1])])
def test_there_and_back_repeats_no_end(items: list[int], both: list[int]) -> None:
    assert there_and_back(items) == both


@pytest.mark.usefixtures("small_clips")
def test_a_clip_has_three_sizes_and_its_truth(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    clip = synthetic_clip(CONFIG, tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(k + 1, 18) for k in range(18)]
    assert {name: file.size for name, file in clip.files.items()} == {
        "480p": SIZE,
        "720p": (240, 180),
        "1080p": (320, 240),
    }
    for file in clip.files.values():
        levels = [float(frame.image.mean()) for frame in islice(decoded(file), file.frames)]
        assert file.frames == len(levels) == 34
        assert levels[17] == max(levels) and levels[:18] == sorted(levels[:18])
    assert clip.truth is not None and len(clip.truth) == 18
    assert clip.truth[0][1].hand_mask.iou(truth_of(1).hand_mask) == 1.0
    assert clip.truth[9][1].hand_mask.area_px == 0


@pytest.mark.usefixtures("small_clips")
def test_a_clip_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic_clip(CONFIG, tmp_path, silent)

    def refuse(config: ClipConfig, workers: int) -> list[SyntheticFrame]:
        raise AssertionError("rendered again")

    monkeypatch.setattr(clips, "render_in_processes", refuse)
    assert synthetic_clip(CONFIG, tmp_path, silent).frames == 18
    with pytest.raises(AssertionError, match="rendered again"):
        synthetic_clip(ClipConfig(SIZE, frames=19), tmp_path, silent)


@pytest.mark.usefixtures("small_clips")
def test_a_clip_that_was_broken_off_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: ClipConfig, workers: int) -> list[SyntheticFrame]:
        raise KeyboardInterrupt

    monkeypatch.setattr(clips, "render_in_processes", broken)
    with pytest.raises(KeyboardInterrupt):
        synthetic_clip(CONFIG, tmp_path, silent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_clips")
def test_clips_that_were_not_used_for_a_month_are_removed(tmp_path: Path) -> None:
    used, unused = tmp_path / "used", tmp_path / ".draft-unused"
    for folder, days in ((used, 20), (unused, 40)):
        folder.mkdir()
        os.utime(folder, (0, time.time() - days * 24 * 3600))
    synthetic_clip(CONFIG, tmp_path, silent)
    assert used.is_dir() and not unused.exists()


@pytest.mark.usefixtures("small_clips")
def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot be kept there"):
        synthetic_clip(CONFIG, tmp_path / "file", silent)


@pytest.mark.usefixtures("small_clips")
def test_pictures_of_one_two_and_four_hands_have_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def behind(renderer: object) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
        return np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)

    monkeypatch.setattr(ClipRenderer, "background", behind)
    files = hands_clips(True, tmp_path, silent)
    width = SIZE[0]
    first = {hands: next(decoded(file)).image.astype(int) for hands, file in files.items()}
    assert {image.shape for image in first.values()} == {(SIZE[1], 2 * width, 3)}
    assert abs(first[1][60, 115].mean() - 200) < 8  # the second hand is painted over
    assert abs(first[2][60, 115].mean() - 60) < 8
    assert abs(first[2][:, width + 8 :].mean() - 200) < 8
    mirrored = first[4][:, width:][:, ::-1]
    assert np.abs(mirrored[:, 8:-8] - first[4][:, :width][:, 8:-8]).mean() < 4


def test_plain_view_is_the_longest_run() -> None:
    shown = [1.0, 1.0, 0.4, 1.0, 1.0, 1.0, 0.2, 1.0]
    assert in_plain_view([(truth_of(0, value),) for value in shown]) == [3, 4, 5]


def test_truth_comes_back_from_its_file(tmp_path: Path) -> None:
    before = [frame.hands for frame in fake_rendering(CONFIG, 1)]
    save_truth(tmp_path / "truth.npz", before)
    after = load_truth(tmp_path / "truth.npz")
    assert [len(hands) for hands in after] == [2] * 18
    for one, other in zip([h for hands in before for h in hands], [h for hands in after for h in hands], strict=True):
        assert (one.index, one.shown, one.inside_frame, one.handedness) == (
            other.index,
            other.shown,
            other.inside_frame,
            other.handedness,
        )
        assert np.array_equal(one.hand_mask.full(), other.hand_mask.full())
        assert np.array_equal(one.landmarks.points_px, other.landmarks.points_px)
        assert np.array_equal(one.visible, other.visible)


def test_truth_without_hands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="without any"):
        save_truth(tmp_path / "truth.npz", [(), ()])


def test_truth_grows_with_the_picture() -> None:
    (hand,) = scaled_truth((truth_of(0),), (320, 240))
    assert hand.hand_mask.frame_size == (320, 240)
    assert hand.hand_mask.area_px == pytest.approx(4 * truth_of(0).hand_mask.area_px, rel=0.05)
    assert hand.landmarks.points_xy_px == pytest.approx(2 * truth_of(0).landmarks.points_xy_px)
