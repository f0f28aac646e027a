from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.peers.__main__ import Comparison, compare, plan_of
from benchmarks.peers.footage import Footage, written
from benchmarks.peers.naive_loop import hands_by_id, observations
from benchmarks.peers.rounds import Clock, Outcome, Way, interleaved, ratios_to, spread
from benchmarks.peers.sam2_ways import OurSam2, Setting, TransformersStream, UpstreamFolder
from benchmarks.sam2_clip import Model
from gest_stream.config import Precision, Sam2Size
from gest_stream.testing import make_landmarks
from gest_stream.types import Handedness

NANO = Model(Sam2Size.TINY, 64, nano=True)


class Scripted:
    about = "a way whose outcome is written down"

    def __init__(self, name: str, log: list[str], fails_on: int | None = None) -> None:
        self.name, self._log, self._fails_on, self._runs = name, log, fails_on, 0

    def run(self, footage: Footage) -> Outcome:
        self._runs += 1
        if self._runs == self._fails_on:
            raise NotImplementedError("no such codec\nand more")
        self._log.append(self.name)
        return Outcome(2.0 if self.name == "other" else 1.0, 1.0, len(footage.images), 0)


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(4)]
    return written(images, {1: (5.0, 5.0, 30.0, 30.0), 2: (34.0, 8.0, 60.0, 40.0)}, tmp_path / "clip.mp4")


@pytest.fixture
def setting() -> Setting:
    return Setting(NANO, NANO.state(), torch.device("cpu"), Precision.FLOAT32, 2)


def test_another_system_is_first_in_each_round(footage: Footage) -> None:
    log: list[str] = []
    ways = [Scripted(name, log) for name in "abc"]
    found = interleaved(ways, footage, footage, 3, {})
    assert "".join(log) == "abc" + "abc" + "bca" + "cab", "a warm-up, then three rounds"
    assert {name: len(outcomes) for name, outcomes in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_system_that_fails_is_skipped_with_its_reason_and_the_others_count(footage: Footage) -> None:
    log: list[str] = []
    skipped: dict[str, str] = {}
    found = interleaved([Scripted("broken", log, fails_on=1), Scripted("ours", log)], footage, footage, 2, skipped)
    assert skipped == {"broken": "NotImplementedError: no such codec"}
    assert list(found) == ["ours"] and len(found["ours"]) == 2


def test_rounds_end_when_there_is_no_time_for_one_more_but_never_before_the_first(footage: Footage) -> None:
    assert len(interleaved([Scripted("ours", [])], footage, footage, 5, {}, lambda longest_s: False)["ours"]) == 1


def test_a_ratio_above_one_means_that_the_other_takes_longer_round_by_round() -> None:
    ours = [Outcome(1.0, 1.0, 10, 10, first_mask_s=0.1), Outcome(2.0, 1.0, 10, 10, first_mask_s=0.1)]
    theirs = [Outcome(3.0, 1.0, 10, 10, first_mask_s=0.5), Outcome(2.0, 2.0, 10, 10, first_mask_s=0.7)]
    (ratio,) = ratios_to("ours", {"ours": ours, "other": theirs})
    assert ratio["other"] == "other"
    assert ratio["time"] == {"median": 2.0, "min": 1.0, "max": 3.0, "by_round": [3.0, 1.0]}
    assert ratio["cpu_time"]["by_round"] == [1.0, 2.0]
    assert ratio["time_to_first_mask"]["median"] == 6.0


def test_spread_names_the_median_and_both_ends() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == {"median": 2.5, "min": 1.0, "max": 10.0, "by_round": [3.0, 1.0, 2.0, 10.0]}


def test_the_first_mask_is_timed_once_and_frames_with_masks_are_counted() -> None:
    clock = Clock()
    for has_mask in (False, True, True):
        clock.frame(has_mask)
    first = clock.first_mask_s
    clock.frame(True)
    outcome = clock.stop()
    assert first is not None and outcome.first_mask_s == first <= outcome.seconds
    assert (outcome.frames, outcome.frames_with_masks) == (4, 3)


def test_a_result_tells_what_was_compared_and_what_was_skipped_and_why(footage: Footage, tmp_path: Path) -> None:
    log: list[str] = []

    def absent() -> Way:
        raise ImportError("no module named other")

    makers: dict[str, Callable[[], Way]] = {
        "ours": lambda: Scripted("ours", log),
        "other": lambda: Scripted("other", log),
        "absent": absent,
    }
    figures = compare(Comparison("a", "b", "ours", makers, frames=2), footage, tmp_path, 2, lambda longest_s: True)
    assert [one["system"] for one in figures["systems"]] == ["ours", "other"]
    assert (figures["frames"], figures["rounds"]) == (2, 2)
    assert figures["others_over_ours"][0]["time"]["median"] == 2.0
    assert figures["skipped"] == {"absent": "ImportError: no module named other"}


def test_footage_lies_in_a_file_that_opencv_reads_in_full(footage: Footage) -> None:
    import cv2

    capture = cv2.VideoCapture(str(footage.path))
    sizes = []
    while True:
        read, image = capture.read()
        if not read:
            break
        sizes.append(image.shape)
    assert sizes == [(48, 64, 3)] * 4
    assert len(footage.first(2, footage.path.with_name("part.mp4")).images) == 2


def test_the_naive_loop_tells_two_hands_of_one_name_apart_and_prompts_each_once() -> None:
    right, second = make_landmarks((100, 100)), make_landmarks((300, 100))
    left = make_landmarks((300, 100), handedness=Handedness.LEFT)
    assert set(hands_by_id((right, left))) == {1, 2} and hands_by_id((left, right))[2] is left
    hands = hands_by_id((right, second))
    assert hands == {1: right, 2: second}
    told = observations(hands, {1}, (400, 200))
    assert [one.prompt is None for one in told] == [True, False]


def test_upstream_has_its_first_mask_after_the_folder_and_holds_the_clip_while_ours_holds_the_same(
    setting: Setting, footage: Footage
) -> None:
    short = footage.first(2, footage.path.with_name("short.mp4"))
    ours, upstream = OurSam2(setting), UpstreamFolder(setting)
    held = [[way.run(clip).held_bytes or 0 for clip in (short, footage)] for way in (ours, upstream)]
    assert held[0][0] == held[0][1] > 0
    assert held[1][1] - held[1][0] >= 2 * 3 * 64 * 64 * 4, "at least the two further pictures"
    outcome = upstream.run(footage)
    assert outcome.frames == outcome.frames_with_masks == 4
    before = outcome.parts["write JPEGs"].seconds + outcome.parts["init_state"].seconds
    assert outcome.first_mask_s is not None and outcome.first_mask_s > before > 0


def test_what_cannot_run_here_says_why(setting: Setting) -> None:
    with pytest.raises(RuntimeError, match="compiles vos_optimized for CUDA"):
        UpstreamFolder(setting, vos_optimized=True)
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="narrow model"):
        TransformersStream(setting)


@pytest.mark.slow
def test_transformers_streams_the_same_clip(footage: Footage) -> None:
    pytest.importorskip("transformers")
    model = Model(Sam2Size.TINY, 256)
    outcome = TransformersStream(Setting(model, model.state(), torch.device("cpu"), Precision.FLOAT32, 2)).run(footage)
    assert outcome.frames == outcome.frames_with_masks == 4
    assert outcome.first_mask_s is not None and outcome.first_mask_s < outcome.seconds


def test_quick_means_short_clips_and_a_file_that_is_not_committed() -> None:
    quick, whole = plan_of(["--quick"]), plan_of(["--rounds", "7"])
    assert quick[0].video_frames < whole[0].video_frames and quick[0].sam2.startswith("nano-")
    assert whole[0].rounds == 7
    assert (quick[2].name, whole[2].name) == ("peers_quick.json", "peers.json")
