"""What the network should say of a picture, on the grid that it answers on, and how far off an answer is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gest_stream.training.labels import BACKGROUND, FOREARM, HAND

if TYPE_CHECKING:
    import torch


def class_shares(
    labels: NDArray[np.uint8], grid: tuple[int, int], with_forearm: bool, forearm_labelled: bool
) -> NDArray[np.uint8]:
    """How much of every cell each class covers.

    The network answers on a coarser grid than the picture's. The share of a cell that a class covers is a finer target
    than one label: it says where in the cell an edge runs.

    Args:
        labels: (H, W) uint8, see `labels`.
        grid: (width, height) in cells.
        with_forearm: Whether the network tells forearms from the background.
        forearm_labelled: Whether the picture's forearms are; else its background may be one.

    Returns:
        (3, h, w) uint8 of background, hand and "not a hand, whatever else"; (4, h, w) with the forearm before the last.
        255 is the whole cell; what is missing from 255 is not known.
    """
    import cv2

    forearm = labels == FOREARM
    rest = labels == BACKGROUND
    nothing = np.zeros_like(rest)
    if not with_forearm:
        planes = [rest | forearm, labels == HAND, nothing]
    elif forearm_labelled:
        planes = [rest, labels == HAND, forearm, nothing]
    else:
        planes = [nothing, labels == HAND, forearm, rest]
    stacked = np.stack(planes, axis=2).astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(cv2.resize(stacked, grid, interpolation=cv2.INTER_AREA).transpose(2, 0, 1), np.uint8)


def decoder_loss(logits: torch.Tensor, shares: torch.Tensor, dice: float, each_picture: bool = False) -> torch.Tensor:
    """Cross-entropy over what is known, and the dice loss of every class but the background.

    Where it is only known that a cell is no hand, the probability of that counts, summed over the other classes (the
    marginal loss of Shi et al., "Marginal loss and exclusion loss for partially supervised multi-organ segmentation",
    2021). The dice loss is that of V-Net (Milletari et al. 2016), the mean of the classes: with that of the hand alone,
    forearms were found after 160 steps instead of 80. Over the whole batch it is that of its largest hands; over each
    picture a small hand weighs as much as a large one, and where there is none, any that is said costs all.

    Args:
        logits: (B, C, h, w); the first channel is the background, the second the hand.
        shares: (B, C + 1, h, w) float32, 0 to 1, from `class_shares`.
        dice: Weight of the dice loss.
        each_picture: It is the mean of the pictures' own, not one of all their cells.

    Returns:
        A scalar.
    """
    import torch
    import torch.nn.functional as F

    chances = F.log_softmax(logits.float(), dim=1)
    count = logits.shape[1]
    known, no_hand = shares.sum(dim=1), shares[:, count]
    others = chances[:, [channel for channel in range(count) if channel != HAND]].logsumexp(dim=1)
    missed = (shares[:, :count] * chances).sum(dim=1) + no_hand * others
    entropy = -missed.sum() / known.sum().clamp(min=1.0)
    cells = (1, 2) if each_picture else (0, 1, 2)
    # whether "no hand" is a forearm is not known
    overlaps = [
        _dice(chances[:, channel].exp(), shares[:, channel], known if channel == HAND else known - no_hand, cells)
        for channel in range(1, count)
    ]
    return entropy + dice * (1.0 - torch.stack(overlaps).mean())


def _dice(chance: torch.Tensor, truth: torch.Tensor, known: torch.Tensor, cells: tuple[int, ...]) -> torch.Tensor:
    """Of what is summed over the axes `cells`, the mean over the others."""
    said = chance * known
    either = said.square().sum(dim=cells) + truth.square().sum(dim=cells)
    return ((2.0 * (said * truth).sum(dim=cells) + 1.0) / (either + 1.0)).mean()
