"""Changes pictures by chance: where the camera stands, and what it makes of the light."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gest_stream.training.config import AugmentConfig
from gest_stream.training.labels import HAND, IGNORE, LabelledImage

_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_BLUR_PX = (0.5, 1.8)
_SMEAR_PX = (3, 11)
_NOISE_LEVELS = (2.0, 12.0)
_JPEG_QUALITIES = (25, 85)


def augment(
    picture: LabelledImage, canvas: tuple[int, int], rng: np.random.Generator, config: AugmentConfig
) -> LabelledImage:
    """A picture, changed by chance and fitted to a canvas.

    Args:
        picture: Stays as it is.
        canvas: (width, height) in pixels.
        rng: What is drawn from.
        config: How far it goes.

    Returns:
        A picture of the canvas' size; what lies beyond the old picture's edge is mirrored, and its labels not known.
    """
    moved = _move(picture, canvas, rng, config)
    image = relight(moved.image, rng, config)
    return LabelledImage(_degrade(image, rng, config), moved.labels)


def _move(
    picture: LabelledImage, canvas: tuple[int, int], rng: np.random.Generator, config: AugmentConfig
) -> LabelledImage:
    import cv2

    width, height = picture.size
    zoom = math.exp(rng.uniform(-1.0, 1.0) * math.log(config.zoom))
    scale = zoom * min(canvas[0] / width, canvas[1] / height)
    angle = math.radians(rng.uniform(-config.turn_deg, config.turn_deg))
    centre = _centre(picture, canvas, scale, rng, config)
    mirror = -1.0 if rng.random() < config.flip else 1.0
    image, labels, shrunk = picture.image, picture.labels, 1.0
    if scale < 0.7:
        # interpolation looks at four pixels only; what is shrunk further is averaged first
        small = max(1, round(width * scale)), max(1, round(height * scale))
        image, shrunk = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8), scale
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[mirror * cos, -mirror * sin], [sin, cos]])
    middle = np.array(canvas) / 2.0 - 0.5
    matrix = np.column_stack([turn, middle - turn @ (centre - 0.5)])
    small_matrix = np.column_stack([turn / shrunk, middle - turn / shrunk @ (centre * shrunk - 0.5)])
    image = cv2.warpAffine(image, small_matrix, canvas, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    labels = cv2.warpAffine(
        labels, matrix, canvas, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=IGNORE
    )
    return LabelledImage(np.asarray(image, np.uint8), np.asarray(labels, np.uint8))


def _centre(
    picture: LabelledImage, canvas: tuple[int, int], scale: float, rng: np.random.Generator, config: AugmentConfig
) -> NDArray[np.float64]:
    """Which point of the picture, from its top left corner, comes to the canvas' middle."""
    size, half = np.array(picture.size, np.float64), np.array(canvas) / (2.0 * scale)
    low, high = np.minimum(half, size - half), np.maximum(half, size - half)
    if rng.random() < config.on_hand:
        rows, columns = np.nonzero(picture.labels == HAND)
        if len(rows):
            chosen = int(rng.integers(len(rows)))
            near = np.array([columns[chosen], rows[chosen]]) + rng.uniform(-0.7, 0.7, 2) * half
            return np.clip(near, low, high)
    return np.asarray(rng.uniform(low, high), np.float64)


def relight(image: NDArray[np.uint8], rng: np.random.Generator, config: AugmentConfig) -> NDArray[np.uint8]:
    """Another brightness, contrast, saturation and tint; all four are one affine map of a pixel's colour.

    Args:
        image: (H, W, 3) uint8 RGB; stays as it is.
        rng: What is drawn from.
        config: How far it goes: `light` and `tint`.
    """
    import cv2

    if config.light == 0.0 and config.tint == 0.0:
        return image
    brightness, contrast, saturation = 1.0 + config.light * rng.uniform(-1.0, 1.0, 3)
    tint = 1.0 + config.tint * rng.uniform(-1.0, 1.0, 3)
    mixing = saturation * np.eye(3) + (1.0 - saturation) * _GREY_WEIGHTS[None, :]
    mixing = contrast * brightness * tint[:, None] * mixing
    # contrast turns about the picture's own grey
    pivot = float(np.array(cv2.mean(image)[:3]) @ _GREY_WEIGHTS)  # NumPy's mean over pixels takes milliseconds
    offset = np.full(3, (1.0 - contrast) * brightness * pivot)
    changed = cv2.transform(image, np.column_stack([mixing, offset]))
    return np.asarray(changed, np.uint8)


def _degrade(image: NDArray[np.uint8], rng: np.random.Generator, config: AugmentConfig) -> NDArray[np.uint8]:
    import cv2

    # every draw is made, so that one change switched off leaves the others as they are
    blur, noise, jpeg = rng.random(3) < (config.blur, config.noise, config.jpeg)
    sigma, smear = float(rng.uniform(*_BLUR_PX)), int(rng.integers(*_SMEAR_PX))
    angle, moving = float(rng.uniform(0.0, math.pi)), bool(rng.random() < 0.5)
    level, quality = float(rng.uniform(*_NOISE_LEVELS)), int(rng.integers(*_JPEG_QUALITIES))
    if blur:
        if moving:
            image = np.asarray(cv2.filter2D(image, -1, _smear_kernel(smear, angle)), np.uint8)
        else:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if noise:
        grain = rng.standard_normal(image.shape, np.float32) * np.float32(level)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if jpeg:
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return image


def _smear_kernel(length: int, angle: float) -> NDArray[np.float32]:
    """What a camera that moves by `length` pixels sees of a point."""
    import cv2

    side = length | 1
    kernel = np.zeros((side, side), np.float32)
    middle, reach = side // 2, length / 2.0
    step = round(reach * math.cos(angle)), round(reach * math.sin(angle))
    cv2.line(kernel, (middle - step[0], middle - step[1]), (middle + step[0], middle + step[1]), 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)
