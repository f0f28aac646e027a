"""The `light` segmenter: masks from landmarks or regions, colour and optical flow, on a CPU, without weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import LightConfig
from gest_stream.errors import InvalidInputError
from gest_stream.models.blob_shape import BlobShape, beyond_lookalikes_cm
from gest_stream.models.colour_model import ColourModel, colour_codes
from gest_stream.models.crop_window import CropWindow
from gest_stream.models.hand_shape import HandShape, ShapeModel
from gest_stream.models.mask_alpha import alpha_mask, share_pixels
from gest_stream.models.mask_flow import FlowFinder, grey_of
from gest_stream.models.mask_refine import (
    RefineModel,
    shape_odds,
    signed_distance,
    smooth_along_edges,
    without_islands,
)
from gest_stream.models.mask_rivalry import front_evidence, lead_cm
from gest_stream.types import Frame, HandMask, MaskSource, Observation, PromptMode

_log = logging.getLogger(__name__)

_MARGIN_CM = 3.0
_CARRY_MARGIN_CM = 5.0
_SURE_HAND_CM = 0.2
_FLOW_MISS_CELLS = 1.5
_FAR = -16.0


class _Outline(Protocol):
    """The outline expected of a hand: a `HandShape` where there were landmarks, else a `BlobShape`."""

    @property
    def points_xy_px(self) -> NDArray[np.float32]: ...

    @property
    def px_per_cm(self) -> float: ...

    def moved_to(self, points_xy_px: NDArray[np.float32]) -> Self: ...

    def box_xyxy_px(self, margin_cm: float) -> tuple[float, float, float, float]: ...

    def draw(self, window: CropWindow) -> NDArray[np.uint8]: ...

    def draw_core(self, window: CropWindow) -> NDArray[np.uint8]: ...

    def beyond_wrist_cm(self, window: CropWindow) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class _Basis:
    """What an expected outline rests on.

    Args:
        source: What a mask made from it is called.
        model: How far the picture may move it.
        background_cm: Distances outside it between which all is background; None where it is too worn to learn from.
        slack_cm: How far the picture may move it without that telling against it; what looks like the hand and
            reaches further out is something else. 0 where the outline is a hand's own shape and ends at its wrist.
    """

    source: MaskSource
    model: RefineModel
    background_cm: tuple[float, float] | None
    slack_cm: float = 0.0


_LANDMARKS = _Basis(MaskSource.LIGHT, RefineModel(), (0.6, 2.8))
_LANDMARKS_FLOW = _Basis(MaskSource.CARRIED, RefineModel(play_cm=0.25, inner_play_cm=0.25), None)
_REGION = _Basis(MaskSource.CARRIED, RefineModel(play_cm=0.9, inner_play_cm=0.9, colour_gain=1.5), (1.2, 2.9), 1.0)
_REGION_FLOW = _Basis(MaskSource.CARRIED, RefineModel(play_cm=0.4, inner_play_cm=0.4, colour_gain=1.5), None, 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """One hand on this frame, before colour: where it is looked at and what outline is expected there."""

    shape: _Outline
    window: CropWindow
    image: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    distance_cm: NDArray[np.float32]
    confidence: float
    basis: _Basis

    @property
    def cells_per_cm(self) -> float:
        return self.shape.px_per_cm * self.window.scale_xy[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Rival:
    """Another hand on the grid of this one.

    Args:
        distance_cm: (h, w) float32 signed distance to its outline, positive inside.
        lead_cm: By how much each cell is this hand's rather than the other's, negative where it is the other's.
    """

    distance_cm: NDArray[np.float32]
    lead_cm: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """What is kept of one hand from frame to frame."""

    shape: _Outline
    window: CropWindow
    odds: NDArray[np.float32]
    colours: ColourModel | None
    score: float
    seen_area_px: int


class LightSegmenter:
    """Masks from the hand's own shape, corrected by its colour, carried by flow where landmarks are missing.

    Args:
        config: Its settings.
    """

    def __init__(self, config: LightConfig) -> None:
        self._config = config
        self._shape_model = ShapeModel()
        self._flow = FlowFinder()
        self._memory: dict[int, _Memory] = {}
        self._fronts: dict[tuple[int, int], float] = {}
        self._last: Frame | None = None

    @property
    def takes_clicks(self) -> bool:
        """Points alone say nothing to it: it needs landmarks or a mask to start from."""
        return False

    def encode(self, frame: Frame) -> Frame:
        """The frame itself: nothing is worth computing before it is known where the hands are."""
        return frame

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """Advance every hand by one frame.

        A hand with landmarks gets a mask from them, one without landmarks but with a region from that. One without
        either is carried on from the last frame, with a score that falls with time and with every disagreement, until
        it is below `LightConfig.min_score` and dropped.

        Args:
            encoded: From `encode` on the same frame.
            observations: One for every live hand.

        Returns:
            A mask by object id; disjoint. Missing for a hand that never had landmarks or region, or was dropped.

        Raises:
            InvalidInputError: A region that is used belongs to a frame of another size.
        """
        frame = encoded
        if self._last is not None and self._last.size != frame.size:
            self.reset()
        sights: dict[int, _Sight] = {}
        outside: dict[int, HandMask] = {}
        for observation in observations:
            sight = self._look(frame, observation)
            if sight is not None:
                sights[observation.object_id] = sight
            elif observation.landmarks is not None:
                outside[observation.object_id] = HandMask.empty(frame.size, 0.0, MaskSource.LIGHT)
                self.forget(observation.object_id)
        masks = {}
        for object_id, sight in sights.items():
            mask = self._segment(frame, object_id, sight, sights)
            if mask is not None:
                masks[object_id] = mask
        self._last = frame
        return share_pixels(masks) | outside

    def forget(self, object_id: int) -> None:
        """Drop a hand's memory; unknown ids are ignored."""
        self._memory.pop(object_id, None)
        self._fronts = {pair: front for pair, front in self._fronts.items() if object_id not in pair}

    def reset(self) -> None:
        """Drop every hand's memory: the stream was cut or changed size."""
        self._memory.clear()
        self._fronts.clear()
        self._last = None

    def close(self) -> None:
        """Let go of the last frame and every memory."""
        self.reset()

    def _look(self, frame: Frame, observation: Observation) -> _Sight | None:
        """What outline to expect; None where there is nothing to expect it from, or it lies outside the frame."""
        object_id, landmarks = observation.object_id, observation.landmarks
        if observation.prompt is not None and observation.prompt.mode is PromptMode.RESET:
            self._memory.pop(object_id, None)
        if landmarks is not None:
            return self._begun(frame, HandShape.from_landmarks(landmarks, self._shape_model), 1.0, _LANDMARKS)
        shape = _region_shape(frame, observation.region)
        if shape is not None and observation.region is not None:
            return self._begun(frame, shape, observation.region.score, _REGION)
        return self._carried(frame, object_id)

    def _begun(self, frame: Frame, shape: _Outline, confidence: float, basis: _Basis) -> _Sight | None:
        """An outline seen on this very frame; None where it lies outside."""
        window = CropWindow.around(shape.box_xyxy_px(_MARGIN_CM), frame.size, self._config.working_px)
        if window is None:
            return None
        image = window.take(frame.image)
        distance = signed_distance(shape.draw(window)) / np.float32(shape.px_per_cm * window.scale_xy[0])
        return _Sight(shape, window, image, grey_of(image), distance, confidence, basis)

    def _carried(self, frame: Frame, object_id: int) -> _Sight | None:
        """The last mask, moved by the flow between the last frame and this one."""
        memory = self._memory.get(object_id)
        if memory is None or self._last is None:
            return None
        window = CropWindow.around(memory.shape.box_xyxy_px(_CARRY_MARGIN_CM), frame.size, self._config.working_px)
        if window is None:
            self._drop(object_id, "it left the frame")
            return None
        image, last = window.take(frame.image), window.take(self._last.image)
        grey = grey_of(image)
        flow = self._flow.between(grey_of(last), grey)
        if flow is None:
            self._drop(object_id, "it is too small to be followed")
            return None
        odds = flow.carry(window.regrid(memory.odds, memory.window, _FAR))
        inside = odds > 0
        moved = flow.move_points(window.to_grid(memory.shape.points_xy_px), inside)
        if moved is None:
            self._drop(object_id, "the flow lost it")
            return None
        steady = np.count_nonzero(inside & (flow.error < _FLOW_MISS_CELLS)) / int(np.count_nonzero(inside))
        shape = memory.shape.moved_to(window.to_frame(moved))
        distance = signed_distance(inside.astype(np.uint8)) / np.float32(shape.px_per_cm * window.scale_xy[0])
        of_region = isinstance(shape, BlobShape)
        decay = self._config.region_decay if of_region else self._config.carry_decay
        basis = _REGION_FLOW if of_region else _LANDMARKS_FLOW
        confidence = memory.score * decay * steady
        return _Sight(shape, window, image, grey, distance, confidence, basis)

    def _segment(self, frame: Frame, object_id: int, sight: _Sight, sights: Mapping[int, _Sight]) -> HandMask | None:
        memory = self._memory.get(object_id)
        beyond = sight.shape.beyond_wrist_cm(sight.window)
        rivals = self._rivals(object_id, sight, sights)
        codes = colour_codes(sight.image)
        colours = self._colours(memory, sight, codes, beyond, rivals)
        model = sight.basis.model
        odds = shape_odds(sight.distance_cm, model)
        if colours is not None:
            evidence = colours.evidence(codes)
            odds = odds + np.float32(model.colour_gain * colours.trust) * evidence
            if sight.basis.slack_cm > 0.0:
                beyond = beyond_lookalikes_cm(evidence, sight.distance_cm, sight.cells_per_cm, sight.basis.slack_cm)
        odds = smooth_along_edges(odds, sight.grey, sight.cells_per_cm, model)
        for limit in (-beyond, *(rival.lead_cm for rival in rivals)):
            np.minimum(odds, limit * np.float32(2.0 * sight.cells_per_cm), out=odds)
        odds = without_islands(odds, sight.distance_cm > _SURE_HAND_CM)
        score = self._score(sight, odds)
        mask = alpha_mask(odds, sight.window, frame.size, score, sight.basis.source)
        area = mask.area_px
        if sight.basis.background_cm is None and memory is not None:
            grown = area / max(1, memory.seen_area_px)
            if score < self._config.min_score or not 0.15 < grown < 1.8:
                self._drop(object_id, f"score {score:.2f}, area {grown:.2f} of what it was")
                return None
            area = memory.seen_area_px
        self._memory[object_id] = _Memory(sight.shape, sight.window, odds, colours, score, area)
        return mask

    def _colours(
        self,
        memory: _Memory | None,
        sight: _Sight,
        codes: NDArray[np.int32],
        beyond: NDArray[np.float32],
        rivals: Sequence[_Rival],
    ) -> ColourModel | None:
        """Learn from this frame where the outline is fresh; a carried one teaches nothing."""
        older = memory.colours if memory is not None else None
        if sight.basis.background_cm is None:
            return older
        near, far = sight.basis.background_cm
        hand = sight.shape.draw_core(sight.window) > 0
        # The forearm looks like the hand, and so does the other hand: neither is background.
        rest = (sight.distance_cm < -near) & (sight.distance_cm > -far) & (beyond < 0)
        for rival in rivals:
            hand &= rival.lead_cm > 0
            rest &= rival.distance_cm < -near
        fresh = ColourModel.learn(codes, hand, rest)
        return fresh.blended(older, self._config.colour_keep) if fresh is not None else older

    def _rivals(self, object_id: int, sight: _Sight, sights: Mapping[int, _Sight]) -> list[_Rival]:
        """The other hands that reach into this one's window."""
        rivals = []
        for other_id, other in sights.items():
            if other_id == object_id or not sight.window.overlaps(other.window):
                continue
            theirs = _seen_from(sight, other)
            front = self._front(object_id, other_id, sight, other, theirs)
            rivals.append(_Rival(theirs, lead_cm(sight.distance_cm, theirs, front > 0)))
        return rivals

    def _front(
        self, object_id: int, other_id: int, sight: _Sight, other: _Sight, theirs_cm: NDArray[np.float32]
    ) -> float:
        """Above 0 where this hand is in front of the other; decided once a frame for each pair."""
        pair = (min(object_id, other_id), max(object_id, other_id))
        sign = 1.0 if object_id == pair[0] else -1.0
        if object_id == pair[1] and pair in self._fronts:
            return sign * self._fronts[pair]
        evidence = front_evidence(sight.grey, sight.distance_cm, theirs_cm)
        # Without other evidence the hand that looks larger is the nearer one.
        prior = self._fronts.get(pair, 0.1 * sign * float(np.sign(sight.shape.px_per_cm - other.shape.px_per_cm)))
        front = prior if evidence is None else 0.7 * prior + 0.3 * sign * evidence
        self._fronts[pair] = front
        return sign * front

    def _score(self, sight: _Sight, odds: NDArray[np.float32]) -> float:
        """Agreement of the outline that was expected with the one that came out, times what was left of confidence."""
        expected, found = sight.distance_cm > 0, odds > 0
        if sight.basis.slack_cm > 0.0:
            expected = np.where(np.abs(sight.distance_cm) < sight.basis.slack_cm, found, expected)
        union = np.count_nonzero(expected | found)
        agreement = np.count_nonzero(expected & found) / union if union else 0.0
        return float(np.clip(agreement, 0.0, 1.0)) * sight.confidence

    def _drop(self, object_id: int, reason: str) -> None:
        _log.debug("mask of hand %d dropped: %s", object_id, reason)
        self.forget(object_id)


def _seen_from(sight: _Sight, other: _Sight) -> NDArray[np.float32]:
    """(h, w) signed distance to another hand's outline on this one's grid, in centimetres of this hand."""
    if other.basis.background_cm is None:  # theirs is to a carried mask, not to the outline
        drawn = signed_distance(other.shape.draw(sight.window))
        return drawn / np.float32(sight.cells_per_cm)
    # moved from their own grid: drawing the other hand anew takes longer
    distance = sight.window.regrid(other.distance_cm, other.window, _FAR)
    return distance * np.float32(other.shape.px_per_cm / sight.shape.px_per_cm)


def _region_shape(frame: Frame, region: HandMask | None) -> BlobShape | None:
    """None where there is no region, or nothing in it."""
    if region is None:
        return None
    if region.frame_size != frame.size:
        raise InvalidInputError(f"region: expected a mask of the frame's size {frame.size}, got {region.frame_size}")
    return BlobShape.from_mask(region)
