"""A moving average of weights, which is steadier than the newest ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch


@torch.no_grad()
def follow(average: Mapping[str, torch.Tensor], newest: Mapping[str, torch.Tensor], step: int, decay: float) -> None:
    """Move an average towards the newest weights: fast at first, for it starts from random ones.

    Args:
        average: State dict; its tensors are changed.
        newest: The network's.
        step: Steps made before this one.
        decay: Share of the average that a step keeps in the end.
    """
    keep = min(decay, (1 + step) / (10 + step))
    for name, slow in average.items():
        if slow.is_floating_point():
            slow.lerp_(newest[name], 1.0 - keep)
        else:
            slow.copy_(newest[name])
