"""A clip of coloured discs with their masks, as DAVIS lays it out, and a narrow SAM2 with drawn weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gest_stream.config import Sam2Size
from gest_stream.models.sam2_weights import build_modules
from gest_stream.training.sam2_config import ClipData, ClipKind, Sam2Training
from tests.models.sam2_nano import NANO, SIDE

FRAME_SIZE = (96, 64)
HIDDEN = (5, 6)
"""Frames on which the second disc is gone."""

_COLOURS = ((230, 60, 40), (40, 90, 235))
_PALETTE = [0, 0, 0, 236, 95, 103, 249, 145, 87] + [0] * (256 - 3) * 3

OVERRIDES = (*NANO, "model.memory_encoder.fuser.layer.layer_scale_init_value=0.1")
"""Upstream starts its fuser switched off, which costs more training than a test has."""


def disc_ids(index: int) -> NDArray[np.uint8]:
    """(64, 96) uint8 ids of frame `index`: disc 1, and disc 2 where it is not hidden."""
    width, height = FRAME_SIZE
    rows, columns = np.mgrid[0:height, 0:width]
    ids = np.zeros((height, width), np.uint8)
    for one, phase in ((1, 0.0), (2, 3.0)):
        if one == 2 and index in HIDDEN:
            continue
        x, y = width * (0.5 + 0.28 * np.cos(phase + index / 5)), height * (0.5 + 0.22 * np.sin(phase + index / 4))
        ids[(columns - x) ** 2 + (rows - y) ** 2 < (height / 4) ** 2] = one
    return ids


def disc_picture(index: int) -> NDArray[np.uint8]:
    """(64, 96, 3) uint8 of the same frame, over a ground of noise."""
    ids = disc_ids(index)
    picture = np.random.default_rng(5).integers(60, 140, (*ids.shape, 3)).astype(np.uint8)
    for one, colour in enumerate(_COLOURS, 1):
        picture[ids == one] = colour
    return picture


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """RGB to any kind of file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def write_palette(path: Path, ids: NDArray[np.uint8]) -> None:
    """Ids as a PNG with a palette, as DAVIS has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(ids)
    picture.putpalette(_PALETTE)
    assert picture.mode == "P"
    picture.save(path)


def write_clip(root: Path, name: str = "discs", frames: int = 10, first: int = 0) -> None:
    """A clip in JPEGImages/ and Annotations/."""
    for index in range(frames):
        write_picture(root / "JPEGImages" / name / f"{index:05d}.png", disc_picture(first + index))
        write_palette(root / "Annotations" / name / f"{index:05d}.png", disc_ids(first + index))


def narrow_modules(seed: int = 0) -> Any:
    """Upstream's modules, 64 pixels and 32 channels, as they are drawn; objects are thought to be there at first."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        modules = build_modules(Sam2Size.TINY, SIDE, OVERRIDES)
        torch.nn.init.constant_(modules.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 2.0)
    return modules


def write_start(path: Path) -> Path:
    """Their checkpoint."""
    torch.save({"model": narrow_modules().state_dict()}, path)
    return path


def training(folder: Path, **settings: Any) -> Sam2Training:
    """A training of the narrow model on the clip that lies in `folder`, its start and its outputs beside it."""
    init = folder / "start.pt"
    if not init.exists():
        write_start(init)
    config = Sam2Training(
        data=(ClipData(ClipKind.CLIPS, folder),),
        out=folder / "tuned.pt",
        init=init,
        image_size=SIDE,
        overrides=OVERRIDES,
        device="cpu",
        frames=3,
        steps=4,
        rate=1e-3,
        max_norm=1.0,
        warm_up_steps=2,
        min_area=0.01,
    )
    return replace(config, **settings)
