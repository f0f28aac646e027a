"""What a camera makes of a picture: exposure, colour cast, blur, grain, poor lenses and poor links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array

_GREY_WEIGHTS: Final = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One camera and link; the same for all frames of a clip.

    Args:
        gain: (3,) factors of the channels: exposure and white balance.
        gamma: Exponent of the tone curve; below 1 lifts the shadows.
        contrast: Factor about the middle grey.
        saturation: 0 is grey, 1 is as it was.
        vignette: Share of the light that the corners lack.
        defocus_px: Standard deviation of the blur.
        smear_px: Length of the blur of a shaken camera; 0 is none.
        smear_rad: Its direction.
        grain: Standard deviation of the noise, grey levels.
        grain_size: 1 is white; noise of larger grains is made at a smaller size.
        shrink: The picture was enlarged from this share of its size.
        sharpen: Strength of the halo at edges.
        first_quality: JPEG quality of an earlier link; None is none.
    """

    gain: Array
    gamma: float
    contrast: float
    saturation: float
    vignette: float
    defocus_px: float
    smear_px: float
    smear_rad: float
    grain: float
    grain_size: int
    shrink: float
    sharpen: float
    first_quality: int | None


def draw_camera(rng: np.random.Generator) -> Camera:
    """From clean to poor; most of a camera's faults are absent in most clips."""

    def sometimes(chance: float, low: float, high: float) -> float:
        value = float(rng.uniform(low, high))
        return value if rng.random() < chance else 0.0

    exposure = float(np.exp(rng.normal(0.0, 0.18)))
    cast = 1.0 + rng.normal(0.0, 0.06, 3) * (2.2 if rng.random() < 0.2 else 1.0)
    quality = int(rng.integers(18, 60))
    return Camera(
        gain=np.asarray(exposure * np.clip(cast, 0.6, 1.5), np.float32),
        gamma=float(np.exp(rng.normal(0.0, 0.14))),
        contrast=float(np.exp(rng.normal(0.0, 0.1))),
        saturation=0.0 if rng.random() < 0.03 else float(np.clip(rng.normal(1.0, 0.18), 0.2, 1.7)),
        vignette=sometimes(0.3, 0.1, 0.5),
        defocus_px=sometimes(0.35, 0.4, 1.5),
        smear_px=sometimes(0.12, 2.0, 7.0),
        smear_rad=float(rng.uniform(0, np.pi)),
        grain=sometimes(0.75, 0.5, 9.0),
        grain_size=2 if rng.random() < 0.3 else 1,
        shrink=float(rng.uniform(0.45, 0.9)) if rng.random() < 0.3 else 1.0,
        sharpen=sometimes(0.25, 0.2, 0.9),
        first_quality=quality if rng.random() < 0.25 else None,
    )


def expose(picture: Array, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera delivers of a scene.

    Args:
        picture: (H, W, 3) float32 sRGB, 0 to 255.
        camera: What it does.
        rng: Where this frame's noise comes from.

    Returns:
        (H, W, 3) uint8.
    """
    import cv2

    size = picture.shape[1], picture.shape[0]
    if camera.smear_px:
        picture = cv2.filter2D(picture, -1, _smear_kernel(camera.smear_px, camera.smear_rad))
    if camera.defocus_px:
        picture = cv2.GaussianBlur(picture, (0, 0), camera.defocus_px)
    if camera.shrink < 1.0:
        small = max(8, round(size[0] * camera.shrink)), max(8, round(size[1] * camera.shrink))
        picture = cv2.resize(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), size)
    picture = _graded(np.asarray(picture, np.float32), camera)
    if camera.sharpen:
        picture = picture + np.float32(camera.sharpen) * (picture - cv2.GaussianBlur(picture, (0, 0), 1.2))
    if camera.grain:
        picture = picture + np.float32(camera.grain) * _grain(size, camera.grain_size, rng)
    delivered = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    if camera.first_quality is not None:
        encoded = cv2.imencode(".jpg", delivered[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, camera.first_quality])[1]
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        assert decoded is not None
        delivered = np.ascontiguousarray(decoded[..., ::-1], np.uint8)
    return delivered


def _graded(picture: Array, camera: Camera) -> Array:
    """Exposure, tone curve, contrast, saturation and dark corners."""
    picture = np.clip(picture * camera.gain, 0, 255)
    if camera.vignette:
        y = np.linspace(-1, 1, picture.shape[0])[:, None]
        x = np.linspace(-1, 1, picture.shape[1])[None, :]
        dark = 1 - camera.vignette * (0.5 * (x * x + y * y)) ** 1.5
        picture = picture * dark[..., None].astype(np.float32)
    curve = 255.0 * (np.arange(1025) / 1024.0) ** camera.gamma
    picture = curve.astype(np.float32)[(picture * np.float32(1024.0 / 255.0)).astype(np.intp)]
    grey = (picture @ _GREY_WEIGHTS)[..., None]
    coloured = grey + camera.saturation * (picture - grey)
    return np.asarray(118.0 + camera.contrast * (coloured - 118.0), np.float32)


def _grain(size: tuple[int, int], grain_size: int, rng: np.random.Generator) -> Array:
    import cv2

    if grain_size == 1:
        return rng.standard_normal((size[1], size[0], 3), np.float32)
    coarse = rng.standard_normal((-(-size[1] // grain_size), -(-size[0] // grain_size), 3), np.float32)
    return np.asarray(1.4 * cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _smear_kernel(length: float, angle: float) -> Array:
    """What a camera that moves by `length` pixels sees of a point."""
    side = 2 * int(np.ceil(length / 2)) + 3
    kernel, middle = np.zeros((side, side), np.float32), side // 2
    for share in np.linspace(-0.5, 0.5, 4 * side):
        x, y = middle + share * length * np.cos(angle), middle + share * length * np.sin(angle)
        left, top = int(x), int(y)
        kernel[top, left] += (1 - (x - left)) * (1 - (y - top))
        kernel[top, left + 1] += (x - left) * (1 - (y - top))
        kernel[top + 1, left] += (1 - (x - left)) * (y - top)
        kernel[top + 1, left + 1] += (x - left) * (y - top)
    return np.asarray(kernel / kernel.sum(), np.float32)
