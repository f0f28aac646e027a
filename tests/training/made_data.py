"""Small labelled sets of every layout, whose labels are known by construction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from gest_stream.training.config import AugmentConfig, DataKind, DataSource, DecoderTraining, Grey

Image = NDArray[np.uint8]

STILL = AugmentConfig(flip=0, zoom=1, turn_deg=0, on_hand=0, light=0, tint=0, blur=0, noise=0, jpeg=0)
"""No change by chance."""

HAND_COLOUR = (220, 170, 140)
FOREARM_COLOUR = (60, 60, 200)


def write_image(path: Path, image: Image) -> Path:
    """Write an RGB or grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    assert cv2.imwrite(str(path), stored)
    return path


def scene(number: int, size: tuple[int, int] = (64, 48)) -> tuple[Image, Image]:
    """A picture of a hand on a forearm, two rectangles, and its painted mask (255, 128, 0)."""
    width, height = size
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    x, y = int(rng.integers(4, width // 2)), int(rng.integers(4, height // 3))
    hand, forearm = np.s_[y : y + height // 3, x : x + width // 3], np.s_[y + height // 3 :, x + 4 : x + width // 3 - 4]
    image[hand], mask[hand] = HAND_COLOUR, 255
    image[forearm], mask[forearm] = FOREARM_COLOUR, 128
    return image, mask


def make_folder(root: Path, count: int = 12, size: tuple[int, int] = (64, 48)) -> Path:
    """A folder of `scene`s with painted masks."""
    for number in range(count):
        image, mask = scene(number, size)
        write_image(root / "images" / f"picture{number}.png", image)
        write_image(root / "masks" / f"picture{number}.png", mask)
    return root


def folder_source(root: Path, grey: Grey | None = Grey.FOREARM) -> DataSource:
    """`make_folder`'s as a source."""
    return DataSource(DataKind.FOLDER, root, grey=grey)


def small_training(root: Path, data: Sequence[DataSource], **changes: Any) -> DecoderTraining:
    """Settings of a training that takes a moment: nano on pictures of 56 pixels."""
    config = DecoderTraining(
        data=tuple(data),
        out=root / "net.pt",
        backbone="nano",  # type: ignore[arg-type]
        input_size=56,
        steps=4,
        batch=2,
        val_share=0.3,
        workers=1,
        device="cpu",
    )
    return replace(config, **changes)


def make_egohands(root: Path, videos: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """EgoHands' layout: for each video its frames, as mappings of frame_num and polygons."""
    hands = ("myleft", "myright", "yourleft", "yourright")
    kinds = [(name, object) for name in ("frame_num", *hands)]
    names = ("video_id", "partner_video_id", "ego_viewer_id", "location_id", "activity_id", "labelled_frames")
    video = np.empty((1, len(videos)), [(name, object) for name in names])
    for number, (video_id, frames) in enumerate(videos.items()):
        labelled = np.empty((1, len(frames)), kinds)
        for k, frame in enumerate(frames):
            labelled[0, k]["frame_num"] = np.array([[frame["frame_num"]]], np.uint16)
            for hand in hands:
                labelled[0, k][hand] = np.asarray(frame.get(hand, np.empty((0, 0))), np.float64)
            path = root / "_LABELLED_SAMPLES" / video_id / f"frame_{frame['frame_num']:04d}.jpg"
            write_image(path, np.full((90, 160, 3), 40, np.uint8))
        video[0, number] = (video_id, "OTHER", "B", "OFFICE", "CARDS", labelled)
    savemat(root / "metadata.mat", {"video": video})
    return root


def make_coco(
    root: Path, annotations: Sequence[Mapping[str, Any]], categories: Sequence[str] = ("Hand", "forearm")
) -> Path:
    """Two pictures of 20x10 pixels and a COCO file of them."""
    pictures = [{"id": 7 + k, "file_name": f"{k}.png", "width": 20, "height": 10} for k in range(2)]
    for picture in pictures:
        write_image(root / "images" / str(picture["file_name"]), np.full((10, 20, 3), 90, np.uint8))
    content = {
        "images": pictures,
        "annotations": list(annotations),
        "categories": [{"id": 1 + k, "name": name} for k, name in enumerate(categories)],
    }
    path = root / "labels.json"
    path.write_text(json.dumps(content))
    return path
