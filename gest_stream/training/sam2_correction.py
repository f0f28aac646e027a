"""A user's correcting click: where the mask is most wrong.

Source: the interactive training of SAM 2 (Ravi et al. 2024, appendix D.2).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.training.sam2_prompting import Points, interior_points, padded


def correction(
    logits: torch.Tensor, truth: torch.Tensor, void: torch.Tensor | None, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """One click for each object.

    Args:
        logits: (B, S, S) the masks that the model made.
        truth: (B, S, S) float32, 0 to 1.
        void: (B, S, S) bool, where nothing is an error; None for nowhere.
        rng: Draws the place inside the region.

    Returns:
        Points (B, 1, 2) float32 and labels (B, 1) int32, on the device of `logits`: 1 where something was missed, 0
        where there is too much, -1 for an object whose mask is right.
    """
    said, true = (logits > 0).cpu().numpy(), (truth >= 0.5).cpu().numpy()
    wrong = said != true
    if void is not None:
        wrong &= ~void.cpu().numpy()
    clicks = [_click(wrong[k], true[k], rng) for k in range(len(wrong))]
    points, labels = padded(clicks)
    return points.to(logits.device), labels.to(logits.device)


def _click(wrong: NDArray[np.bool_], true: NDArray[np.bool_], rng: np.random.Generator) -> Points | None:
    """A place deep inside the largest connected region of one kind of error."""
    regions = [(_largest(wrong & of_kind), label) for of_kind, label in ((true, 1), (~true, 0))]
    region, label = max(regions, key=lambda one: np.count_nonzero(one[0]))
    if not region.any():
        return None
    return interior_points(region, 1, rng), np.array([label], np.int32)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected region of a mask; all of an empty one."""
    import cv2

    count, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return mask
    return np.asarray(regions == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
