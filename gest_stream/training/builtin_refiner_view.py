"""A frame of a training clip as it is looked at: mirrored, turned, lit otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.crop_window import CropWindow

_SHRUNK = 1.6
"""From this many pixels a cell on, half the picture is sampled: a picture is not averaged over a cell otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How pixels of a frame are seen.

    Args:
        matrix: (2, 3) float64 from a frame's pixel to its place in the view.
        tones: (3, 256) uint8, what becomes of every value of every colour.
        noise: Standard deviation that is added, grey levels.
        blur: Standard deviation of a blur, cells; 0 is none.
    """

    matrix: NDArray[np.float64]
    tones: NDArray[np.uint8]
    noise: float
    blur: float

    @classmethod
    def draw(cls, size: tuple[int, int], rng: np.random.Generator) -> Self:
        """A view of frames of (width, height) pixels."""
        turn = np.exp(1j * rng.normal(0.0, 0.25 if rng.random() < 0.8 else 1.5))
        matrix = _about(turn, 0j, size)
        if rng.random() < 0.5:
            mirror = np.array([[-1.0, 0.0, size[0] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
            matrix = matrix @ mirror
        noise = float(rng.uniform(1.0, 8.0)) if rng.random() < 0.3 else 0.0
        blur = float(rng.uniform(0.5, 1.6)) if rng.random() < 0.2 else 0.0
        return cls(matrix[:2], _tones(rng, 1.0), noise, blur)

    def shaken(self, size: tuple[int, int], strength: float, rng: np.random.Generator) -> View:
        """The view a moment later: of a hand-held camera, or of a hand that moves before a still picture."""
        turn = np.exp((rng.normal(0.0, 0.03) + 1j * rng.normal(0.0, 0.05)) * strength)
        shift = complex(*(rng.standard_normal(2) * 0.02 * strength * max(size)))
        matrix = _about(turn, shift, size) @ np.vstack([self.matrix, [0.0, 0.0, 1.0]])
        drift = _tones(rng, 0.12)
        tones = np.stack([drift[k][self.tones[k]] for k in range(3)])
        return replace(self, matrix=matrix[:2], tones=tones)

    def points(self, points_xy_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 2) pixels of the frame in the view."""
        return (points_xy_px @ self.matrix[:, :2].T + self.matrix[:, 2]).astype(np.float32)

    def planes(self, planes: Sequence[NDArray[np.uint8]], window: CropWindow) -> NDArray[np.float32]:
        """Up to four alpha planes of the frame, (H, W) uint8, on the window's grid.

        Returns:
            (N, grid, grid) float32, 0 to 1; outside the frame 0, of a fourth plane 1.
        """
        import cv2

        seen = self._sampled(cv2.merge(list(planes)), window, (0, 0, 0, 255)).astype(np.float32)
        seen *= np.float32(1.0 / 255.0)
        return seen[None] if seen.ndim == 2 else np.stack(cv2.split(seen))

    def image(self, image: NDArray[np.uint8], window: CropWindow, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The frame's colours, (H, W, 3) uint8, on the window's grid; grey outside the frame."""
        import cv2

        seen = self._sampled(image, window, (128, 128, 128, 0))
        seen = cv2.LUT(seen, np.ascontiguousarray(self.tones.T[None]))
        if self.blur:
            seen = cv2.GaussianBlur(seen, (0, 0), self.blur)
        if self.noise:
            grain = rng.standard_normal((*seen.shape[:2], 1), np.float32) * np.float32(self.noise)
            seen = np.clip(seen + grain, 0, 255).astype(np.uint8)
        return np.asarray(seen, np.uint8)

    def inside(self, size: tuple[int, int], window: CropWindow) -> NDArray[np.float32]:
        """(grid, grid) float32, 1 where a cell shows something of the frame of (width, height) pixels."""
        import cv2

        corners = np.array([[0, 0], [size[0] - 1, 0], [size[0] - 1, size[1] - 1], [0, size[1] - 1]], np.float32)
        seen = np.zeros(window.grid_size[::-1], np.uint8)
        cv2.fillConvexPoly(seen, np.rint(window.to_grid(self.points(corners)) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
        return seen.astype(np.float32)

    def _sampled(
        self, source: NDArray[np.uint8], window: CropWindow, outside: tuple[int, int, int, int]
    ) -> NDArray[np.uint8]:
        import cv2

        step = 1.0 / window.scale_xy[0]
        to_view = np.array(
            [
                [step, 0.0, 0.5 * step + window.left - 0.5],
                [0.0, step, 0.5 * step + window.top - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )
        matrix = np.linalg.inv(np.vstack([self.matrix, [0.0, 0.0, 1.0]])) @ to_view
        while step > _SHRUNK:
            height, width = source.shape[0] // 2, source.shape[1] // 2
            source = np.asarray(cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            matrix = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25], [0.0, 0.0, 1.0]]) @ matrix
            step /= 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(source, matrix[:2], window.grid_size, flags=flags, borderValue=outside)
        return np.asarray(seen, np.uint8)


def _about(turn: complex, shift: complex, size: tuple[int, int]) -> NDArray[np.float64]:
    """(3, 3) that turns and grows about the middle of a frame, and shifts."""
    middle = complex(size[0] - 1, size[1] - 1) / 2
    moved = middle + shift - turn * middle
    return np.array([[turn.real, -turn.imag, moved.real], [turn.imag, turn.real, moved.imag], [0.0, 0.0, 1.0]])


def _tones(rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """(3, 256) uint8: contrast, brightness, gamma and a tint."""
    levels = np.arange(256) / 255.0
    gamma = np.exp(rng.normal(0.0, 0.25 * strength))
    gain, lift = 1.0 + rng.normal(0.0, 0.15 * strength), rng.normal(0.0, 0.06 * strength)
    tint = 1.0 + rng.standard_normal((3, 1)) * 0.06 * strength
    toned = (levels**gamma - 0.5) * gain + 0.5 + lift
    return np.asarray(np.clip(toned[None] * tint * 255.0, 0, 255), np.uint8)
