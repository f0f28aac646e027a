from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.config import HandsConfig
from gest_stream.errors import MissingDependencyError, ModelError, WeightsError
from gest_stream.interfaces import HandDetector
from gest_stream.models.hands import MediaPipeHands, StreamTimestamps, suppress_duplicates
from gest_stream.testing import make_frame, make_landmarks
from gest_stream.types import Frame, Handedness, HandLandmarks


def moved(hand: HandLandmarks, by_px: float) -> HandLandmarks:
    """The same shape beside it, called the other hand and less sure."""
    points = hand.points_px + np.array([by_px, 0, 0], np.float32)
    return replace(hand, points_px=points, handedness=Handedness.LEFT, handedness_score=hand.handedness_score - 0.1)


@given(st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=60))
def test_timestamps_increase_strictly_whatever_the_media_time_does(media_ms: list[int]) -> None:
    timestamps = StreamTimestamps()
    given_ms = [StreamTimestamps.FIRST_MS, *(timestamps.next_ms(ms) for ms in media_ms)]
    assert all(a < b for a, b in zip(given_ms, given_ms[1:], strict=False))


@given(st.lists(st.integers(1, 500), max_size=40), st.integers(-5_000, 5_000))
def test_timestamps_keep_the_distances_of_media_time_that_increases(steps_ms: list[int], start_ms: int) -> None:
    timestamps = StreamTimestamps()
    media_ms = start_ms + np.cumsum([0, *steps_ms])
    given_ms = [timestamps.next_ms(int(ms)) for ms in media_ms]
    assert np.diff(given_ms).tolist() == steps_ms


def test_media_time_that_starts_again_goes_on_one_millisecond_later() -> None:
    timestamps = StreamTimestamps()
    assert [timestamps.next_ms(ms) for ms in (5000, 5033, 0, 33, 33, 66)] == [1, 34, 35, 68, 69, 101]


def test_the_weaker_of_two_outputs_on_one_hand_is_dropped_whatever_its_side() -> None:
    hand = make_landmarks(score=0.9)
    assert hand.palm_width_px > 30
    twin = moved(hand, 0.2 * hand.palm_width_px)
    assert suppress_duplicates([twin, hand]) == (hand,)
    assert suppress_duplicates([hand, twin]) == (hand,)


def test_two_hands_that_overlap_are_both_kept_the_surer_first() -> None:
    hand = make_landmarks(score=0.9)
    other = moved(hand, 0.3 * hand.palm_width_px)
    assert suppress_duplicates([other, hand]) == (hand, other)


def test_of_three_outputs_on_one_hand_one_remains_beside_another_hand() -> None:
    hand, far = make_landmarks(score=0.9), make_landmarks((400.0, 100.0), score=0.7)
    kept = suppress_duplicates([moved(hand, 1.0), far, hand, moved(hand, 2.0)])
    assert kept == (hand, far)


def test_a_model_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.task: no such file"):
        MediaPipeHands(HandsConfig(), tmp_path / "absent.task")


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.task"
    path.write_bytes(b"not a model" * 100)
    with pytest.raises(WeightsError, match=r"broken\.task: not a hand landmarker bundle"):
        MediaPipeHands(HandsConfig(), path)


def test_mediapipe_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "any.task"
    path.write_bytes(b"")
    for name in [name for name in sys.modules if name == "mediapipe" or name.startswith("mediapipe.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        MediaPipeHands(HandsConfig(), path)


def test_importing_the_detector_loads_no_mediapipe() -> None:
    code = "import sys, gest_stream.models.hands; assert not {'mediapipe', 'cv2', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.weights
def test_a_picture_without_hands_has_none_at_any_size(hand_model: Path) -> None:
    with MediaPipeHands(HandsConfig(), hand_model) as hands:
        assert isinstance(hands, HandDetector)
        for seq, size in enumerate([(64, 48), (1280, 720), (33, 201), (1, 1), (64, 48)]):
            assert hands.detect(make_frame(seq, size, 90)) == ()


@pytest.mark.weights
def test_frames_of_one_pts_and_of_earlier_pts_are_taken(hand_model: Path) -> None:
    with MediaPipeHands(HandsConfig(), hand_model) as hands:
        for seq, pts in enumerate([-90_000, 500, 500, 501, 0, 10]):
            image = np.zeros((48, 64, 3), np.uint8)
            assert hands.detect(Frame(image, pts, Fraction(1, 90_000), 0, seq)) == ()


@pytest.mark.weights
def test_closing_joins_every_thread_and_detecting_afterwards_is_refused(hand_model: Path) -> None:
    before = set(threading.enumerate())  # not their number: those of earlier tests may end meanwhile
    hands = MediaPipeHands(HandsConfig(), hand_model)
    hands.detect(make_frame())
    started = set(threading.enumerate()) - before
    assert started
    hands.close()
    hands.close()
    assert not started & set(threading.enumerate())
    with pytest.raises(ModelError, match="after close"):
        hands.detect(make_frame())


@pytest.mark.weights
@pytest.mark.parametrize("ending", ["hands.close()", "del hands", "pass", "raise SystemExit(0)"])
def test_nothing_is_written_to_stderr_however_it_ends(hand_model: Path, ending: str) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from gest_stream.config import HandsConfig\nfrom gest_stream.models.hands import MediaPipeHands\n"
        "from gest_stream.testing import make_frame\n"
        "hands = MediaPipeHands(HandsConfig(), Path(sys.argv[1]))\n"
        f"for seq in range(3): hands.detect(make_frame(seq, (320, 240)))\n{ending}\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(hand_model)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
