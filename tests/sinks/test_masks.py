"""Folders of PNG masks."""

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest

from gest_stream.errors import SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.masks import MaskFolderSink, label_picture
from gest_stream.testing import hull_mask, make_frame, make_landmarks
from gest_stream.types import FrameResult, Handedness, Track, TrackState

SIZE = (160, 120)


def result(seq: int) -> FrameResult:
    frame = make_frame(seq, SIZE)
    tracks = []
    for track_id, x in ((3, 40.0), (300, 120.0)):
        landmarks = make_landmarks((x, 60.0), 80.0)
        mask = hull_mask(landmarks, SIZE)
        tracks.append(Track(track_id, TrackState.TRACKED, Handedness.RIGHT, 0.9, landmarks, mask))
    return FrameResult(frame, (*tracks, Track(301, TrackState.LOST, Handedness.LEFT, 0.0)))


def write(folder: Path, results: list[FrameResult]) -> None:
    async def go() -> None:
        sink = MaskFolderSink(folder)
        frame = results[0].frame
        await sink.open(SourceInfo("x", False, frame.size, frame.time_base), None)
        try:
            for each in results:
                await sink.write(each)
        finally:
            await sink.close()

    asyncio.run(go())


def test_a_pixel_is_its_tracks_id(tmp_path: Path) -> None:
    write(tmp_path / "masks", [result(0), result(7)])
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["00000000.png", "00000007.png"]
    picture = cv2.imread(str(tmp_path / "masks" / "00000007.png"), cv2.IMREAD_UNCHANGED)
    assert picture is not None and picture.dtype == np.uint16
    for track in result(7).tracks[:2]:
        assert track.mask is not None
        np.testing.assert_array_equal(picture == track.id, track.mask.full() >= 128)


def test_ids_beyond_sixteen_bits_start_again() -> None:
    one = result(0)
    track = one.tracks[0]
    big = Track(65536, track.state, track.handedness, track.score, track.landmarks, track.mask)
    assert set(np.unique(label_picture(FrameResult(one.frame, (big,))))) == {0, 1}


def test_a_folder_without_a_parent_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="the folder does not exist; create it: mkdir -p"):
        write(tmp_path / "no" / "masks", [result(0)])


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "masks").write_text("x")
    with pytest.raises(SinkError, match="masks: not a folder"):
        write(tmp_path / "masks", [result(0)])
