"""How well and how fast the size nano follows hands that it is prompted with once, from the truth.

    python -m benchmarks.builtin_sam2_nano [--data FOLDER] [--weights FILE] [--sheet out.png] [--json out.json]

Held-out clips are those of the wide data that no built-in model was trained on, and the named presets of the renderer.
Objects are prompted on the first frame by the points and the box that the tracker would give, and only followed after
it, on the model's square. Times are of one thread, the processor time of that thread (other programs' load counts less
than in wall time), for two hands of ordinary size; benchmarks/builtin_tracker.py measures with real landmarks.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch

from benchmarks.pictures import write_sheet
from benchmarks.report import RESULTS, conditions, write_result
from gest_stream.config import Precision, Sam2Config, Sam2Size
from gest_stream.config.sam2 import trained_side
from gest_stream.errors import InvalidInputError
from gest_stream.models.builtin import builtin_path, read_builtin
from gest_stream.models.sam2 import load_engine
from gest_stream.models.sam2_masks import to_hand_masks
from gest_stream.models.sam2_nano import NANO_NAME
from gest_stream.models.sam2_weights import build_modules, load_checkpoint
from gest_stream.synthetic import PRESETS, ClipRenderer, SyntheticFrame, preset
from gest_stream.training.builtin_nano_clips import square
from gest_stream.training.sam2_batch import SampleRules, draw_batch
from gest_stream.training.sam2_clip import TrainingClip
from gest_stream.training.sam2_loss import iou
from gest_stream.training.sam2_prompting import PromptKind
from gest_stream.training.sam2_rendering import square_clip
from gest_stream.training.sam2_tracking import track_batch
from gest_stream.training.wide_clips import ClipKind, WideClip, held_out_paths
from gest_stream.training.wide_data import shard_root
from gest_stream.types import Prompt

SIDE: Final = trained_side(Sam2Size.NANO)
PRESET_FRAMES: Final = 16
FRAME_SIZES: Final = ((640, 480), (1280, 720))
_RULES: Final = SampleRules(max_objects=3, min_started_px=60)
_WARM, _TIMED = 10, 60


def preset_frames(name: str, frames: int = PRESET_FRAMES, stride: int = 3) -> list[SyntheticFrame]:
    """Every third frame of a named preset, from just before its first event."""
    config = preset(name)
    start = max(0, round(config.events[0].start_s * config.rate) - 6) if config.events else 0
    renderer = ClipRenderer(config)
    return [renderer.frame(start + k * stride) for k in range(frames)]


def wide_clips(root: Path, kind: ClipKind, most: int) -> list[TrainingClip]:
    """Up to so many of the held-out clips of a kind, evenly spread, that show a hand."""
    paths = held_out_paths(root, kind)
    clips = [WideClip.load(path) for path in paths[:: max(1, len(paths) // most)][:most]]
    return [square(clip, SIDE) for clip in clips if (clip.hands >= 128).any()]


@torch.inference_mode()
def followed(model: Any, clips: Sequence[TrainingClip], sheet: Callable[..., None] | None = None) -> dict[str, Any]:
    """IoU on the prompted frame and after it, and how often the object score is right."""
    prompted: list[float] = []
    tracked: list[float] = []
    right: list[bool] = []
    for clip in clips:
        batch = draw_batch([clip], len(clip), PromptKind.TRACKER, np.random.default_rng(0), augment=False, rules=_RULES)
        if batch is None:
            continue
        for t, output in enumerate(track_batch(model, batch)):
            void, present = batch.void_of(t), batch.present[t]
            known = torch.ones_like(batch.masks[t], dtype=torch.bool) if void is None else ~void
            found = iou(torch.where(known, output.chosen[:, 0], -1.0), batch.masks[t] * known)
            (tracked if t else prompted).extend(found[present].tolist())
            right += ((output.scores[:, 0] > 0) == present).tolist() if t else []
            if sheet is not None:
                sheet(clip, t, output.chosen[:, 0] > 0)
    return {
        "clips": len(clips),
        "hands_prompted": len(prompted),
        "iou_prompted_mean": _mean(prompted),
        "iou_tracked_mean": _mean(tracked),
        "iou_tracked_p10": round(float(np.percentile(tracked, 10)), 4) if tracked else None,
        "presence_right_share": _mean(right),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def times(weights: Path, frame_size: tuple[int, int], precision: Precision, picture: SyntheticFrame) -> dict[str, Any]:
    """Milliseconds of processor time of one thread for two hands."""
    torch.set_num_threads(1)
    config = Sam2Config(size=Sam2Size.NANO, device="cpu", precision=precision, threads=1)
    engine = load_engine(config, weights)
    image = np.asarray(cv2.resize(picture.frame.image, frame_size, interpolation=cv2.INTER_LINEAR), np.uint8)
    scale = np.array(frame_size, np.float32) / np.array(picture.frame.image.shape[1::-1], np.float32)
    prompts = {}
    for hand in picture.hands:
        points = hand.landmarks.points_xy_px * scale
        low, high = np.clip(points.min(axis=0), 0, frame_size), np.clip(points.max(axis=0), 0, frame_size)
        box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        inside = points[[5, 9, 17]].clip(0, frame_size).astype(np.float32)
        prompts[hand.index] = Prompt(inside, np.ones(3, np.int32), box)
    engine.step(engine.encode(image), prompts)
    rows = []
    for _ in range(_WARM + _TIMED):
        marks = [time.thread_time()]
        encoded = engine.encode(image)
        marks.append(time.thread_time())
        masks = engine.step(encoded)
        marks.append(time.thread_time())
        to_hand_masks(masks, non_overlap=True)
        marks.append(time.thread_time())
        rows.append(np.diff(marks))
    spent = 1e3 * np.array(rows[_WARM:])
    names = ("encode_ms", "step_ms", "masks_ms")
    return {
        "frame_size": list(frame_size),
        "precision": str(precision),
        "hands": len(prompts),
        **{f"{name}_p50": round(float(value), 2) for name, value in zip(names, np.median(spent, axis=0), strict=True)},
        "all_ms_p50": round(float(np.median(spent.sum(axis=1))), 2),
        "all_ms_p95": round(float(np.percentile(spent.sum(axis=1), 95)), 2),
        "all_ms_least": round(float(spent.sum(axis=1).min()), 2),
    }


class Sheet:
    """Every third frame of the first clips with its masks, to look at."""

    def __init__(self, most: int = 48) -> None:
        self._tiles: list[np.ndarray] = []
        self._most = most

    def add(self, clip: TrainingClip, t: int, masks: torch.Tensor) -> None:
        """One frame: masks in colour."""
        if t % 3 or len(self._tiles) >= self._most:
            return
        tile = clip.images[t].copy()
        for colour, mask in zip(((255, 60, 60), (60, 255, 60), (80, 80, 255)), masks.numpy(), strict=False):
            tile[mask] = (0.5 * tile[mask] + 0.5 * np.array(colour)).astype(np.uint8)
        self._tiles.append(tile)

    def write(self, path: Path) -> None:
        """Eight in a row."""
        write_sheet(path, self._tiles, 8)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with the wide clips; by default where they are made")
    parser.add_argument("--weights", type=Path, default=builtin_path(NANO_NAME))
    parser.add_argument("--clips", type=int, default=60, help="of each kind, at most")
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--sheet", type=Path, help="PNG to look at")
    parser.add_argument("--json", type=Path, default=RESULTS / "builtin_sam2_nano.json")
    args = parser.parse_args()
    head = conditions()
    torch.set_num_threads(1)
    model = build_modules(Sam2Size.NANO, SIDE)
    load_checkpoint(model, args.weights, "sam2 nano")
    sheet = Sheet()
    figures: dict[str, Any] = {}
    for kind in (ClipKind.RENDERED, ClipKind.COMPOSITED, ClipKind.REAL):
        root = args.data or shard_root()
        figures[f"held_out_{kind}"] = followed(model, wide_clips(root, kind, args.clips), sheet.add)
        if not figures[f"held_out_{kind}"]["clips"]:
            raise InvalidInputError(f"{root}: holds no held-out clips of the kind {kind}")
    for name in args.presets:
        figures[f"preset_{name}"] = followed(model, [square_clip(preset_frames(name), SIDE)], sheet.add)
    picture = preset_frames("easy", 1)[0]
    cases = [(size, Precision.FLOAT32) for size in FRAME_SIZES] + [(FRAME_SIZES[0], Precision.BFLOAT16)]
    spent = [times(args.weights, size, precision, picture) for size, precision in cases]
    if args.sheet is not None:
        sheet.write(args.sheet)
    told = {
        "weights": {"sha256": hashlib.sha256(args.weights.read_bytes()).hexdigest(), **read_builtin(args.weights)[1]},
        "rules": asdict(_RULES),
        "prompted_once_from_truth": figures,
        "processor_time_of_one_thread": spent,
    }
    write_result(args.json, "builtin_sam2_nano", told, head)


if __name__ == "__main__":
    main()
