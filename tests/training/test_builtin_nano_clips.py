"""What sam2-nano learns from: squares of wide clips, photographs in motion, nothing held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import InvalidInputError
from gest_stream.training.builtin_nano_clips import NanoClips, in_motion, square
from gest_stream.training.wide_clips import ClipKind, WideClip, clip_path
from tests.training.wide_scene import disc_clip, write_discs

SIDE = 128


def landmarked(clip: WideClip, shown: float) -> WideClip:
    """The same with every landmark at its hand's middle."""
    middles = [[np.argwhere(mask > 0).mean(axis=0)[::-1] for mask in of_frame] for of_frame in clip.hands]
    points = np.repeat(np.array(middles, np.float32)[:, :, None], 21, axis=2)
    return replace(clip, landmarks=points, shown=np.full(clip.shown.shape, shown, np.float32))


def test_a_square_keeps_every_mask_at_its_place_and_landmarks_in_pixels_of_the_frame() -> None:
    wide = landmarked(disc_clip(1, ClipKind.RENDERED), 0.5)
    clip = square(wide, SIDE)
    assert clip.images.shape == (2, SIDE, SIDE, 3) and clip.frame_size == (320, 240)
    assert clip.landmarks is not None and clip.shown is not None and clip.shown[0, 0] == 0.5
    for t in range(2):
        middle = np.argwhere(clip.masks[t, 0] >= 128).mean(axis=0)[::-1]
        assert middle == pytest.approx(clip.landmarks[t, 0, 0] * SIDE / np.array([320, 240]), abs=1.0)


def test_hands_without_landmarks_are_told_by_masks_and_photographed_ones_count_as_seen() -> None:
    unknown = square(disc_clip(1, ClipKind.REAL, frames=1), SIDE)
    assert unknown.landmarks is None and unknown.startable(0) == (0,)
    found = square(landmarked(disc_clip(1, ClipKind.REAL, frames=1), np.nan), SIDE)
    assert found.shown is not None and found.startable(0) == (0,)


def test_void_pixels_stay_void() -> None:
    wide = disc_clip(1, ClipKind.REAL, frames=1)
    wide.void[0, :, :160] = True
    clip = square(wide, SIDE)
    assert clip.void is not None
    assert clip.void[0, :, :60].all() and not clip.void[0, :, 68:].any()


def test_a_photograph_in_motion_starts_as_it_is_and_masks_and_landmarks_move_with_it() -> None:
    still = square(landmarked(disc_clip(4, ClipKind.REAL, frames=1), 1.0), SIDE)
    clip = in_motion(still, 5, np.random.default_rng(2))
    assert len(clip) == 5
    np.testing.assert_array_equal(clip.images[0], still.images[0])
    np.testing.assert_array_equal(clip.masks[0], still.masks[0])
    assert clip.landmarks is not None and clip.void is not None
    middles = [np.argwhere(of_frame[0] >= 128).mean(axis=0)[::-1] for of_frame in clip.masks]
    told = clip.landmarks[:, 0, 0] * SIDE / np.array([320, 240])
    assert np.linalg.norm(middles[4] - middles[0]) > 2.0
    np.testing.assert_allclose(middles, told, atol=1.0)
    assert clip.void[4].any(), "what came in from outside is not known"


def test_held_out_clips_are_measured_with_and_never_drawn(tmp_path: Path) -> None:
    clips = NanoClips.find(write_discs(tmp_path, learnt=3, held_out=5), held_out=4)
    assert [path.name for path in clips.by_kind[ClipKind.RENDERED]] == [f"clip_00000{k}.npz" for k in range(3)]
    assert [path.name for path in clips.held_out] == ["clip_100000.npz", "clip_100002.npz"]
    assert len(clips.measured(SIDE)) == 2


def test_what_is_drawn_follows_from_the_generator_and_has_the_frames_asked_for(tmp_path: Path) -> None:
    clips = NanoClips.find(write_discs(tmp_path, 3, 1, (ClipKind.RENDERED, ClipKind.REAL)), held_out=2)
    one, same = (clips.draw(2, SIDE, np.random.default_rng(5)) for _ in range(2))
    assert one is not None and same is not None
    np.testing.assert_array_equal(one.images, same.images)
    lengths = {len(clip) for seed in range(12) if (clip := clips.draw(2, SIDE, np.random.default_rng(seed)))}
    assert lengths == {2}


def test_a_clip_without_a_hand_is_left_out(tmp_path: Path) -> None:
    root = write_discs(tmp_path, 0, 1)
    empty = disc_clip(1, ClipKind.RENDERED)
    replace(empty, hands=np.zeros_like(empty.hands)).save(clip_path(root, ClipKind.RENDERED, 0))
    assert NanoClips.find(root, 2).draw(1, SIDE, np.random.default_rng(0)) is None


def test_a_folder_without_clips_and_a_damaged_clip_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no clips to learn from"):
        NanoClips.find(tmp_path, 2)
    root = write_discs(tmp_path, 1, 0)
    with pytest.raises(InvalidInputError, match="holds no clips to measure with"):
        NanoClips.find(root, 2)
    disc_clip(0, ClipKind.RENDERED).save(clip_path(root, ClipKind.RENDERED, 100_000))
    clip_path(root, ClipKind.RENDERED, 0).write_bytes(b"PK")
    with pytest.raises(InvalidInputError, match=r"clip_000000\.npz: is damaged"):
        NanoClips.find(root, 2).draw(1, SIDE, np.random.default_rng(0))
