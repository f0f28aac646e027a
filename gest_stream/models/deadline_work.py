"""A segmenter on a thread of its own, that works on the newest frame it can and leaves out the ones between."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gest_stream.interfaces import Segmenter
from gest_stream.models.deadline_prompts import PromptQueue
from gest_stream.models.landmark_warp import Similarity
from gest_stream.types import Frame, HandMask, Observation

_log = logging.getLogger(__name__)

_MAX_JOBS = 8
"""Frames that wait at most. The pipeline encodes two frames ahead; of more the oldest one is let go."""

_REMEMBERED_TIMES = 4


@dataclass(slots=True, eq=False)
class Job:
    """One frame on its way through the segmenter.

    Args:
        frame: The frame.
        arrived_ns: When `encode` was called with it.
        number: Which step it belongs to, counted from 0; None until its step came.
        observations: Of the hands on it, with its step.
        poses: Where each hand stood, by object id; comes no later than that is of use.
        masks: The answer, once there is one.
    """

    frame: Frame
    arrived_ns: int
    number: int | None = None
    observations: tuple[Observation, ...] = ()
    poses: Mapping[int, Similarity] = field(default_factory=dict)
    masks: Mapping[int, HandMask] | None = None

    @property
    def told(self) -> bool:
        """Its step came."""
        return self.number is not None


class SegmenterThread:
    """Runs `encode` and `step` of a segmenter in the background. Safe from any thread.

    Of the frames whose step came only the newest waits. Prompts of those that are left out go with the next frame
    that is worked on; `forget` and `reset` come before it, in the order in which they were called.

    Args:
        inner: Belongs to it from now on.
        clock: Nanoseconds; `clock.now_ns` but in tests.

    Attributes:
        changed: Notified when a job ends.
    """

    def __init__(self, inner: Segmenter[Any], clock: Callable[[], int]) -> None:
        self._inner, self._clock = inner, clock
        self.changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._jobs: list[Job] = []
        self._current: Job | None = None
        self._answer: Job | None = None
        self._prompts = PromptQueue()
        self._forgotten: list[int] = []
        self._reset_due = False
        self._failure: BaseException | None = None
        self._closed = False
        self._since_ns = 0
        self._encoded = False
        self._times_ns: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_TIMES)

    @property
    def answered(self) -> bool:
        """`take` has something to give, or the segmenter failed."""
        return self._answer is not None or self._failure is not None

    @property
    def behind(self) -> bool:
        """A frame whose step came has no answer yet, or prompts wait for a later one."""
        with self.changed:
            told = [job for job in (*self._jobs, self._current) if job is not None and job.told]
            return bool(told) or not self._prompts.empty

    def offer(self, job: Job) -> None:
        """A frame came; its step follows, or never comes."""
        with self.changed:
            self._jobs = [*self._jobs, job][-_MAX_JOBS:]
            if self._thread is None and not self._closed:
                # a daemon, so that a program whose tracker nobody closed can end; `close` joins it
                self._thread = threading.Thread(target=self._work, name="gest-stream-deadline", daemon=True)
                self._thread.start()
            self.changed.notify_all()

    def tell(self, job: Job, number: int, observations: Sequence[Observation], poses: Mapping[int, Similarity]) -> None:
        """The step of an offered frame came. Steps come in order, so earlier frames wait no longer.

        Raises:
            ModelError: The segmenter failed; whatever else it raised as it is.
        """
        with self.changed:
            if self._failure is not None:
                raise self._failure
            job.number, job.observations, job.poses = number, tuple(observations), poses
            self._prompts.add(number, observations, poses)
            # what is not in the list is worked on, or was let go
            index = self._jobs.index(job) if job in self._jobs else -1
            self._jobs = self._jobs[index:] if index >= 0 else [other for other in self._jobs if not other.told]
            self.changed.notify_all()

    def wait(self, job: Job, until_ns: int) -> bool:
        """Wait for the answer to a job, at most until the clock says `until_ns`; True once it is there.

        Does not wait for an answer that, going by the last ones, cannot come in time.

        Raises:
            ModelError: The segmenter failed; whatever else it raised as it is.
        """
        with self.changed:
            while job.masks is None and self._failure is None and not self._closed:
                now = self._clock()
                if now >= until_ns or now + self._expected_ns(job, now) > until_ns:
                    break
                self.changed.wait((until_ns - now) / 1e9)
            if self._failure is not None:
                raise self._failure
            return job.masks is not None

    def take(self) -> Job | None:
        """The newest answer that was not taken yet."""
        with self.changed:
            answer, self._answer = self._answer, None
            return answer

    def forget(self, object_id: int) -> None:
        """As `Segmenter.forget`, before the next frame is worked on."""
        with self.changed:
            self._prompts.forget(object_id)
            self._forgotten.append(object_id)
            for job in (*self._jobs, self._current):
                if job is not None:
                    job.observations = tuple(o for o in job.observations if o.object_id != object_id)

    def reset(self) -> None:
        """As `Segmenter.reset`, before the next frame is worked on; answers to earlier ones are discarded."""
        with self.changed:
            self._prompts.clear()
            self._forgotten, self._reset_due = [], True
            self._answer = None
            self._jobs = [job for job in self._jobs if not job.told]
            if self._current is not None and self._current.told:
                self._current = None
            self.changed.notify_all()

    def close(self) -> None:
        """Join the thread, after what it works on, and close the segmenter."""
        with self.changed:
            self._closed = True
            self._jobs, self._current = [], None
            self.changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._inner.close()

    def _expected_ns(self, job: Job, now: int) -> int:
        """How long the answer will take at least, by the shortest of the last times."""
        if not self._times_ns:
            return 0
        encode_ns = min(times[0] for times in self._times_ns)
        step_ns = min(times[1] for times in self._times_ns)
        spent_ns = now - self._since_ns
        if self._current is job:
            return max(step_ns - spent_ns, 0) if self._encoded else max(encode_ns - spent_ns, 0) + step_ns
        if job not in self._jobs:
            return 1 << 62  # it was let go
        busy_ns = 0
        if self._current is not None:
            busy_ns = max((step_ns if self._encoded else encode_ns + step_ns) - spent_ns, 0)
        return busy_ns + encode_ns + step_ns

    def _work(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                self._process(job)
        except BaseException as exc:
            with self.changed:
                self._failure = exc
                self._jobs, self._current = [], None
                self.changed.notify_all()

    def _next_job(self) -> Job | None:
        """The newest frame whose step came, else the oldest one whose step is to come; None once closed."""
        with self.changed:
            self.changed.wait_for(lambda: self._closed or bool(self._jobs))
            if self._closed:
                return None
            told = [job for job in self._jobs if job.told]
            self._current = told[-1] if told else self._jobs[0]
            self._jobs = self._jobs[self._jobs.index(self._current) + 1 :]
            self._begin(encoded=False)
            return self._current

    def _begin(self, encoded: bool) -> None:
        self._since_ns, self._encoded = self._clock(), encoded

    def _process(self, job: Job) -> None:
        encoded = self._inner.encode(job.frame)
        with self.changed:
            encode_ns = self._clock() - self._since_ns
            # the step of a later frame says that this one's never comes
            self.changed.wait_for(lambda: self._closed or job.told or self._is_passed(job))
            if self._current is not job or self._closed or not job.told:
                self._current = None if self._current is job else self._current
                self.changed.notify_all()
                return
            self._begin(encoded=True)
            reset_due, self._reset_due = self._reset_due, False
            forgotten, self._forgotten = self._forgotten, []
            assert job.number is not None
            observations = self._prompts.take(job.number, job.observations, job.poses, job.frame.size)
        if reset_due:
            self._inner.reset()
        for object_id in forgotten:
            self._inner.forget(object_id)
        masks = self._inner.step(encoded, observations)
        self._finish(job, masks, encode_ns)

    def _is_passed(self, job: Job) -> bool:
        return self._current is not job or any(other.told for other in self._jobs)

    def _finish(self, job: Job, masks: Mapping[int, HandMask], encode_ns: int) -> None:
        with self.changed:
            self._times_ns.append((encode_ns, self._clock() - self._since_ns))
            if self._current is job:  # else it was reset meanwhile
                self._current = None
                gone = set(self._forgotten)
                job.masks = {object_id: mask for object_id, mask in masks.items() if object_id not in gone}
                self._answer = job
            self.changed.notify_all()
