"""One step of SAM2's training, and the running means of what the steps gave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from gest_stream.training.sam2_batch import Batch
from gest_stream.training.sam2_loss import FINE_TUNING, LossRules, frame_loss, iou
from gest_stream.training.sam2_tracking import track_batch

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_FORGET: Final = 0.01
"""Share of a new value in a running mean."""


@dataclass(slots=True)
class Progress:
    """Where a training stands; kept with its state."""

    step: int = 0
    elapsed_s: float = 0.0
    loss: float = math.nan
    iou_prompted: float = math.nan
    iou_tracked: float = math.nan

    def note(self, loss: float, prompted: Sequence[float], tracked: Sequence[float]) -> None:
        """Fold one step into the running means."""
        self.loss = _running(self.loss, [loss])
        self.iou_prompted = _running(self.iou_prompted, prompted)
        self.iou_tracked = _running(self.iou_tracked, tracked)


def _running(mean: float, values: Sequence[float]) -> float:
    for value in values:
        mean = value if math.isnan(mean) else mean + _FORGET * (value - mean)
    return mean


def train_step(
    model: SAM2Base,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    max_norm: float = 1.0,
    dtype: torch.dtype = torch.float32,
    rules: LossRules = FINE_TUNING,
) -> tuple[float, list[float], list[float]]:
    """One step of the optimizer.

    Args:
        model: In training mode where it is to be trained as upstream does.
        optimizer: Of its weights.
        batch: On the model's device.
        max_norm: Norm that the gradient is cut to.
        dtype: torch.bfloat16 runs the model under autocast; the loss is float32.
        rules: What of the answers is learnt from.

    Returns:
        The loss, and the IoU of every object that can be seen: on prompted frames, and on tracked ones. Where the loss
        or the gradient is not finite, no weight was changed and the loss is NaN.
    """
    losses: list[torch.Tensor] = []
    ious: dict[bool, list[float]] = {True: [], False: []}
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        outputs = list(track_batch(model, batch))
    for t, output in enumerate(outputs):
        seen, void = batch.present[t], batch.void_of(t)
        losses += [frame_loss(answer, batch.masks[t], seen, void, rules) for answer in output.answers()]
        if not output.from_mask:
            ious[output.prompted] += iou(output.chosen[:, 0].detach(), batch.masks[t])[seen].tolist()
    loss = torch.stack(losses).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        optimizer.zero_grad(set_to_none=True)
        return math.nan, [], []
    optimizer.step()
    return float(loss.detach()), ious[True], ious[False]
