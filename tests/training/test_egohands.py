from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from gest_stream.errors import InvalidInputError
from gest_stream.training.egohands import EgoHands
from tests.training.made_data import make_egohands

# MATLAB's pixel 1 is ours 0
SQUARE = [[11, 21], [31, 21], [31, 41], [11, 41]]
TRIANGLE = [[101, 1], [141, 1], [101, 41]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_egohands(
        tmp_path,
        {
            "CARDS_OFFICE_B_S": [{"frame_num": 7, "myleft": SQUARE, "yourright": TRIANGLE}, {"frame_num": 1204}],
            "JENGA_OFFICE_S_B": [{"frame_num": 3, "myright": SQUARE}],
        },
    )


def test_polygons_become_the_pixels_inside_them(folder: Path) -> None:
    pictures = EgoHands(folder)
    assert len(pictures) == 3
    labels = pictures.load(0).labels
    assert labels.shape == (90, 160) and labels.dtype == np.uint8
    square = np.zeros((90, 160), bool)
    square[20:41, 10:31] = True
    assert np.array_equal(labels[:, :60] == 1, square[:, :60])
    rows, columns = np.mgrid[0:90, 0:160]
    triangle = (columns >= 100) & (rows >= 0) & ((columns - 100) + rows <= 40)
    assert np.array_equal(labels[:, 90:] == 1, triangle[:, 90:])
    assert set(np.unique(labels)) == {0, 1}


def test_a_frame_without_a_hand_is_all_background(folder: Path) -> None:
    assert not EgoHands(folder).load(1).labels.any()


def test_pictures_are_rgb_and_grouped_by_video(folder: Path) -> None:
    path = folder / "_LABELLED_SAMPLES" / "JENGA_OFFICE_S_B" / "frame_0003.jpg"
    cv2.imwrite(str(path), np.full((90, 160, 3), (0, 0, 250), np.uint8))  # red, in OpenCV's order
    pictures = EgoHands(folder)
    assert [pictures.group(k) for k in range(3)] == ["CARDS_OFFICE_B_S", "CARDS_OFFICE_B_S", "JENGA_OFFICE_S_B"]
    red, green, blue = pictures.load(2).image[40, 40].tolist()
    assert red > 200 and green < 40 and blue < 40


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"metadata\.mat: is absent; give the folder that egohands_data\.zip"):
        EgoHands(tmp_path)


def test_a_file_that_is_no_matlab_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.mat").write_bytes(b"no MATLAB file" * 30)
    with pytest.raises(InvalidInputError, match="cannot be read as a MATLAB file"):
        EgoHands(tmp_path)


def test_a_matlab_file_with_another_content_names_what_it_holds(tmp_path: Path) -> None:
    savemat(tmp_path / "metadata.mat", {"clips": np.zeros(3)})
    with pytest.raises(InvalidInputError, match="holds clips and no struct `video`"):
        EgoHands(tmp_path)


def test_a_struct_without_the_fields_names_them(tmp_path: Path) -> None:
    savemat(tmp_path / "metadata.mat", {"video": {"video_id": "A", "frames": np.zeros(3)}})
    with pytest.raises(InvalidInputError, match="its `video` has no field labelled_frames"):
        EgoHands(tmp_path)


def test_a_polygon_of_another_shape_is_refused(folder: Path) -> None:
    content = loadmat(folder / "metadata.mat")
    content["video"][0, 0]["labelled_frames"][0, 0]["myleft"] = np.zeros((3, 3))
    savemat(folder / "metadata.mat", {"video": content["video"]})
    with pytest.raises(InvalidInputError, match=r"built differently from EgoHands' .*\(3, 3\)"):
        EgoHands(folder)


def test_absent_pictures_are_counted(folder: Path) -> None:
    (folder / "_LABELLED_SAMPLES" / "CARDS_OFFICE_B_S" / "frame_1204.jpg").unlink()
    with pytest.raises(InvalidInputError, match=r"frame_1204\.jpg: is absent, and so are 1 of the 3 pictures"):
        EgoHands(folder)
