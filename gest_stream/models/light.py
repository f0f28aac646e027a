"""The `light` segmenter: a hand's mask from its landmarks, without weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gest_stream.config import LightConfig
from gest_stream.models.crop_window import CropWindow
from gest_stream.models.hand_shape import HandShape, ShapeModel
from gest_stream.types import Frame, HandLandmarks, HandMask, MaskSource, Observation


@dataclass(frozen=True, slots=True, eq=False)
class LightEncoded:
    """What `LightSegmenter.step` needs of a picture: the frame, untouched."""

    frame: Frame


class LightSegmenter:
    """Masks from the hand's own shape.

    Args:
        config: Its settings.
    """

    def __init__(self, config: LightConfig) -> None:
        self._config = config
        self._model = ShapeModel()

    def encode(self, frame: Frame) -> LightEncoded:
        """Take the frame; nothing is computed before it is known where the hands are."""
        return LightEncoded(frame)

    def step(self, encoded: LightEncoded, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """A mask for every hand with landmarks on this frame."""
        masks: dict[int, HandMask] = {}
        for observation in observations:
            if observation.landmarks is not None:
                masks[observation.object_id] = self._from_shape(encoded.frame, observation.landmarks)
        return masks

    def forget(self, object_id: int) -> None:
        """Drop a hand's memory; unknown ids are ignored."""

    def reset(self) -> None:
        """Drop every hand's memory."""

    def close(self) -> None:
        """Let go of everything."""

    def _from_shape(self, frame: Frame, landmarks: HandLandmarks) -> HandMask:
        import cv2

        shape = HandShape.from_landmarks(landmarks, self._model)
        window = CropWindow.around(shape.box_xyxy_px(3.0), frame.size, self._config.working_px)
        if window is None:
            return HandMask(np.zeros((0, 0), np.uint8), (0, 0), frame.size, 0.0, MaskSource.LIGHT)
        soft = cv2.GaussianBlur(shape.draw(window).astype(np.float32), (3, 3), 0)
        alpha = np.clip(np.rint(window.spread(np.asarray(soft, np.float32))), 0, 255).astype(np.uint8)
        return HandMask(alpha, (window.left, window.top), frame.size, 0.5, MaskSource.LIGHT)
