"""Prompts in pixels of the frame, checked, and turned into what SAM2's prompt encoder takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from gest_stream.errors import InvalidInputError
from gest_stream.types import Prompt, PromptMode

PromptsById = Mapping[int, Prompt | Sequence[Prompt]]


@dataclass(frozen=True, slots=True, eq=False)
class Clicks:
    """Points in pixels of the model's square, a box being two of them.

    Args:
        points: (1, P, 2) float32.
        labels: (1, P) int32; 1 on, 0 off, 2 top left and 3 bottom right of a box.
    """

    points: torch.Tensor
    labels: torch.Tensor

    @property
    def leave_doubt(self) -> bool:
        """A single point may mean a finger, a hand or an arm, so that several masks are worth proposing."""
        return self.points.shape[1] <= 1

    def after(self, earlier: Clicks | None) -> Clicks:
        """These, with the ones that came earlier on the same frame before them."""
        if earlier is None:
            return self
        return Clicks(torch.cat([earlier.points, self.points], 1), torch.cat([earlier.labels, self.labels], 1))


def check_prompts(
    prompts: PromptsById, frame_size: tuple[int, int], live: Sequence[int], retired: set[int]
) -> dict[int, tuple[Prompt, ...]]:
    """The prompts of a frame by object, each as a sequence.

    Args:
        prompts: One or several prompts for each object.
        frame_size: (width, height) of the frame in pixels.
        live: Objects that have a memory.
        retired: Objects that were forgotten.

    Raises:
        InvalidInputError: A prompt lies outside the frame, corrects an object that is not there, is for a forgotten
            one, or is no prompt at all.
    """
    checked = {}
    for object_id, given in prompts.items():
        sequence = tuple(given) if isinstance(given, Sequence) else (given,)
        if not isinstance(object_id, int) or not all(isinstance(prompt, Prompt) for prompt in sequence):
            raise InvalidInputError(f"prompts: expected an id and Prompts, got {object_id!r} and {given!r}")
        if not sequence:
            raise InvalidInputError(f"object {object_id}: expected at least one prompt, got none")
        if object_id in retired:
            raise InvalidInputError(f"object {object_id}: was forgotten, and ids are not used twice; take a new id")
        if sequence[0].mode is PromptMode.REFINE and object_id not in live:
            raise InvalidInputError(
                f"object {object_id}: there is no mask to refine, the object is unknown; use the mode reset"
            )
        for prompt in sequence[1:]:
            if prompt.mode is PromptMode.APPEND:
                raise InvalidInputError(
                    f"object {object_id}: append comes first on a frame; further prompts refine it or reset"
                )
        for prompt in sequence:
            _check_place(object_id, prompt, frame_size)
        checked[object_id] = sequence
    return checked


def _check_place(object_id: int, prompt: Prompt, frame_size: tuple[int, int]) -> None:
    width, height = frame_size
    if prompt.mask is not None and prompt.mask.shape != (height, width):
        raise InvalidInputError(
            f"object {object_id}: expected a mask of the frame's size {(height, width)}, got {prompt.mask.shape}"
        )
    outside = ((prompt.points_xy_px < 0) | (prompt.points_xy_px > np.array(frame_size))).any(axis=1)
    if outside.any():
        raise InvalidInputError(
            f"object {object_id}: point {tuple(prompt.points_xy_px[outside][0].tolist())} lies outside the frame of "
            f"{width}x{height} pixels; points are in pixels of the frame"
        )
    if prompt.box_xyxy_px is not None:
        left, top, right, bottom = prompt.box_xyxy_px
        if left < 0 or top < 0 or right > width or bottom > height:
            raise InvalidInputError(
                f"object {object_id}: box {prompt.box_xyxy_px} reaches outside the frame of {width}x{height} pixels; "
                "clip it"
            )


def clicks_of(prompt: Prompt, frame_size: tuple[int, int], image_size: int, device: torch.device) -> Clicks:
    """Points and box of a prompt; the box first, as SAM2 was trained (SAM2VideoPredictor.add_new_points_or_box)."""
    points = torch.from_numpy(prompt.points_xy_px.copy()).reshape(1, -1, 2)
    labels = torch.from_numpy(prompt.labels.copy()).reshape(1, -1)
    if prompt.box_xyxy_px is not None:
        corners = torch.tensor(prompt.box_xyxy_px, dtype=torch.float32).reshape(1, 2, 2)
        points = torch.cat([corners, points], dim=1)
        labels = torch.cat([torch.tensor([[2, 3]], dtype=torch.int32), labels], dim=1)
    points = points / torch.tensor(frame_size) * image_size
    return Clicks(points.to(device), labels.to(device))


def square_mask(prompt: Prompt, image_size: int, device: torch.device) -> torch.Tensor:
    """(1, 1, S, S) float 0 or 1 of a prompt that is a mask (SAM2VideoPredictor.add_new_mask)."""
    mask = torch.from_numpy(np.require(prompt.mask, requirements=("C", "W"))).to(device)[None, None].float()
    size = (image_size, image_size)
    if mask.shape[-2:] == size:
        return mask
    return (F.interpolate(mask, size=size, mode="bilinear", align_corners=False, antialias=True) >= 0.5).float()
