import asyncio
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import ConfigError, SourceLostError
from gest_stream.sources.images import ImagesSource, natural_key
from gest_stream.types import Frame
from tests.media import make_image, number_of, numbered, quadrants
from tests.sources.running import FakeTime, open_error, read_all


def folder_of(tmp_path: Path, names: list[str]) -> Path:
    for index, name in enumerate(names):
        make_image(tmp_path / name, numbered(index))
    return tmp_path


def test_images_come_in_natural_order_with_counted_pts(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["f1.png", "f2.png", "F3.png", "f10.png", "f20.png"])
    source = ImagesSource(folder, rate=10)
    frames = read_all(source)
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3, 4]
    assert [(frame.pts, frame.seq, frame.time_base) for frame in frames] == [(i, i, Fraction(1, 10)) for i in range(5)]
    assert (source.info.frame_count, source.info.average_rate) == (5, Fraction(10))
    assert not source.info.live


def test_names_sort_as_a_person_would() -> None:
    names = ["b1", "a10", "a9", "A2", "a", "7", "70", "8"]
    assert sorted(names, key=natural_key) == ["7", "8", "70", "a", "A2", "a9", "a10", "b1"]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_lossless_formats_are_exact(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(3).integers(0, 256, (31, 45, 3), np.uint8)
    make_image(tmp_path / f"picture{suffix}", image)
    [frame] = read_all(ImagesSource(tmp_path))
    np.testing.assert_array_equal(frame.image, image)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_keep_their_colours(tmp_path: Path, suffix: str) -> None:
    make_image(tmp_path / f"picture{suffix}", quadrants())
    [frame] = read_all(ImagesSource(tmp_path))
    assert np.abs(frame.image[10, 10].astype(int) - quadrants()[10, 10]).max() <= 8


def exif_segment(orientation: int) -> bytes:
    """A JPEG APP1 segment that holds nothing but the orientation (Exif 2.3, tag 0x0112)."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return struct.pack(">HH", 0xFFE1, len(body) + 2) + body


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (8, 1), (3, 2), (6, 3)])
def test_a_photo_is_turned_as_its_camera_was_held(tmp_path: Path, orientation: int, quarter_turns: int) -> None:
    path = make_image(tmp_path / "photo.jpg", quadrants())
    data = path.read_bytes()
    path.write_bytes(data[:2] + exif_segment(orientation) + data[2:])
    [frame] = read_all(ImagesSource(tmp_path))
    expected = np.rot90(quadrants(), quarter_turns)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 5


def test_other_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.png", ".hidden.png"])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert len(read_all(ImagesSource(tmp_path))) == 1


def test_a_percent_sign_in_a_name_is_no_pattern(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["f%03d.png", "f000.png", "f001.png"])
    assert {number_of(frame.image) for frame in read_all(ImagesSource(folder))} == {0, 1, 2}


def test_realtime_releases_images_at_their_rate(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [f"{i}.png" for i in range(4)])
    time = FakeTime()
    source = ImagesSource(folder, rate=4, realtime=True, clock=time.clock, wait=time.wait)
    frames = read_all(source)
    assert source.info.live
    assert [f.captured_ns for f in frames] == [10**9 + f.pts * 250_000_000 for f in frames]
    assert sum(time.waits_s) == pytest.approx(0.75)


def test_a_folder_without_images_says_what_would_be_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    message = open_error(ImagesSource(tmp_path))
    assert message.startswith(f"{tmp_path}: holds no images among its 1 files; known are .bmp, .jpeg, .jpg, .pgm, .png")


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    assert "cannot be listed (No such file or directory)" in open_error(ImagesSource(tmp_path / "none"))


def test_an_image_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.png", "b.png"])
    make_image(tmp_path / "c.png", numbered(2, (80, 60)))
    seen: list[Frame] = []

    async def run() -> None:
        async with ImagesSource(tmp_path) as source:
            async for frame in source:
                seen.append(frame)

    with pytest.raises(SourceLostError) as caught:
        asyncio.run(run())
    assert len(seen) == 2
    assert str(caught.value) == (
        f"{tmp_path / 'c.png'}: is 80x60 pixels, but a.png is 64x48; resize or remove it, all images must have one size"
    )


def test_an_unreadable_first_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG nothing")
    assert open_error(ImagesSource(tmp_path)) == (
        f"{tmp_path / 'a.png'}: is not an image that can be decoded; replace or remove it"
    )


def test_an_unreadable_later_image_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.png"])
    (tmp_path / "b.png").touch()
    with pytest.raises(SourceLostError, match=r"b\.png: is not an image that can be decoded"):
        read_all(ImagesSource(tmp_path))


@pytest.mark.parametrize("rate", [0, -1, 1e6])
def test_a_rate_without_meaning_is_refused(tmp_path: Path, rate: float) -> None:
    with pytest.raises(ConfigError, match="rate: expected frames per second above 0, up to 1000"):
        ImagesSource(tmp_path, rate=rate)
