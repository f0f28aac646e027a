"""What a redetector saw on one frame, moved by optical flow to where it is on a later one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.models.crop_window import CropWindow
from gest_stream.models.mask_flow import FlowFinder, grey_of
from gest_stream.types import Frame, HandProbability

_MISS_CELLS = 2.0
_CHANGE_LEVELS = 30.0
_GRAIN = (5, 5)


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """Where every cell of the last small picture was on the first one.

    Args:
        back_xy: (h, w, 2) float32 cells from here to there.
        miss: (h, w) float32 cells by which going back and forth disagreed, on the worst step of the way.
    """

    back_xy: NDArray[np.float32]
    miss: NDArray[np.float32]

    def then(self, back_xy: NDArray[np.float32], miss: NDArray[np.float32]) -> _Path:
        """One step further."""
        return _Path(back_xy + _look_up(self.back_xy, back_xy), np.maximum(miss, _look_up(self.miss, back_xy)))


class FlowCarrier:
    """Carries probability maps along with the picture: a `ProbabilityCarrier`.

    The flow is found between small pictures of the frames, one step after the other. A cell keeps its probability
    where it can be followed back and forth or still has its colours; where it has neither, as on background that a
    hand or an object uncovered, the probability falls towards 0.

    Args:
        side_px: Longer side of the small pictures.
        max_steps: Steps of one way at most; of more frames some are left out, evenly.
    """

    def __init__(self, side_px: int = 224, max_steps: int = 12) -> None:
        self._side_px, self._max_steps = side_px, max_steps
        self._flow = FlowFinder(fine=True)

    def carry(self, probability: HandProbability, frames: Sequence[Frame]) -> HandProbability:
        """Follow the picture from frame to frame.

        Args:
            probability: What was seen on the first frame.
            frames: That frame and later ones, in order, one or more, all of one size; the last is the target.

        Returns:
            The same maps as they are on the last frame; the very same object where there is only one frame, or where
            the frames are too narrow for flow.

        Raises:
            InvalidInputError: There is no frame, or one is of another size than the map's.
        """
        _check_sizes(probability, frames)
        if len(frames) == 1:
            return probability
        pictures = list(self._pictures(frames))
        path = self._follow(pictures)
        if path is None:
            return probability
        trust = _trust(path, pictures[0], pictures[-1])
        hand = _moved(probability.hand, path, trust)
        forearm = _moved(probability.forearm, path, trust) if probability.forearm is not None else None
        return HandProbability(hand, probability.frame_size, forearm)

    def _pictures(self, frames: Sequence[Frame]) -> Iterator[NDArray[np.uint8]]:
        """(h, w, 3) uint8 small pictures of the frames that are gone by."""
        width, height = frames[0].size
        window = CropWindow.around((0.0, 0.0, width, height), (width, height), self._side_px)
        steps = min(len(frames) - 1, self._max_steps)
        for index in np.rint(np.linspace(0, len(frames) - 1, steps + 1)).astype(int):
            if window is not None:
                yield window.take(frames[index].image)

    def _follow(self, pictures: Sequence[NDArray[np.uint8]]) -> _Path | None:
        greys = [grey_of(picture) for picture in pictures]
        path: _Path | None = None
        for last, now in zip(greys[:-1], greys[1:], strict=True):
            flow = self._flow.between(last, now)
            if flow is None:
                return None
            path = path.then(flow.back_xy, flow.error) if path is not None else _Path(flow.back_xy, flow.error)
        return path


def _check_sizes(probability: HandProbability, frames: Sequence[Frame]) -> None:
    if not frames:
        raise InvalidInputError("carry: expected the frame that was looked at and later ones, got no frame")
    for frame in frames:
        if frame.size != probability.frame_size:
            raise InvalidInputError(
                f"carry: expected frames of {probability.frame_size} as the map's, got {frame.size} (frame {frame.seq})"
            )


def _trust(path: _Path, first: NDArray[np.uint8], last: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How surely each cell of the last picture is what it was followed back to, (h, w) float32, 0 to 1."""
    import cv2

    then, now = (cv2.blur(picture, _GRAIN).astype(np.float32) for picture in (first, last))
    change = np.abs(now - _look_up(then, path.back_xy)).max(axis=2)
    same = np.maximum(_falling(path.miss / np.float32(_MISS_CELLS)), _falling(change / np.float32(_CHANGE_LEVELS)))
    return same.astype(np.float32)


def _falling(error: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 at 0, 0.5 at 1, and soon nothing."""
    squared = error * error
    fallen: NDArray[np.float32] = np.float32(1.0) / (np.float32(1.0) + squared * squared)
    return fallen


def _moved(values: NDArray[np.float32], path: _Path, trust: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map, (h, w) float32 on any grid over the frame, as it is at the end of the path."""
    import cv2

    height, width = values.shape
    scale_x, scale_y = path.back_xy.shape[1] / width, path.back_xy.shape[0] / height
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) * np.float32(scale_x) - np.float32(0.5)
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) * np.float32(scale_y) - np.float32(0.5)
    at_x, at_y = np.meshgrid(x, y)
    # The nearest cell's step: the mean of a hand's and the background's leads nowhere.
    back = cv2.remap(path.back_xy, at_x, at_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.remap(trust, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved = _look_up(values, (back / np.array([scale_x, scale_y], np.float32)).astype(np.float32))
    return np.asarray(np.clip(moved * weight, 0.0, 1.0), np.float32)


def _look_up(values: NDArray[np.float32], back_xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) or (h, w, n) values at the places that `back_xy`, (h, w, 2) cells, leads to; the border's from outside."""
    import cv2

    height, width = values.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :] + back_xy[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + back_xy[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
