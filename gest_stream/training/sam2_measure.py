"""How well a model follows objects: prompted on the first frame only, as DAVIS measures.

Source: the semi-supervised J of Pont-Tuset et al. 2017, on the model's square instead of the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from gest_stream.training.sam2_batch import Batch, SampleRules, draw_batch
from gest_stream.training.sam2_clip import ClipSource
from gest_stream.training.sam2_loss import iou
from gest_stream.training.sam2_prompting import PromptKind
from gest_stream.training.sam2_tracking import track_batch

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_MOST_OBJECTS: Final = 5
"""Of a clip; masks of 24 frames at 1024 pixels take 100 MB an object."""


@torch.inference_mode()
def measure(
    model: SAM2Base,
    clips: Sequence[ClipSource],
    frames: int,
    device: torch.device,
    dtype: torch.dtype,
    on_clip: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Follow the objects of each clip from its first frame that shows one.

    Args:
        model: On the device; it is put into evaluation mode.
        clips: What to follow.
        frames: Of each clip, the prompted one included.
        device: Where it computes.
        dtype: What in.
        on_clip: Is told how many clips are done.

    Returns:
        `tracked`: the mean over objects of their mean IoU (J) on the frames after the first, 1 where the object is
        neither there nor seen; `prompted`: the mean IoU on the first.
    """
    model.eval()
    prompted: list[float] = []
    tracked: list[float] = []
    for done, clip in enumerate(clips, 1):
        batch = _whole_clip(clip, frames)
        if batch is not None:
            ious = _ious(model, batch.to(device), dtype)
            prompted += ious[0].tolist()
            tracked += ious[1:].mean(dim=0).tolist() if len(ious) > 1 else ious[0].tolist()
        if on_clip is not None:
            on_clip(done)
    return {"tracked": _mean(tracked), "prompted": _mean(prompted)}


def _whole_clip(clip: ClipSource, frames: int) -> Batch | None:
    rules = SampleRules(max_objects=_MOST_OBJECTS, min_started_px=1)
    return draw_batch([clip], frames, PromptKind.TRACKER, np.random.default_rng(0), augment=False, rules=rules)


def _ious(model: SAM2Base, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """(T, B), void pixels left out."""
    rows = []
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        for t, output in enumerate(track_batch(model, batch)):
            void = batch.void_of(t)
            known = torch.ones_like(batch.masks[t], dtype=torch.bool) if void is None else ~void
            rows.append(iou(torch.where(known, output.chosen[:, 0].float(), -1.0), batch.masks[t] * known))
    return torch.stack(rows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
