"""The object that passes in front of a hand: a book or a ball, drawn from a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array
from gest_stream.synthetic.config import ClipConfig, Event
from gest_stream.synthetic.layer import Layer, blurred
from gest_stream.synthetic.motion import HandMotion


class Occluder:
    """One object on its way across the picture.

    Args:
        config: Of the clip.
        event: When it passes.
        motion: Of the hand that it passes; its middle meets the middle of the palm.
        rng: What it looks like.
    """

    def __init__(self, config: ClipConfig, event: Event, motion: HandMotion, rng: np.random.Generator) -> None:
        self._config, self._event = config, event
        state = motion.at(event.start_s + event.duration_s / 2)
        self._meets = state.palm_xy_px.astype(np.float64)
        self._ball = bool(rng.random() < 0.4)
        length = state.px_per_cm * rng.uniform(11.0, 14.0)
        self._half = np.array([length / 2, length / 2 if self._ball else length * rng.uniform(0.6, 0.75)])
        wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (rng.uniform(0.4, 0.8) - np.array([0.0, 1 / 3, 2 / 3])))
        self._colour = (rng.uniform(90, 210) * (0.4 + 0.6 * wheel)).astype(np.float32)
        self._accent = np.clip(255 - 0.7 * self._colour, 0, 255).astype(np.float32)
        self._angle = rng.uniform(-0.5, 0.5)
        self._spin = rng.uniform(-0.6, 0.6)
        self._falls = rng.random() < 0.5
        self._way = 1.0 if rng.random() < 0.5 else -1.0

    def _centre(self, time_s: float) -> NDArray[np.float64]:
        span = self._config.size[0] / 2 + 1.5 * float(self._half.max()) + abs(self._meets[0] - self._config.size[0] / 2)
        share = (time_s - self._event.start_s) / self._event.duration_s - 0.5
        # slowest where it meets the hand
        along = self._way * 2.0 * span * share * (0.55 + 1.8 * share * share)
        return np.asarray(self._meets + np.array([along, 0.12 * along * (1 if self._falls else -1)]))

    def layer(self, time_s: float, exposure_s: float) -> Layer | None:
        """What it covers at the middle of an exposure of `exposure_s`; None while it is away."""
        if self._event.progress(time_s) is None:
            return None
        centre = self._centre(time_s)
        radius = float(np.hypot(*self._half)) + 2
        (width, height), low, high = self._config.size, centre - radius, centre + radius
        left, top = max(0, int(low[0])), max(0, int(low[1]))
        right, bottom = min(width, int(high[0]) + 1), min(height, int(high[1]) + 1)
        if left >= right or top >= bottom:
            return None
        layer = self._draw(centre, time_s, (left, top, right, bottom))
        motion = self._centre(time_s + exposure_s / 2) - self._centre(time_s - exposure_s / 2)
        return blurred(layer, motion, self._config.size)

    def _draw(self, centre: NDArray[np.float64], time_s: float, window: tuple[int, int, int, int]) -> Layer:
        left, top, right, bottom = window
        y = (np.arange(top, bottom) + 0.5 - centre[1])[:, None]
        x = (np.arange(left, right) + 0.5 - centre[0])[None, :]
        angle = self._angle + self._spin * (time_s - self._event.start_s)
        u = (np.cos(angle) * x + np.sin(angle) * y) / self._half[0]
        v = (-np.sin(angle) * x + np.cos(angle) * y) / self._half[1]
        colour, distance = self._ball_skin(u, v) if self._ball else self._book_cover(u, v)
        coverage = np.clip(0.5 - distance, 0, 1).astype(np.float32)
        return Layer((left, top), (colour * coverage[..., None]).astype(np.float32), coverage[None])

    def _book_cover(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[Array, NDArray[np.float64]]:
        inset = np.minimum((1 - np.abs(u)) * self._half[0], (1 - np.abs(v)) * self._half[1])
        shade = 1.0 + 0.12 * u - 0.16 * v
        spine = np.where(u < -0.86, 0.7, 1.0)
        frame = (np.abs(np.maximum(np.abs(u) * 1.05, np.abs(v)) - 0.82) < 0.02) & (u > -0.86)
        title = (np.abs(u) < 0.5) & ((np.abs(v + 0.45) < 0.07) | (np.abs(v + 0.25) < 0.03))
        colour = np.where((frame | title)[..., None], self._accent, self._colour)
        return np.asarray(colour * (shade * spine)[..., None], np.float32), -inset

    def _ball_skin(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[Array, NDArray[np.float64]]:
        reach = np.hypot(u, v)
        front = np.sqrt(np.maximum(0.0, 1 - reach**2))
        light = np.clip(-0.35 * u - 0.55 * v + 0.75 * front, 0, None)
        band = np.abs(v + 0.25 * u * front) < 0.16
        colour = np.where(band[..., None], self._accent, self._colour) * (0.4 + 0.65 * light)[..., None]
        colour = colour + 110.0 * (np.clip(light, 0, 1) ** 24)[..., None]
        return np.asarray(np.clip(colour, 0, 255), np.float32), (reach - 1) * self._half[0]
