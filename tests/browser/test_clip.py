"""The camera of the browser tests: numbers that survive scaling and coding, and the truth of every frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from gest_stream.synthetic import preset
from tests.browser.clip import COUNTS, CameraClip, Picture, bits_of, burn, number_of, read


def noisy_picture(size: tuple[int, int] = (640, 480)) -> Picture:
    return np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)


@pytest.mark.parametrize("number", [0, 1, 1234, 2730, COUNTS - 1])
@pytest.mark.parametrize("scale", [1.0, 0.75, 0.5])
def test_a_number_is_read_from_a_small_picture_of_poor_quality(number: int, scale: float) -> None:
    picture = noisy_picture()
    burn(picture, number)
    small = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    assert read(np.asarray(decoded, np.uint8)) == number


def test_pictures_without_a_number_are_not_read_as_one() -> None:
    for level in (0, 128, 255):
        assert read(np.full((480, 640, 3), level, np.uint8)) is None
    bits = bits_of(77)
    bits[3] ^= 1
    assert number_of([255 * bit for bit in bits]) is None
    assert number_of([255 * bit for bit in bits_of(77)]) == 77
    assert number_of([130.0, *(255 * bit for bit in bits_of(77)[1:])]) is None


@pytest.fixture(scope="module")
def clip() -> CameraClip:
    return CameraClip(replace(preset("easy"), frames=4, size=(320, 240)))


def test_the_clip_runs_to_and_fro_with_ascending_numbers_and_the_truth_of_each(
    clip: CameraClip, tmp_path: Path
) -> None:
    clip.write(tmp_path / "camera.mjpeg", 8 / 30)
    capture = cv2.VideoCapture(str(tmp_path / "camera.mjpeg"))
    seen: list[Picture] = []
    while (found := capture.read())[0]:
        seen.append(np.asarray(found[1], np.uint8))
    capture.release()
    assert [read(one) for one in seen] == list(range(8))
    assert [clip.truth(number) for number in range(8)] == [clip.truth(number) for number in (0, 1, 2, 3, 2, 1, 0, 1)]
    for number, one in enumerate(seen):
        shown = clip.truth(number).image()[..., ::-1]
        assert np.abs(one[20:].astype(int) - shown[20:]).mean() < 2.0
        assert len(clip.truth(number).hands) == 2


def test_a_clip_with_more_frames_than_numbers_is_refused(clip: CameraClip, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 4096 numbers"):
        clip.write(tmp_path / "camera.mjpeg", 200)
