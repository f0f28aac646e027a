"""The tracker: one frame in, every live hand out.

detect(frame)   the landmarks; touches nothing of the tracker   } may run side by side, and
encode(frame)   what the segmenter needs of the picture         } ahead of `advance`
advance(...)    associate -> loss machine -> prompts -> segmenter; one frame at a time, in order
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from gest_stream.clock import now_ns
from gest_stream.config import TrackerConfig
from gest_stream.errors import InvalidInputError
from gest_stream.interfaces import HandDetector, Segmenter
from gest_stream.metrics import StageTimer
from gest_stream.tracking.agreement import agreement
from gest_stream.tracking.association import associate
from gest_stream.tracking.live_track import LiveTrack
from gest_stream.tracking.motion import frame_steps
from gest_stream.tracking.prompts import build_prompt
from gest_stream.types import Frame, FrameResult, HandLandmarks, Observation, Prompt, TrackState

_log = logging.getLogger(__name__)

_SAME_SHAPE = 0.02


class TrackerCore:
    """Follows hands from frame to frame. Owns the detector and the segmenter it is given.

    Ids count from 1 and are never used twice by one tracker, not even after `reset`. Plain synchronous code:
    `advance` is called by one thread at a time, `detect` and `encode` may run on others meanwhile.

    Args:
        detector: Finds the landmarks.
        segmenter: Makes the masks; None for landmarks only.
        config: Association, loss and prompts.
    """

    def __init__(
        self, detector: HandDetector, segmenter: Segmenter[Any] | None, config: TrackerConfig | None = None
    ) -> None:
        self._detector = detector
        self._segmenter = segmenter
        self._config = config if config is not None else TrackerConfig()
        self._tracks: list[LiveTrack] = []
        self._next_id = 1
        self._size: tuple[int, int] | None = None
        self._seq: int | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The hands on `frame` as the detector sees them; touches nothing of the tracker."""
        return self._detector.detect(frame)

    def encode(self, frame: Frame) -> Any:
        """What the segmenter needs of the picture; None without a segmenter."""
        return self._segmenter.encode(frame) if self._segmenter is not None else None

    def step(self, frame: Frame) -> FrameResult:
        """Detect, encode and advance, one after the other."""
        timer = StageTimer()
        with timer.stage("landmarks"):
            detections = self.detect(frame)
        encoded = None
        if self._segmenter is not None:
            with timer.stage("segment"):
                encoded = self.encode(frame)
        return self.advance(frame, detections, encoded, timer)

    def advance(
        self,
        frame: Frame,
        detections: Sequence[HandLandmarks],
        encoded: Any,
        timer: StageTimer | None = None,
    ) -> FrameResult:
        """Take every hand one frame further.

        Args:
            frame: Frames come in order.
            detections: From `detect` on the same frame.
            encoded: From `encode` on the same frame.
            timer: Holds how long `landmarks` and the encoder's part of `segment` took; the rest is added to it.

        Returns:
            The tentative, tracked and lost hands. timings_ms has the timer's stages, `track` (everything here but
            the segmenter), `segment` where there is one, and `total` since the frame was captured.

        Raises:
            InvalidInputError: There is a segmenter, but `encoded` is None.
        """
        if self._segmenter is not None and encoded is None:
            raise InvalidInputError("advance: this tracker has a segmenter, got encoded None; pass encode(frame)")
        timer = timer if timer is not None else StageTimer()
        with timer.stage("track"):
            self._fit_to(frame)
            self._associate(frame, detections)
            prompts = self._prompts(frame)
        if self._segmenter is not None and encoded is not None:
            self._segment(self._segmenter, encoded, prompts, timer)
        with timer.stage("track"):
            for track in self._tracks:
                track.settle_score()
            tracks = tuple(track.as_track() for track in self._tracks)
        timings = {**timer.ms, "total": (now_ns() - frame.captured_ns) / 1e6}
        return FrameResult(frame, tracks, timings)

    def reset(self) -> None:
        """Drop every hand: the stream was cut. Ids go on."""
        self._tracks.clear()
        self._size = self._seq = None
        if self._segmenter is not None:
            self._segmenter.reset()

    def close(self) -> None:
        """Close detector and segmenter; more than once does no harm."""
        if self._closed:
            return
        self._closed = True
        try:
            self._detector.close()
        finally:
            if self._segmenter is not None:
                self._segmenter.close()

    def _fit_to(self, frame: Frame) -> None:
        """Follow a change of the frame's size: places are scaled, ids stay, the segmenter starts anew."""
        previous, self._size = self._size, frame.size
        if previous is None or previous == frame.size:
            return
        _log.info("frame size changed from %dx%d to %dx%d", *previous, *frame.size)
        scale_x, scale_y = frame.width / previous[0], frame.height / previous[1]
        same_shape = abs(scale_x / scale_y - 1.0) <= _SAME_SHAPE
        for track in self._tracks:
            track.resize((scale_x, scale_y), same_shape)
        if self._segmenter is not None:
            self._segmenter.reset()

    def _associate(self, frame: Frame, detections: Sequence[HandLandmarks]) -> None:
        steps = frame_steps(frame.seq, self._seq)
        self._seq = frame.seq
        live = list(self._tracks)
        found = associate(detections, [track.candidate(steps) for track in live], self._config.association)
        before = {track.id: (track.state, track.memory.missed_frames) for track in live}
        young = [m.detection for m in found.matches if live[m.track].state is TrackState.TENTATIVE]
        open_to_all = {index: detections[index] for index in (*found.new, *young)}
        reclaimed = self._reclaimed([live[index] for index in found.missed], open_to_all)
        taken = set(reclaimed.values())
        for match in found.matches:
            if match.detection in taken:
                live[match.track].miss(steps)
            else:
                live[match.track].see(detections[match.detection], frame.seq, steps, match.relocated)
        for index in found.missed:
            own = reclaimed.get(live[index].id)
            if own is None:
                live[index].miss(steps)
            else:
                live[index].see(detections[own], frame.seq, steps, relocated=False)
        for track in live:
            _log_change(track, *before[track.id])
            if track.state is TrackState.REMOVED:
                self._drop(track)
        for index in found.new:
            if index not in taken:
                self._open(detections[index], frame.seq, steps)

    def _reclaimed(self, missed: Sequence[LiveTrack], detections: Mapping[int, HandLandmarks]) -> dict[int, int]:
        """Hands that were missing, by id, and which detection lies in the mask that was carried of them.

        A carried mask says more than a handedness, by which a returning hand that is cut off by the picture's edge may
        not have been matched. It may come a frame after the landmarks, so tracks that are not yet trusted give theirs.
        """
        found: dict[int, int] = {}
        for index, landmarks in detections.items():
            agreed = {
                track.id: agreement(landmarks, track.mask) or 0.0
                for track in missed
                if track.mask is not None and track.memory.missed_frames > 0 and track.id not in found
            }
            best = max(agreed, key=agreed.__getitem__, default=None)
            if best is not None and agreed[best] >= self._config.loss.min_agreement:
                found[best] = index
        return found

    def _open(self, landmarks: HandLandmarks, seq: int, steps: int) -> None:
        if len(self._tracks) >= self._config.max_tracks:
            lost = [track for track in self._tracks if track.state is TrackState.LOST]
            if not lost:
                return
            longest = max(lost, key=lambda track: track.memory.missed_frames)
            _log.info("track %d removed to make room for a new hand", longest.id)
            self._drop(longest)
        track = LiveTrack(self._next_id, landmarks, self._config)
        self._next_id += 1
        track.see(landmarks, seq, steps, relocated=False)
        self._tracks.append(track)
        _log_change(track, TrackState.TENTATIVE, 0)

    def _drop(self, track: LiveTrack) -> None:
        self._tracks.remove(track)
        if self._segmenter is not None:
            self._segmenter.forget(track.id)

    def _prompts(self, frame: Frame) -> dict[int, Prompt]:
        """A prompt by id, for the hands whose segmentation must start anew on this frame.

        Where a hand has to be prompted again, all others are as well: its mask has usually gone to one of them, whose
        memory then holds both.
        """
        if self._segmenter is None:
            return {}
        prompts: dict[int, Prompt] = {}
        due = [track for track in self._tracks if track.landmarks is not None and track.memory.prompt_due]
        if self._config.loss.reprompt_together and any(track.was_prompted for track in due):
            due = [track for track in self._tracks if track.landmarks is not None]
        for track in due:
            assert track.landmarks is not None
            others = [t.landmarks for t in self._tracks if t is not track and t.landmarks is not None]
            prompt = build_prompt(track.landmarks, others, frame.size, config=self._config.prompts)
            if prompt is not None:
                prompts[track.id] = prompt
                track.prompted()
        return prompts

    def _segment(self, segmenter: Segmenter[Any], encoded: Any, prompts: dict[int, Prompt], timer: StageTimer) -> None:
        with timer.stage("segment"):
            masks = segmenter.step(encoded, [Observation(t.id, t.landmarks, prompts.get(t.id)) for t in self._tracks])
        with timer.stage("track"):
            for track in self._tracks:
                track.take_mask(masks.get(track.id))


def _log_change(track: LiveTrack, before: TrackState, missed_before: int) -> None:
    """One line per change of state; tentative tracks may flicker with the detector, so theirs are for debugging."""
    if track.state is before:
        return
    if track.state is TrackState.TRACKED and before is TrackState.LOST:
        _log.info("track %d found again after %d frames", track.id, missed_before + 1)
    elif track.state is TrackState.TRACKED:
        _log.info("track %d tracked", track.id)
    elif track.state is TrackState.LOST:
        _log.info("track %d lost after %d frames", track.id, track.memory.missed_frames)
    elif before is TrackState.TENTATIVE:
        _log.debug("track %d dropped before it was trusted", track.id)
    else:
        _log.info("track %d removed after %d frames", track.id, track.memory.missed_frames)
