"""From mask logits on the device to masks of the frame in memory."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.device import fetched
from gest_stream.models.sam2_engine import Sam2Masks
from gest_stream.models.sam2_model import without_overlap
from gest_stream.types import HandMask, MaskSource

_OUTSIDE = 127
_FAINT_LOGIT = -6.3
"""Below it alpha is 0: its probability is under half of 1/255."""


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
        if masks.decoded.logits.device.type == "cpu":
            return _in_boxes(masks, non_overlap)
        logits = frame_logits(masks)
        if non_overlap:
            logits = without_overlap(logits)
        alpha = _alpha(logits[:, 0])
        shown = alpha > 0
        scores = torch.cat([masks.decoded.score, masks.decoded.iou[:, None]], dim=1)
        on_host = fetched(alpha, shown.any(dim=2), shown.any(dim=1), scores)
    alphas, rows, columns, numbers = (tensor.numpy() for tensor in on_host)
    found = {}
    for index, object_id in enumerate(masks.object_ids):
        score, iou = (float(value) for value in numbers[index])
        if score > 0:
            crop, origin = _trimmed(alphas[index], rows[index], columns[index])
            found[object_id] = HandMask(crop, origin, masks.frame_size, _confidence(score, iou), MaskSource.SAM2)
    return found


def _in_boxes(masks: Sam2Masks, non_overlap: bool) -> dict[int, HandMask]:
    """The same on the CPU, where nothing but the enlarging is done outside the box that an object can show in."""
    assert masks.decoded is not None
    decoded, size = masks.decoded, masks.frame_size
    enlarged = frame_logits(masks)
    found = {}
    for index, object_id in enumerate(masks.object_ids):
        score, iou = float(decoded.score[index]), float(decoded.iou[index])
        if score > 0:
            rows, columns = _reach(decoded.logits[index, 0], size)
            part = enlarged[:, :, rows, columns]
            alpha = _alpha((without_overlap(part) if non_overlap else part)[index, 0])
            shown = alpha > 0
            crop, (left, top) = _trimmed(alpha.numpy(), shown.any(dim=1).numpy(), shown.any(dim=0).numpy())
            origin = (left + columns.start, top + rows.start) if crop.size else (0, 0)
            found[object_id] = HandMask(crop, origin, size, _confidence(score, iou), MaskSource.SAM2)
    return found


def _reach(logits: torch.Tensor, frame_size: tuple[int, int]) -> tuple[slice, slice]:
    """(rows, columns) of the frame in which the alpha of (S/4, S/4) logits may be above 0.

    Interpolation reaches one cell beyond those that are.
    """
    inside = logits > _FAINT_LOGIT
    parts = []
    for cells, length in ((inside.any(dim=1), frame_size[1]), (inside.any(dim=0), frame_size[0])):
        where = torch.nonzero(cells)[:, 0]
        if not len(where):
            return slice(0, 0), slice(0, 0)
        scale = length / len(cells)
        first, last = float(where[0]), float(where[-1])
        parts.append(slice(max(0, int((first - 0.5) * scale) - 1), min(length, int((last + 1.5) * scale) + 2)))
    rows, columns = parts
    return rows, columns


def _alpha(logits: torch.Tensor) -> torch.Tensor:
    """uint8 probabilities; 128 and more exactly where the logit is above 0."""
    alpha = (logits.sigmoid() * 255.0).round_()
    return torch.where(logits > 0, alpha, alpha.clamp(max=_OUTSIDE)).to(torch.uint8)


def _confidence(score: float, iou: float) -> float:
    return float(np.clip(iou, 0.0, 1.0)) / (1.0 + float(np.exp(-score)))


def _trimmed(
    alpha: NDArray[np.uint8], rows: NDArray[np.bool_], columns: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The part of (H, W) alpha between the first and last rows and columns that show something, and its (x, y)."""
    down, across = np.flatnonzero(rows), np.flatnonzero(columns)
    if down.size == 0:
        return np.zeros((0, 0), np.uint8), (0, 0)
    top, bottom, left, right = int(down[0]), int(down[-1]) + 1, int(across[0]), int(across[-1]) + 1
    return alpha[top:bottom, left:right].copy(), (left, top)  # a view would keep the masks of the whole frame
