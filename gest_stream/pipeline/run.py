"""Source -> ring -> tracker -> sinks: one run over one stream.

Three threads at most are busy: the source's, one that encodes and detects frame n+1, and one that segments frame n;
every sink works on its own. Rings between them keep the order and bound what is held.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from gest_stream.buffer import FrameRing, RingPolicy
from gest_stream.clock import now_ns
from gest_stream.config import BufferConfig, BufferPolicy
from gest_stream.errors import GestStreamError, InvalidInputError, SinkError
from gest_stream.interfaces import Sink, Source, SourceInfo
from gest_stream.metrics import LatencyReport, StageTimer
from gest_stream.pipeline.lanes import Lanes
from gest_stream.pipeline.loop import LoopRing, on_thread
from gest_stream.pipeline.stats import Counts, RunStats
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, HandLandmarks

_LOG = logging.getLogger(__name__)
_LOSSLESS_DEPTH = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Detected:
    """A frame on its way from the detecting to the segmenting thread."""

    frame: Frame
    detections: tuple[HandLandmarks, ...]
    encoded: Any
    timer: StageTimer

    @property
    def captured_ns(self) -> int:
        return self.frame.captured_ns


class Pipeline:
    """One run over one source; an async context manager and an async iterator of results.

    Entering opens the source, the models and the sinks. Work starts with the first iteration or with `run()`.
    Leaving stops the source, lets the sinks finish what they were given and closes everything. Whatever raises (a
    source, a model, a sink) ends the run: the other sinks are finished, then the error is raised.

    Args:
        source: Where frames come from.
        make_tracker: Called in a worker thread on entering; loads the models.
        sinks: Where results go besides the iterator.
        buffer: Policy and depth of the rings.
    """

    def __init__(
        self,
        source: Source,
        make_tracker: Callable[[], TrackerCore],
        sinks: Sequence[Sink] = (),
        buffer: BufferConfig | None = None,
    ) -> None:
        self._source = source
        self._make_tracker = make_tracker
        self._sinks = tuple(sinks)
        self._buffer = buffer or BufferConfig()
        self._tracker: TrackerCore | None = None
        self._loading: asyncio.Task[TrackerCore] | None = None
        self._input: FrameRing[Frame] | None = None
        self._middle: FrameRing[_Detected] = FrameRing(RingPolicy.LOSSLESS, 1)
        self._lanes = Lanes(1, live=False)
        self._outlets: list[tuple[str, FrameRing[FrameResult]]] = []
        self._opened_sinks: list[Sink] = []
        self._threads: list[tuple[threading.Thread, asyncio.Event]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._entered = False
        self._failure: BaseException | None = None
        self._failure_raised = False
        self._latency = LatencyReport()
        self._counts = Counts()

    # -- lifetime ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._source.__aenter__()
            self._entered = True
            self._input = FrameRing(*self._ring_shape(self._source.info))
            self._loading = asyncio.create_task(asyncio.to_thread(self._make_tracker))
            await asyncio.wait({self._loading})
            self._tracker = self._loading.result()
            for sink in self._sinks:
                self._opened_sinks.append(sink)
                await sink.open(self._source.info, self._source.audio)
        except BaseException as exc:
            await self._close_all(exc)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()
        for _, outlet in self._outlets[len(self._sinks) :]:
            if not outlet.closed:  # the caller left early and takes no more; after a whole run it may still be taking
                outlet.close(discard=True)
        await self._close_all(exc)
        if exc is None:
            self._raise_failure()
        elif self._failure is not None and not self._failure_raised:
            _LOG.warning("the run had also failed: %s", self._failure)

    def _raise_failure(self) -> None:
        if self._failure is not None and not self._failure_raised:
            self._failure_raised = True
            raise self._failure

    async def _close_all(self, exc: BaseException | None) -> None:
        """Close everything in order; a cancellation meanwhile waits until that is done."""
        closing = asyncio.create_task(self._close_in_order(exc))
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait({closing})
            except asyncio.CancelledError as again:
                cancelled = again
        closing.result()
        if cancelled is not None:
            raise cancelled

    async def _close_in_order(self, exc: BaseException | None) -> None:
        async with AsyncExitStack() as stack:  # last in, first out; one that fails does not stop the others
            if self._entered:
                stack.push_async_callback(self._source.__aexit__, type(exc) if exc else None, exc, None)
            stack.push_async_callback(self._close_tracker)
            for sink in self._opened_sinks:  # those whose task never ran
                stack.push_async_callback(self._close_sink, sink)
            stack.push_async_callback(self._join)

    async def _close_tracker(self) -> None:
        if self._loading is None:
            return
        await asyncio.wait({self._loading})  # it may still be loading where entering was cancelled
        if self._loading.exception() is None:
            await on_thread(self._loading.result().close)

    async def _join(self) -> None:
        """Wait for every task and thread; a cancelled caller leaves them to finish what they do."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        # not asyncio.to_thread(thread.join): a program that ends while we wait could not shut the executor down
        for thread, ended in self._threads:
            await ended.wait()
            thread.join()

    def _ring_shape(self, info: SourceInfo) -> tuple[RingPolicy, int]:
        policy = {
            BufferPolicy.LIVE: RingPolicy.LIVE,
            BufferPolicy.LOSSLESS: RingPolicy.LOSSLESS,
            BufferPolicy.AUTO: RingPolicy.LIVE if info.live else RingPolicy.LOSSLESS,
        }[self._buffer.policy]
        return policy, self._buffer.depth or (1 if policy is RingPolicy.LIVE else _LOSSLESS_DEPTH)

    # -- what callers use ----------------------------------------------------------------------------------------

    @property
    def info(self) -> SourceInfo:
        """The open source's description."""
        return self._source.info

    @property
    def tracker(self) -> TrackerCore:
        """The tracker of this run; valid once entered."""
        if self._tracker is None:
            raise InvalidInputError("pipeline: use it with `async with`; it is not open")
        return self._tracker

    def stop(self) -> None:
        """End the run early and politely: what was read is processed, files are finished. Safe from any thread."""
        self._source.stop()

    def subscribe(self) -> FrameRing[FrameResult]:
        """Start the run and get its results in a ring, which any one thread may take from until it is closed.

        A live run keeps the newest result only; a lossless one waits for the taker.

        Raises:
            InvalidInputError: The pipeline is not open, or its run was started before.
        """
        policy = self._input_ring.policy
        outlet: FrameRing[FrameResult] = FrameRing(policy, 1 if policy is RingPolicy.LIVE else self._buffer.sink_depth)
        self._start([("iterator", outlet)])
        return outlet

    async def finish(self) -> None:
        """Wait until a started run has ended and its sinks are finished.

        Raises:
            GestStreamError: What ended it early.
        """
        await self._join()
        self._raise_failure()

    async def __aiter__(self) -> AsyncIterator[FrameResult]:
        loop_ring = LoopRing(self.subscribe())
        while (result := await loop_ring.take()) is not None:
            yield result
        await self.finish()

    async def run(self) -> RunStats:
        """Process the whole stream into the sinks.

        Returns:
            The final counts.

        Raises:
            GestStreamError: What ended the run early; the sinks were finished first.
        """
        self._start([])
        await self.finish()
        return self.stats

    @property
    def stats(self) -> RunStats:
        """Counts so far; safe from any thread."""
        counts, ring, dropped = self._counts, self._input_ring.stats, self.frames_dropped
        elapsed_s = max(counts.last_ns - counts.first_ns, 0) / 1e9
        return RunStats(
            frames_read=counts.read + counts.skipped_by_source,
            frames_dropped=dropped,
            frames_done=counts.done,
            frames_with_hands=counts.with_hands,
            hands_on_last=counts.hands_on_last,
            track_ids=counts.last_id,
            elapsed_s=elapsed_s,
            fps=counts.done / elapsed_s if elapsed_s else 0.0,
            sink_drops={name: outlet.stats.dropped for name, outlet in self._outlets},
            input_ring=ring,
            latency_ms=self._latency.as_dict(),
        )

    @property
    def frames_dropped(self) -> int:
        """Frames dropped so far, as in `stats`, without the cost of its distributions; safe from any thread."""
        return self._input_ring.stats.dropped + self._counts.skipped_by_source

    @property
    def _input_ring(self) -> FrameRing[Frame]:
        if self._input is None:
            raise InvalidInputError("pipeline: use it with `async with`; it is not open")
        return self._input

    # -- the work ------------------------------------------------------------------------------------------------

    def _start(self, extra_outlets: list[tuple[str, FrameRing[FrameResult]]]) -> None:
        if self._threads:
            raise InvalidInputError("pipeline: a run can be iterated once; open a new one for another pass")
        policy = self._input_ring.policy
        self.tracker.set_live(policy is RingPolicy.LIVE)
        self._outlets = [(sink.name, FrameRing(policy, self._buffer.sink_depth)) for sink in self._sinks]
        self._tasks = [
            asyncio.create_task(self._feed_sink(sink, LoopRing(outlet)))
            for sink, (_, outlet) in zip(self._sinks, self._outlets, strict=True)
        ]
        self._outlets += extra_outlets
        self._tasks.append(asyncio.create_task(self._pump(LoopRing(self._input_ring))))
        self._lanes = Lanes(self.tracker.lanes, policy is RingPolicy.LIVE)
        detecting = [(f"detect-{lane}", partial(self._detect_frames, lane)) for lane in range(self.tracker.lanes)]
        for name, work in (*detecting, ("segment", self._segment_frames)):
            ended, loop = asyncio.Event(), asyncio.get_running_loop()
            thread = threading.Thread(target=self._guard, args=(work, loop, ended), name=f"gest-stream-{name}")
            self._threads.append((thread, ended))
            thread.start()

    async def _pump(self, ring: LoopRing[Frame]) -> None:
        expected_seq, begun_ns = 0, now_ns()
        try:
            async for frame in self._source:
                self._counts.read += 1
                self._counts.skipped_by_source += max(frame.seq - expected_seq, 0)
                expected_seq = frame.seq + 1
                if self._counts.read == 1:
                    self._counts.first_ns = max(frame.captured_ns, begun_ns)
                if not await ring.put(frame):
                    break
        except BaseException as exc:
            self._fail(exc)
        finally:
            ring.ring.close()

    def _guard(self, work: Callable[[], None], loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            work()
        except BaseException as exc:
            self._fail(exc)
        finally:
            loop.call_soon_threadsafe(ended.set)

    def _detect_frames(self, lane: int) -> None:
        """Thread: encode and detect. CUDA encoders return before they are done, so encoding is started first."""
        tracker, ring, lanes = self.tracker, self._input_ring, self._lanes
        try:
            # room first: a frame taken earlier would only grow old while the last one is being segmented
            while lanes.begin(lane) and self._middle.wait_for_room() and (frame := ring.take()) is not None:
                timer = StageTimer()
                timer.ms["queue"] = (now_ns() - frame.captured_ns) / 1e6
                with timer.stage("encode"):
                    encoded = tracker.encode(frame)
                lanes.took()
                with timer.stage("landmarks"):
                    detections = tracker.detect(frame, lane)
                lanes.may_pass(lane)
                self._middle.push(_Detected(frame, detections, encoded, timer))
                lanes.passed()
        finally:
            if lanes.leave():
                ring.close(discard=True)
                self._middle.close()

    def _segment_frames(self) -> None:
        """Thread: track, segment and fan out."""
        tracker = self.tracker
        try:
            while (item := self._middle.take()) is not None:
                with self._lanes.taker_busy():
                    result = tracker.advance(item.frame, item.detections, item.encoded, item.timer)
                    self._latency.add(result.timings_ms)
                    self._counts.add(result)
                    for _, outlet in self._outlets:
                        outlet.push(result)
        finally:
            self._middle.close(discard=True)
            for _, outlet in self._outlets:
                outlet.close()

    async def _feed_sink(self, sink: Sink, outlet: LoopRing[FrameResult]) -> None:
        try:
            while (result := await outlet.take()) is not None:
                await sink.write(result)
        except BaseException as exc:
            self._fail(_as_sink_error(sink, exc))
        finally:
            outlet.ring.close(discard=True)
            await self._close_sink(sink)

    async def _close_sink(self, sink: Sink) -> None:
        if sink in self._opened_sinks:
            self._opened_sinks.remove(sink)
            try:
                await sink.close()
            except Exception as exc:
                self._fail(_as_sink_error(sink, exc))

    def _fail(self, exc: BaseException) -> None:
        """Remember the first failure and let everything run dry."""
        if self._failure is None:
            self._failure = exc
        else:
            _LOG.warning("after the run had failed: %s", exc)
        self._source.stop()


def _as_sink_error(sink: Sink, exc: BaseException) -> BaseException:
    if isinstance(exc, GestStreamError) or not isinstance(exc, Exception):
        return exc
    error = SinkError(f"{sink.name}: writing failed: {exc!r}; the other outputs were finished")
    error.__cause__ = exc
    return error
