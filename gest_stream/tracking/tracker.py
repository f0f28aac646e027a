"""The tracker: one frame in, every live hand out.

detect(frame)   the landmarks; touches nothing of the tracker   } may run side by side, and
encode(frame)   what the segmenter needs of the picture         } ahead of `advance`
advance(...)    associate -> loss machine -> redetector -> prompts -> segmenter; one frame at a time, in order
add_prompt(...) what a user points at; taken by the next frame
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from numpy.typing import ArrayLike

from gest_stream.clock import now_ns
from gest_stream.config import TrackerConfig
from gest_stream.errors import InvalidInputError
from gest_stream.interfaces import HandDetector, LanedDetector, Segmenter
from gest_stream.metrics import StageTimer
from gest_stream.tracking.live_track import LiveTrack
from gest_stream.tracking.live_tracks import LiveTracks
from gest_stream.tracking.motion import frame_steps
from gest_stream.tracking.prompts import build_prompt, prompt_from_clicks
from gest_stream.tracking.reacquisition import Reacquisition
from gest_stream.tracking.redetection import Redetection
from gest_stream.tracking.track_log import TrackLog
from gest_stream.tracking.user_prompts import UserPrompt, UserPrompts
from gest_stream.types import (
    Frame,
    FrameResult,
    HandLandmarks,
    Observation,
    Prompt,
    PromptMode,
    ReinitialisedBy,
)

_log = logging.getLogger(__name__)

_SAME_SHAPE = 0.02


class TrackerCore:
    """Follows hands from frame to frame. Owns the detector and the segmenter it is given.

    Ids count from 1 and are never used twice by one tracker, not even after `reset`. Plain synchronous code:
    `advance` is called by one thread at a time, `detect` and `encode` may run on others meanwhile.

    Args:
        detector: Finds the landmarks.
        segmenter: Makes the masks; None for landmarks only.
        config: Association, loss, prompts and redetection.
        redetection: Finds hands that the detector misses; None leaves that to the detector. Of no use without a
            segmenter, which it would prompt.
        most_hands: As many hands as the detector can find on a frame, None where that is not known: while so many are
            known, one that turns up is one of them.
    """

    def __init__(
        self,
        detector: HandDetector,
        segmenter: Segmenter[Any] | None,
        config: TrackerConfig | None = None,
        redetection: Redetection | None = None,
        most_hands: int | None = None,
    ) -> None:
        self._detector = detector
        self._segmenter = segmenter
        self._config = config if config is not None else TrackerConfig()
        self._tracks = LiveTracks(self._config, most_hands)
        self._user = UserPrompts(self._tracks.new_id)
        self._reacquisition = None
        if redetection is not None:
            self._reacquisition = Reacquisition(redetection, self._config, most_hands)
        self._segmented: set[int] = set()
        self._size: tuple[int, int] | None = None
        self._seq: int | None = None
        self._source_steps = 1
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    @property
    def lanes(self) -> int:
        """How many frames can be detected side by side: frame number n of a stream in lane n modulo that."""
        return self._detector.lanes if isinstance(self._detector, LanedDetector) else 1

    def detect(self, frame: Frame, lane: int = 0) -> tuple[HandLandmarks, ...]:
        """The hands on `frame` as the detector sees them; touches nothing of the tracker."""
        if isinstance(self._detector, LanedDetector):
            return self._detector.detect_in(lane, frame)
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
            segmenter and redetector), `segment` where there is one, `redetect` where an answer of the redetector was
            used (how long it took, on another thread unless frames wait for it), and `total` since the frame was
            captured.

        Raises:
            InvalidInputError: There is a segmenter, but `encoded` is None.
        """
        if self._segmenter is not None and encoded is None:
            raise InvalidInputError("advance: this tracker has a segmenter, got encoded None; pass encode(frame)")
        timer = timer if timer is not None else StageTimer()
        with timer.stage("track"):
            self._fit_to(frame)
            self._source_steps, self._seq = frame_steps(frame.seq, self._seq), frame.seq
            self._tracks.associate(frame.seq, self._source_steps, detections)
        prompts: dict[int, Prompt] = {}
        if self._reacquisition is not None and self._segmenter is not None:
            prompts = self._reacquire(self._reacquisition, frame, timer)
        with timer.stage("track"):
            self._prompt_from_landmarks(frame, prompts)
            self._prompt_from_user(frame, prompts)
        shown = self._tracks.shown
        if self._segmenter is not None and encoded is not None:
            self._segment(self._segmenter, encoded, shown, prompts, timer)
        with timer.stage("track"):
            for track in self._tracks:
                track.settle_score()
            tracks = tuple(track.as_track() for track in shown)
            self._user.show(tracks)
        timings = {**timer.ms, "total": (now_ns() - frame.captured_ns) / 1e6}
        return FrameResult(frame, tracks, timings)

    def add_prompt(
        self,
        points_xy_px: ArrayLike = (),
        labels: ArrayLike | None = None,
        *,
        track_id: int | None = None,
        box_xyxy_px: tuple[float, float, float, float] | None = None,
    ) -> int:
        """Point at a hand, or at anything else, on the live picture: the next frame takes it. Safe from any thread.

        A positive point beside every mask starts a new object; one on a mask adds to it, a negative one takes a part
        away. The frame's landmarks no longer overrule a mask that was corrected so, until the hand is lost.

        Args:
            points_xy_px: (N, 2) pixels of the frame.
            labels: (N,) 1 on it, 0 off it; all 1 where None.
            track_id: Which hand; None takes the one whose mask lies under the first point, or starts a new one.
            box_xyxy_px: A box around it, pixels.

        Returns:
            The hand's id; that of a new one is in the results from the next frame on.

        Raises:
            InvalidInputError: The segmenter takes no clicks, there is no such hand, or the points are unusable.
        """
        if not self.takes_clicks:
            raise InvalidInputError("add_prompt: this segmenter takes no clicks; use the segmenter sam2")
        return self._user.add(prompt_from_clicks(points_xy_px, labels, box_xyxy_px), track_id, self._size)

    @property
    def takes_clicks(self) -> bool:
        """Whether `add_prompt` is of use with this segmenter."""
        return self._segmenter is not None and self._segmenter.takes_clicks

    def remove_track(self, track_id: int) -> None:
        """Drop a hand with the next frame. Safe from any thread; the detector may find it anew.

        Raises:
            InvalidInputError: There is no such hand.
        """
        self._user.remove(track_id)

    def set_live(self, live: bool) -> None:
        """Whether frames come at their own pace, so that none may wait for the redetector; call it before the first."""
        if self._reacquisition is not None:
            self._reacquisition.set_live(live)

    def reset(self) -> None:
        """Drop every hand: the stream was cut. Ids go on."""
        self._tracks.clear()
        self._user.clear()
        if self._reacquisition is not None:
            self._reacquisition.reset()
        self._size = self._seq = None
        self._segmented.clear()
        if self._segmenter is not None:
            self._segmenter.reset()

    def close(self) -> None:
        """Close detector and segmenter; more than once does no harm."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as stack:  # one that fails does not stop the others
            if self._segmenter is not None:
                stack.callback(self._segmenter.close)
            if self._reacquisition is not None:
                stack.callback(self._reacquisition.close)
            stack.callback(self._detector.close)

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
        self._user.clear()  # what was pointed at lies elsewhere now
        if self._reacquisition is not None:
            self._reacquisition.reset()
        if self._segmenter is not None:
            self._segmenter.reset()

    def _reacquire(self, reacquisition: Reacquisition, frame: Frame, timer: StageTimer) -> dict[int, Prompt]:
        """Ask the redetector where that is due, and use what it answered."""
        logs = [TrackLog(track) for track in self._tracks]
        found = reacquisition.advance(frame, self._source_steps, self._tracks.shown)
        if found.took_ms is not None:
            timer.ms["redetect"] = found.took_ms
        prompts = dict(found.prompts)
        known = set(self._tracks)
        for region in found.new:
            track = self._tracks.spotted(region)
            if track is None:
                break
            if track not in known:
                logs.append(TrackLog(track))
            prompts[track.id] = reacquisition.start(track, region)
        for log in logs:
            log.tell()
        return prompts

    def _prompt_from_landmarks(self, frame: Frame, prompts: dict[int, Prompt]) -> None:
        """Add a prompt by id for the hands whose segmentation must start anew on this frame.

        Where a hand has to be prompted again, all others are as well: its mask has usually gone to one of them, whose
        memory then holds both.
        """
        if self._segmenter is None:
            return
        open_tracks = [track for track in self._tracks if track.landmarks is not None and track.id not in prompts]
        due = [track for track in open_tracks if track.memory.prompt_due]
        if self._config.loss.reprompt_together and any(track.was_prompted for track in due):
            due = [track for track in open_tracks if track in due or not track.memory.corrected]
        for track in due:
            assert track.landmarks is not None
            others = [t.landmarks for t in self._tracks if t is not track and t.landmarks is not None]
            prompt = build_prompt(track.landmarks, others, frame.size, config=self._config.prompts)
            if prompt is not None:
                prompts[track.id] = prompt
                track.prompted()

    def _prompt_from_user(self, frame: Frame, prompts: dict[int, Prompt]) -> None:
        """Add what the user pointed at; a hand that is prompted otherwise on this frame has it on the next one."""
        waiting, removed = self._user.take()
        for gone in [track for track in self._tracks if track.id in removed]:
            _log.info("track %d removed by the user", gone.id)
            prompts.pop(gone.id, None)
            self._tracks.remove(gone)
        later: list[UserPrompt] = []
        for one in waiting:
            if one.track_id in prompts:
                later.append(one)
                continue
            track = self._meant_by(one, frame)
            if track is None:
                continue
            log = TrackLog(track)
            mode = PromptMode.RESET if track.last_mask is None else PromptMode.REFINE
            prompts[track.id] = replace(one.prompt, mode=mode)
            track.spot(ReinitialisedBy.USER, frame.seq, 1.0, None, prompted=True)
            log.tell()
        self._user.put_back(later)

    def _meant_by(self, one: UserPrompt, frame: Frame) -> LiveTrack | None:
        """The track that a user points at; None where it is gone meanwhile, or there is no room for a new one."""
        track = self._tracks.find(one.track_id)
        moved = one.frame_size != frame.size  # what was pointed at lies elsewhere now
        if track is not None and not moved:
            return track
        if moved or not one.starts or not self._tracks.make_room():
            why = f"no room beside {len(self._tracks)} others" if one.starts else "it is gone"
            why = "the frame's size changed" if moved else why
            _log.warning("track %d: the user's prompt comes to nothing: %s", one.track_id, why)
            return None
        track = LiveTrack.of_user(one.track_id, one.prompt, frame.size, self._config)
        self._tracks.insert(track)
        return track

    def _segment(
        self,
        segmenter: Segmenter[Any],
        encoded: Any,
        shown: Sequence[LiveTrack],
        prompts: Mapping[int, Prompt],
        timer: StageTimer,
    ) -> None:
        with timer.stage("segment"):
            live = {track.id for track in self._tracks}
            for gone in sorted(self._segmented - live):
                segmenter.forget(gone)
            self._segmented = self._segmented & live | {track.id for track in shown}
            masks = segmenter.step(encoded, [_observed(track, prompts.get(track.id)) for track in shown])
        with timer.stage("track"):
            for track in shown:
                track.take_mask(masks.get(track.id))


def _observed(track: LiveTrack, prompt: Prompt | None) -> Observation:
    return Observation(track.id, track.landmarks, prompt, track.region.mask if track.region is not None else None)
