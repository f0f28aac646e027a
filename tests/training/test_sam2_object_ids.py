from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gest_stream.errors import InvalidInputError
from gest_stream.training.sam2_object_ids import picture_size, read_object_ids
from tests.training.sam2_scene import write_palette


def test_a_palette_picture_gives_its_indices_not_its_colours(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)
    write_palette(tmp_path / "mask.png", ids)
    read = read_object_ids(tmp_path / "mask.png")
    assert np.array_equal(read.ids, ids) and read.void is None
    assert read.areas() == {1: 1, 2: 3}


def test_255_is_void_in_8_bits_and_an_object_in_16(tmp_path: Path) -> None:
    for name, ids in (
        ("small.png", np.array([[0, 255, 7]], np.uint8)),
        ("large.png", np.array([[0, 255, 700]], np.uint16)),
    ):
        Image.fromarray(ids).save(tmp_path / name)
    small, large = read_object_ids(tmp_path / "small.png"), read_object_ids(tmp_path / "large.png")
    assert small.areas() == {7: 1} and small.void is not None and small.void.tolist() == [[False, True, False]]
    assert large.areas() == {255: 1, 700: 1} and large.void is None


def test_a_picture_of_one_bit_is_one_object(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "mask.png")
    assert read_object_ids(tmp_path / "mask.png").areas() == {1: 1}


def test_a_colour_picture_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InvalidInputError, match=r"mask\.png: is a picture of kind RGB; a mask is a PNG with a palette"):
        read_object_ids(tmp_path / "mask.png")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"nothing")
    for read in (read_object_ids, picture_size):
        with pytest.raises(InvalidInputError, match=r"mask\.png: the \w+ cannot be read \(it is no picture"):
            read(tmp_path / "mask.png")


def test_the_size_is_that_of_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((20, 30, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "plain.jpg")
    picture.save(tmp_path / "turned.jpg", exif=turned)
    assert picture_size(tmp_path / "plain.jpg") == (30, 20)
    assert picture_size(tmp_path / "turned.jpg") == (20, 30)
