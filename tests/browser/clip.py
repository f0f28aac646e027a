"""A camera for browsers: the rendered demo clip, running to and fro, with its frame number burnt in.

The number is a band of 16 black and white cells in the top left corner, between grey guards: 12 bits that count frames
and 4 that check them. What Chromium takes as a camera (`--use-file-for-fake-video-capture`) is one JPEG after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic import ClipConfig, HandTruth, render_clip
from gest_stream.synthetic.workers import render_in_processes

CELLS: Final = 16
COUNTS: Final = 4096
"""Numbers start anew after so many frames: 136 s at 30 frames a second."""

BAND_WIDTH: Final = (CELLS + 2) / 32
BAND_HEIGHT: Final = 1 / 20
"""Share of the picture that the band takes, from its top left corner."""

_CELL_TOP, _CELL_BOTTOM = 0.2, 0.8  # of the band's height
_GREY = 128
_UNSURE = 40  # grey levels around grey that are neither black nor white
_QUALITY = 92
_RENDERERS = 2
_WORTH_PROCESSES = 30  # frames

Picture = NDArray[np.uint8]


def bits_of(number: int) -> list[int]:
    """The 16 bits of a frame number, the most significant first."""
    low, middle, high = number & 15, number >> 4 & 15, number >> 8 & 15
    check = low + 3 * middle + 5 * high + 9 & 15  # 9: a picture that is all black or all white is no number
    return [(number << 4 | check) >> place & 1 for place in reversed(range(CELLS))]


def burn(image: Picture, number: int) -> None:
    """Draw a frame number into an (H, W, 3) picture."""
    height, width = round(image.shape[0] * BAND_HEIGHT), round(image.shape[1] * BAND_WIDTH)
    image[:height, :width] = _GREY
    cell = width / (CELLS + 2)
    for place, bit in enumerate(bits_of(number % COUNTS), 1):
        rows = slice(round(height * _CELL_TOP), round(height * _CELL_BOTTOM))
        image[rows, round(place * cell) : round((place + 1) * cell)] = 255 * bit


def read(image: Picture) -> int | None:
    """The frame number in a picture of any size; None where it cannot be told."""
    height, cell = image.shape[0] * BAND_HEIGHT, image.shape[1] * BAND_WIDTH / (CELLS + 2)
    places = [round((place + 0.5) * cell) for place in range(1, CELLS + 1)]
    return number_of(image[round(height / 2), places].mean(axis=1))


def number_of(levels: Sequence[float] | NDArray[Any]) -> int | None:
    """The frame number of 16 grey levels; None where one is unsure, or the check fails."""
    levels = np.asarray(levels, float)
    if levels.shape != (CELLS,) or (np.abs(levels - _GREY) < _UNSURE).any():
        return None
    bits = [int(level > _GREY) for level in levels]
    number = sum(bit << place for place, bit in enumerate(reversed(bits))) >> 4
    return number if bits_of(number) == bits else None


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One rendered frame without its number, and the truth about its hands."""

    jpeg: bytes
    hands: tuple[HandTruth, ...]

    def image(self) -> Picture:
        """(H, W, 3) uint8 RGB, as the camera shows it."""
        decoded = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


class CameraClip:
    """A clip that is rendered once and written as long as is wanted.

    Args:
        config: What is rendered.
    """

    def __init__(self, config: ClipConfig) -> None:
        self.config = config
        self._frames: tuple[ClipFrame, ...] = tuple(self._render())
        self._turns: list[int] = [*range(len(self._frames)), *reversed(range(1, len(self._frames) - 1))]

    def truth(self, number: int) -> ClipFrame:
        """What is on the frame of that number."""
        return self._frames[self._turns[number % len(self._turns)]]

    def write(self, path: Path, seconds: float) -> None:
        """Write so many seconds; the numbers of them must not run out.

        Raises:
            ValueError: They would.
        """
        count = round(seconds * self.config.rate)
        if count > COUNTS:
            raise ValueError(f"{path}: {seconds:g} s are {count} frames, more than {COUNTS} numbers")
        with path.open("wb") as file:
            for number in range(count):
                image = self.truth(number).image()
                burn(image, number)
                file.write(_jpeg(image))

    def _render(self) -> Iterator[ClipFrame]:
        band = round(self.config.size[1] * BAND_HEIGHT), round(self.config.size[0] * BAND_WIDTH)
        alone = self.config.frames < _WORTH_PROCESSES
        rendering = render_clip(self.config) if alone else render_in_processes(self.config, _RENDERERS)
        for rendered in rendering:
            for hand in rendered.hands:
                for mask in (hand.hand_mask, hand.arm_mask):
                    assert not mask.full()[: band[0], : band[1]].any(), "a hand reaches into the number"
            yield ClipFrame(_jpeg(rendered.frame.image), rendered.hands)


def _jpeg(image: Picture) -> bytes:
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return encoded.tobytes()
