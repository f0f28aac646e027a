"""From a frame in memory to the square, normalised picture on the device that SAM2's encoder takes.

Upstream resizes with Pillow's bicubic filter (sam2/utils/misc.py, _load_img_as_tensor). torch's bicubic filter with
antialiasing is the same one to about a grey level; bilinear or area filters move mask edges.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.device import Upload
from gest_stream.errors import InvalidInputError
from gest_stream.models.sam2_device import Compute

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_SMALLEST_PX = 8


def check_image(image: object) -> NDArray[np.uint8]:
    """The image, if it is one.

    Raises:
        InvalidInputError: It is not (H, W, 3) uint8, or a side is below 8 pixels.
    """
    if not isinstance(image, np.ndarray):
        raise InvalidInputError(f"frame: expected an (H, W, 3) uint8 RGB array, got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        broken = np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all()
        found = f"{image.shape} {image.dtype}{' with NaN or infinity' if broken else ''}"
        raise InvalidInputError(f"frame: expected (H, W, 3) uint8 RGB, got {found}; convert it to 0-255 first")
    if min(image.shape[:2]) < _SMALLEST_PX:
        raise InvalidInputError(f"frame: expected at least {_SMALLEST_PX}x{_SMALLEST_PX} pixels, got {image.shape[:2]}")
    return image


class FrameUpload:
    """Brings frames to the device and into the shape that the encoder takes.

    On CUDA the copy does not wait for the step of the frame before.

    Args:
        compute: Where to.
        image_size: Side of the square, pixels.
    """

    def __init__(self, compute: Compute, image_size: int) -> None:
        self._side = image_size
        self._upload = Upload(compute.device)
        self._mean = torch.tensor(_MEAN, device=compute.device)[:, None, None]
        self._std = torch.tensor(_STD, device=compute.device)[:, None, None]

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """(1, 3, S, S) float32, normalised, of an (H, W, 3) uint8 RGB image; the aspect is not kept, as upstream."""
        pixels = self._upload(image).permute(2, 0, 1)[None]
        size = (self._side, self._side)
        if pixels.shape[-2:] != size:
            if pixels.device.type == "cpu":  # torch has Pillow's own integer filter for uint8, there alone
                pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True)
            else:
                resized = F.interpolate(pixels.float(), size=size, mode="bicubic", antialias=True)
                pixels = resized.round().clamp(0, 255)
        return (pixels / 255.0 - self._mean) / self._std
