"""The built-in segmenters on held-out photographs, from one picture alone, prompted by the real MediaPipe.

    python -m benchmarks.builtin_photographs --data CLIPS [--weights FILE …]

The photographs are those of `gest_stream.training.wide_data` from index 100,000 on. Their labels are pseudo labels,
made from MediaPipe's landmarks and colours much as `light` makes its masks, so they favour it: figures compare weights
of one network. What the labels do not know is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.builtin_footage import frame_of
from benchmarks.builtin_redetector import iou, mean
from benchmarks.builtin_tracker import System, systems
from benchmarks.rendered import detected
from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.build import HandTracker
from gest_stream.testing import ScriptedDetector
from gest_stream.training.wide_clips import ClipKind, WideClip, held_out_paths
from gest_stream.training.wide_data import shard_root
from gest_stream.types import HandLandmarks

_INSIDE = 128


def measure(
    system: System, clips: Sequence[WideClip], detections: Sequence[tuple[HandLandmarks, ...]]
) -> dict[str, Any]:
    """IoU of all masks of a picture with all labelled hands, where MediaPipe finds any."""
    ious, beside = [], []
    with HandTracker(system.config, detector=ScriptedDetector(detections.__getitem__)) as tracker:
        for number, clip in enumerate(clips):
            if not detections[number]:
                continue
            tracker.reset()
            known = ~clip.void[0]
            truth = (clip.hands[0] >= _INSIDE).any(axis=0) & known
            said = np.zeros_like(known)
            for track in tracker.step(frame_of(clip.images[0], number)).tracks:
                if track.mask is not None:
                    said |= track.mask.full() >= _INSIDE
            if truth.any():
                ious.append(iou(said & known, truth))
                beside.append(int((said & known & ~truth).sum()) / int(truth.sum()))
    return {
        "photographs": len(ious),
        "iou_mean": mean(ious),
        "iou_p10": round(float(np.percentile(ious, 10)), 4),
        "beside_the_hand_over_its_area_mean": mean(beside),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=shard_root(), help="folder of the wide clips")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="of the refiner, beside the package's own")
    parser.add_argument("--json", type=Path, default=RESULTS / "builtin_photographs.json")
    args = parser.parse_args()
    head = conditions()
    clips = [WideClip.load(path) for path in held_out_paths(args.data, ClipKind.REAL)]
    detections = [detected([frame_of(clip.images[0], 0)])[0] for clip in clips]
    chosen = [one for one in systems(None, None) if one.name in ("light", "refiner")]
    for weights in args.weights:
        chosen += [replace(one, name=weights.stem) for one in systems(weights, None) if one.name == "refiner"]
    figures = {"segmenters": {one.name: measure(one, clips, detections) for one in chosen}}
    write_result(args.json, "builtin_photographs", figures, head)


if __name__ == "__main__":
    main()
