from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from gest_stream.errors import InvalidInputError
from gest_stream.training.coco import CocoSet
from gest_stream.training.labels import IGNORE
from tests.training.made_data import make_coco, write_image


def rectangle(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(segmentation: Any, category: int = 1, image: int = 7, crowd: int = 0) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": crowd}


def test_polygons_are_filled_and_a_hand_lies_on_its_forearm(tmp_path: Path) -> None:
    hand, forearm = annotation(rectangle(2, 3, 9, 7)), annotation(rectangle(6, 1, 15, 9), category=2)
    labels = CocoSet(make_coco(tmp_path, [hand, forearm])).load(0).labels
    expected = np.zeros((10, 20), np.uint8)
    expected[1:9, 6:15] = 2
    expected[3:7, 2:9] = 1
    assert np.array_equal(labels, expected)


def test_run_lengths_compressed_or_not_are_decoded(tmp_path: Path) -> None:
    inside = np.zeros((10, 20), np.uint8)
    inside[2:5, 4:9] = 1
    packed = coco_mask.encode(np.asfortranarray(inside))
    compressed = annotation({"size": packed["size"], "counts": packed["counts"].decode()})
    flat = inside.T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    runs = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    plain = annotation({"size": [10, 20], "counts": runs}, image=8)
    pictures = CocoSet(make_coco(tmp_path, [compressed, plain]))
    assert np.array_equal(pictures.load(0).labels, inside)
    assert np.array_equal(pictures.load(1).labels, inside)


def test_crowds_are_not_known_and_other_categories_are_background(tmp_path: Path) -> None:
    crowd = annotation(rectangle(0, 0, 4, 4), crowd=1)
    cup = annotation(rectangle(8, 0, 12, 4), category=3)
    labels = CocoSet(make_coco(tmp_path, [crowd, cup], ("hand", "forearm", "cup"))).load(0).labels
    assert (labels[:4, :4] == IGNORE).all() and (labels == IGNORE).sum() == 16 and not labels[:, 4:].any()


def test_a_picture_without_annotations_shows_no_hand(tmp_path: Path) -> None:
    pictures = CocoSet(make_coco(tmp_path, [annotation(rectangle(2, 3, 9, 7))]))
    assert len(pictures) == 2 and not pictures.load(1).labels.any()


def test_the_categories_that_are_hands_can_be_named(tmp_path: Path) -> None:
    path = make_coco(tmp_path, [annotation(rectangle(0, 0, 3, 2), category=2)], ("cup", "Left Palm"))
    with pytest.raises(
        InvalidInputError, match=r"no category is called hand; it has Left Palm, cup; .* --coco-hand NAME"
    ):
        CocoSet(path)
    assert CocoSet(path, hands=("left palm",)).load(0).labels.sum() == 6


def test_pictures_lie_where_they_are_said_to(tmp_path: Path) -> None:
    path = make_coco(tmp_path / "labels", [annotation(rectangle(0, 0, 3, 2))])
    (tmp_path / "labels" / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(
        InvalidInputError, match=r"0\.png: is absent, and so are 2 of the 2 pictures .* --images FOLDER"
    ):
        CocoSet(path)
    assert CocoSet(path, tmp_path / "elsewhere").load(0).labels.sum() == 6


def test_a_picture_of_another_size_than_the_file_says_is_refused(tmp_path: Path) -> None:
    path = make_coco(tmp_path, [annotation(rectangle(0, 0, 3, 2))])
    write_image(tmp_path / "images" / "1.png", np.zeros((5, 20, 3), np.uint8))
    with pytest.raises(InvalidInputError, match=r"1\.png: is 20x5 pixels, but .*labels\.json says 20x10"):
        CocoSet(path).load(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file"),
        ("[1, 2]", "is no COCO file: it has no list images, annotations, categories"),
        ('{"images": [], "annotations": []}', "is no COCO file: it has no list categories"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "hand"}]}',
            "not built as COCO's",
        ),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "hand"}]}', "lists no pictures"),
    ],
)
def test_json_that_is_no_coco_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        CocoSet(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere\.json: cannot be read"):
        CocoSet(tmp_path / "nowhere.json")


def test_boxes_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has a box and no outline"):
        CocoSet(make_coco(tmp_path, [annotation([])]))


def test_an_outline_that_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    pictures = CocoSet(make_coco(tmp_path, [annotation([[1, 2]])]))
    with pytest.raises(InvalidInputError, match=r"an outline of 0\.png cannot be drawn"):
        pictures.load(0)
    wrong = CocoSet(make_coco(tmp_path, [annotation({"size": [3, 3], "counts": [0, 9]})]))
    with pytest.raises(InvalidInputError, match="its run lengths are of 3x3 pixels"):
        wrong.load(0)


def test_annotations_of_no_picture_are_refused(tmp_path: Path) -> None:
    path = make_coco(tmp_path, [annotation(rectangle(0, 0, 3, 2), image=99)])
    with pytest.raises(InvalidInputError, match="annotations of the picture 99, but no such picture"):
        CocoSet(path)
