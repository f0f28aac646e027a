from pathlib import Path

import cv2
import numpy as np
import pytest

from gest_stream.errors import InvalidInputError
from gest_stream.training.labels import LabelledImage, read_mask, read_picture
from tests.training.made_data import write_image


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8), r"image: expected \(H, W, 3\) uint8, got \(4, 5\)"),
        (np.zeros((4, 5, 3)), np.zeros((4, 5), np.uint8), "got .* float64"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), r"labels: expected \(4, 5\) uint8, got \(5, 4\)"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool), "got .* bool"),
    ],
)
def test_arrays_that_do_not_fit_are_quoted(image: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LabelledImage(image, labels)


def test_a_grey_picture_becomes_rgb_and_colours_keep_their_order(tmp_path: Path) -> None:
    grey = read_picture(write_image(tmp_path / "grey.png", np.full((3, 4), 77, np.uint8)))
    assert grey.shape == (3, 4, 3) and (grey == 77).all()
    red = read_picture(write_image(tmp_path / "red.png", np.full((3, 4, 3), (200, 10, 0), np.uint8)))
    assert (red == (200, 10, 0)).all()


def test_an_absent_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"a\.png: cannot be read \(No such file"):
        read_picture(tmp_path / "a.png")


def test_a_mask_of_16_bits_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((3, 4), np.uint16))
    with pytest.raises(InvalidInputError, match=r"deep\.png: has uint16 pixels; save the mask with 8 bits"):
        read_mask(tmp_path / "deep.png")


def test_the_transparency_of_a_mask_does_not_matter(tmp_path: Path) -> None:
    grey = np.full((3, 4, 4), (255, 255, 255, 9), np.uint8)
    cv2.imwrite(str(tmp_path / "mask.png"), grey)
    assert (read_mask(tmp_path / "mask.png") == 255).all()
