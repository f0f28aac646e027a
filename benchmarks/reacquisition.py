"""How soon a lost hand is found again: rendered clips in which it is covered, returns elsewhere, and blurs.

    python -m benchmarks.reacquisition [--checkpoint redetector.pt] [--seeds 65 66 67] [--json F] [--sheet F]

Each clip shows one hand. `MediaPipe` is the real detector. `blind` is the same, but from the first loss on it finds
nothing, as on a view from the wearer's own eyes: what is found again then, the redetector found. The redetectors are
none, the truth about the frame (what a perfect one would give), and the network of `--checkpoint`. Masks are those of
the segmenter `light`; frames wait for the redetector, so that results do not depend on the machine.

A return is the first frame on which half of the hand can be seen, after one on which it could not. The hand counts as
found when a mask overlaps it by half (IoU).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.pictures import outlined, write_sheet
from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.bench.quality import FOUND_IOU, in_view, returns_of
from gest_stream.build import HandTracker, make_detector
from gest_stream.config import EffectConfig, PipelineConfig, RedetectorConfig, RedetectorKind, SegmenterKind
from gest_stream.interfaces import HandDetector, Redetector
from gest_stream.models.redetector import load_redetector
from gest_stream.overlay import Renderer
from gest_stream.synthetic import ClipConfig, Event, EventKind, SyntheticFrame
from gest_stream.synthetic.workers import render_in_processes
from gest_stream.testing import ScriptedRedetector, probability_of
from gest_stream.types import Frame, FrameResult, HandLandmarks


def clip_config(seed: int) -> ClipConfig:
    """One hand that is covered for 20 frames or so, leaves and returns on the other side, and waves until it blurs."""
    events = (
        Event(EventKind.OCCLUDE, 1.0, 1.3),
        Event(EventKind.LEAVE, 3.0, 2.0, elsewhere=True),
        Event(EventKind.SWIPE, 5.6, 1.2),
    )
    return ClipConfig(frames=220, hands=1, seed=seed, events=events, shutter=0.5)


@dataclass(frozen=True, slots=True)
class Case:
    """One way to track a clip."""

    detector: str
    redetector: str


@dataclass(slots=True)
class Tally:
    """What came out of one case over all clips."""

    delays: list[int | None] = field(default_factory=list)
    ids_kept: list[bool] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    masks_on_nothing: int = 0
    asked: int = 0

    def figures(self) -> dict[str, Any]:
        """The figures of the case."""
        found = [delay for delay in self.delays if delay is not None]
        return {
            "returns": len(self.delays),
            "found_again": len(found),
            "found_within_5_frames": sum(delay <= 5 for delay in found),
            "frames_until_found_median": float(np.median(found)) if found else None,
            "frames_until_found_max": max(found, default=None),
            "id_kept": sum(self.ids_kept),
            "iou_mean_where_in_view": round(float(np.mean(self.ious)), 4),
            "masks_where_no_hand_is": self.masks_on_nothing,
            "questions": self.asked,
        }


class BlindAfterLoss:
    """A detector that finds nothing once it has lost the hand for some frames."""

    def __init__(self, inner: HandDetector, patience: int = 8) -> None:
        self._inner, self._patience = inner, patience
        self._seen, self._missed = False, 0

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """What the inner one finds, until then."""
        if self._missed >= self._patience:
            return ()
        found = self._inner.detect(frame)
        self._seen |= bool(found)
        self._missed = 0 if found or not self._seen else self._missed + 1
        return found

    def close(self) -> None:
        """Close the inner one."""
        self._inner.close()


def returns_in(clip: Sequence[SyntheticFrame]) -> list[int]:
    """The frames on which the only hand comes back into view."""
    return returns_of([in_view(rendered.hands[0]) for rendered in clip])


def track_clip(clip: Sequence[SyntheticFrame], case: Case, checkpoint: Path | None) -> tuple[list[FrameResult], int]:
    """The results of a clip, and how often the redetector was asked."""
    config = PipelineConfig(segmenter=SegmenterKind.LIGHT, redetector=RedetectorConfig(kind=RedetectorKind.NONE))
    detector = make_detector(config)
    if case.detector == "blind":
        detector = BlindAfterLoss(detector)
    asked: list[int] = []
    with HandTracker(config, detector=detector, redetector=_redetector(clip, case, checkpoint, asked)) as tracker:
        return [tracker.step(rendered.frame) for rendered in clip], len(asked)


def _redetector(
    clip: Sequence[SyntheticFrame], case: Case, checkpoint: Path | None, asked: list[int]
) -> Redetector | None:
    if case.redetector == "none":
        return None
    trained = load_redetector(RedetectorConfig(), checkpoint) if case.redetector == "trained" and checkpoint else None

    def look(frame: Frame) -> Any:
        asked.append(frame.seq)
        if trained is not None:
            return trained.segment(frame)
        return probability_of([hand.hand_mask for hand in clip[frame.seq].hands], frame.size)

    return ScriptedRedetector(look)


def tally(clip: Sequence[SyntheticFrame], results: Sequence[FrameResult], into: Tally) -> None:
    """Add one clip's returns, masks and ids."""
    overlaps = [
        {
            track.id: track.mask.iou(rendered.hands[0].hand_mask)
            for track in result.tracks
            if track.mask is not None and track.mask.area_px > 0
        }
        for rendered, result in zip(clip, results, strict=True)
    ]
    first = next((max(found, key=found.__getitem__) for found in overlaps if found), None)
    starts = returns_in(clip)
    for start, end in zip(starts, [*starts, len(clip)][1:], strict=True):
        found = [(seq, k) for seq in range(start, end) for k, iou in overlaps[seq].items() if iou >= FOUND_IOU]
        into.delays.append(found[0][0] - start if found else None)
        into.ids_kept.append(bool(found) and found[0][1] == first)
    for rendered, masks in zip(clip, overlaps, strict=True):
        if in_view(rendered.hands[0]):
            into.ious.append(max(masks.values(), default=0.0))
        elif rendered.hands[0].shown == 0.0:
            into.masks_on_nothing += len(masks)


def contact_sheet(clip: Sequence[SyntheticFrame], results: Sequence[FrameResult], path: Path) -> None:
    """Frames around every return: the mask filled, the true outline in white."""
    renderer, tiles = Renderer(EffectConfig()), []
    for start in returns_in(clip):
        for seq in (start - 2, start, start + 1, start + 2, start + 4, start + 12):
            picture = outlined(renderer.render(results[seq]), [clip[seq].hands[0].hand_mask])
            cv2.putText(picture, f"{seq - start:+d}", (8, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
            tiles.append(np.asarray(cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA), np.uint8))
    write_sheet(path, tiles, 6)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a redetector of 'gest-stream train decoder'")
    parser.add_argument("--seeds", type=int, nargs="+", default=[65, 66, 67, 68])
    parser.add_argument("--json", type=Path, default=RESULTS / "reacquisition.json")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the first clip, found by the checkpoint")
    args = parser.parse_args()
    head = conditions()
    kinds = ("none", "truth") if args.checkpoint is None else ("none", "truth", "trained")
    tallies = {Case(d, r): Tally() for d in ("mediapipe", "blind") for r in kinds}
    for seed in args.seeds:
        clip = list(render_in_processes(clip_config(seed), os.cpu_count() or 1))
        for case, into in tallies.items():
            results, asked = track_clip(clip, case, args.checkpoint)
            into.asked += asked
            tally(clip, results, into)
            if args.sheet is not None and seed == args.seeds[0] and case == Case("blind", kinds[-1]):
                contact_sheet(clip, results, args.sheet)
    figures = {
        "clips": {"seeds": args.seeds, "frames": clip_config(0).frames, "size": clip_config(0).size},
        "segmenter": "light",
        "checkpoint": args.checkpoint.name if args.checkpoint is not None else None,
        "cases": [
            {"detector": case.detector, "redetector": case.redetector, **into.figures()}
            for case, into in tallies.items()
        ],
    }
    write_result(args.json, "reacquisition", figures, head)


if __name__ == "__main__":
    main()
