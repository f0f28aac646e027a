"""The loss of SAM 2: focal and dice loss of the candidate that fits best, its predicted IoU, and the object score.

Source: Ravi et al. 2024, appendix D.2; the weights are those of upstream's training (loss_mask 20, the others 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F

from gest_stream.training.sam2_tracking import FrameOutput

_FOCAL_WEIGHT: Final = 20.0


@dataclass(frozen=True, slots=True)
class LossRules:
    """How much of an answer is learnt from.

    Args:
        every_candidate: All candidate masks are taught the truth, not only the one that fits best. Costs what several
            candidates are for (a click may mean the part or the whole); teaches a model from nothing thrice as fast.
        iou: Weight of the predicted IoU. A model from nothing learns to predict 0 and is long in unlearning it.
        score: Weight of the object score. Single frames, whose objects are all there, teach it to be always high.
    """

    every_candidate: bool = False
    iou: float = 1.0
    score: float = 1.0


FINE_TUNING: Final = LossRules()
"""As upstream trains."""


def frame_loss(
    output: FrameOutput,
    truth: torch.Tensor,
    present: torch.Tensor,
    void: torch.Tensor | None = None,
    rules: LossRules = FINE_TUNING,
) -> torch.Tensor:
    """The loss of one answer.

    Args:
        output: What the model said.
        truth: (B, S, S) float32 masks, 0 to 1.
        present: (B,) bool, whether the object can be seen; only then do its masks count.
        void: (B, S, S) bool, pixels that do not count; None for none.
        rules: What of it is learnt from.

    Returns:
        The mean over the masks that count, and that of the score over all objects.
    """
    logits = F.interpolate(output.logits.float(), scale_factor=2.0, mode="bilinear", align_corners=False)
    size = logits.shape[-2:]
    target = F.interpolate(truth[:, None], size=size, mode="area").expand_as(logits)
    if void is None:
        known = torch.ones_like(target[:, :1])
    else:
        known = (F.interpolate(void[:, None].float(), size=size, mode="area") == 0).float()
    losses = _mask_loss(logits, target, known)
    masks = losses.mean(dim=1) if rules.every_candidate else losses.min(dim=1).values
    found = iou(torch.where(known > 0, logits.detach(), -1.0), target * known)
    off = (output.ious.float() - found).abs().mean(dim=1)
    scores = output.scores[:, 0].float()
    score = F.binary_cross_entropy_with_logits(scores, present.float())
    # where the model says that nothing is there it has blanked its masks, and no gradient would come of them
    counted = present & (scores > 0)
    return ((masks + rules.iou * off) * counted).sum() / counted.sum().clamp(min=1) + rules.score * score


def _mask_loss(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(B, M) focal and dice loss of every candidate over the pixels that are known."""
    chance = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = chance * target + (1 - chance) * (1 - target)
    focal = (0.25 * target + 0.75 * (1 - target)) * entropy * (1 - right) ** 2
    focal = (focal * known).sum((2, 3)) / known.sum((2, 3)).clamp(min=1)
    chance, target = chance * known, target * known
    overlap = (chance * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (chance.sum((2, 3)) + target.sum((2, 3)) + 1)
    return _FOCAL_WEIGHT * focal + dice


def iou(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Intersection over union of (..., H, W) logits and truth; 1 where both are empty."""
    mask, hand = logits > 0, truth >= 0.5
    shared, either = (mask & hand).sum((-2, -1)), (mask | hand).sum((-2, -1))
    return torch.where(either > 0, shared / either.clamp(min=1), 1.0)
