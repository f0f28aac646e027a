import numpy as np
import pytest

from gest_stream.sinks.frame_memory import as_video_frame


@pytest.mark.parametrize("channels", [3, 4])
def test_a_picture_whose_rows_are_whole_blocks_is_not_copied(channels: int) -> None:
    picture = np.zeros((48, 64, channels), np.uint8)
    frame = as_video_frame(picture)
    assert frame.planes[0].buffer_ptr == picture.ctypes.data
    assert (frame.width, frame.height) == (64, 48)


@pytest.mark.parametrize("width", [2, 66, 854])
def test_other_pictures_are_copied_as_the_scaler_would_read_past_their_end(width: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (10, width, 3), dtype=np.uint8)
    frame = as_video_frame(picture)
    assert frame.planes[0].buffer_ptr != picture.ctypes.data
    assert np.array_equal(frame.to_ndarray(), picture)


def test_the_frame_keeps_the_memory_alive() -> None:
    frame = as_video_frame(np.full((16, 16, 3), 7, np.uint8))
    others = [np.zeros((16, 16, 3), np.uint8) for _ in range(50)]
    assert (frame.to_ndarray() == 7).all()
    assert len(others) == 50
