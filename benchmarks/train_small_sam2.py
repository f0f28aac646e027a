"""Trains the benchmark's small SAM2 on rendered clips, on one core, and measures it on the presets it never saw.

    python -m benchmarks.small_sam2_clips --clips 3000 --workers 2
    python -m benchmarks.train_small_sam2 --minutes 40 [--resume]

Single frames come first, then sequences with memory. The weights are written every few minutes, so that they can be
used while the training goes on. Batches, loss and step are those of `gest-stream train sam2` (gest_stream/training);
what is here is how a model without weights is brought up: everything is trained, in phases, for a given time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from benchmarks.small_sam2 import build_small_sam2, default_folder, default_weights
from benchmarks.small_sam2_clips import clip_motion, held_out_path
from gest_stream.synthetic import PRESETS
from gest_stream.training.files import write_tensors
from gest_stream.training.sam2_batch import draw_batch
from gest_stream.training.sam2_clip import TrainingClip
from gest_stream.training.sam2_loss import iou
from gest_stream.training.sam2_prompting import PromptKind, draw_kind
from gest_stream.training.sam2_rendering import rendered_paths
from gest_stream.training.sam2_step import Progress, train_step
from gest_stream.training.sam2_tracking import track_batch
from gest_stream.training.schedule import Schedule

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_PEAK_RATE: Final = 1e-3
_WARM_UP_STEPS: Final = 199
_SAVE_EVERY_S: Final = 180.0
_PHASES: Final = ((0.1, 1, 10), (0.4, 4, 5), (0.7, 6, 4), (1.0, 8, 3))
"""(until this share of the time, frames a sequence, clips a batch)."""


@torch.inference_mode()
def held_out_figures(model: SAM2Base, folder: Path) -> dict[str, Any]:
    """Each held-out clip's IoU, its hands prompted on the first frame from the truth and then only tracked."""
    model.eval()
    figures: dict[str, Any] = {}
    for name in PRESETS:
        clip = TrainingClip.load(held_out_path(folder, name))
        batch = draw_batch([clip], len(clip.images), PromptKind.TRACKER, np.random.default_rng(0), augment=False)
        assert batch is not None
        rows = [
            (iou(output.chosen[:, 0], batch.masks[t]), output.scores[:, 0] > 0)
            for t, output in enumerate(track_batch(model, batch))
        ]
        ious, said = torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])
        figures[name] = {
            "hands": len(batch.clip_of),
            "iou_prompted": _mean(ious[0]),
            "iou_tracked": _mean(ious[1:][batch.present[1:]]),
            "iou_tracked_p10": round(float(torch.quantile(ious[1:][batch.present[1:]], 0.1)), 4),
            "presence_right": _mean((said == batch.present).float()),
        }
    for key in ("iou_prompted", "iou_tracked"):
        figures[f"{key}_mean"] = round(sum(figures[name][key] for name in PRESETS) / len(PRESETS), 4)
    return figures


def _mean(values: torch.Tensor) -> float:
    return round(float(values.mean()), 4)


class Training:
    """A training that can be cut off and resumed.

    Args:
        weights: Where the weights go; the optimizer's state lies beside them.
        folder: The rendered clips.
        minutes: How long to train in all; the rate and the phases follow it.
        seed: Of the first weights and of the batches.
    """

    def __init__(self, weights: Path, folder: Path, minutes: float, seed: int) -> None:
        torch.manual_seed(seed)
        self._weights, self._folder = weights, folder
        self._schedule = Schedule(math.inf, 60.0 * minutes, _WARM_UP_STEPS)
        self._state = weights.with_suffix(".train.pt")
        self._rng = np.random.default_rng(seed)
        self.model: SAM2Base = build_small_sam2()
        # a score below 0 blanks the masks, and nothing would be learnt from them
        torch.nn.init.constant_(self.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 2.0)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=_PEAK_RATE, weight_decay=0.02)
        self.progress = Progress()

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        stored = torch.load(self._state, weights_only=True)
        self.model.load_state_dict(stored["model"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.progress = Progress(**stored["progress"])
        # other batches than those that were drawn already
        self._rng = np.random.default_rng((stored["seed"], self.progress.step))

    def save(self) -> None:
        """Write the weights and the checkpoint, each under another name first."""
        self._weights.parent.mkdir(parents=True, exist_ok=True)
        model = self.model.state_dict()
        state = {
            "model": model,
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "seed": int(self._rng.integers(2**31)),
        }
        write_tensors(self._weights, {"model": model})
        write_tensors(self._state, state)

    def run(self) -> None:
        """Train until the time is up."""
        began, saved = time.monotonic() - self.progress.elapsed_s, time.monotonic()
        motion: dict[Path, float] = {}
        while self.progress.elapsed_s < self._schedule.seconds:
            if self.progress.step % 100 == 0 or not motion:
                motion.update((path, clip_motion(path)) for path in rendered_paths(self._folder) if path not in motion)
                print(self.line(len(motion)), flush=True)
            self._step(motion)
            self.progress.elapsed_s = time.monotonic() - began
            if time.monotonic() - saved > _SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        self.save()

    def _step(self, motion: dict[Path, float]) -> None:
        progress = self.progress
        share = self._schedule.share_done(progress.step, progress.elapsed_s)
        frames, clips = next((n, c) for until, n, c in _PHASES if share <= until)
        for group in self.optimizer.param_groups:
            group["lr"] = _PEAK_RATE * self._schedule.rate_share(progress.step, progress.elapsed_s)
        kind = draw_kind(frames, self._rng)
        # in most clips the hands hardly move, and following them takes no memory
        weights = 0.4 + np.clip(list(motion.values()), 0.0, 1.5)
        picked = self._rng.choice(len(motion), size=clips, p=weights / weights.sum())
        paths = list(motion)
        chosen = [TrainingClip.load(paths[k]) for k in picked]
        batch = draw_batch(chosen, frames, kind, self._rng)
        progress.step += 1
        if batch is not None:
            self.model.train()
            progress.note(*train_step(self.model, self.optimizer, batch))

    def line(self, clips: int) -> str:
        """How it goes, for a reader."""
        p = self.progress
        return (
            f"{p.elapsed_s / 60:5.1f} min  step {p.step}  clips {clips}  loss {p.loss:.3f}  "
            f"IoU prompted {p.iou_prompted:.3f}  tracked {p.iou_tracked:.3f}"
        )


def main() -> None:
    """Train, or only measure with --minutes 0 --resume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--weights", type=Path, default=default_weights())
    parser.add_argument("--clips", type=Path, default=default_folder() / "clips")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the weights")
    parser.add_argument("--json", type=Path, help="where to write the held-out figures")
    args = parser.parse_args()
    if not rendered_paths(args.clips):
        parser.error(f"no clips in {args.clips}; render them first: python -m benchmarks.small_sam2_clips")
    torch.set_num_threads(1)
    os.nice(10)
    training = Training(args.weights, args.clips, args.minutes, args.seed)
    if args.resume:
        training.resume()
    training.run()
    figures = {
        "sha256": hashlib.sha256(args.weights.read_bytes()).hexdigest(),
        **asdict(training.progress),
        "held_out": held_out_figures(training.model, args.clips),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
