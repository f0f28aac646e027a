"""Whether the real MediaPipe takes rendered hands for hands: how many it finds, and how far its landmarks are off.

    python -m benchmarks.synthetic_recognition [--clip demo] [--clip easy,seed=3] [--json out.json]

Only hands count that are unoccluded and wholly inside the frame. MediaPipe runs in its video mode, as in the pipeline.
A detection is a hand's where its landmarks lie, in the mean, within half a hand of the truth, nearest pairs first.
Distances are in hand sizes: the longer side of the true landmarks' box. A clip is named as after "synthetic:" on the
command line.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.config import HandsConfig
from gest_stream.models.hands import MediaPipeHands
from gest_stream.models.store import ModelStore
from gest_stream.sources.synthetic import parse_synthetic_spec
from gest_stream.synthetic import HandTruth, SyntheticFrame
from gest_stream.synthetic.workers import render_in_processes
from gest_stream.types import LANDMARK_NAMES, HandLandmarks

PRESETS = ("demo", "easy", "crossing", "occlusion", "leave_return", "blur")
SEEDS = tuple(f"easy,seed={seed}" for seed in range(1, 13))
FARTHEST_HANDS = 0.5


def distances(hand: HandTruth, found: HandLandmarks) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(21,) distance of each landmark from the truth, in hand sizes."""
    apart = np.linalg.norm(found.points_xy_px - hand.landmarks.points_xy_px, axis=1)
    return np.asarray(apart / hand.size_px, np.float64)


def pair(hands: Sequence[HandTruth], found: Sequence[HandLandmarks]) -> dict[int, HandLandmarks]:
    """The detection of each hand that has one, by the hand's index."""
    near = sorted(
        (float(distances(hand, one).mean()), k, n) for k, hand in enumerate(hands) for n, one in enumerate(found)
    )
    taken: dict[int, int] = {}
    for distance, k, n in near:
        if distance < FARTHEST_HANDS and k not in taken and n not in taken.values():
            taken[k] = n
    return {hands[k].index: found[n] for k, n in taken.items()}


class Recognition:
    """Counts over one clip."""

    def __init__(self) -> None:
        self.hands: dict[int, list[bool]] = {}
        self.errors: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        self.sides: list[bool] = []

    def add(self, rendered: SyntheticFrame, found: Sequence[HandLandmarks]) -> None:
        """Count one frame."""
        pairs = pair([hand for hand in rendered.hands if hand.present], found)
        for hand in rendered.hands:
            if not (hand.unoccluded and hand.inside_frame):
                continue
            one = pairs.get(hand.index)
            self.hands.setdefault(hand.index, []).append(one is not None)
            if one is not None:
                self.errors.append(distances(hand, one))
                self.sides.append(one.handedness is hand.handedness)

    def figures(self) -> dict[str, Any]:
        """What the counts come to."""
        errors = np.array(self.errors).reshape(-1, len(LANDMARK_NAMES))
        worst: list[int] = np.argsort(np.median(errors, axis=0))[::-1][:4].tolist() if len(errors) else []
        return {
            "hands_counted": sum(map(len, self.hands.values())),
            "found_share": {str(k): round(float(np.mean(v)), 4) for k, v in sorted(self.hands.items())},
            "error_median_hand_sizes": round(float(np.median(errors)), 4) if len(errors) else None,
            "error_p90_hand_sizes": round(float(np.percentile(errors, 90)), 4) if len(errors) else None,
            "handedness_right_share": round(float(np.mean(self.sides)), 4) if self.sides else None,
            "worst_landmarks": {LANDMARK_NAMES[k]: round(float(np.median(errors[:, k])), 4) for k in worst},
        }


def measure(spec: str, model: Path) -> dict[str, Any]:
    """Render one clip and look for its hands."""
    config = parse_synthetic_spec(spec)
    counts, began = Recognition(), time.perf_counter()
    with MediaPipeHands(HandsConfig(), model) as detector:
        for rendered in render_in_processes(config, os.cpu_count() or 1):
            counts.add(rendered, detector.detect(rendered.frame))
    seconds = time.perf_counter() - began
    clip = {"spec": spec, "frames": config.frames, "size": config.size, "seed": config.seed}
    return {"clip": clip, **counts.figures(), "seconds_with_rendering": round(seconds, 1)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", action="append", help="preset and settings; the default is every preset, many seeds")
    parser.add_argument("--json", type=Path, default=RESULTS / "synthetic_recognition.json")
    args = parser.parse_args()
    head = conditions()
    model = ModelStore().fetch("hand_landmarker.task")
    clips = []
    for spec in args.clip or (*PRESETS, *SEEDS):
        clips.append(measure(spec, model))
        print(spec, clips[-1]["found_share"], clips[-1]["error_median_hand_sizes"], clips[-1]["handedness_right_share"])
    write_result(args.json, "synthetic_recognition", {"clips": clips}, head)


if __name__ == "__main__":
    main()
