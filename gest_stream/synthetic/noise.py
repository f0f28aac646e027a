"""Procedural noise from a seed: tileable pictures and volumes with a power-law spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def power_noise(shape: tuple[int, ...], falloff: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise whose amplitude falls with frequency to the power `falloff`; tiles in every direction.

    Args:
        shape: Of the result, any number of dimensions.
        falloff: 0 is white, 1 is rough, 2 is cloudy.
        rng: Where the randomness comes from.

    Returns:
        float32 of mean 0 and standard deviation 1.
    """
    spectrum = np.fft.rfftn(rng.standard_normal(shape, np.float32))
    axes = [np.fft.fftfreq(n) * n for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) * shape[-1]]
    square = np.zeros(spectrum.shape, np.float32)
    for axis, frequencies in enumerate(axes):
        square += (frequencies.astype(np.float32) ** 2).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    spectrum *= np.maximum(square, 1.0) ** (-falloff / 2)
    spectrum.flat[0] = 0.0
    noise = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    return np.asarray(noise / (noise.std() + 1e-9), np.float32)


def band_noise(shape: tuple[int, ...], low: float, high: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise with frequencies between `low` and `high` cycles across the first dimension; tiles.

    Returns:
        float32 of mean 0 and standard deviation 1.
    """
    spectrum = np.fft.rfftn(rng.standard_normal(shape, np.float32))
    axes = [np.fft.fftfreq(n) * n for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) * shape[-1]]
    square = np.zeros(spectrum.shape, np.float32)
    for axis, frequencies in enumerate(axes):
        square += (frequencies.astype(np.float32) ** 2).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    spectrum *= (square >= low**2) & (square <= high**2)
    noise = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    return np.asarray(noise / (noise.std() + 1e-9), np.float32)
