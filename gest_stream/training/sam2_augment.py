"""How a stretch of frames is changed by chance: one warp and one colour mixture for all of its frames."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)


def draw_warp(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A turn, a scale, a shift and perhaps a mirror, as a (2, 3) matrix on pixels of the square."""
    import cv2

    middle = side / 2
    scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.5))))
    warp = cv2.getRotationMatrix2D((middle, middle), float(rng.normal(0.0, 8.0)), scale)
    room = abs(scale - 1.0) * middle + 0.05 * side
    warp[:, 2] += rng.uniform(-room, room, 2)
    if rng.random() < 0.5:
        warp = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ warp
        warp[0, 2] += side
    return np.asarray(warp, np.float32)


def warped(picture: NDArray[np.uint8], warp: NDArray[np.float32], fill: int | None) -> NDArray[np.uint8]:
    """A square picture or mask, (S, S) or (S, S, 3), after a warp; what comes from outside is `fill`, None its edge."""
    import cv2

    height, width = picture.shape[:2]
    border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    value = 0 if fill is None else fill
    moved = cv2.warpAffine(
        picture, warp, (width, height), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(value,) * 4
    )
    return np.asarray(moved, np.uint8)


def normalised(pictures: NDArray[np.uint8], rng: np.random.Generator | None) -> torch.Tensor:
    """What the image encoder takes.

    Args:
        pictures: (T, S, S, 3) uint8 RGB.
        rng: Draws one mixture of the colours for all of them; None leaves them as they are.

    Returns:
        (T, 3, S, S) float32.
    """
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255.0
    if rng is not None:
        grey = np.full((3, 3), 1 / 3)
        saturation = rng.uniform(0.6, 1.4)
        mix = (saturation * np.eye(3) + (1 - saturation) * grey) * rng.uniform(0.9, 1.1, (3, 1))
        gain, lift = rng.uniform(0.75, 1.25), rng.uniform(-0.1, 0.1)
        images = torch.einsum("ij,tjhw->tihw", torch.from_numpy(mix * gain).float(), images) + lift
        images = images.clamp_(0.0, 1.0)
    mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
    return (images - mean[:, None, None]) / std[:, None, None]
