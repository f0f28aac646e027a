import numpy as np

from benchmarks.frame_copies import count, frames_allocated


def test_a_frame_is_copied_for_mediapipe_and_to_draw_on_and_nowhere_else() -> None:
    found = count()
    assert found["frame_bytes"] == 1280 * 720 * 3
    assert not found["converter_copies_the_scalers_picture"]
    assert not found["encoder_copies_the_drawn_picture"]
    assert found["light_allocates_frames"] < 1.0
    assert 1.0 <= found["renderer_allocates_frames"] < 1.9


def test_frames_that_are_held_at_once_are_counted() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    assert frames_allocated(lambda: [frame.copy(), frame.copy()], frame.nbytes) >= 2.0
    assert frames_allocated(lambda: frame[10:], frame.nbytes) < 0.1
