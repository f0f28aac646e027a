"""From mask logits on the device to masks of the frame in memory."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from gest_stream.models.sam2_engine import Sam2Masks
from gest_stream.models.sam2_model import without_overlap
from gest_stream.types import HandMask, MaskSource

_OUTSIDE = 127


def frame_logits(masks: Sam2Masks) -> torch.Tensor:
    """(N, 1, H, W) float32 mask logits at the frame's size, as upstream's video_res_masks."""
    assert masks.decoded is not None
    width, height = masks.frame_size
    return F.interpolate(masks.decoded.logits, size=(height, width), mode="bilinear", align_corners=False)


def to_hand_masks(masks: Sam2Masks, non_overlap: bool) -> dict[int, HandMask]:
    """Masks by object id; those of objects that are not in the picture are missing.

    Everything is computed on the device, and only the final 8-bit masks leave it. A pixel is hand (128 and more)
    where its logit is above 0; the alpha of a pixel is its probability.

    Args:
        masks: Of one frame.
        non_overlap: A pixel belongs to the object with the highest logit alone.
    """
    if masks.decoded is None:
        return {}
    with torch.inference_mode():
        logits = frame_logits(masks)
        if non_overlap:
            logits = without_overlap(logits)
        alpha = (logits[:, 0].sigmoid() * 255.0).round_()
        alpha = torch.where(logits[:, 0] > 0, alpha, alpha.clamp(max=_OUTSIDE)).to(torch.uint8)
        shown = alpha > 0
        scores = torch.cat([masks.decoded.score, masks.decoded.iou[:, None]], dim=1)
        on_host = _fetched(alpha, shown.any(dim=2), shown.any(dim=1), scores)
    alphas, rows, columns, numbers = (tensor.numpy() for tensor in on_host)
    found = {}
    for index, object_id in enumerate(masks.object_ids):
        score, iou = (float(value) for value in numbers[index])
        if score > 0:
            confidence = float(np.clip(iou, 0.0, 1.0)) / (1.0 + float(np.exp(-score)))
            found[object_id] = _cropped(alphas[index], rows[index], columns[index], confidence, masks.frame_size)
    return found


def _fetched(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Tensors in memory, with one wait for all."""
    if tensors[0].device.type != "cuda":
        return tuple(tensor.cpu() for tensor in tensors)
    hosts = tuple(torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors)
    for host, tensor in zip(hosts, tensors, strict=True):
        host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return hosts


def _cropped(
    alpha: np.ndarray, rows: np.ndarray, columns: np.ndarray, score: float, frame_size: tuple[int, int]
) -> HandMask:
    down, across = np.flatnonzero(rows), np.flatnonzero(columns)
    if down.size == 0:
        return HandMask(np.zeros((0, 0), np.uint8), (0, 0), frame_size, score, MaskSource.SAM2)
    top, bottom, left, right = int(down[0]), int(down[-1]) + 1, int(across[0]), int(across[-1]) + 1
    crop = alpha[top:bottom, left:right].copy()  # not a view, which would keep the masks of the whole frame
    return HandMask(crop, (left, top), frame_size, score, MaskSource.SAM2)
