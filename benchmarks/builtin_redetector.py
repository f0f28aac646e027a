"""How good and how quick the built-in redetector is: held-out clips, held-out photographs by set, a first-person clip.

    python -m benchmarks.builtin_redetector [--data FOLDER] [--weights FILE] [--pictures FOLDER]

FOLDER holds the wide clips of gest_stream/training/wide_data.py; only clips that are held out of training are read.
Photographs have pseudo labels, made by MediaPipe and GrabCut: their figures say how far two guesses agree. The
first-person clip has no masks: that a region is the hand was looked at in the pictures that --pictures writes.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.builtin_footage import frame_of, read_footage
from benchmarks.report import RESULTS, ROOT, conditions, write_result
from gest_stream.config import RedetectionConfig, RedetectorConfig, RegionConfig
from gest_stream.models.hand_seg import HandSegRedetector, load_hand_seg
from gest_stream.tracking.regions import HandRegion, find_regions
from gest_stream.training.builtin_config import DEFAULT_DATA
from gest_stream.training.wide_clips import HELD_OUT_FROM, ClipKind, WideClip, held_out_paths, training_paths
from gest_stream.types import Frame, HandProbability

_SHARED: Final = ROOT.parent / "shared"
_INSIDE: Final = 128
_LEAST_SHARE: Final = 0.001
"""Of the frame: hands of fewer pixels are not counted as visible."""
_OPEN_SCORE: Final = RedetectionConfig().open_score
_SEEK_SCORE: Final = RedetectionConfig().seek_score
_ON_HAND: Final = 0.3
"""Share of a region that lies on labelled hands, below which it is beside them."""
_MIN_SCORES: Final = (0.5, 0.6, 0.7, 0.8)
_MASK_THRESHOLDS: Final = (0.4, 0.5, 0.6)


def fine(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map at the size of its frame."""
    import cv2

    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.float32)


class Tally:
    """What is counted over the frames of one kind of picture."""

    def __init__(self) -> None:
        self.hand: list[float] = []
        self.forearm: list[float] = []
        self.by_size: dict[str, list[float]] = defaultdict(list)
        self.hands = self.hands_found = self.hands_opened = self.regions = self.regions_right = 0
        self.empty_frames = self.empty_frames_with_region = self.empty_frames_opened = 0

    def add(self, seen: HandProbability, clip: WideClip, k: int) -> None:
        """Count one frame of a clip."""
        known, hands = ~clip.void[k], clip.hands[k] >= _INSIDE
        truth = hands.any(axis=0) & known
        share = float(truth.mean())
        said = (fine(seen.hand, seen.frame_size) >= 0.5) & known
        if share >= _LEAST_SHARE:
            score = iou(said, truth)
            self.hand.append(score)
            self.by_size[_size_name(share)].append(score)
        arm = (clip.arms[k] >= _INSIDE) & known
        if clip.kind is not ClipKind.REAL and arm.mean() >= _LEAST_SHARE and seen.forearm is not None:
            self.forearm.append(iou((fine(seen.forearm, seen.frame_size) >= 0.5) & known, arm))
        self.add_regions(find_regions(seen, RegionConfig()), hands, known)

    def add_regions(self, regions: tuple[HandRegion, ...], hands: NDArray[np.bool_], known: NDArray[np.bool_]) -> None:
        """Count regions that are hands, and hands that are found: what half of lies in the other."""
        covered, any_hand = np.zeros(known.shape, np.bool_), hands.any(axis=0)
        opened = np.zeros(known.shape, np.bool_)
        for region in regions:
            own = placed(region) & known
            if own.any():
                self.regions += 1
                self.regions_right += bool((own & any_hand).sum() >= 0.5 * own.sum())
            covered |= own
            if region.score >= _OPEN_SCORE:
                opened |= own
        for hand in hands:
            visible = hand & known
            if visible.mean() >= _LEAST_SHARE:
                self.hands += 1
                self.hands_found += bool((visible & covered).sum() >= 0.5 * visible.sum())
                self.hands_opened += bool((visible & opened).sum() >= 0.5 * visible.sum())
        if not any_hand.any():
            self.empty_frames += 1
            self.empty_frames_with_region += bool(covered.any())
            self.empty_frames_opened += bool(opened.any())

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "frames_with_a_hand": len(self.hand),
            "hand_iou_mean": mean(self.hand),
            "hand_iou_median": round(float(np.median(self.hand)), 4) if self.hand else None,
            "hand_iou_at_least_0.5_share": mean([score >= 0.5 for score in self.hand]),
            "hand_iou_mean_by_size": {name: mean(scores) for name, scores in sorted(self.by_size.items())},
            "forearm_iou_mean": mean(self.forearm),
            "hands_found_share": round(self.hands_found / self.hands, 4) if self.hands else None,
            "hands_that_open_a_track_share": round(self.hands_opened / self.hands, 4) if self.hands else None,
            "regions_that_are_hands_share": round(self.regions_right / self.regions, 4) if self.regions else None,
            "frames_without_hand": self.empty_frames,
            "frames_without_hand_but_with_region": self.empty_frames_with_region,
            "frames_without_hand_but_with_open_region": self.empty_frames_opened,
        }


def iou(said: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    either = int((said | truth).sum())
    return int((said & truth).sum()) / either if either else 1.0


def mean(values: list[Any]) -> float | None:
    """Rounded; None of nothing."""
    return round(float(np.mean(values)), 4) if values else None


def _size_name(share: float) -> str:
    bounds = ((0.01, "below 1% of the frame"), (0.05, "from 1% to 5%"), (0.2, "from 5% to 20%"))
    return next((name for limit, name in bounds if share < limit), "from 20%")


def placed(region: HandRegion) -> NDArray[np.bool_]:
    """(H, W) where a region is in its frame."""
    mask = region.mask
    whole = np.zeros((mask.frame_size[1], mask.frame_size[0]), np.bool_)
    (left, top), inside = mask.origin_xy_px, mask.inside
    whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return whole


def on_clips(redetector: HandSegRedetector, root: Path, limit: int, sets: dict[int, str]) -> dict[str, Any]:
    """Figures of held-out clips by kind, and of photographs by set."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for kind in ClipKind:
        for path in held_out_paths(root, kind)[:limit]:
            clip = WideClip.load(path)
            names = [str(kind)]
            if kind is ClipKind.REAL:
                names.append(f"real, {sets.get(int(path.stem.removeprefix('clip_')), 'set not known')}")
            for k in range(len(clip)):
                seen = redetector.segment(frame_of(clip.images[k], k))
                for name in names:
                    tallies[name].add(seen, clip, k)
    return {name: tally.figures() for name, tally in sorted(tallies.items())}


def on_learnt_clips(redetector: HandSegRedetector, root: Path, limit: int) -> dict[str, Any]:
    """Figures of rendered clips to learn from, one frame of each: beside held-out ones, how well it has learnt them."""
    tally, paths = Tally(), training_paths(root, ClipKind.RENDERED)
    for path in paths[:: max(1, len(paths) // limit)][:limit]:
        clip = WideClip.load(path, (0,))
        tally.add(redetector.segment(frame_of(clip.images[0], 0)), clip, 0)
    return tally.figures()


def sets_by_index(folder: Path) -> dict[int, str]:
    """Which set each held-out photograph is of; empty where the photographs are not here."""
    if not folder.exists():
        return {}
    from gest_stream.training.wide_real import real_rows

    folders = sorted(path for path in folder.iterdir() if (path / "manifest.jsonl").exists())
    found = {index: row.image.parent.parent.name for index, row in real_rows(folders)}
    return {index: name for index, name in found.items() if index >= HELD_OUT_FROM}


def beside_hands(redetector: HandSegRedetector, root: Path) -> dict[str, int]:
    """Of all held-out photographs, on how many there is a region beside the labelled hands, by the score asked for.

    Labels lack some hands: it is to be looked at what those regions are.
    """
    counts = {"photographs": 0, "with_one_of_open_score": 0, "with_one_of_seek_score": 0}
    for path in held_out_paths(root, ClipKind.REAL):
        clip = WideClip.load(path)
        hands = (clip.hands[0] >= _INSIDE).any(axis=0)
        seen = find_regions(redetector.segment(frame_of(clip.images[0], 0)), RegionConfig())
        stray = [r.score for r in seen if (placed(r) & hands).sum() < _ON_HAND * placed(r).sum()]
        counts["photographs"] += 1
        counts["with_one_of_open_score"] += any(score >= _OPEN_SCORE for score in stray)
        counts["with_one_of_seek_score"] += any(score >= _SEEK_SCORE for score in stray)
    return counts


def calibration(redetector: HandSegRedetector, root: Path, limit: int) -> dict[str, Any]:
    """What probabilities mean, and how many hands and false regions thresholds leave, on rendered held-out clips."""
    bins = np.zeros((10, 2))
    grid = {(mask, score): Tally() for mask in _MASK_THRESHOLDS for score in _MIN_SCORES}
    for kind in (ClipKind.RENDERED, ClipKind.COMPOSITED):
        for path in held_out_paths(root, kind)[:limit]:
            clip = WideClip.load(path, (0,))
            seen = redetector.segment(frame_of(clip.images[0], 0))
            hands = clip.hands[0] >= _INSIDE
            chance = fine(seen.hand, seen.frame_size)
            place = np.minimum((chance * 10).astype(int), 9)
            bins[:, 0] += np.bincount(place.ravel(), minlength=10)
            bins[:, 1] += np.bincount(place.ravel(), hands.any(axis=0).ravel().astype(float), minlength=10)
            for (mask, score), tally in grid.items():
                config = RegionConfig(mask_threshold=mask, min_score=score)
                tally.add_regions(find_regions(seen, config), hands, ~clip.void[0])
    return {
        "share_that_is_hand_by_tenth_of_probability": [
            round(float(hit / total), 3) if total else None for total, hit in bins
        ],
        "thresholds": [
            {
                "mask_threshold": mask,
                "min_score": score,
                "hands_found_share": round(tally.hands_found / max(tally.hands, 1), 4),
                "regions_that_are_hands_share": round(tally.regions_right / max(tally.regions, 1), 4),
            }
            for (mask, score), tally in grid.items()
        ],
    }


def latency(redetector: HandSegRedetector, size: tuple[int, int], repeats: int = 100) -> dict[str, Any]:
    """Of `segment`, the frame's resizing included: wall time, and time on the core, which a loaded machine leaves."""
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    frame = frame_of(image, 0)
    wall, core = [], []
    for k in range(repeats + 20):
        start, spent = time.perf_counter_ns(), time.thread_time_ns()
        redetector.segment(frame)
        if k >= 20:
            wall.append((time.perf_counter_ns() - start) / 1e6)
            core.append((time.thread_time_ns() - spent) / 1e6)
    return {
        name: {p: round(float(np.percentile(values, int(p[1:]))), 2) for p in ("p50", "p95")}
        for name, values in (("wall_ms", wall), ("core_ms", core))
    }


def on_video(redetector: HandSegRedetector, path: Path, pictures: Path | None, drawn: int) -> dict[str, Any]:
    """On how many frames a region is reported; of some of them a picture with the map and the regions drawn in."""
    counts: list[int] = []
    opened: list[bool] = []
    areas: list[float] = []
    frames = read_footage(path).frames
    chosen = {int(k) for k in np.linspace(0, len(frames) - 1, drawn)}
    for frame in frames:
        seen = redetector.segment(frame)
        regions = find_regions(seen, RegionConfig())
        counts.append(len(regions))
        opened.append(any(region.score >= _OPEN_SCORE for region in regions))
        areas += [region.mask.area_px / (frame.width * frame.height) for region in regions[:1]]
        if pictures is not None and frame.seq in chosen:
            draw(frame, seen, regions, pictures / f"{path.stem}_{frame.seq:04d}.png")
    return {
        "frames": len(frames),
        "frames_with_a_region_share": mean([count > 0 for count in counts]),
        "frames_with_one_that_opens_a_track_share": mean(opened),
        "frames_by_number_of_regions": {str(n): counts.count(n) for n in sorted(set(counts))},
        "largest_region_share_of_frame_median": round(float(np.median(areas)), 5) if areas else None,
    }


def draw(frame: Frame, seen: HandProbability, regions: tuple[HandRegion, ...], path: Path) -> None:
    """The map in green (hand) and red (forearm), regions outlined in yellow."""
    import cv2

    shown = frame.image[..., ::-1].astype(np.float32) * 0.6
    shown[..., 1] += 100 * fine(seen.hand, frame.size)
    if seen.forearm is not None:
        shown[..., 2] += 100 * fine(seen.forearm, frame.size)
    picture = np.clip(shown, 0, 255).astype(np.uint8)
    for region in regions:
        outlines, _ = cv2.findContours(placed(region).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, (0, 255, 255), max(1, frame.width // 400))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA.expanduser(), help="wide clips")
    parser.add_argument("--weights", type=Path, help="other weights than the package's")
    parser.add_argument("--limit", type=int, default=400, help="held-out clips of a kind at most")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the first-person clip")
    parser.add_argument("--json", type=Path, default=RESULTS / "builtin_redetector.json")
    args = parser.parse_args()
    head = conditions()
    redetector = load_hand_seg(RedetectorConfig(device="cpu", threads=1), args.weights)
    figures: dict[str, Any] = {
        "latency_one_core": {
            f"{width}x{height}": latency(redetector, (width, height))
            for width, height in ((640, 480), (1280, 720), (1920, 1080))
        },
        "held_out": on_clips(redetector, args.data, args.limit, sets_by_index(_SHARED / "train")),
        "learnt": {"rendered": on_learnt_clips(redetector, args.data, 6 * args.limit)},
        "beside_labelled_hands": beside_hands(redetector, args.data),
        "calibration": calibration(redetector, args.data, args.limit),
    }
    clip = _SHARED / "clips" / "egocentric.mp4"
    if clip.exists():
        figures["egocentric.mp4"] = on_video(redetector, clip, args.pictures, 12)
    write_result(args.json, "builtin redetector", figures, head)


if __name__ == "__main__":
    main()
