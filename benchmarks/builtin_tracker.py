"""The segmenters on the same frames: `light`, the `builtin` refiner (also on a grid of 128 cells) and sam2-nano.

    python -m benchmarks.builtin_tracker [--videos N …] [--weights FILE] [--redetector FILE] [--sheets FOLDER]

Landmarks come from the real MediaPipe, once for each clip; every segmenter then runs in the real tracker, without a
redetector; "refiner and hand-seg" is the refiner with the built-in one, as `auto` has it, for whose answers frames
wait. Of every hand that can be seen (a tenth of it, and 400 pixels), the mask that overlaps it most is the hand's; a
missing mask counts as 0. "With landmarks" are the frames on which MediaPipe's landmarks agree with the hand's true mask
by half. Boundary F follows Perazzi et al. 2016 (DAVIS), with a tolerance of 0.8% of the picture's diagonal. Flicker is
the mean change of IoU from frame to frame of a hand. Consistency follows Varghese et al. 2020 ("Unsupervised Temporal
Consistency Metric for Video Segmentation"): the mean IoU of a mask with that of the frame before, moved by optical
flow; it needs no truth, and is of the real clip. A stray mask overlaps no hand by a tenth. An id switch is a frame on
which another track than before lies on the hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.builtin_footage import Footage, held_out_footage, read_footage
from benchmarks.pictures import outlined, write_sheet
from benchmarks.rendered import detected
from benchmarks.report import RESULTS, ROOT, conditions, write_result
from gest_stream.bench.quality import boundary_f
from gest_stream.build import HandTracker, make_redetector
from gest_stream.config import (
    PipelineConfig,
    RedetectorConfig,
    RedetectorKind,
    RefinerConfig,
    Sam2Config,
    Sam2Size,
    SegmenterKind,
)
from gest_stream.metrics import StageTimer
from gest_stream.models.builtin import builtin_path
from gest_stream.testing import ScriptedDetector
from gest_stream.tracking.agreement import agreement
from gest_stream.training.wide_data import shard_root
from gest_stream.training.wide_held_out import MEASURED, SEED
from gest_stream.types import FrameResult, HandLandmarks, HandMask

SHARED = ROOT.parent / "shared" / "clips"
OVERLAP = 0.1
MATCHED = 0.5


@dataclass(frozen=True, slots=True)
class System:
    """A segmenter to measure."""

    name: str
    config: PipelineConfig


def systems(weights: Path | None, redetector: Path | None) -> list[System]:
    """What can be measured here."""
    off = RedetectorConfig(RedetectorKind.NONE)
    found = [System("light", PipelineConfig(segmenter=SegmenterKind.LIGHT, redetector=off))]
    if weights is not None or builtin_path("refiner").exists():
        for name, grid in (("refiner", RefinerConfig().grid), ("refiner-128", 128)):
            refiner = RefinerConfig(weights=weights, grid=grid)
            config = PipelineConfig(segmenter=SegmenterKind.BUILTIN, refiner=refiner, redetector=off)
            found.append(System(name, config))
        if redetector is not None or builtin_path("hand-seg").exists():
            with_redetector = RedetectorConfig(RedetectorKind.BUILTIN, checkpoint=redetector)
            config = PipelineConfig(
                segmenter=SegmenterKind.BUILTIN, refiner=RefinerConfig(weights=weights), redetector=with_redetector
            )
            found.append(System("refiner and hand-seg", config))
    if builtin_path("sam2-nano").exists():
        sam2 = Sam2Config(size=Sam2Size.NANO, device="cpu")
        found.append(System("sam2-nano", PipelineConfig(segmenter=SegmenterKind.SAM2, sam2=sam2, redetector=off)))
    return found


def run(
    system: System, footage: Footage, detections: Sequence[tuple[HandLandmarks, ...]]
) -> tuple[list[FrameResult], list[float]]:
    """Every result, and the segmenter's milliseconds a hand where there was one."""
    results, ms = [], []
    with HandTracker(system.config, detector=ScriptedDetector(detections.__getitem__)) as tracker:
        for frame in footage.frames:
            timer = StageTimer()
            with timer.stage("segment"):
                encoded = tracker.encode(frame)
            result = tracker.advance(frame, detections[frame.seq], encoded, timer)
            results.append(result)
            if result.tracks:
                ms.append(result.timings_ms["segment"] / len(result.tracks))
    return results, ms


def scored(
    footage: Footage, results: Sequence[FrameResult], detections: Sequence[tuple[HandLandmarks, ...]]
) -> dict[str, Any]:
    """Figures of every hand of a clip with truth, as lists over hands and frames."""
    ious: list[float] = []
    prompted: list[float] = []
    edges: list[float] = []
    changes: list[float] = []
    switches = 0
    for hand in range(footage.hand_count):
        before, held = None, None
        for number, result in enumerate(results):
            truth = footage.truth(number, hand)
            if truth is None:
                before = None
                continue
            masks = [(track.mask.iou(truth), track.id, track.mask) for track in result.tracks if track.mask is not None]
            iou, track_id, mask = max(masks, key=lambda one: one[0], default=(0.0, 0, None))
            iou = iou if iou > OVERLAP else 0.0
            ious.append(iou)
            if any((agreement(landmarks, truth) or 0.0) >= MATCHED for landmarks in detections[number]):
                prompted.append(iou)
            edges.append(boundary_f(mask, truth) if mask is not None and iou > 0.0 else 0.0)
            if before is not None:
                changes.append(abs(iou - before))
            before = iou
            if iou >= MATCHED:
                switches += held is not None and held != track_id
                held = track_id
    strays = [
        max((track.mask.iou(truth) for truth in footage.masks[number] if truth.area_px), default=0.0) <= OVERLAP
        for number, result in enumerate(results)
        for track in result.tracks
        if track.mask is not None and track.mask.area_px
    ]
    lists = {"ious": ious, "prompted": prompted, "edges": edges, "changes": changes, "strays": strays}
    return {**lists, "switches": switches}


def consistencies(footage: Footage, results: Mapping[str, Sequence[FrameResult]]) -> dict[str, float]:
    """By system, the mean IoU of every mask with that of the frame before, moved by the pictures' flow."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    found: dict[str, list[float]] = {name: [] for name in results}
    greys = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY) for frame in footage.frames]
    rows, columns = np.mgrid[: greys[0].shape[0], : greys[0].shape[1]].astype(np.float32)
    for number in range(1, len(greys)):
        flow = np.asarray(finder.calc(greys[number], greys[number - 1], None), np.float32)
        for name, ours in results.items():
            before = {track.id: track.mask for track in ours[number - 1].tracks if track.mask is not None}
            for track in ours[number].tracks:
                last = before.get(track.id)
                if track.mask is None or last is None or not track.mask.area_px or not last.area_px:
                    continue
                moved = cv2.remap(last.full(), columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
                carried = HandMask.from_full(np.asarray(moved, np.uint8), 1.0, last.source)
                found[name].append(carried.iou(track.mask))
    return {name: round(float(np.mean(values)), 4) if values else 0.0 for name, values in found.items()}


def measure_truth(clips: Sequence[Footage], chosen: Sequence[System], sheets: Path | None) -> dict[str, Any]:
    """Figures over clips with truth."""
    totals: dict[str, dict[str, list[Any]]] = {one.name: {} for one in chosen}
    for footage in clips:
        detections = detected(footage.frames)
        for system in chosen:
            results, ms = run(system, footage, detections)
            figures = scored(footage, results, detections) | {"ms": ms, "crossing": footage.crossing}
            for name, values in figures.items():
                totals[system.name].setdefault(name, []).append(values)
            if sheets is not None:
                contact_sheet(sheets / f"{footage.name}-{system.name}.png", footage, results, 12)
    return {name: _summary(values) for name, values in totals.items()}


def _summary(values: dict[str, list[Any]]) -> dict[str, Any]:
    def joined(name: str) -> NDArray[np.float64]:
        return np.array([one for clip in values[name] for one in clip], np.float64)

    def mean(name: str) -> float:
        return round(float(joined(name).mean()), 4) if joined(name).size else 0.0

    ious = joined("ious")
    crossing = [n == 0 for n, crosses in zip(values["switches"], values["crossing"], strict=True) if crosses]
    return {
        "clips": len(values["ious"]),
        "hands": len(ious),
        "iou_mean": mean("ious"),
        "iou_mean_with_landmarks": mean("prompted"),
        "landmarks_share": round(len(joined("prompted")) / len(ious), 4),
        "iou_p10": round(float(np.percentile(ious, 10)), 4),
        "missing_share": round(float((ious == 0.0).mean()), 4),
        "iou_mean_where_masked": round(float(ious[ious > 0].mean()), 4),
        "boundary_f_mean": mean("edges"),
        "flicker_mean_iou_change": mean("changes"),
        "stray_masks_share": mean("strays"),
        "id_switches_by_clip": values["switches"],
        "crossing_clips_without_id_switch_share": _share(crossing) if crossing else None,
        "ms_per_hand_p50": round(float(np.percentile(joined("ms"), 50)), 2),
        "ms_per_hand_p95": round(float(np.percentile(joined("ms"), 95)), 2),
    }


def measure_two_hands(chosen: Sequence[System], sheets: Path | None) -> dict[str, Any]:
    """Real frames without truth, both hands in view throughout."""
    path = SHARED / "two_hands.mp4"
    if not path.exists():
        return {"skipped": f"{path} is not there"}
    footage = read_footage(path)
    detections = detected(footage.frames)
    found: dict[str, Any] = {
        "frames": len(footage.frames),
        "landmarks_of_both_hands_share": _share([len(hands) >= 2 for hands in detections]),
    }
    ran: dict[str, list[FrameResult]] = {}
    for system in chosen:
        results, ms = run(system, footage, detections)
        ran[system.name] = results
        both = [sum(t.mask is not None and t.mask.area_px > 0 for t in result.tracks) >= 2 for result in results]
        found[system.name] = {
            "both_masks_share": _share(both),
            "ms_per_hand_p50": round(float(np.percentile(ms, 50)), 2),
            "fps_with_landmarks": _fps(system, footage),
        }
        if sheets is not None:
            contact_sheet(sheets / f"two_hands-{system.name}.png", footage, results, 20)
    for name, value in consistencies(footage, ran).items():
        found[name]["consistency_mean"] = value
    return found


def measure_egocentric(chosen: Sequence[System], weights: Path | None, sheets: Path | None) -> dict[str, Any]:
    """A first-person clip on which MediaPipe finds nothing: what the redetector starts and the segmenter carries."""
    path = SHARED / "egocentric.mp4"
    if not path.exists() or not (weights or builtin_path("hand-seg")).exists():
        return {"skipped": f"{path} or the weights of hand-seg are not there"}
    footage = read_footage(path)
    detections = detected(footage.frames)
    found: dict[str, Any] = {
        "frames": len(footage.frames),
        "landmarks_share": _share([len(hands) > 0 for hands in detections]),
    }
    for system in (one for one in chosen if one.config.redetector.kind is RedetectorKind.NONE):
        wanted = RedetectorConfig(RedetectorKind.BUILTIN, checkpoint=weights)
        redetector = make_redetector(PipelineConfig(redetector=wanted))
        detector = ScriptedDetector(detections.__getitem__)
        with HandTracker(system.config, detector=detector, redetector=redetector) as tracker:
            results = [tracker.step(frame) for frame in footage.frames]
        masked = [any(t.mask is not None and t.mask.area_px > 0 for t in result.tracks) for result in results]
        ids = {track.id for result in results for track in result.tracks}
        found[system.name] = {"masked_share": _share(masked), "ids": len(ids)}
        if sheets is not None:
            contact_sheet(sheets / f"egocentric-{system.name}.png", footage, results, 20)
    return found


def _fps(system: System, footage: Footage) -> float:
    """Frames a second of landmarks and segmenter one after the other, on one thread after another."""
    ms = []
    with HandTracker(system.config) as tracker:
        for frame in footage.frames[:60]:
            timer = StageTimer()
            with timer.stage("all"):
                tracker.step(frame)
            ms.append(timer.ms["all"])
    return round(1e3 / float(np.percentile(ms[5:], 50)), 1)


def _share(values: Sequence[bool]) -> float:
    return round(float(np.mean(values)), 4)


def contact_sheet(path: Path, footage: Footage, results: Sequence[FrameResult], count: int) -> None:
    """Frames evenly spaced: masks filled, ids, the true outline in white where it is known."""
    from gest_stream.config import EffectConfig
    from gest_stream.overlay import Renderer

    renderer, tiles = Renderer(EffectConfig()), []
    for index in np.linspace(0, len(results) - 1, count).astype(int):
        known = (footage.truth(int(index), hand) for hand in range(footage.hand_count))
        picture = outlined(renderer.render(results[index]), [truth for truth in known if truth is not None])
        scale = 480 / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        tiles.append(np.asarray(small, np.uint8))
    write_sheet(path, tiles, 4)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="*", default=range(MEASURED), help="numbers of held-out videos")
    parser.add_argument("--systems", nargs="*", help="names of the segmenters to measure; all that are here by default")
    parser.add_argument("--redetector", type=Path, help="weights of hand-seg; the package's own where not given")
    parser.add_argument("--data", type=Path, default=shard_root(), help="folder of the wide clips, with the videos")
    parser.add_argument("--seed", type=int, default=SEED, help="of videos that are not in --data yet; one folder each")
    parser.add_argument("--weights", type=Path, help="of the refiner; the package's own where not given")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets (PNG) to look at")
    parser.add_argument("--json", type=Path, default=RESULTS / "builtin_tracker.json")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # milliseconds are those of one core
    head = conditions()
    chosen = [one for one in systems(args.weights, args.redetector) if args.systems is None or one.name in args.systems]
    figures = {
        "videos": list(args.videos),
        "held_out_videos": measure_truth(
            [held_out_footage(k, args.data, args.seed) for k in args.videos], chosen, args.sheets
        ),
        "two_hands": measure_two_hands(chosen, args.sheets),
        "egocentric": measure_egocentric(chosen, args.redetector, args.sheets),
    }
    write_result(args.json, "builtin_tracker", figures, head)


if __name__ == "__main__":
    main()
