from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import InvalidInputError
from gest_stream.training import wide_data
from gest_stream.training.wide_clips import HELD_OUT_FROM, ClipKind, WideClip, clip_path
from gest_stream.training.wide_data import ClipMaker, WideJob, main, plan_clips, set_folders, split_pictures
from gest_stream.training.wide_empty import EmptyScene
from gest_stream.training.wide_foregrounds import keyed_rows, read_manifest
from gest_stream.training.wide_held_out import VIDEOS, crosses, video_plan
from gest_stream.training.wide_real import real_clip, real_rows
from tests.training.made_sets import write_set

SMALL = 96


def _job(tmp_path: Path, frames: int = 2, seed: int = 0) -> WideJob:
    keyed, pseudo = (
        write_set(tmp_path / "sets", "keyed", "keyed", 12),
        write_set(tmp_path / "sets", "pseudo", "pseudo", 12),
    )
    return WideJob(tmp_path / "clips", seed=seed, frames=frames, longer_side=SMALL, sets=(keyed, pseudo))


@pytest.mark.parametrize("kind", list(ClipKind))
def test_a_number_is_always_the_same_clip_and_other_seeds_are_others(tmp_path: Path, kind: ClipKind) -> None:
    maker, other = ClipMaker(_job(tmp_path)), ClipMaker(_job(tmp_path, seed=1))
    maker.make(kind, 4)  # another clip before changes nothing
    (one, quality), (same, same_quality) = maker.make(kind, 3), ClipMaker(_job(tmp_path)).make(kind, 3)
    assert quality == same_quality and 60 <= quality <= 95
    for name in ("images", "hands", "arms", "void", "landmarks", "shown"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name), err_msg=name)
    assert one.kind is kind and max(one.size) == SMALL
    assert len(one) == (1 if kind is ClipKind.REAL else 2)
    if kind is not ClipKind.REAL:
        changed = other.make(kind, 3)[0]
        assert changed.images.shape != one.images.shape or not np.array_equal(changed.images, one.images)


def test_rendered_clips_are_of_many_kinds(tmp_path: Path) -> None:
    maker = ClipMaker(_job(tmp_path, frames=1))
    clips = [maker.make(ClipKind.RENDERED, index)[0] for index in range(12)]
    assert {clip.hands.shape[1] for clip in clips} >= {1, 2}
    assert len({clip.size for clip in clips}) >= 3
    areas = [float((alpha > 127).mean()) for clip in clips for alpha in clip.hands[0] if alpha.any()]
    assert min(areas) < 0.02 and max(areas) > 0.06
    assert any((clip.shown < 0.9).any() for clip in clips)
    for clip in clips:
        together = clip.hands.astype(int).sum(axis=1) + clip.arms
        assert together.max(initial=0) <= 258  # no pixel shows more than itself, but for rounding
        assert not clip.void.any()


def test_landmarks_lie_on_their_hands(tmp_path: Path) -> None:
    maker = ClipMaker(_job(tmp_path, frames=1))
    hits = []
    for kind in (ClipKind.RENDERED, ClipKind.COMPOSITED):
        for index in range(6):
            clip = maker.make(kind, index)[0]
            for alpha, points, shown in zip(clip.hands[0], clip.landmarks[0], clip.shown[0], strict=True):
                columns, rows = np.rint(points - 0.5).astype(int).T
                inside = (columns >= 0) & (rows >= 0) & (columns < clip.size[0]) & (rows < clip.size[1])
                if shown > 0.98 and inside.all():
                    hits += (alpha[rows, columns] > 100).tolist()
    assert len(hits) > 60 and np.mean(hits) > 0.9


def test_clips_are_made_once_in_turn_and_measured_ones_first(tmp_path: Path) -> None:
    job = _job(tmp_path)
    clips = plan_clips(job, rendered=4, composited=2, real=None, held_out=1, empty=2)
    measured = [index >= HELD_OUT_FROM for _, index in clips]
    assert measured == sorted(measured, reverse=True) and sum(measured) == 4
    kinds = [kind for kind, index in clips if index < HELD_OUT_FROM]
    assert set(kinds[:8]) == set(ClipKind)


def test_the_command_makes_what_is_missing_and_keeps_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "sets", "pseudo", "pseudo", 12)
    folder = tmp_path / "clips"
    there = clip_path(folder, ClipKind.REAL, 1)
    there.parent.mkdir(parents=True)
    there.write_bytes(b"kept")
    arguments = ["--folder", str(folder), "--rendered", "0", "--composited", "0", "--held-out", "0", "--empty", "0"]
    arguments += ["--workers", "1"]
    assert main([*arguments, "--real", str(tmp_path / "sets")]) == 0
    assert there.read_bytes() == b"kept"
    names = sorted(path.name for path in (folder / "real").iterdir())
    assert names == [*(f"clip_{k:06d}.npz" for k in range(11)), f"clip_{HELD_OUT_FROM}.npz"]
    assert WideClip.load(folder / "real" / names[0]).kind is ClipKind.REAL
    assert "12 of 12 clips" in capsys.readouterr().out


def test_clips_can_be_of_fewer_frames_and_smaller(tmp_path: Path) -> None:
    arguments = ["--folder", str(tmp_path), "--rendered", "0", "--composited", "0", "--held-out", "0", "--empty", "1"]
    assert main([*arguments, "--frames", "2", "--longer-side", "96", "--workers", "1"]) == 0
    clip = WideClip.load(clip_path(tmp_path, ClipKind.EMPTY, 0))
    assert len(clip) == 2 and max(clip.size) == 96
    assert main([*arguments, "--longer-side", "8"]) == 1


def test_a_folder_without_sets_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInputError, match="holds no set of pictures"):
        set_folders([tmp_path])
    assert main(["--folder", str(tmp_path / "clips"), "--real", str(tmp_path)]) == 1
    assert "manifest.jsonl" in capsys.readouterr().err


def test_an_empty_clip_has_much_in_it_but_no_hand_and_none_from_photographs_of_people(tmp_path: Path) -> None:
    import cv2

    for name, colour in (("room_1", 90), ("people_1", 250)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((120, 160, 3), colour, np.uint8))
    pictures = tuple(sorted(tmp_path.glob("*.png")))
    maker = ClipMaker(WideJob(tmp_path, frames=2, longer_side=SMALL, backgrounds=pictures, nobody="room_*"))
    asked: list[list[Path]] = []

    def noted(size: tuple[int, int], rng: np.random.Generator, shown: list[Path]) -> EmptyScene:
        asked.append(shown)
        return EmptyScene(size, rng, shown)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide_data, "EmptyScene", noted)
        clips = [maker.make(ClipKind.EMPTY, index)[0] for index in range(8)]
    assert asked == [[tmp_path / "room_1.png"]] * 8
    assert all(clip.hands.shape[:2] == (2, 0) and not clip.arms.any() and not clip.void.any() for clip in clips)
    assert len({clip.images[0].mean() for clip in clips}) == 8 and max(clip.images[0].std() for clip in clips) > 20


def test_composited_clips_need_keyed_pictures(tmp_path: Path) -> None:
    maker = ClipMaker(WideJob(tmp_path, longer_side=SMALL))
    with pytest.raises(InvalidInputError, match="no keyed picture of a hand"):
        maker.make(ClipKind.COMPOSITED, 0)


def test_every_tenth_picture_is_held_out(tmp_path: Path) -> None:
    rows = keyed_rows([write_set(tmp_path, "keyed", "keyed", 21)])
    assert [k for k, row in enumerate(rows) if row.held_out] == [9, 19]
    placed = real_rows([write_set(tmp_path, "pseudo", "pseudo", 21)])
    assert [index for index, row in placed if row.held_out] == [HELD_OUT_FROM, HELD_OUT_FROM + 1]


def test_backgrounds_of_one_source_are_not_split(tmp_path: Path) -> None:
    pictures = [tmp_path / f"{source}_{k:02d}.jpg" for source in "abcdefgh" for k in range(3)]
    measured = split_pictures(pictures, held_out=True)
    assert [path.name for path in measured] == ["h_00.jpg", "h_01.jpg", "h_02.jpg"]
    assert set(split_pictures(pictures, held_out=False)).isdisjoint(measured)
    assert split_pictures(pictures[:6], held_out=True) == pictures[:6]


def test_a_broken_manifest_is_told_by_its_line(tmp_path: Path) -> None:
    folder = write_set(tmp_path, "pseudo", "pseudo", 2)
    with (folder / "manifest.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"file": "x"}))
    with pytest.raises(InvalidInputError, match=r"manifest\.jsonl:3: is no picture of a set"):
        read_manifest(folder)


def test_real_clips_are_void_where_a_forearm_can_be_and_certain_far_from_it(tmp_path: Path) -> None:
    ((_, row),) = real_rows([write_set(tmp_path, "pseudo", "pseudo", 1)])
    clip = real_clip(row, 160, np.random.default_rng(0))
    assert clip.size == (120, 160)
    assert clip.hands[0, 0, 60, 60] == 255 and not clip.void[0, 60, 60]
    assert clip.void[0, 150, 60] and clip.void[0, 100, 20]  # arm, labelled or not, and beside it
    assert not clip.void[0, 5, 5] and not clip.hands[0, 0, 5, 5]
    assert np.isnan(clip.shown).all()
    np.testing.assert_allclose(clip.landmarks[0, 0, 0], (60, 100), atol=0.01)


def test_sets_with_unlabelled_hands_are_certain_only_near_the_labelled_ones(tmp_path: Path) -> None:
    shares = {}
    for name in ("emre_gesture_mit", "another"):
        ((_, row),) = real_rows([write_set(tmp_path, name, "pseudo", 1, margin=150)])
        clips = [real_clip(row, 160, np.random.default_rng(seed)) for seed in range(6)]
        assert all((clip.hands[0, 0][~clip.void[0]] > 127).any() for clip in clips)
        shares[name] = np.mean([1 - clip.void.mean() for clip in clips])
    assert shares["emre_gesture_mit"] < 0.6 and shares["another"] > 0.9


def test_held_out_videos_cross_in_half_of_them_and_have_both_views() -> None:
    plans = [video_plan(index) for index in range(VIDEOS)]
    assert sum(crosses(index) for index in range(VIDEOS)) == VIDEOS // 2
    assert all(plan.hands == 2 for plan in plans if plan.crossings)
    assert 0 < sum(bool(plan.first_person) for plan in plans) < VIDEOS
    assert {plan.size for plan in plans} == {(640, 480), (640, 360)}
    with pytest.raises(InvalidInputError, match="expected 0 to 27, got 28"):
        video_plan(28)
