"""Masks as COCO's compressed run lengths, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.types import HandMask


def encode_rle(mask: HandMask) -> dict[str, Any]:
    """The mask's hand pixels as COCO's compressed run lengths.

    Returns:
        {"size": [H, W], "counts": str} over the whole frame, what `pycocotools.mask.decode` takes.
    """
    from pycocotools import mask as coco

    width, height = mask.frame_size
    full = np.zeros((height, width), np.uint8, order="F")  # COCO runs down the columns
    full[mask.slices] = mask.inside
    return {"size": [height, width], "counts": coco.encode(full)["counts"].decode("ascii")}


def _run_lengths(counts: str) -> list[int]:
    # 5 bits a character from "0" on, least significant first, bit 6 says that more follow and the last one's bit 5 is
    # the sign; from the third run on, the difference to the run before the last is what is written
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def decode_rle(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The mask of a `mask_rle` object; it needs no pycocotools.

    Returns:
        (H, W) bool.

    Raises:
        InvalidInputError: The runs do not cover the size exactly.

    Source:
        `rleFrString` and `rleDecode` of cocoapi, common/maskApi.c (the format, not the code).
    """
    height, width = rle["size"]
    runs = _run_lengths(rle["counts"])
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise InvalidInputError(f"mask_rle: expected runs that cover {height}x{width} pixels, got {sum(runs)}")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)
