"""The truth about a rendered clip in a file, so that it is rendered once: NumPy's .npz, no pickles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic import HandTruth
from gest_stream.types import Handedness, HandLandmarks, HandMask, MaskSource

Truth = tuple[HandTruth, ...]
"""The hands of one frame, in the order of their index."""


def save_truth(path: Path, truths: Sequence[Truth]) -> None:
    """Write the truth about frames of one size with the same number of hands.

    Raises:
        InvalidInputError: There is no frame, or no hand.
    """
    hands = [hand for truth in truths for hand in truth]
    if not hands:
        raise InvalidInputError(f"{path}: expected a clip with hands, got {len(truths)} frames without any")
    arrays: dict[str, Any] = {
        "frames": len(truths),
        "frame_size": hands[0].hand_mask.frame_size,
        "landmarks": [hand.landmarks.points_px for hand in hands],
        "handedness": [str(hand.handedness) for hand in hands],
        "index": [hand.index for hand in hands],
        "visible": [hand.visible for hand in hands],
        "inside_frame": [hand.inside_frame for hand in hands],
        "shown": [hand.shown for hand in hands],
        "blur_px": [hand.blur_px for hand in hands],
    }
    for kind, masks in (("hand", [h.hand_mask for h in hands]), ("arm", [h.arm_mask for h in hands])):
        arrays[f"{kind}_boxes"] = [(*mask.origin_xy_px, *mask.crop.shape) for mask in masks]
        arrays[f"{kind}_pixels"] = np.concatenate([mask.crop.ravel() for mask in masks])
    np.savez_compressed(path, **arrays)


def load_truth(path: Path) -> list[Truth]:
    """Read what `save_truth` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is something else.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    size = (int(arrays["frame_size"][0]), int(arrays["frame_size"][1]))
    masks = zip(_masks(arrays, "hand", size), _masks(arrays, "arm", size), strict=True)
    hands = [
        HandTruth(
            index=int(arrays["index"][k]),
            landmarks=HandLandmarks(arrays["landmarks"][k], None, Handedness(str(arrays["handedness"][k])), 1.0, 1.0),
            visible=arrays["visible"][k],
            hand_mask=hand,
            arm_mask=arm,
            inside_frame=bool(arrays["inside_frame"][k]),
            shown=float(arrays["shown"][k]),
            blur_px=float(arrays["blur_px"][k]),
        )
        for k, (hand, arm) in enumerate(masks)
    ]
    each = len(hands) // int(arrays["frames"])
    return [tuple(hands[k : k + each]) for k in range(0, len(hands), each)]


def _masks(arrays: dict[str, Any], kind: str, size: tuple[int, int]) -> Iterator[HandMask]:
    start = 0
    for x, y, height, width in arrays[f"{kind}_boxes"].tolist():
        crop = arrays[f"{kind}_pixels"][start : start + height * width].reshape(height, width)
        start += height * width
        yield HandMask(crop, (x, y), size, 1.0, MaskSource.SCRIPTED)


def scaled_truth(truth: Truth, size: tuple[int, int]) -> Truth:
    """The same for the picture enlarged to (width, height) `size`."""
    return tuple(_scaled_hand(hand, size) for hand in truth)


def _scaled_hand(hand: HandTruth, size: tuple[int, int]) -> HandTruth:
    before = hand.hand_mask.frame_size
    scale = np.array([size[0] / before[0], size[1] / before[1], size[0] / before[0]], np.float32)
    points_px = np.ascontiguousarray(hand.landmarks.points_px * scale)
    return HandTruth(
        index=hand.index,
        landmarks=HandLandmarks(points_px, None, hand.handedness, 1.0, 1.0),
        visible=hand.visible,
        hand_mask=_scaled_mask(hand.hand_mask, size),
        arm_mask=_scaled_mask(hand.arm_mask, size),
        inside_frame=hand.inside_frame,
        shown=hand.shown,
        blur_px=hand.blur_px * float(scale[0]),
    )


def _scaled_mask(mask: HandMask, size: tuple[int, int]) -> HandMask:
    import cv2

    if mask.frame_size == size:
        return mask
    full = np.asarray(cv2.resize(mask.full(), size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return HandMask.from_full(full, mask.score, mask.source)
