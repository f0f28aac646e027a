"""Which weights of SAM2 a fine-tuning changes, and at what rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import torch

from gest_stream.training.sam2_config import Sam2Part

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


PREFIXES: Final[Mapping[Sam2Part, tuple[str, ...]]] = {
    Sam2Part.DECODER: ("sam_mask_decoder.",),
    Sam2Part.MEMORY: (
        "memory_attention.",
        "memory_encoder.",
        "obj_ptr_proj.",
        "obj_ptr_tpos_proj.",
        "mask_downsample.",
        "maskmem_tpos_enc",
        "no_mem_embed",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "no_obj_embed_spatial",
    ),
    Sam2Part.PROMPTS: ("sam_prompt_encoder.",),
    Sam2Part.ENCODER: ("image_encoder.",),
}
"""How the names of a part's weights begin."""


def part_of(name: str) -> Sam2Part:
    """The part that a weight belongs to."""
    return next(part for part, prefixes in PREFIXES.items() if name.startswith(prefixes))


def unfreeze(model: SAM2Base, parts: Sequence[Sam2Part]) -> None:
    """Let gradients come to these parts, and to no others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in parts)


def training_mode(model: SAM2Base) -> None:
    """Put the model into training mode, but for modules that are not trained: their dropout stays off."""
    model.train()
    for child in model.children():
        if not any(parameter.requires_grad for parameter in child.parameters()):
            child.eval()


def make_optimizer(model: SAM2Base, rate: float, encoder_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over what is unfrozen; every group has its peak rate as `peak_lr`.

    Biases, norms and single embeddings do not decay, as upstream trains (its decay spares biases and layer norms).
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            peak = encoder_rate if part_of(name) is Sam2Part.ENCODER else rate
            decay = weight_decay if parameter.ndim >= 2 and name.endswith("weight") else 0.0
            groups.setdefault((peak, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": peak, "peak_lr": peak, "weight_decay": decay}
            for (peak, decay), parameters in groups.items()
        ]
    )


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set every group's rate to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share
