"""Landmarks and masks against the truth of rendered clips, with the real MediaPipe and the real tracker.

    python -m benchmarks.quality [--preset demo] [--frames N] [--seed N] [--json out.json]

For every hand that can be seen (at least a tenth of it, and 400 pixels), the track whose mask or landmarks lie nearest
is the hand's; a hand without one counts as IoU 0. Boundary F follows Perazzi et al. 2016 (DAVIS), with a tolerance of
0.8% of the picture's diagonal. The same clip is also segmented from the true landmarks, which tells the segmenter's
share of the error from the detector's.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import outlined, write_sheet
from benchmarks.rendered import rendered_clip
from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.bench.quality import boundary_f, id_switches, landmark_error, seen, track_of
from gest_stream.build import HandTracker
from gest_stream.config import LightConfig, PipelineConfig, SegmenterKind
from gest_stream.metrics import StageTimer
from gest_stream.models.light import LightSegmenter
from gest_stream.synthetic import HandTruth, SyntheticFrame, preset
from gest_stream.types import FrameResult, HandMask, Observation


def masks_figures(pairs: Sequence[tuple[HandMask | None, HandTruth]]) -> dict[str, Any]:
    """IoU and boundary F over all hands that could be seen, a missing mask counting as 0."""
    ious = np.array([mask.iou(hand.hand_mask) if mask else 0.0 for mask, hand in pairs])
    clear = np.array([hand.unoccluded and hand.inside_frame for _, hand in pairs])
    edges = [boundary_f(mask, hand.hand_mask) for mask, hand in pairs if mask]
    return {
        "hands": len(pairs),
        "iou_mean": round(float(ious.mean()), 4),
        "iou_p10": round(float(np.percentile(ious, 10)), 4),
        "iou_mean_unoccluded_inside": round(float(ious[clear].mean()), 4),
        "masks_missing": sum(mask is None for mask, _ in pairs),
        "boundary_f_mean_where_masked": round(float(np.mean(edges)), 4),
    }


def tracked_figures(clip: Sequence[SyntheticFrame], results: Sequence[FrameResult]) -> dict[str, Any]:
    """What a user of the whole tracker gets."""
    pairs: list[tuple[HandMask | None, HandTruth]] = []
    ids: dict[int, list[int]] = {}
    found, errors, sides = [], [], []
    for rendered, result in zip(clip, results, strict=True):
        for hand in filter(seen, rendered.hands):
            track = track_of(hand, result.tracks)
            pairs.append((track.mask if track else None, hand))
            detected = track is not None and track.landmarks is not None
            if track is not None:
                ids.setdefault(hand.index, []).append(track.id)
            if hand.unoccluded and hand.inside_frame:
                found.append(detected)
                if track is not None and detected:
                    errors.append(landmark_error(hand, track))
                    sides.append(track.handedness == hand.handedness)
    switches = {str(hand): count for hand, count in id_switches(ids).items()}
    return {
        "masks": masks_figures(pairs),
        "landmarks": {
            "hands_unoccluded_inside": len(found),
            "found_share": round(float(np.mean(found)), 4),
            "error_median_hand_sizes": round(float(np.median(errors)), 4),
            "error_p90_hand_sizes": round(float(np.percentile(errors, 90)), 4),
            "handedness_right_share": round(float(np.mean(sides)), 4),
        },
        "id_switches_by_hand": switches,
        "ids_given": max((track.id for result in results for track in result.tracks), default=0),
        "flicker": {"tracked": flicker(pairs)},
    }


def flicker(pairs: Sequence[tuple[HandMask | None, HandTruth]]) -> float:
    """Mean change of IoU from frame to frame of one hand: what an eye sees as trembling of the outline."""
    by_hand: dict[int, list[float]] = {}
    for mask, hand in pairs:
        by_hand.setdefault(hand.index, []).append(mask.iou(hand.hand_mask) if mask else 0.0)
    changes = [np.abs(np.diff(values)) for values in by_hand.values() if len(values) > 1]
    return round(float(np.concatenate(changes).mean()), 4)


def from_true_landmarks(clip: Sequence[SyntheticFrame]) -> dict[str, Any]:
    """The segmenter alone: true landmarks of the hands that are mostly visible, and its time a hand."""
    segmenter = LightSegmenter(LightConfig())
    pairs: list[tuple[HandMask | None, HandTruth]] = []
    ms: list[float] = []
    for rendered in clip:
        hands = [hand for hand in rendered.hands if seen(hand)]
        observations = [Observation(hand.index + 1, hand.landmarks if hand.shown > 0.5 else None) for hand in hands]
        timer = StageTimer()
        with timer.stage("step"):
            masks = segmenter.step(segmenter.encode(rendered.frame), observations)
        if hands:
            ms.append(timer.ms["step"] / len(hands))
        pairs += [(masks.get(hand.index + 1), hand) for hand in hands]
    segmenter.close()
    p50, p95 = np.percentile(ms, (50, 95))
    return {**masks_figures(pairs), "ms_per_hand_p50": round(float(p50), 2), "ms_per_hand_p95": round(float(p95), 2)}


def contact_sheet(clip: Sequence[SyntheticFrame], results: Sequence[FrameResult], path: Path) -> None:
    """Twelve frames: the mask filled, the true outline in white."""
    from gest_stream.config import EffectConfig
    from gest_stream.overlay import Renderer

    renderer, tiles = Renderer(EffectConfig()), []
    for index in np.linspace(0, len(clip) - 1, 12).astype(int):
        truths = [hand.hand_mask for hand in clip[index].hands]
        tiles.append(outlined(renderer.render(results[index]), truths))
    write_sheet(path, tiles, 4)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--seed", type=int, help="another clip of the same script: hands, skin, light and background")
    parser.add_argument("--json", type=Path, default=RESULTS / "quality.json")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG) to look at")
    args = parser.parse_args()
    head = conditions()
    config = preset(args.preset)
    if args.frames is not None:
        config = replace(config, frames=args.frames)
    if args.seed is not None:
        config = replace(config, seed=args.seed, tones=())
    clip = rendered_clip(config, os.cpu_count() or 1)
    with HandTracker(PipelineConfig(segmenter=SegmenterKind.LIGHT)) as tracker:
        results = [tracker.step(rendered.frame) for rendered in clip]
    if args.sheet is not None:
        contact_sheet(clip, results, args.sheet)
    figures = {
        "clip": {"preset": args.preset, "seed": config.seed, "frames": len(clip), "size": config.size},
        "segmenter": "light",
        "tracked": tracked_figures(clip, results),
        "from_true_landmarks": from_true_landmarks(clip),
    }
    write_result(args.json, "quality", figures, head)


if __name__ == "__main__":
    main()
