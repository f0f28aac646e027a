"""What a refiner's answers cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F

from gest_stream.training.builtin_refiner_episode import Sample

_EDGE_WEIGHT: Final = 3.0
_EDGE_CELLS: Final = 5
_OTHER_MAPS: Final = 0.2
_PRESENCE: Final = 0.2


def as_batch(samples: Sequence[Sample], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Inputs (B, 10, g, g), maps and known (B, 3, g, g), and there (B,), on a device."""
    stacked = [
        np.stack([one.inputs for one in samples]),
        np.stack([one.maps for one in samples]),
        np.stack([one.known for one in samples]),
        np.array([one.there for one in samples], np.float32),
    ]
    return tuple(torch.from_numpy(values).to(device) for values in stacked)


def refiner_loss(
    maps: torch.Tensor, seen: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor, there: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy that weighs more near outlines, Dice of the hand where there is one, and whether it is there.

    Args:
        maps: (B, 3, g, g) logits.
        seen: (B,) logits.
        wanted: (B, 3, g, g), 0 to 1.
        known: (B, 3, g, g), 0 where nobody knows.
        there: (B,), nan where nobody is to say.
    """
    maps, seen = maps.float(), seen.float()
    blurred = F.avg_pool2d(wanted, _EDGE_CELLS, 1, _EDGE_CELLS // 2, count_include_pad=False)
    weight = known * (1.0 + _EDGE_WEIGHT * (1.0 - (2.0 * blurred - 1.0).abs()))
    crossed = (F.binary_cross_entropy_with_logits(maps, wanted, reduction="none") * weight).sum(dim=(0, 2, 3))
    crossed = crossed / known.sum(dim=(0, 2, 3)).clamp(min=1.0)
    belief = torch.sigmoid(maps[:, 0]) * known[:, 0]
    truth = wanted[:, 0] * known[:, 0]
    shared = (belief * truth).sum(dim=(1, 2))
    dice = 1.0 - (2.0 * shared + 1.0) / (belief.sum(dim=(1, 2)) + truth.sum(dim=(1, 2)) + 1.0)
    held = (there == 1.0).float()
    dice = (dice * held).sum() / held.sum().clamp(min=1.0)
    told = ~torch.isnan(there)
    presence = seen.sum() * 0.0
    if bool(told.any()):
        presence = F.binary_cross_entropy_with_logits(seen[told], there[told])
    return crossed[0] + _OTHER_MAPS * (crossed[1] + crossed[2]) + dice + _PRESENCE * presence
