"""The `builtin` segmenter: a small network that refines what landmarks and the last frame promise of every hand."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import Precision, RefinerConfig
from gest_stream.errors import InvalidInputError
from gest_stream.models.builtin import load_builtin, read_builtin
from gest_stream.models.cpu_features import multiplies_bfloat16
from gest_stream.models.crop_window import CropWindow
from gest_stream.models.mask_alpha import alpha_mask, share_pixels
from gest_stream.models.refiner_inputs import (
    Past,
    frame_plane,
    landmark_window,
    mask_window,
    past_planes,
    shape_plane,
    square_window,
    stack_inputs,
    take_square,
)
from gest_stream.models.wrist_cut import cut_at_wrist
from gest_stream.types import Frame, HandLandmarks, HandMask, MaskSource, Observation, PromptMode

if TYPE_CHECKING:
    from gest_stream.models.refiner_pass import RefinerPass

_log = logging.getLogger(__name__)

_NAME = "refiner"
_OUTSIDE = -16.0
_NO_CLAIM = -7.0
"""Log odds of another hand below which it takes nothing worth telling from this one: less than 0.001."""
_RIVAL_MASK = np.float32(0.75)
"""How firmly a hand without landmarks is told to the others; as in training."""

_MOST_GROWTH = 1.12
"""Of a crop from frame to frame where only masks say how large it is."""

_KEPT_SPEED = 0.8
_LEAST_CELLS = 12


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """What is kept of one hand from frame to frame.

    Args:
        past: Its last crop and mask.
        center_xy_px: Middle of its last mask.
        speed_xy_px: Pixels it moves a frame.
        confidence: What is left of it since landmarks or redetector last saw the hand, 0 to 1.
        unseen: Frames since it was last said to be there.
    """

    past: Past
    center_xy_px: NDArray[np.float64]
    speed_xy_px: NDArray[np.float64]
    confidence: float = 1.0
    unseen: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """One hand on this frame, before the network; `inside` is `frame_plane` of its window."""

    window: CropWindow
    image: NDArray[np.uint8]
    inside: NDArray[np.float32]
    landmarks: HandLandmarks | None
    past: Past | None
    shift_xy_px: tuple[float, float]
    confidence: float = 1.0

    @property
    def points_xy_px(self) -> NDArray[np.float32] | None:
        """(21, 2) landmarks."""
        return np.ascontiguousarray(self.landmarks.points_xy_px) if self.landmarks is not None else None


class RefinerSegmenter:
    """Masks from a refiner's network, all hands of a frame in one pass.

    Args:
        net: Belongs to the segmenter from now on.
        config: Its settings.
    """

    def __init__(self, net: RefinerPass, config: RefinerConfig) -> None:
        import torch

        half = config.precision is Precision.BFLOAT16
        half |= config.precision is Precision.AUTO and multiplies_bfloat16()
        self._dtype = torch.bfloat16 if half else torch.float32
        self._net = net.to(self._dtype).to(memory_format=torch.channels_last)
        self._grid = config.grid or net.spec.grid
        self._threads = config.threads or max(1, (os.cpu_count() or 1) // 2)
        self._config = config
        self._memory: dict[int, _Memory] = {}
        self._size: tuple[int, int] | None = None

    @property
    def takes_clicks(self) -> bool:
        """Points alone say nothing to it: it needs landmarks or a mask to start from."""
        return False

    def encode(self, frame: Frame) -> Frame:
        """The frame itself: nothing is worth computing before it is known where the hands are."""
        return frame

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """Advance every hand by one frame.

        A hand with landmarks is looked for around them, with what is remembered of it. One without landmarks but with
        a region is looked for there, where it is new or its prompt says so; every other one where it is thought to
        have moved, until the network says for `RefinerConfig.forget_after_frames` that it is gone.

        Args:
            encoded: From `encode` on the same frame.
            observations: One for every live hand.

        Returns:
            A mask by object id; disjoint. Missing for a hand that never had landmarks or region, or is gone.

        Raises:
            InvalidInputError: A region that is used belongs to a frame of another size.
        """
        frame = encoded
        if self._size != frame.size:
            self.reset()
            self._size = frame.size
        sights: dict[int, _Sight] = {}
        outside: dict[int, HandMask] = {}
        for observation in observations:
            sight = self._look(frame, observation)
            if sight is not None:
                sights[observation.object_id] = sight
            elif observation.landmarks is not None:
                outside[observation.object_id] = HandMask.empty(frame.size, 0.0, MaskSource.BUILTIN)
        if not sights:
            return outside
        odds, there = self._compute(sights)
        masks = {}
        for number, (object_id, sight) in enumerate(sights.items()):
            mask = self._conclude(frame, object_id, sight, odds[number], float(there[number]))
            if mask is not None:
                masks[object_id] = mask
        return share_pixels(masks) | outside

    def forget(self, object_id: int) -> None:
        """Drop a hand's memory; unknown ids are ignored."""
        self._memory.pop(object_id, None)

    def reset(self) -> None:
        """Drop every hand's memory: the stream was cut or changed size."""
        self._memory.clear()

    def close(self) -> None:
        """Let go of every memory."""
        self.reset()

    def _look(self, frame: Frame, observation: Observation) -> _Sight | None:
        """Where to look for a hand; None where nothing says where, or it lies outside the frame."""
        object_id, landmarks = observation.object_id, observation.landmarks
        asked = observation.prompt is not None
        if observation.prompt is not None and observation.prompt.mode is PromptMode.RESET:
            self.forget(object_id)
        memory = self._memory.get(object_id)
        if landmarks is not None:
            window = landmark_window(landmarks.points_xy_px, self._grid)
            shift = (0.0, 0.0) if memory is None else _shift_of(landmarks.points_xy_px, memory)
            past = memory.past if memory is not None else None
            return self._seen(frame, object_id, window, landmarks, past, shift)
        region = observation.region
        if region is not None and (asked or memory is None):
            return self._started(frame, object_id, region)
        return self._carried(frame, object_id, region) if memory is not None else None

    def _seen(
        self,
        frame: Frame,
        object_id: int,
        window: CropWindow,
        landmarks: HandLandmarks | None,
        past: Past | None,
        shift_xy_px: tuple[float, float],
    ) -> _Sight | None:
        width, height = frame.size
        right, bottom = window.left + window.width, window.top + window.height
        if window.left >= width or window.top >= height or right <= 0 or bottom <= 0:
            self._drop(object_id, "it left the frame")
            return None
        image, inside = take_square(frame.image, window), frame_plane(window, frame.size)
        return _Sight(window, image, inside, landmarks, past, shift_xy_px)

    def _started(self, frame: Frame, object_id: int, region: HandMask) -> _Sight | None:
        """Where a redetector saw the hand on this very frame: what it saw stands for the last frame's mask."""
        if region.frame_size != frame.size:
            raise InvalidInputError(
                f"region: expected a mask of the frame's size {frame.size}, got {region.frame_size}"
            )
        box = region.box_xyxy_px
        if box is None:
            return None
        window = mask_window(box, region.area_px, self._grid)
        sight = self._seen(frame, object_id, window, None, None, (0.0, 0.0))
        if sight is None:
            return None
        mask = take_square(region.full(), window).astype(np.float32) * np.float32(1.0 / 255.0)
        mask *= sight.inside
        return replace(sight, past=Past(window, sight.image, mask))

    def _carried(self, frame: Frame, object_id: int, region: HandMask | None) -> _Sight | None:
        """Where a hand is thought to have moved; what a redetector sees of it, if it looked, only bears it out."""
        memory = self._memory[object_id]
        window, shift = memory.past.window, memory.speed_xy_px
        step = window.width / self._grid
        inside = memory.past.mask > 0.5
        cells = int(np.count_nonzero(inside))
        if cells >= _LEAST_CELLS:
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            left, top = window.left + columns[0] * step, window.top + rows[0] * step
            right, bottom = window.left + (columns[-1] + 1) * step, window.top + (rows[-1] + 1) * step
            wanted = mask_window((left, top, right, bottom), cells * step * step, self._grid)
            side = float(np.clip(wanted.width, window.width / _MOST_GROWTH, window.width * _MOST_GROWTH))
            middle = np.array([wanted.left, wanted.top]) + wanted.width / 2 + shift
            window = square_window(middle, side, self._grid)
        sight = self._seen(frame, object_id, window, None, memory.past, (float(shift[0]), float(shift[1])))
        if sight is None or region is not None:
            return sight
        return replace(sight, confidence=memory.confidence * self._config.carry_decay)

    def _compute(self, sights: Mapping[int, _Sight]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Of every hand: log odds, (grid, grid) float32, where no other has a better claim, and whether it is there."""
        import torch

        from gest_stream.models.torch_threads import torch_threads

        inputs = np.stack([_inputs(object_id, sight, sights) for object_id, sight in sights.items()])
        with torch.inference_mode(), torch_threads(self._threads):
            batch = torch.from_numpy(inputs).to(self._dtype).contiguous(memory_format=torch.channels_last)
            odds, seen = self._net(batch)
            own = odds.float().contiguous().numpy()
            there = torch.sigmoid(seen.float()).numpy()
        windows = [sight.window for sight in sights.values()]
        return [_shared_odds(k, own, windows) for k in range(len(windows))], there

    def _conclude(
        self, frame: Frame, object_id: int, sight: _Sight, odds: NDArray[np.float32], there: float
    ) -> HandMask | None:
        """The hand's mask, and what is remembered of it."""
        belief = (1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0)))).astype(np.float32)
        belief *= sight.inside
        seen = belief > 0.5
        sure = float(belief[seen].mean()) if seen.any() else 0.0
        score = float(np.clip(there * sure * sight.confidence, 0.0, 1.0))
        held = sight.landmarks is not None
        if not held and score < self._config.min_score:
            self._miss(object_id, sight)
            return None
        self._remember(object_id, sight, belief, seen)
        source = MaskSource.BUILTIN if held else MaskSource.CARRIED
        inner = _inside_frame(sight.window, frame.size)
        mask = alpha_mask(inner.regrid(odds, sight.window, _OUTSIDE), inner, frame.size, score, source)
        if sight.landmarks is None or not self._config.wrist_cut:
            return mask
        return cut_at_wrist(mask, sight.landmarks)

    def _remember(self, object_id: int, sight: _Sight, belief: NDArray[np.float32], seen: NDArray[np.bool_]) -> None:
        past = Past(sight.window, sight.image, belief, sight.points_xy_px)
        memory = self._memory.get(object_id)
        rows, columns = np.nonzero(seen)
        if not rows.size:
            center = np.array([sight.window.left, sight.window.top]) + sight.window.width / 2
            self._memory[object_id] = _Memory(past, center, np.zeros(2), sight.confidence)
            return
        cells = np.array([[columns.mean(), rows.mean()]])
        center = sight.window.to_frame(cells)[0].astype(np.float64)
        speed = np.zeros(2)
        if memory is not None and memory.unseen == 0:
            speed = _KEPT_SPEED * (center - memory.center_xy_px)
        self._memory[object_id] = _Memory(past, center, speed, sight.confidence)

    def _miss(self, object_id: int, sight: _Sight) -> None:
        """The network says that the hand is not there: look again where it was, for some frames."""
        memory = self._memory.get(object_id)
        if memory is None:
            return
        if memory.unseen + 1 >= self._config.forget_after_frames:
            self._drop(object_id, f"not seen for {memory.unseen + 1} frames")
            return
        self._memory[object_id] = replace(
            memory, speed_xy_px=np.zeros(2), confidence=sight.confidence, unseen=memory.unseen + 1
        )

    def _drop(self, object_id: int, reason: str) -> None:
        _log.debug("mask of hand %d dropped: %s", object_id, reason)
        self.forget(object_id)


def load_refiner(config: RefinerConfig) -> RefinerSegmenter:
    """The segmenter with the weights that its settings name.

    Raises:
        WeightsError: They are absent, damaged or of another network.
        MissingDependencyError: safetensors is not installed.
    """
    from gest_stream.models.refiner import RefinerSpec, build_refiner
    from gest_stream.models.refiner_pass import RefinerPass

    state, metadata = load_builtin(_NAME) if config.weights is None else read_builtin(config.weights)
    net = build_refiner(state, RefinerSpec.from_metadata(metadata.get("spec")))
    return RefinerSegmenter(RefinerPass(net), config)


def _shift_of(points_xy_px: NDArray[np.float32], memory: _Memory) -> tuple[float, float]:
    """How a hand moved that has landmarks now and had none before."""
    if memory.past.points_xy_px is not None:
        return 0.0, 0.0
    shift = points_xy_px[[0, 5, 9, 13, 17]].mean(axis=0) - memory.center_xy_px
    return float(shift[0]), float(shift[1])


def _inputs(object_id: int, sight: _Sight, sights: Mapping[int, _Sight]) -> NDArray[np.float32]:
    window, points = sight.window, sight.points_xy_px
    shape = shape_plane(points, window) if points is not None else None
    past = past_planes(sight.past, window, points, sight.shift_xy_px) if sight.past is not None else None
    rivals = [
        _as_rival(other, window)
        for other_id, other in sights.items()
        if other_id != object_id and window.overlaps(other.window)
    ]
    rival = np.max(rivals, axis=0) if rivals else None
    return stack_inputs(sight.image, sight.inside, shape, rival, past)


def _as_rival(other: _Sight, window: CropWindow) -> NDArray[np.float32]:
    if other.points_xy_px is not None:
        return shape_plane(other.points_xy_px, window)
    if other.past is None:
        return np.zeros(window.grid_size[::-1], np.float32)
    return _RIVAL_MASK * past_planes(other.past, window, None, other.shift_xy_px)[1]


def _shared_odds(number: int, own: NDArray[np.float32], windows: Sequence[CropWindow]) -> NDArray[np.float32]:
    """Log odds of a hand against background and all other hands whose crops reach into its own.

    Source: the soft aggregation of several objects' masks of Oh, Lee, Xu and Kim, "Fast User-Guided Video Object
    Segmentation by Interaction-and-Propagation Networks", 2019.
    """
    window, odds = windows[number], own[number].copy()
    for other, its_window in enumerate(windows):
        if other == number or not window.overlaps(its_window):
            continue
        theirs = window.regrid(own[other], its_window, _OUTSIDE)
        claimed = theirs > _NO_CLAIM
        odds[claimed] -= np.logaddexp(np.float32(0.0), theirs[claimed])
    return np.asarray(odds, np.float32)


def _inside_frame(window: CropWindow, frame_size: tuple[int, int]) -> CropWindow:
    """The part of a square window that lies in the frame, on a grid about as fine."""
    left, top = max(window.left, 0), max(window.top, 0)
    width = min(window.left + window.width, frame_size[0]) - left
    height = min(window.top + window.height, frame_size[1]) - top
    if (width, height) == (window.width, window.height):
        return window
    scale = window.scale_xy[0]
    return CropWindow(left, top, width, height, (max(1, round(width * scale)), max(1, round(height * scale))))
