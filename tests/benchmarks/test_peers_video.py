from pathlib import Path

import pytest

from benchmarks.peers.footage import Footage, rendered_footage
from benchmarks.peers.naive_loop import NaiveLoop
from benchmarks.peers.video_ways import MediaPipeAlone, OurLandmarks, OurVideo
from gest_stream.config import PipelineConfig, SegmenterKind

pytestmark = pytest.mark.weights

CONFIG = PipelineConfig(segmenter=SegmenterKind.LIGHT)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    return rendered_footage(6, 3, tmp_path_factory.mktemp("footage") / "clip.mp4")


def test_footage_is_720p_and_has_a_box_for_each_hand(footage: Footage) -> None:
    assert footage.size == (1280, 720) and len(footage.images) == 6
    assert len(footage.boxes) == 2
    for left, top, right, bottom in footage.boxes.values():
        assert 0 <= left < right <= 1280 and 0 <= top < bottom <= 720


def test_ours_and_the_naive_loop_do_the_same_work(footage: Footage) -> None:
    ours, naive = OurVideo(CONFIG).run(footage), NaiveLoop(CONFIG).run(footage)
    assert ours.frames == naive.frames == 6
    assert ours.frames_with_masks == naive.frames_with_masks == 6
    assert (ours.written_bytes or 0) > 1000 and (naive.written_bytes or 0) > 1000
    assert naive.parts.keys() == {"read", "convert", "landmarks", "segment", "draw", "write"}


def test_landmarks_alone_take_every_frame(footage: Footage, tmp_path: Path) -> None:
    for way in (OurLandmarks(CONFIG), MediaPipeAlone(CONFIG)):
        outcome = way.run(footage)
        assert outcome.frames == 6 and outcome.frames_with_masks == 0
        assert outcome.first_mask_s is None and outcome.written_bytes is None
