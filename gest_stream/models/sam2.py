"""The `sam2` segmenter: SAM 2.1 on its own streaming memory, prompted by the tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from gest_stream.clock import now_ns
from gest_stream.config import Sam2Config
from gest_stream.errors import ModelError
from gest_stream.models.mask_holes import fill_holes
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Engine, WarmUp
from gest_stream.models.sam2_masks import to_hand_masks
from gest_stream.models.sam2_weights import build_modules, load_checkpoint
from gest_stream.models.wrist_cut import cut_at_wrist
from gest_stream.types import Frame, HandMask, Observation, Prompt


def load_engine(
    config: Sam2Config, checkpoint: Path, max_objects: int = 8, overrides: Sequence[str] = ()
) -> Sam2Engine:
    """An engine of the configured size with the weights of a checkpoint.

    Args:
        config: Size, image size, device and all else.
        checkpoint: The weights.
        max_objects: Objects it has room for.
        overrides: Settings of the `sam2` package's config, for models of other shapes.

    Raises:
        WeightsError: The checkpoint cannot be read or is of another size.
        DeviceError: The device is not there, or has too little memory.
        MissingDependencyError: The package sam2 is not installed.
    """
    modules = build_modules(config.size, config.image_size, overrides)
    load_checkpoint(modules, checkpoint, f"sam2.1 {config.size}")
    return Sam2Engine(modules, config, max_objects)


class Sam2Segmenter:
    """Makes hand masks with a `Sam2Engine`.

    Args:
        engine: Belongs to the segmenter from now on.
    """

    def __init__(self, engine: Sam2Engine) -> None:
        self._engine: Sam2Engine | None = engine
        self._config = engine.config

    @property
    def engine(self) -> Sam2Engine:
        """The engine, for its state and its own verbs.

        Raises:
            ModelError: It was let go, with a session that is over (sam2_shared.py).
        """
        if self._engine is None:
            raise ModelError("sam2: this session's segmenter was closed; take a new one")
        return self._engine

    def warmup(self, frame_size: tuple[int, int], objects: int = 2) -> WarmUp:
        """Pay for first-time costs now, for frames of (width, height) pixels; forgets every hand."""
        frame = Frame(np.zeros((frame_size[1], frame_size[0], 3), np.uint8), 0, Fraction(1), now_ns(), 0)
        corner = (0.0, 0.0, frame_size[0] / 2, frame_size[1] / 2)
        prompt = Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int32), corner)
        warm = self.engine.warmup(frame_size, objects)
        self.step(self.encode(frame), [Observation(-1, None, prompt)])
        self.engine.reset()
        return warm

    @property
    def takes_clicks(self) -> bool:
        """Prompts of points alone start or correct a mask."""
        return True

    def encode(self, frame: Frame) -> Sam2Encoded:
        """The picture's features; may run ahead of `step`, on another thread."""
        return self.engine.encode(frame.image)

    def step(self, encoded: Sam2Encoded, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """Advance every hand by one frame.

        Args:
            encoded: From `encode` on the same frame.
            observations: One for every live hand; those with a prompt start or are corrected there.

        Returns:
            A mask by object id; disjoint where `non_overlap` is set. Missing for a hand that was never prompted, and
            where SAM2 says that the hand is not in the picture.
        """
        prompts = {one.object_id: one.prompt for one in observations if one.prompt is not None}
        masks = to_hand_masks(self.engine.step(encoded, prompts), self._config.non_overlap)
        landmarks = {one.object_id: one.landmarks for one in observations}
        if self._config.wrist_cut:
            for object_id, mask in masks.items():
                seen = landmarks.get(object_id)
                masks[object_id] = mask if seen is None else cut_at_wrist(mask, seen)
        for object_id, mask in masks.items():
            others = [other for other_id, other in masks.items() if other_id != object_id]
            masks[object_id] = fill_holes(mask, self._config.max_hole_share, others)
        return masks

    def forget(self, object_id: int) -> None:
        """Drop a hand's memory; unknown ids are ignored."""
        if object_id in self.engine.object_ids:
            self.engine.forget(object_id)

    def reset(self) -> None:
        """Drop every hand's memory: the stream was cut or changed size."""
        self.engine.reset()

    def close(self) -> None:
        """Let go of every memory; the model goes with the last reference to it."""
        self.engine.reset()
