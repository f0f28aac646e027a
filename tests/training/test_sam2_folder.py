import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gest_stream.errors import InvalidInputError
from gest_stream.training import sam2_video_frames
from gest_stream.training.sam2_folder import FolderClip, open_folder, resized
from tests.media import Clip, make_clip
from tests.training.sam2_scene import (
    FRAME_SIZE,
    HIDDEN,
    disc_ids,
    disc_picture,
    write_clip,
    write_palette,
    write_picture,
)

SIDE = 64


def opened(folder: Path, min_area: float = 0.01) -> list[FolderClip]:
    return open_folder(folder, SIDE, min_area, folder.parent / "cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_clip(tmp_path / "davis", frames=8)
    return tmp_path / "davis"


def write_masks(folder: Path, numbers: range) -> None:
    """As `--save-masks` writes them: 16 bits, named by the frame's number."""
    folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(disc_ids(number).astype(np.uint16)).save(folder / f"{number:08d}.png")


def test_a_davis_folder_gives_each_object_s_mask_and_frame(root: Path) -> None:
    (clip,) = opened(root)
    assert (clip.name, len(clip)) == ("discs", 8)
    part = clip.take([3, 1], (2,))
    assert part.images.shape == (2, SIDE, SIDE, 3) and part.masks.shape == (2, 1, SIDE, SIDE)
    assert part.frame_size == FRAME_SIZE and part.void is None
    for row, index in enumerate((3, 1)):
        expected = disc_ids(index) == 2
        shares = part.masks[row, 0] / 255.0
        assert shares.mean() == pytest.approx(expected.mean(), abs=0.005)
        rows, columns = np.nonzero(part.masks[row, 0] > 200)
        assert expected[rows, (columns * 1.5).astype(int)].all()
    assert np.array_equal(part.images[0], resized(disc_picture(3), SIDE))


def test_an_object_can_start_where_it_is_seen_and_large_enough(root: Path) -> None:
    (clip,) = opened(root)
    assert [clip.startable(index) for index in range(8)] == [(1,) if k in HIDDEN else (1, 2) for k in range(8)]
    ids = disc_ids(0)
    ids[:30][ids[:30] == 1] = 0
    write_palette(root / "Annotations" / "discs" / "00000.png", ids)
    share = float((ids == 1).mean())
    assert opened(root, min_area=share - 1e-4)[0].startable(0) == (1, 2)
    assert opened(root, min_area=share + 1e-4)[0].startable(0) == (2,)


def test_255_is_void_where_the_picture_has_8_bits(root: Path) -> None:
    ids = disc_ids(0)
    ids[:10] = 255
    write_palette(root / "Annotations" / "discs" / "00000.png", ids)
    part = opened(root)[0].take([0, 1], (1,))
    assert part.void is not None and part.void[0, :10].all() and not part.void[0, 12:].any()
    assert not part.void[1].any()


def test_only_frames_with_a_mask_are_taken(root: Path) -> None:
    for index in (1, 2, 5):
        (root / "Annotations" / "discs" / f"{index:05d}.png").unlink()
    (clip,) = opened(root)
    assert len(clip) == 5
    assert np.array_equal(clip.take([1], (1,)).images[0], resized(disc_picture(3), SIDE))


def test_images_and_masks_are_other_names_and_one_clip_needs_no_folder_of_its_own(root: Path, tmp_path: Path) -> None:
    (root / "JPEGImages").rename(root / "images")
    (root / "Annotations").rename(root / "masks")
    assert [len(clip) for clip in opened(root)] == [8]
    alone = tmp_path / "alone"
    for name, to in (("images", "JPEGImages"), ("masks", "Annotations")):
        shutil.copytree(root / name / "discs", alone / to)
    assert [(clip.name, len(clip)) for clip in opened(alone)] == [("alone", 8)]


def test_saved_masks_lie_beside_a_folder_of_frames_and_are_paired_by_number(tmp_path: Path) -> None:
    for index in range(6):
        write_picture(tmp_path / "hands" / f"IMG_{index + 7}.png", disc_picture(index))  # IMG_7, IMG_8 … IMG_12
    write_masks(tmp_path / "hands_masks", range(2, 6))
    (clip,) = opened(tmp_path)
    assert (clip.name, len(clip)) == ("hands", 4)
    assert np.array_equal(clip.take([0], (1,)).images[0], resized(disc_picture(2), SIDE))


@pytest.mark.parametrize("masks", ["clip", "clip_masks"])
def test_saved_masks_lie_beside_a_video_whose_frames_are_kept(
    tmp_path: Path, masks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    pictures = [disc_picture(index) for index in range(6)]
    make_clip(folder / "clip.mp4", Clip(size=FRAME_SIZE, frames=6, images=pictures, options=(("qp", "0"),)))
    write_masks(folder / masks, range(1, 5))
    (clip,) = opened(folder)
    part = clip.take([0, 3], (1, 2))
    assert len(clip) == 4
    for row, index in ((0, 1), (1, 4)):
        assert np.abs(part.images[row].astype(int) - resized(disc_picture(index), SIDE)).mean() < 12
        for k in (0, 1):
            assert (part.masks[row, k] / 255).mean() == pytest.approx((disc_ids(index) == k + 1).mean(), abs=0.005)
    monkeypatch.setattr(sam2_video_frames, "_extract", None)  # would fail if it were called again
    assert len(opened(folder)[0]) == 4


def test_masks_of_frames_that_a_video_does_not_have_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    make_clip(folder / "clip.mp4", Clip(size=FRAME_SIZE, frames=4))
    write_masks(folder / "clip", range(2, 9))
    with pytest.raises(InvalidInputError, match=r"clip\.mp4: ends with frame 3, but there is a mask of frame 8"):
        opened(folder)
    assert not list((tmp_path / "cache").iterdir())


def test_a_folder_without_clips_is_refused_with_the_layouts(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match=r"empty: holds no clips; expected JPEGImages/NAME/\*\.jpg with"):
        opened(tmp_path / "empty")
    with pytest.raises(InvalidInputError, match=r"nowhere: is no folder"):
        opened(tmp_path / "nowhere")


def test_frames_without_masks_are_refused(root: Path) -> None:
    shutil.rmtree(root / "Annotations")
    with pytest.raises(InvalidInputError, match=r"has 1 clips, for example .*JPEGImages.discs, and no mask of any"):
        opened(root)


def test_a_clip_without_masks_among_others_is_left_out_and_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(root, "bare", frames=2)
    shutil.rmtree(root / "Annotations" / "bare")
    with caplog.at_level(logging.WARNING):
        assert [clip.name for clip in opened(root)] == ["discs"]
    assert "1 of 2 clips have no masks and are left out" in caplog.text


def test_a_mask_of_another_size_is_named_with_its_frame_and_both_sizes(root: Path) -> None:
    write_palette(root / "Annotations" / "discs" / "00003.png", disc_ids(3)[:32])
    with pytest.raises(
        InvalidInputError, match=r"Annotations.discs.00003\.png: is 96x32 pixels, but .*00003\.png is 96x64"
    ):
        opened(root)


def test_a_frame_of_another_size_is_named(root: Path) -> None:
    write_picture(root / "JPEGImages" / "discs" / "00004.png", disc_picture(4)[:32])
    write_palette(root / "Annotations" / "discs" / "00004.png", disc_ids(4)[:32])
    with pytest.raises(InvalidInputError, match=r"00004\.png: is 96x32 pixels, but 00000\.png is 96x64"):
        opened(root)


def test_a_mask_without_a_frame_is_named(root: Path) -> None:
    write_palette(root / "Annotations" / "discs" / "cover.png", disc_ids(0))
    with pytest.raises(InvalidInputError, match=r"cover\.png: there is no frame of that name or number among the 8"):
        opened(root)


def test_masks_of_0_and_255_alone_show_no_object(root: Path) -> None:
    for path in (root / "Annotations" / "discs").iterdir():
        Image.fromarray(np.where(disc_ids(0) > 0, 255, 0).astype(np.uint8)).save(path)
    with pytest.raises(
        InvalidInputError, match=r"none of its 1 clips shows an object .* 255 means that it is not known"
    ):
        opened(root)


def test_a_picture_that_is_damaged_later_is_named(root: Path) -> None:
    (clip,) = opened(root)
    (root / "JPEGImages" / "discs" / "00002.png").write_bytes(b"broken")
    with pytest.raises(InvalidInputError, match=r"00002\.png: is not an image"):
        clip.take([2], (1,))
