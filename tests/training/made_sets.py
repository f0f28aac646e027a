"""A set of photographed hands in the layout of a manifest, painted by numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.training.made_data import write_image

HAND_COLOUR = (205, 150, 120)
GROUND = (0, 200, 0)
WIDTH, HEIGHT = 60, 80


def paint(kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[list[float]]]:
    """A hand (a box) above a forearm (a narrower box that leaves below): picture, mask and landmarks 0 to 1."""
    image = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    image[10:50, 15:45], mask[10:50, 15:45] = HAND_COLOUR, 255
    if kind == "keyed":
        image[50:, 20:40], mask[50:, 20:40] = HAND_COLOUR, 128
    else:
        image[50:, 20:40] = HAND_COLOUR
        mask[50:60, 20:40] = 128
    points = [[0.5, 50 / HEIGHT]]  # the wrist, then five fingers of four joints, upward
    for finger in range(5):
        points += [[(18 + 6 * finger) / WIDTH, (44 - 9 * joint) / HEIGHT] for joint in range(4)]
    return image, mask, points


def write_set(root: Path, name: str, kind: str, count: int, margin: int = 0) -> Path:
    """A set of `count` pictures whose ground has another shade each, and `margin` pixels more on every side."""
    entries = []
    for number in range(count):
        image, mask, points = paint(kind)
        image[mask == 0] = image[mask == 0] // 2 + number
        image = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        mask = np.pad(mask, margin)
        full = WIDTH + 2 * margin, HEIGHT + 2 * margin
        points = [[(x * WIDTH + margin) / full[0], (y * HEIGHT + margin) / full[1]] for x, y in points]
        file, mask_file = f"{name}/images/{number:03d}.png", f"{name}/masks/{number:03d}.png"
        write_image(root / file, image)
        write_image(root / mask_file, mask)
        entries.append(
            {
                "file": file,
                "mask": mask_file,
                "has_mask": True,
                "mask_kind": kind,
                "hands": [{"h": "Right", "p": points}],
            }
        )
    (root / name / "manifest.jsonl").write_text("\n".join(map(json.dumps, entries)))
    return root / name
