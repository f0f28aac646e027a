from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import InvalidInputError
from gest_stream.training.wide_clips import (
    HELD_OUT_FROM,
    ClipKind,
    WideClip,
    clip_path,
    held_out_paths,
    training_paths,
)


def _clip(hands: int = 2, frames: int = 3, size: tuple[int, int] = (64, 48)) -> WideClip:
    width, height = size
    rng = np.random.default_rng(hands)
    shade = np.linspace(40, 200, width, dtype=np.float32)[None, None, :, None]
    images = np.broadcast_to(shade, (frames, height, width, 3)).astype(np.uint8)
    void = np.zeros((frames, height, width), np.bool_)
    void[0, :10] = True
    landmarks = rng.uniform(0, width, (frames, hands, 21, 2)).astype(np.float32)
    landmarks[:, :1, 3] = np.nan
    return WideClip(
        images,
        rng.integers(0, 256, (frames, hands, height, width), dtype=np.uint8),
        rng.integers(0, 256, (frames, height, width), dtype=np.uint8),
        void,
        landmarks,
        rng.random((frames, hands), np.float32),
        ClipKind.RENDERED,
    )


@pytest.mark.parametrize("hands", [0, 1, 3])
def test_a_clip_is_read_back_as_it_was_written_but_for_jpeg(tmp_path: Path, hands: int) -> None:
    clip = _clip(hands)
    clip.save(tmp_path / "clip_000000.npz")
    back = WideClip.load(tmp_path / "clip_000000.npz")
    for name in ("hands", "arms", "void", "landmarks", "shown"):
        np.testing.assert_array_equal(getattr(back, name), getattr(clip, name), err_msg=name)
    assert back.kind is ClipKind.RENDERED
    assert np.abs(back.images.astype(int) - clip.images).max() < 8


def test_single_frames_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    clip = _clip()
    clip.save(tmp_path / "clip_000000.npz")
    back = WideClip.load(tmp_path / "clip_000000.npz", frames=[2, 0])
    np.testing.assert_array_equal(back.hands, clip.hands[[2, 0]])
    np.testing.assert_array_equal(back.landmarks, clip.landmarks[[2, 0]])
    assert back.void[1].any() and not back.void[0].any()


def test_a_lower_quality_takes_less_room(tmp_path: Path) -> None:
    clip = _clip(0)
    clip.save(tmp_path / "good.npz", quality=95)
    clip.save(tmp_path / "poor.npz", quality=20)
    assert (tmp_path / "poor.npz").stat().st_size < (tmp_path / "good.npz").stat().st_size


def test_a_damaged_clip_is_told_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "clip_000007.npz"
    path.write_bytes(b"half a fi")
    with pytest.raises(InvalidInputError, match="clip_000007.npz: is damaged"):
        WideClip.load(path)


def test_masks_of_another_size_are_refused() -> None:
    clip = _clip()
    with pytest.raises(InvalidInputError, match=r"arms: expected \(3, 48, 64\) uint8"):
        WideClip(clip.images, clip.hands, clip.arms[:, :-1], clip.void, clip.landmarks, clip.shown, clip.kind)


def test_held_out_clips_are_kept_apart_by_their_index(tmp_path: Path) -> None:
    (tmp_path / "rendered").mkdir()
    for index in (3, 20, HELD_OUT_FROM, HELD_OUT_FROM + 1):
        _clip(1, 1).save(clip_path(tmp_path, ClipKind.RENDERED, index))
    assert [path.name for path in training_paths(tmp_path, ClipKind.RENDERED)] == ["clip_000003.npz", "clip_000020.npz"]
    assert [path.stem for path in held_out_paths(tmp_path, ClipKind.RENDERED)] == ["clip_100000", "clip_100001"]
    assert training_paths(tmp_path, ClipKind.REAL) == []
