"""Which tracked frames are worth remembering: a wrong mask in memory makes the next one wrong.

Three questions to each frame, after two papers: is the object in the picture and the mask a good one by the model's own
scores (SAMURAI, Yang et al. 2024, section 4.2; DAM4SAM, Videnovic et al. 2024, section 3.2, keeps no frame without the
object), and is the mask where the object's motion lets it be (SAMURAI's motion gate, here a constant velocity of the
box instead of a Kalman filter)? A jump is refused only for a while: a hand that really moved so must be learned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gest_stream.models.sam2_model import Decoded

_MIN_BOX_IOU = 0.15
_PATIENCE_FRAMES = 8

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Sight:
    """One object's mask on one frame, in numbers.

    Args:
        score: Object score logit; above 0 it is in the picture.
        iou: Predicted IoU of the mask, 0 to 1.
        box: Box around the mask, cells of the logits, right and bottom exclusive; None for an empty mask.
    """

    score: float
    iou: float
    box: Box | None


def look_at(decoded: Decoded) -> list[Sight]:
    """The numbers of B objects, fetched from the device in one go."""
    inside = decoded.logits[:, 0] > 0
    rows, columns = inside.any(dim=2), inside.any(dim=1)
    numbers = torch.cat([decoded.score, decoded.iou[:, None], rows.float(), columns.float()], dim=1).cpu().numpy()
    side = rows.shape[1]
    sights = []
    for score, iou, *cells in numbers.tolist():
        down = [index for index in range(side) if cells[index]]
        across = [index for index in range(side) if cells[side + index]]
        box = (across[0], down[0], across[-1] + 1.0, down[-1] + 1.0) if down else None
        sights.append(Sight(score, iou, box))
    return sights


@dataclass(frozen=True, slots=True)
class _Motion:
    box: Box
    velocity: Box
    refused: int = 0

    @property
    def expected(self) -> Box:
        return _plus(self.box, self.velocity)


class MemoryGate:
    """Decides for each object and frame.

    Args:
        min_iou: Predicted IoU from which a mask is good enough, 0 to 1.
    """

    def __init__(self, min_iou: float) -> None:
        self._min_iou = min_iou
        self._motions: dict[int, _Motion] = {}

    def admits(self, object_id: int, sight: Sight) -> bool:
        """Whether the frame is to be remembered; every frame of an object is asked for, in order."""
        motion = self._motions.get(object_id)
        if sight.score <= 0 or sight.iou < self._min_iou or sight.box is None:
            if motion is not None:
                self._motions[object_id] = replace(motion, refused=motion.refused + 1)
            return False
        if motion is None or motion.refused >= _PATIENCE_FRAMES:
            self._motions[object_id] = _Motion(sight.box, (0.0, 0.0, 0.0, 0.0))
            return True
        if max(_box_iou(sight.box, motion.expected), _box_iou(sight.box, motion.box)) < _MIN_BOX_IOU:
            self._motions[object_id] = replace(motion, refused=motion.refused + 1)
            return False
        self._motions[object_id] = _Motion(sight.box, _minus(sight.box, motion.box))
        return True

    def forget(self, object_id: int) -> None:
        """Drop an object's motion; unknown ids are ignored."""
        self._motions.pop(object_id, None)

    def clear(self) -> None:
        """Drop every object's motion."""
        self._motions.clear()

    def copy(self) -> MemoryGate:
        """An independent one in the same state."""
        other = MemoryGate(self._min_iou)
        other._motions = dict(self._motions)
        return other


def _plus(box: Box, other: Box) -> Box:
    return box[0] + other[0], box[1] + other[1], box[2] + other[2], box[3] + other[3]


def _minus(box: Box, other: Box) -> Box:
    return box[0] - other[0], box[1] - other[1], box[2] - other[2], box[3] - other[3]


def _box_iou(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
