"""Drives SAM2 over a batch of sequences as a stream would, but with gradients and with every candidate mask kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from gest_stream.training.sam2_batch import Batch
from gest_stream.training.sam2_correction import correction
from gest_stream.training.sam2_prompting import PromptKind

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_ENDLESS: Final = 10**9
"""What a stream presents as its number of frames; a real one would change the pointers' time code."""

_CLAMP_LOGIT: Final = 32.0
_PICTURES_AT_ONCE: Final = 4
"""Without gradients; with them all features are needed at the end anyway."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """What the model says of every object on one frame.

    Args:
        logits: (B, M, S/4, S/4) candidate masks.
        ious: (B, M) how well the model thinks each fits.
        scores: (B, 1) logits of whether the object can be seen.
        chosen: (B, 1, S, S) logits of the mask the model picks.
        from_mask: Whether the mask was given, so that there is nothing to learn from it.
        corrects: What was said before the click that this answers; None for the first answer.
    """

    logits: torch.Tensor
    ious: torch.Tensor
    scores: torch.Tensor
    chosen: torch.Tensor
    from_mask: bool
    corrects: FrameOutput | None = None

    def answers(self) -> Iterator[FrameOutput]:
        """This one and all that it corrects, from which there is something to learn."""
        answer: FrameOutput | None = self
        while answer is not None:
            if not answer.from_mask:
                yield answer
            answer = answer.corrects


def track_batch(model: SAM2Base, batch: Batch) -> Iterator[FrameOutput]:
    """Drive upstream's step over a batch of sequences, every object with its own memory.

    Args:
        model: Upstream's modules; in training mode they behave as upstream trains them.
        batch: On the model's device.

    Returns:
        Every frame's last answer, in order.
    """
    tracker = _BatchTracker(model, batch)
    return (tracker.step(t) for t in range(len(batch.images)))


@dataclass(slots=True, eq=False)
class _Answer:
    """One run of the heads: what is to be remembered, what the heads gave, and what they saw."""

    kept: dict[str, Any]
    heads: Any
    detailed: Any
    pixels: torch.Tensor


class _BatchTracker:
    """Source: sam2_base.py `track_step`, taken apart because that keeps only the mask it picks."""

    def __init__(self, model: SAM2Base, batch: Batch) -> None:
        self._model, self._batch = model, batch
        pictures = batch.images.flatten(0, 1)
        parts = [pictures] if torch.is_grad_enabled() else torch.split(pictures, _PICTURES_AT_ONCE)
        prepared = [model._prepare_backbone_features(model.forward_image(part))[1:] for part in parts]
        self._features, self._positions = (
            [torch.cat(level, dim=1) for level in zip(*(one[k] for one in prepared), strict=True)] for k in (0, 1)
        )
        self._sizes = prepared[0][2]
        self._rng = np.random.default_rng(batch.seed)
        self._memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def step(self, t: int) -> FrameOutput:
        batch = self._batch
        prompted, given = t in batch.prompts, t in batch.prompts and batch.kind is PromptKind.MASK
        previous = None
        if prompted and batch.refine:
            with torch.no_grad():
                previous = self._answer(t, None).heads[3].clamp(-_CLAMP_LOGIT, _CLAMP_LOGIT)
        answer = self._answer(t, previous)
        output = self._output(answer, given, None)
        for _ in range(batch.corrections.get(t, 0)):
            answer = self._corrected(t, answer, prompted)
            output = self._output(answer, False, output)
        if len(batch.images) > 1:
            self._remember(t, answer, certain=prompted or t in batch.corrections)
        return output

    @staticmethod
    def _output(answer: _Answer, given: bool, before: FrameOutput | None) -> FrameOutput:
        logits, _, ious, _, chosen, _, scores = answer.heads
        return FrameOutput(logits, ious, scores, chosen, given, before)

    def _answer(self, t: int, previous: torch.Tensor | None) -> _Answer:
        batch, points, mask = self._batch, None, None
        if t in batch.prompts:
            if batch.kind is PromptKind.MASK:
                mask = (batch.masks[t, :, None] >= 0.5).float()
            else:
                points = dict(zip(("point_coords", "point_labels"), batch.prompts[t], strict=True))
        kept, heads, detailed, pixels = self._model._track_step(
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
        return _Answer(kept, heads, detailed, pixels)

    def _corrected(self, t: int, answer: _Answer, prompted: bool) -> _Answer:
        """The heads once more, with a click on the largest error and starting from the mask they made.

        Source: SAM2Train._iter_correct_pt_sampling (training/model/sam2.py), which keeps the clicks before.
        """
        batch = self._batch
        _, _, _, low, high, _, _ = answer.heads
        points, labels = correction(high[:, 0].detach(), batch.masks[t], batch.void_of(t), self._rng)
        before = answer.kept["point_inputs"]
        if before is not None:
            points = torch.cat([before["point_coords"], points], dim=1)
            labels = torch.cat([before["point_labels"], labels], dim=1)
        clicks = {"point_coords": points, "point_labels": labels}
        heads = self._model._forward_sam_heads(
            backbone_features=answer.pixels,
            point_inputs=clicks,
            mask_inputs=low.detach().clamp(-_CLAMP_LOGIT, _CLAMP_LOGIT),
            high_res_features=answer.detailed,
            multimask_output=self._model._use_multimask(prompted, clicks),
        )
        return _Answer({**answer.kept, "point_inputs": clicks}, heads, answer.detailed, answer.pixels)

    def _remember(self, t: int, answer: _Answer, certain: bool) -> None:
        _, _, _, _, chosen, pointer, scores = answer.heads
        kept = answer.kept
        kept["obj_ptr"] = pointer
        of_frame = self._of_frame(self._features, t)
        self._model._encode_memory_in_output(of_frame, self._sizes, kept["point_inputs"], True, chosen, scores, kept)
        self._memory["cond_frame_outputs" if certain else "non_cond_frame_outputs"][t] = kept

    def _of_frame(self, levels: list[torch.Tensor], t: int) -> list[torch.Tensor]:
        """Each object's picture: (HW, B, C) of every level."""
        columns = t * self._batch.images.shape[1] + self._batch.clip_of
        return [level[:, columns] for level in levels]
