from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gest_stream.errors import InvalidInputError
from gest_stream.training.config import Grey
from gest_stream.training.labels import IGNORE
from gest_stream.training.mask_folder import MaskFolder
from tests.training.made_data import HAND_COLOUR, make_folder, scene, write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path, count=3)


def replaced_mask(folder: Path, mask: np.ndarray) -> MaskFolder:
    write_image(folder / "masks" / "picture0.png", mask.astype(np.uint8))
    return MaskFolder(folder, Grey.FOREARM)


@pytest.mark.parametrize(("grey", "label"), [(Grey.FOREARM, 2), (Grey.IGNORE, IGNORE)])
def test_white_is_hand_and_grey_is_what_it_is_said_to_be(folder: Path, grey: Grey, label: int) -> None:
    pictures = MaskFolder(folder, grey)
    assert len(pictures) == 3
    for number in range(3):
        image, mask = scene(number)
        picture = pictures.load(number)
        assert np.array_equal(picture.image, image)
        assert np.array_equal(picture.labels, np.select([mask == 255, mask == 128], [1, label], 0))
        assert picture.image[picture.labels == 1].mean(axis=0).tolist() == list(HAND_COLOUR)


def test_grey_without_a_meaning_is_asked_for(folder: Path) -> None:
    pictures = MaskFolder(folder)
    with pytest.raises(
        InvalidInputError, match=r"picture0\.png: holds grey \(128\); .*--grey forearm, or --grey ignore"
    ):
        pictures.load(0)


def test_class_numbers_are_taken_as_they_are(folder: Path) -> None:
    mask = np.zeros((48, 64))
    mask[3:9, 4:20], mask[9:30, 5:10] = 1, 2
    assert np.array_equal(replaced_mask(folder, mask).load(0).labels, mask)


def test_the_numbers_of_a_palette_are_taken_and_not_its_colours(folder: Path) -> None:
    numbers = np.zeros((48, 64), np.uint8)
    numbers[3:9, 4:20], numbers[9:30, 5:10] = 1, 2
    picture = Image.fromarray(numbers, mode="P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(folder / "masks" / "picture0.png")
    assert np.array_equal(MaskFolder(folder).load(0).labels, numbers)


def test_a_damaged_mask_with_a_palette_is_named(folder: Path) -> None:
    path = folder / "masks" / "picture0.png"
    Image.fromarray(np.zeros((48, 64), np.uint8), mode="P").save(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InvalidInputError, match=r"picture0\.png: is not a mask that can be decoded"):
        MaskFolder(folder).load(0)


def test_a_mask_without_a_hand_is_all_background(folder: Path) -> None:
    assert not replaced_mask(folder, np.zeros((48, 64))).load(0).labels.any()


def test_other_grey_values_are_listed(folder: Path) -> None:
    mask = np.zeros((48, 64))
    mask[0, :4] = 255, 128, 77, 200
    with pytest.raises(InvalidInputError, match=r"picture0\.png: holds the grey values 77, 200; known are"):
        replaced_mask(folder, mask).load(0)


def test_class_numbers_and_painted_values_do_not_mix(folder: Path) -> None:
    mask = np.zeros((48, 64))
    mask[0, :2] = 1, 255
    with pytest.raises(InvalidInputError, match="holds the grey values 255"):
        replaced_mask(folder, mask).load(0)


def test_a_colour_mask_is_refused_and_a_grey_one_of_three_channels_is_not(folder: Path) -> None:
    _, mask = scene(0)
    painted = np.repeat(mask[..., None], 3, axis=2)
    assert (replaced_mask(folder, painted).load(0).labels == 1).sum() == (mask == 255).sum()
    painted[5, 5] = 255, 0, 0
    with pytest.raises(InvalidInputError, match=r"picture0\.png: is a colour picture; a mask has one grey channel"):
        replaced_mask(folder, painted).load(0)


def test_a_mask_of_another_size_names_both_files_and_sizes(folder: Path) -> None:
    pictures = replaced_mask(folder, np.zeros((24, 32)))
    expected = r"masks/picture0\.png: is 32x24 pixels, but .*images/picture0\.png is 64x48"
    with pytest.raises(InvalidInputError, match=expected):
        pictures.load(0)


@pytest.mark.parametrize(("part", "what"), [("images", "an image"), ("masks", "a mask")])
def test_a_damaged_file_is_named(folder: Path, part: str, what: str) -> None:
    (folder / part / "picture1.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing of use")
    with pytest.raises(InvalidInputError, match=rf"{part}/picture1\.png: is not {what} that can be decoded"):
        MaskFolder(folder, Grey.FOREARM).load(1)


def test_an_empty_file_is_named(folder: Path) -> None:
    (folder / "images" / "picture1.png").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"images/picture1\.png: is empty"):
        MaskFolder(folder, Grey.FOREARM).load(1)


def test_pictures_without_any_mask_are_refused_with_the_name_a_mask_would_have(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        path.rename(path.with_name(f"mask_of_{path.name}"))
    with pytest.raises(InvalidInputError, match=r"none of its 3 pictures has a mask; .* masks/picture0\.png"):
        MaskFolder(folder)


def test_a_folder_without_masks_says_where_they_belong(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png", scene(0)[0])
    with pytest.raises(InvalidInputError, match=r"masks: is not a folder; pictures lie in images/"):
        MaskFolder(tmp_path)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_an_empty_folder_is_refused(folder: Path, part: str) -> None:
    for path in (folder / part).iterdir():
        path.unlink()
    with pytest.raises(InvalidInputError, match=rf"{part}: holds no files of the kinds"):
        MaskFolder(folder)


def test_pictures_that_lack_a_mask_are_left_out_and_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "masks" / "picture1.png").unlink()
    assert len(MaskFolder(folder, Grey.FOREARM)) == 2
    assert "1 of 3 pictures have no mask" in caplog.text


def test_pictures_in_a_folder_of_their_own_belong_together(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "b/1", "single"):
        write_image(tmp_path / "images" / f"{name}.png", scene(0)[0])
        write_image(tmp_path / "masks" / f"{name}.png", scene(0)[1])
    pictures = MaskFolder(tmp_path, Grey.FOREARM)
    assert sorted(pictures.group(k) for k in range(4)) == ["a", "a", "b", "single"]


def test_two_pictures_of_one_name_are_refused(folder: Path) -> None:
    write_image(folder / "images" / "picture0.jpg", scene(0)[0])
    with pytest.raises(InvalidInputError, match="has the same name"):
        MaskFolder(folder)
