"""From questions to prompts: when the redetector is asked, and what its answers do to the hands."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gest_stream.config import RedetectionMode, TrackerConfig
from gest_stream.tracking.asking import AskMemory, AskReason, on_answer, on_frame, waited, wanted
from gest_stream.tracking.live_track import LiveTrack
from gest_stream.tracking.prompts import prompt_from_region
from gest_stream.tracking.recognition import Recognition, covered_by, recognise
from gest_stream.tracking.redetection import Answer, Redetection
from gest_stream.tracking.regions import HandRegion
from gest_stream.types import Frame, Prompt, TrackState

_log = logging.getLogger(__name__)

_NEARBY = 2.0
"""Distance, in hand sizes, up to which a missing hand is looked for where it was."""

_SAME_MASK_IOU = 0.5
"""A mask that overlaps what was seen by less has gone astray and is started anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What an answer leads to on this frame.

    Args:
        prompts: By track id, where the segmenter is to start a hand anew.
        new: Hands that no track knows.
        took_ms: How long the answer took; None where there is none.
    """

    prompts: dict[int, Prompt] = field(default_factory=dict)
    new: tuple[HandRegion, ...] = ()
    took_ms: float | None = None


class Reacquisition:
    """The redetector's side of a tracker.

    Args:
        redetection: Puts the questions.
        config: Of the tracker.
        most_hands: As many hands as the landmarks' detector looks for; None where that is not known.
    """

    def __init__(self, redetection: Redetection, config: TrackerConfig, most_hands: int | None = None) -> None:
        self._redetection, self._config, self._most_hands = redetection, config, most_hands
        self._memory = AskMemory()
        self._answer: Answer | None = None
        self._regions: tuple[HandRegion, ...] = ()
        self._hands: list[LiveTrack] = []
        self.set_live(False)

    def set_live(self, live: bool) -> None:
        """Whether frames come at their own pace; `RedetectionConfig.mode` may overrule it."""
        mode = self._config.redetection.mode
        self._redetection.background = live if mode is RedetectionMode.AUTO else mode is RedetectionMode.BACKGROUND

    def reset(self) -> None:
        """The stream was cut or changed size."""
        self._redetection.reset()
        self._memory, self._answer = AskMemory(), None

    def close(self) -> None:
        """Let go of the redetector."""
        self._redetection.close()

    def advance(self, frame: Frame, steps: int, tracks: Sequence[LiveTrack]) -> Found:
        """One frame, after association: put a question where one is due, and use the answer that is there.

        Args:
            frame: The frame.
            steps: Source frames since the one before.
            tracks: Every live hand, after `see` or `miss`.

        Raises:
            ModelError: The redetector failed.
        """
        self._redetection.note(frame)
        config = self._config.redetection
        memories = [(track.id, track.memory) for track in tracks]
        wants = wanted(memories, self._config.loss, config, self._most_hands)
        if not self._redetection.busy:
            self._memory, due = on_frame(self._memory, wants, steps, config)
            if due:
                _log.debug("redetector asked: %s", sorted(f"{reason} {track or ''}".strip() for reason, track in wants))
                self._redetection.ask(frame)
        else:
            self._memory = waited(self._memory, steps)
        answer = self._redetection.take()
        return self._use(answer, tracks, wants) if answer is not None else Found()

    def start(self, track: LiveTrack, region: HandRegion) -> Prompt:
        """The first prompt of a new track that the last answer's `region` opens."""
        assert self._answer is not None
        return self._prompt(track, region)

    def _use(self, answer: Answer, tracks: Sequence[LiveTrack], wants: frozenset[tuple[AskReason, int]]) -> Found:
        self._answer, self._regions, self._hands = answer, answer.regions, list(tracks)
        seen = recognise(answer.regions, tracks)
        prompts: dict[int, Prompt] = {}
        returned = {index: k for index, k in seen.returned.items() if self._is_likely(answer.regions[index], tracks[k])}
        helped = self._confirm(seen, tracks, wants, prompts)
        for index, k in returned.items():
            prompts[tracks[k].id] = self._prompt(tracks[k], answer.regions[index])
        unknown = [answer.regions[index] for index in seen.unknown]
        new = self._new_ones(unknown, tracks, [tracks[k] for k in returned.values()], wants)
        self._memory = on_answer(self._memory, helped or bool(returned), self._config.redetection)
        return Found(prompts, new, answer.took_ms)

    def _new_ones(
        self,
        unknown: Sequence[HandRegion],
        tracks: Sequence[LiveTrack],
        returned: Sequence[LiveTrack],
        wants: frozenset[tuple[AskReason, int]],
    ) -> tuple[HandRegion, ...]:
        """Of the hands that no track knows, those that are to become tracks: no more than the detector looks for.

        Landmarks that show hands are believed that there are no more, but for those that the detector does not see of
        the hands it looks for.
        """
        config = self._config.redetection
        sure = [region for region in unknown if config.open_tracks and region.score >= config.open_score]
        hands = [track for track in tracks if not track.is_object]
        known = sum(one.landmarks is not None or one.last_mask is not None or one in returned for one in hands)
        room = max(0, self._most_hands - known) if self._most_hands is not None else len(sure)
        if any(track.landmarks is not None for track in tracks):
            room = room if (AskReason.FEWER, 0) in wants else 0
            sure = [region for region in sure if region.score >= config.seek_score]
        return tuple(sorted(sure, key=lambda region: -region.score)[:room])

    def _is_likely(self, region: HandRegion, track: LiveTrack) -> bool:
        """Whether a region is a missing hand: surely a hand, or near to where that was; beside a mask the former."""
        in_view = track.last_mask is not None and track.state is not TrackState.LOST
        if in_view and track.memory.corrected:
            return False  # the user has said where it is
        if region.score >= self._config.redetection.open_score:
            return True
        if in_view:
            return False
        ways = (track.place_xy_px, track.expected_xy_px)
        apart = min(float(np.linalg.norm(region.center_xy_px - one)) for one in ways)
        return apart <= _NEARBY * max(region.size_px, track.size_px)

    def _confirm(
        self,
        seen: Recognition,
        tracks: Sequence[LiveTrack],
        wants: frozenset[tuple[AskReason, int]],
        prompts: dict[int, Prompt],
    ) -> bool:
        """What regions on hands that are in view say of them; returns whether that helped."""
        assert self._answer is not None
        helped = False
        best = {k: index for index, k in reversed(seen.known.items())}  # its own, else the largest
        for k, index in best.items():
            track, region = tracks[k], self._regions[index]
            together = covered_by(region, tracks)
            if track.is_object:
                continue
            if len(together) > 1:
                for one in together:
                    if one.landmarks is None:
                        one.spot(self._answer.by, self._answer.asked_seq, region.score, None, prompted=False)
                        helped = True
                continue
            astray = track.last_mask is None or track.last_mask.iou(region.mask) < _SAME_MASK_IOU
            if track.landmarks is None:
                if astray and not track.memory.corrected:
                    prompts[track.id] = self._prompt(track, region)
                else:
                    told = None if track.memory.corrected else region
                    track.spot(self._answer.by, self._answer.asked_seq, region.score, told, prompted=False)
                helped = True
            elif astray and (AskReason.DISAGREEMENT, track.id) in wants:
                prompts[track.id] = self._prompt(track, region)
        return helped

    def _prompt(self, track: LiveTrack, region: HandRegion) -> Prompt:
        """Let the segmenter start `track` from `region`."""
        assert self._answer is not None
        others = [other for other in self._regions if other is not region]
        hands = [other.landmarks for other in self._hands if other is not track and other.landmarks is not None]
        track.spot(self._answer.by, self._answer.asked_seq, region.score, region, prompted=True)
        return prompt_from_region(region, others, hands, self._config.redetection.regions)
