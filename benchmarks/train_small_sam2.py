"""Trains the benchmark's small SAM2 on rendered clips, on one core, and measures it on the presets it never saw.

    python -m benchmarks.small_sam2_clips --clips 3000 --workers 2
    python -m benchmarks.train_small_sam2 --minutes 40 [--resume]

Single frames come first, then sequences with memory. The weights are written every few minutes, so that they can be
used while the training goes on. The loss is that of SAM2 (Ravi et al. 2024, appendix D.2): focal and dice loss of the
candidate mask that fits best, the error of the predicted IoU, and whether the object can be seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.small_sam2 import build_small_sam2, default_folder, default_weights
from benchmarks.small_sam2_clips import TrainingClip, clip_motion, held_out_path, training_paths
from benchmarks.small_sam2_samples import PROMPT_SHARES, Batch, PromptKind, draw_batch
from gest_stream.synthetic import PRESETS

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_ENDLESS: Final = 10**9
"""What a stream presents as its number of frames; a real one would change the pointers' time code."""

_FOCAL_WEIGHT: Final = 20.0
_PEAK_RATE: Final = 1e-3
_WARM_UP_STEPS: Final = 200
_SAVE_EVERY_S: Final = 180.0
_PHASES: Final = ((0.1, 1, 10), (0.4, 4, 5), (0.7, 6, 4), (1.0, 8, 3))
"""(until this share of the time, frames a sequence, clips a batch)."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """What the model says of every object on one frame.

    Args:
        logits: (B, M, s, s) candidate masks at a quarter of the square.
        ious: (B, M) how well the model thinks each fits.
        scores: (B, 1) logits of whether the object can be seen.
        chosen: (B, 1, S, S) logits of the mask the model picks.
        prompted: Whether the frame was prompted.
        from_mask: Whether the mask was given, so that there is nothing to learn from it.
    """

    logits: torch.Tensor
    ious: torch.Tensor
    scores: torch.Tensor
    chosen: torch.Tensor
    prompted: bool
    from_mask: bool


@dataclass(slots=True)
class Progress:
    """Where the training stands; kept with the checkpoint."""

    step: int = 0
    elapsed_s: float = 0.0
    loss: float = math.nan
    iou_prompted: float = math.nan
    iou_tracked: float = math.nan

    def note(self, loss: float, prompted: list[float], tracked: list[float]) -> None:
        """Fold one step into the running means."""
        self.loss = _running(self.loss, [loss])
        self.iou_prompted = _running(self.iou_prompted, prompted)
        self.iou_tracked = _running(self.iou_tracked, tracked)


def _running(mean: float, values: list[float]) -> float:
    for value in values:
        mean = value if math.isnan(mean) else mean + 0.01 * (value - mean)
    return mean


def track_batch(model: SAM2Base, batch: Batch) -> Iterator[FrameOutput]:
    """Drive upstream's step over a batch of sequences, every object with its own memory."""
    tracker = _BatchTracker(model, batch)
    return (tracker.step(t) for t in range(len(batch.images)))


class _BatchTracker:
    """Source: sam2_base.py `track_step`, taken apart because that keeps only the mask it picks."""

    def __init__(self, model: SAM2Base, batch: Batch) -> None:
        self._model, self._batch = model, batch
        seen = model.forward_image(batch.images.flatten(0, 1))
        _, self._features, self._positions, self._sizes = model._prepare_backbone_features(seen)
        self._memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def step(self, t: int) -> FrameOutput:
        batch = self._batch
        prompted, given = t in batch.prompts, t in batch.prompts and batch.kind is PromptKind.MASK
        previous = None
        if prompted and batch.refine:
            with torch.no_grad():
                _, (_, _, _, first, _, _, _) = self._answer(t, None)
            previous = first.clamp(-32.0, 32.0)
        kept, (logits, _, ious, _, chosen, pointer, scores) = self._answer(t, previous)
        if len(batch.images) > 1:
            kept["obj_ptr"] = pointer
            of_frame = self._of_frame(self._features, t)
            self._model._encode_memory_in_output(
                of_frame, self._sizes, kept["point_inputs"], True, chosen, scores, kept
            )
            self._memory["cond_frame_outputs" if prompted else "non_cond_frame_outputs"][t] = kept
        return FrameOutput(logits, ious, scores, chosen, prompted, given)

    def _answer(self, t: int, previous: torch.Tensor | None) -> tuple[dict[str, Any], Any]:
        batch, points, mask = self._batch, None, None
        if t in batch.prompts:
            if batch.kind is PromptKind.MASK:
                mask = (batch.masks[t, :, None] >= 0.5).float()
            else:
                points = dict(zip(("point_coords", "point_labels"), batch.prompts[t], strict=True))
        kept, heads, _, _ = self._model._track_step(
            frame_idx=t,
            is_init_cond_frame=t in batch.prompts,
            current_vision_feats=self._of_frame(self._features, t),
            current_vision_pos_embeds=self._of_frame(self._positions, t),
            feat_sizes=self._sizes,
            point_inputs=points,
            mask_inputs=mask,
            output_dict=self._memory,
            num_frames=_ENDLESS,
            track_in_reverse=False,
            prev_sam_mask_logits=previous,
        )
        return kept, heads

    def _of_frame(self, levels: list[torch.Tensor], t: int) -> list[torch.Tensor]:
        """Each object's picture: (HW, B, C) of every level."""
        columns = t * self._batch.images.shape[1] + self._batch.clip_of
        return [level[:, columns] for level in levels]


def frame_loss(output: FrameOutput, truth: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """The loss of one frame.

    Args:
        output: What the model said.
        truth: (B, S, S) float32 masks, 0 to 1.
        present: (B,) bool, whether the object can be seen; only then do its masks count.

    Returns:
        The mean over the masks that count, and that of the score over all objects.
    """
    logits = F.interpolate(output.logits, scale_factor=2.0, mode="bilinear", align_corners=False)
    target = F.interpolate(truth[:, None], size=logits.shape[-2:], mode="area").expand_as(logits)
    chance = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = chance * target + (1 - chance) * (1 - target)
    focal = ((0.25 * target + 0.75 * (1 - target)) * entropy * (1 - right) ** 2).mean((2, 3))
    overlap = (chance * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (chance.sum((2, 3)) + target.sum((2, 3)) + 1)
    best = (_FOCAL_WEIGHT * focal + dice).min(dim=1).values
    off = (output.ious - iou(logits.detach(), target)).abs().mean(dim=1)
    score = F.binary_cross_entropy_with_logits(output.scores[:, 0], present.float())
    # where the model says that nothing is there it has blanked its masks, and no gradient would come of them
    counted = present & (output.scores[:, 0] > 0)
    return ((best + off) * counted).sum() / counted.sum().clamp(min=1) + score


def iou(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Intersection over union of (..., H, W) logits and truth; 1 where both are empty."""
    mask, hand = logits > 0, truth >= 0.5
    shared, either = (mask & hand).sum((-2, -1)), (mask | hand).sum((-2, -1))
    return torch.where(either > 0, shared / either.clamp(min=1), 1.0)


def train_step(
    model: SAM2Base, optimizer: torch.optim.Optimizer, batch: Batch
) -> tuple[float, list[float], list[float]]:
    """One step of the optimizer.

    Returns:
        The loss, and the IoU of every object that can be seen: on prompted frames, and on tracked ones.
    """
    losses: list[torch.Tensor] = []
    ious: dict[bool, list[float]] = {True: [], False: []}
    for t, output in enumerate(track_batch(model, batch)):
        seen = batch.present[t]
        if not output.from_mask:
            losses.append(frame_loss(output, batch.masks[t], seen))
            ious[output.prompted] += iou(output.chosen[:, 0].detach(), batch.masks[t])[seen].tolist()
    loss = torch.stack(losses).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach()), ious[True], ious[False]


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
        self._weights, self._folder, self._seconds = weights, folder, 60.0 * minutes
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
        for path, content in ((self._weights, {"model": model}), (self._state, state)):
            unfinished = path.with_name(f".{path.name}.unfinished")
            torch.save(content, unfinished)
            unfinished.replace(path)

    def run(self) -> None:
        """Train until the time is up."""
        began, saved = time.monotonic() - self.progress.elapsed_s, time.monotonic()
        motion: dict[Path, float] = {}
        while self.progress.elapsed_s < self._seconds:
            if self.progress.step % 100 == 0 or not motion:
                motion.update((path, clip_motion(path)) for path in training_paths(self._folder) if path not in motion)
                print(self.line(len(motion)), flush=True)
            self._step(motion)
            self.progress.elapsed_s = time.monotonic() - began
            if time.monotonic() - saved > _SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        self.save()

    def _step(self, motion: dict[Path, float]) -> None:
        share = min(self.progress.elapsed_s / self._seconds, 1.0)
        frames, clips = next((n, c) for until, n, c in _PHASES if share <= until)
        for group in self.optimizer.param_groups:
            group["lr"] = _PEAK_RATE * _rate_share(self.progress.step, share)
        kinds = [kind for kind in PROMPT_SHARES if frames > 1 or kind is not PromptKind.MASK]
        chances = np.array([PROMPT_SHARES[kind] for kind in kinds])
        kind = kinds[self._rng.choice(len(kinds), p=chances / chances.sum())]
        # in most clips the hands hardly move, and following them takes no memory
        weights = 0.4 + np.clip(list(motion.values()), 0.0, 1.5)
        picked = self._rng.choice(len(motion), size=clips, p=weights / weights.sum())
        paths = list(motion)
        chosen = [TrainingClip.load(paths[k]) for k in picked]
        batch = draw_batch(chosen, frames, kind, self._rng)
        self.progress.step += 1
        if batch is not None:
            self.model.train()
            self.progress.note(*train_step(self.model, self.optimizer, batch))

    def line(self, clips: int) -> str:
        """How it goes, for a reader."""
        p = self.progress
        return (
            f"{p.elapsed_s / 60:5.1f} min  step {p.step}  clips {clips}  loss {p.loss:.3f}  "
            f"IoU prompted {p.iou_prompted:.3f}  tracked {p.iou_tracked:.3f}"
        )


def _rate_share(step: int, share: float) -> float:
    """A short climb by steps, then half a cosine over the time, down to a hundredth."""
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


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
    if not training_paths(args.clips):
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
