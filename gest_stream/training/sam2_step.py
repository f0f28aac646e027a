"""One step of SAM2's training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from gest_stream.training.sam2_batch import Batch
from gest_stream.training.sam2_loss import FINE_TUNING, LossRules, frame_loss
from gest_stream.training.sam2_tracking import track_batch

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


def train_step(
    model: SAM2Base,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    max_norm: float = 1.0,
    dtype: torch.dtype = torch.float32,
    rules: LossRules = FINE_TUNING,
) -> float:
    """One step of the optimizer.

    Args:
        model: In training mode where it is to be trained as upstream does.
        optimizer: Of its weights.
        batch: On the model's device.
        max_norm: Norm that the gradient is cut to.
        dtype: torch.bfloat16 runs the model under autocast; the loss is float32.
        rules: What of the answers is learnt from.

    Returns:
        The loss; NaN where it or the gradient is not finite, and no weight was changed.
    """
    losses: list[torch.Tensor] = []
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        outputs = list(track_batch(model, batch))
    for t, output in enumerate(outputs):
        seen, void = batch.present[t], batch.void_of(t)
        losses += [frame_loss(answer, batch.masks[t], seen, void, rules) for answer in output.answers()]
    loss = torch.stack(losses).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        optimizer.zero_grad(set_to_none=True)
        return math.nan
    optimizer.step()
    return float(loss.detach())
