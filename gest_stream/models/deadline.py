"""Masks in time from a segmenter that is slower than the source.

    encode(frame)   hands the frame to the segmenter's thread (deadline_work.py), and returns
    step(...)       waits for its mask until the deadline, else carries the last one to the frame (mask_carry.py)

A hand that the segmenter has not answered for yet gets what the segmenter `light` makes of its landmarks or region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gest_stream.clock import now_ns
from gest_stream.config import DeadlineConfig, LightConfig
from gest_stream.errors import ConfigError
from gest_stream.interfaces import Segmenter
from gest_stream.models.deadline_work import Job, SegmenterThread
from gest_stream.models.landmark_warp import Similarity
from gest_stream.models.light import LightSegmenter
from gest_stream.models.mask_alpha import alpha_mask, share_pixels
from gest_stream.models.mask_carry import Anchor, MaskCarrier, Outline
from gest_stream.types import Frame, HandLandmarks, HandMask, MaskSource, Observation, PromptMode

_SAME_HAND = 0.6
"""IoU from which a mask that was carried without landmarks agrees with what they show now."""


@dataclass(frozen=True, slots=True, eq=False)
class DeadlineEncoded:
    """What `DeadlineSegmenter.step` needs of a picture: its place in the segmenter's work."""

    job: Job


@dataclass(slots=True, eq=False)
class _Given:
    """A mask to carry, where its hand stood, and its media time; the frame is held until it is first carried.

    `briefly` where it fades, and is carried over a few frames only.
    """

    frame: Frame | None
    mask: HandMask
    landmarks: HandLandmarks | None
    pose: Similarity
    time_s: float
    briefly: bool = False
    anchor: Anchor | None = None

    def prepared(self, carrier: MaskCarrier) -> Anchor | None:
        if self.frame is not None:
            self.anchor = carrier.anchor(self.frame, self.mask, self.landmarks, self.briefly)
            self.frame = None
        return self.anchor


@dataclass(slots=True, eq=False)
class _Hand:
    """What is known of one hand.

    Args:
        since: Step on which it was last started anew; earlier answers are not about it.
        answered: The segmenter has said something of it since then.
        given: Its last mask; None where it said that there is none.
        seen: The frame of that answer had the hand's landmarks.
        before: What was shown until that came, while it fades; None when it has.
        fading: Steps of the fade that were taken.
    """

    since: int
    answered: bool = False
    given: _Given | None = None
    seen: bool = False
    before: _Given | None = None
    fading: int = 0


@dataclass(slots=True, eq=False)
class _Last:
    """The frame of the last step, and what was shown on it."""

    frame: Frame
    landmarks: Mapping[int, HandLandmarks | None]
    poses: Mapping[int, Similarity]
    masks: Mapping[int, HandMask] = field(default_factory=dict)


class DeadlineSegmenter:
    """Gives every frame a mask by a deadline, whatever time the segmenter takes; implements `interfaces.Segmenter`.

    A mask's `age_ms` is how much earlier the frame is that the segmenter made it of, its `source` is the segmenter's
    own where that is this frame, CARRIED where it was carried here, SHAPE where the segmenter had none yet.

    Args:
        inner: Makes the masks; belongs to it from now on.
        config: Deadline, fade and the grid that masks are carried on.
        light: Settings of the masks that are made before the segmenter's first.
        clock: Nanoseconds; `clock.now_ns` but in tests.

    Raises:
        ConfigError: The config has no deadline.
    """

    def __init__(
        self,
        inner: Segmenter[Any],
        config: DeadlineConfig,
        light: LightConfig | None = None,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        if config.limit_ms is None:
            raise ConfigError("deadline.limit_ms: expected milliseconds, got None; without it use the segmenter itself")
        self._inner, self._config, self._clock = inner, config, clock
        self._limit_ns = round(config.limit_ms * 1e6)
        self.work = SegmenterThread(inner, clock)
        self._carrier = MaskCarrier(config.working_px)
        self._quick = LightSegmenter(light if light is not None else LightConfig())
        self._live = True
        self._steps = 0
        self._hands: dict[int, _Hand] = {}
        self._poses: dict[int, Similarity] = {}
        self._last: _Last | None = None

    @property
    def takes_clicks(self) -> bool:
        """As the segmenter does; what a click alone started is shown with the segmenter's first answer."""
        return self._inner.takes_clicks

    def set_live(self, live: bool) -> None:
        """Whether the deadline counts from a frame's capture, or from when it comes here; call it before the first."""
        self._live = live

    def encode(self, frame: Frame) -> DeadlineEncoded:
        """Hand the frame to the segmenter's thread; takes no time."""
        job = Job(frame, self._clock())
        self.work.offer(job)
        return DeadlineEncoded(job)

    def step(self, encoded: DeadlineEncoded, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """Advance every hand by one frame.

        Args:
            encoded: From `encode` on the same frame.
            observations: One for every live hand.

        Returns:
            A mask by object id; disjoint where they were carried. Missing where the segmenter said that there is none
            to trust, and for a hand that neither it nor landmarks nor a region has shown yet.

        Raises:
            ModelError: The segmenter failed; whatever else it raised as it is.
        """
        job = encoded.job
        if self._last is not None and self._last.frame.size != job.frame.size:
            self.reset()
        number, self._steps = self._steps, self._steps + 1
        behind = self.work.behind
        if behind:
            self._follow(job.frame, observations)
        self.work.tell(job, number, observations, dict(self._poses))
        self._note_restarts(number, observations)
        self.work.wait(job, (job.frame.captured_ns if self._live else job.arrived_ns) + self._limit_ns)
        answer = self.work.take()
        if answer is job:
            masks = self._take_fresh(job)
        else:
            if not behind:
                self._follow(job.frame, observations)
                job.poses = dict(self._poses)
            if answer is not None:
                self._take_late(answer)
            masks = self._carried(job.frame, observations)
        landmarks = {one.object_id: one.landmarks for one in observations}
        self._last = _Last(job.frame, landmarks, dict(self._poses), masks)
        return masks

    def forget(self, object_id: int) -> None:
        """Drop a hand's memory; unknown ids are ignored."""
        self._hands.pop(object_id, None)
        self._poses.pop(object_id, None)
        self._quick.forget(object_id)
        self.work.forget(object_id)

    def reset(self) -> None:
        """Drop every hand's memory: the stream was cut or changed size. Answers that come late are discarded."""
        self._drop_all()
        self.work.reset()

    def close(self) -> None:
        """Join the segmenter's thread, after the frame it works on, and close the segmenter."""
        self._drop_all()
        self.work.close()

    def _drop_all(self) -> None:
        self._hands.clear()
        self._poses.clear()
        self._quick.reset()
        self._last = None

    def _follow(self, frame: Frame, observations: Sequence[Observation]) -> None:
        """Note how every hand moved since the last frame: by its landmarks, else with the picture of its mask."""
        poses = {}
        for one in observations:
            pose = self._poses.get(one.object_id, Similarity())
            poses[one.object_id] = pose.then(self._motion(frame, one))
        self._poses = poses

    def _motion(self, frame: Frame, one: Observation) -> Similarity:
        last = self._last
        if last is None:
            return Similarity()
        before = last.landmarks.get(one.object_id)
        if before is not None and one.landmarks is not None:
            return Similarity.fit(before.points_xy_px, one.landmarks.points_xy_px)
        mask = last.masks.get(one.object_id)
        motion = self._carrier.follow(mask, last.frame, frame) if mask is not None else None
        return motion if motion is not None else Similarity()

    def _note_restarts(self, number: int, observations: Sequence[Observation]) -> None:
        """A hand that starts anew is no longer what the last mask was of, and one that is not live any more is gone."""
        live = {one.object_id for one in observations}
        self._hands = {object_id: hand for object_id, hand in self._hands.items() if object_id in live}
        for one in observations:
            anew = one.prompt is not None and one.prompt.mode is PromptMode.RESET
            if anew or one.object_id not in self._hands:
                self._hands[one.object_id] = _Hand(number)

    def _take_fresh(self, job: Job) -> Mapping[int, HandMask]:
        """The answer is about this very frame: it is shown as it is."""
        masks = job.masks or {}
        self._quick.reset()
        for one in job.observations:
            mask, hand = masks.get(one.object_id), self._hands[one.object_id]
            given = _given(job, one, mask) if mask is not None else None
            self._hands[one.object_id] = _Hand(hand.since, True, given, one.landmarks is not None)
        return masks

    def _take_late(self, answer: Job) -> None:
        """The answer is about an earlier frame: what is shown moves on to it over the next frames."""
        assert answer.number is not None and answer.masks is not None
        for one in answer.observations:
            hand = self._hands.get(one.object_id)
            if hand is None or answer.number < hand.since:
                continue
            self._quick.forget(one.object_id)
            mask = answer.masks.get(one.object_id)
            given = _given(answer, one, mask) if mask is not None else None
            seen = one.landmarks is not None
            self._hands[one.object_id] = _Hand(hand.since, True, given, seen, self._shown(one.object_id))

    def _shown(self, object_id: int) -> _Given | None:
        """The mask of the last frame, to fade from."""
        last = self._last
        mask = last.masks.get(object_id) if last is not None else None
        if last is None or mask is None or not self._config.fade_frames:
            return None
        pose = last.poses.get(object_id, Similarity())
        return _Given(last.frame, mask, last.landmarks.get(object_id), pose, last.frame.time_s, briefly=True)

    def _carried(self, frame: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        masks: dict[int, HandMask] = {}
        open_ones = []
        for one in observations:
            hand = self._hands[one.object_id]
            if hand.given is not None:
                mask = self._carry(hand, hand.given, frame, one)
                if mask is not None:
                    masks[one.object_id] = mask
            # an answer about a frame without the hand's landmarks may be about what hid it
            if not hand.answered or (one.landmarks is not None and not hand.seen):
                open_ones.append(one)
        if open_ones:
            for object_id, drawn in self._quick.step(self._quick.encode(frame), open_ones).items():
                if object_id not in masks or masks[object_id].iou(drawn) < _SAME_HAND:
                    masks[object_id] = replace(drawn, source=MaskSource.SHAPE)
        return share_pixels(masks)

    def _carry(self, hand: _Hand, given: _Given, frame: Frame, one: Observation) -> HandMask | None:
        outline = self._outline(given, frame, one)
        if outline is None:
            return None
        if hand.before is not None:
            hand.fading += 1
            older = self._outline(hand.before, frame, one)
            if older is not None:
                outline = outline.blended(older, hand.fading / (self._config.fade_frames + 1))
            if hand.fading >= self._config.fade_frames:
                hand.before = None
        score = given.mask.score * outline.followed
        mask = alpha_mask(outline.odds, outline.window, frame.size, score, MaskSource.CARRIED)
        return replace(mask, age_ms=max(frame.time_s - given.time_s, 0.0) * 1e3)

    def _outline(self, given: _Given, frame: Frame, one: Observation) -> Outline | None:
        anchor = given.prepared(self._carrier)
        if anchor is None:
            return None
        motion = given.pose.inverse().then(self._poses.get(one.object_id, Similarity()))
        return self._carrier.carry(anchor, frame, one.landmarks, motion)


def _given(job: Job, one: Observation, mask: HandMask) -> _Given:
    pose = job.poses.get(one.object_id, Similarity())
    return _Given(job.frame, mask, one.landmarks, pose, job.frame.time_s)
