"""Encoder passes of several sessions, joined: a GPU takes less time for one pass over B pictures than for B passes.

The first picture waits up to a window for those of other sessions; what comes while a pass is running goes into the
next one. Nobody waits for a session that is not there: a pass begins when each one that asked within the last second
has asked again, and a session that is alone computes on its own thread at once.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.clock import now_ns
from gest_stream.config import BatchingConfig, BatchingMode
from gest_stream.errors import ModelError
from gest_stream.models.sam2_device import Compute
from gest_stream.models.sam2_frames import FrameUpload
from gest_stream.models.sam2_graphs import GraphEncoder
from gest_stream.models.sam2_model import Features

_log = logging.getLogger(__name__)

_PRESENT_NS = 1_000_000_000
"""So long after its last frame a session is still expected to send one."""

Encoded = tuple[Features, torch.cuda.Event | None]


@dataclass(frozen=True, slots=True)
class BatchingStats:
    """What was encoded so far.

    Args:
        passes: Passes of the encoder.
        pictures: Pictures in them.
        largest: Most pictures in one pass.
    """

    passes: int = 0
    pictures: int = 0
    largest: int = 0


class _Request:
    """A picture that waits for its features. `finish` is called under the batcher's lock; the first outcome counts."""

    def __init__(self, seat: EncoderSeat, picture: torch.Tensor, asked_ns: int) -> None:
        self.seat, self.picture, self.asked_ns = seat, picture, asked_ns
        self._finished = threading.Event()
        self._outcome: Encoded | Exception | None = None

    def finish(self, outcome: Encoded | Exception) -> None:
        if not self._finished.is_set():
            self._outcome = outcome
            self._finished.set()

    def wait(self) -> Encoded:
        self._finished.wait()
        outcome, self._outcome = self._outcome, None
        assert outcome is not None
        if not isinstance(outcome, Exception):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # else the error's traceback would hold the error, and with it what was being encoded


class EncoderSeat:
    """One session's place at a batcher; an `ImageEncoder` for its engine. Called by one thread at a time."""

    def __init__(self, batcher: EncoderBatcher) -> None:
        self._batcher: EncoderBatcher | None = batcher
        self.busy = False
        self.seen_ns = 0

    @property
    def captured(self) -> int:
        """Graphs that were captured of the encoder, which all share."""
        return self._open_batcher().encoder.captured

    @property
    def failure(self) -> str:
        """Why capturing failed; "" where it did not."""
        return self._open_batcher().encoder.failure

    def __call__(self, upload: FrameUpload, image: NDArray[np.uint8]) -> Encoded:
        """Features of an image, and on CUDA the event after which they are there.

        Raises:
            ModelError: The session was closed, also while this waited; or the pass that it shared failed.
        """
        batcher = self._open_batcher()
        return batcher.encode(self, batcher.encoder.prepare(upload, image))

    def close(self) -> None:
        """Leave; a call that waits raises. Safe from any thread, and more than once."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            batcher.leave(self)

    def _open_batcher(self) -> EncoderBatcher:
        batcher = self._batcher
        if batcher is None:
            raise _closed()
        return batcher


class EncoderBatcher:
    """Joins what several threads want encoded into passes over several pictures.

    Once memory does not do for a pass of some size, that size is not tried again.

    Args:
        encoder: What encodes.
        compute: Where, and in what precision.
        config: Whether, for how long and how many.
    """

    def __init__(self, encoder: GraphEncoder, compute: Compute, config: BatchingConfig | None = None) -> None:
        config = config if config is not None else BatchingConfig()
        self.encoder = encoder
        self._compute = compute
        joins = config.mode is BatchingMode.ON or (config.mode is BatchingMode.AUTO and compute.is_cuda)
        self._most = config.max_batch if joins else 1
        self._window_ns = int(config.window_ms * 1e6)
        self._changed = threading.Condition()
        self._seats: set[EncoderSeat] = set()
        self._waiting: deque[_Request] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._stats = BatchingStats()

    @property
    def most(self) -> int:
        """Pictures that a pass may have."""
        return self._most

    @property
    def seats(self) -> int:
        """Sessions that are there."""
        with self._changed:
            return len(self._seats)

    @property
    def stats(self) -> BatchingStats:
        """Counts so far."""
        with self._changed:
            return self._stats

    def seat(self) -> EncoderSeat:
        """A place for one more session."""
        seat = EncoderSeat(self)
        with self._changed:
            self._seats.add(seat)
        return seat

    def leave(self, seat: EncoderSeat) -> None:
        """Take a seat away; see `EncoderSeat.close`."""
        with self._changed:
            self._seats.discard(seat)
            for request in [request for request in self._waiting if request.seat is seat]:
                self._waiting.remove(request)
                request.finish(_closed())
            self._changed.notify_all()  # the others need not wait for it

    def encode(self, seat: EncoderSeat, picture: torch.Tensor) -> Encoded:
        """Features of one prepared picture, (1, 3, S, S); see `EncoderSeat.__call__`."""
        try:
            with self._changed:
                if seat not in self._seats:
                    raise _closed()
                seat.busy, seat.seen_ns = True, now_ns()
                request = None if self._is_alone() else self._ask(seat, picture)
                if request is None:
                    self._count(1)
            return self.encoder.encode(picture) if request is None else request.wait()
        finally:
            seat.busy, seat.seen_ns = False, now_ns()

    def close(self) -> None:
        """Encode what waits, and join the thread; who still has a seat encodes without it from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _is_alone(self) -> bool:
        return self._closed or self._most == 1 or self._present() <= 1

    def _present(self) -> int:
        now = now_ns()
        return sum(seat.busy or now - seat.seen_ns < _PRESENT_NS for seat in self._seats)

    def _ask(self, seat: EncoderSeat, picture: torch.Tensor) -> _Request:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="gest-stream-encode")
            self._thread.start()
        request = _Request(seat, picture, seat.seen_ns)
        self._waiting.append(request)
        self._changed.notify_all()
        return request

    def _count(self, pictures: int) -> None:
        so_far = self._stats
        largest = max(so_far.largest, pictures)
        self._stats = BatchingStats(so_far.passes + 1, so_far.pictures + pictures, largest)

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                if len(batch) == 1 or not self._encode_together(batch):
                    self._encode_one_by_one(batch)
            except Exception as exc:  # whoever has no features yet is told, and the thread goes on
                self._finish((request, _failed(len(batch), exc)) for request in batch)
            del batch  # its pictures need not wait for the next one

    def _next_batch(self) -> list[_Request]:
        """The next pass, waiting for it; empty once closed."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                left_ns = self._waiting[0].asked_ns + self._window_ns - now_ns()
                everybody = len(self._waiting) >= min(self._most, self._present())
                if everybody or left_ns <= 0 or self._closed:
                    return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                self._changed.wait(left_ns / 1e9)

    def _encode_together(self, batch: Sequence[_Request]) -> bool:
        """One pass; False, and nobody told, where memory does not do for it."""
        try:
            features, ready = self._passed(torch.cat([request.picture for request in batch]))
            self._finish((request, (features.of_picture(index), ready)) for index, request in enumerate(batch))
            return True
        except torch.OutOfMemoryError:
            pass  # until this clause is left, its traceback holds the tensors of the pass
        self._take_fewer_than(len(batch))
        return False

    def _encode_one_by_one(self, batch: Sequence[_Request]) -> None:
        for request in batch:
            try:
                outcome: Encoded | Exception = self._passed(request.picture)
            except Exception as exc:
                outcome = exc
            self._finish([(request, outcome)])
            del outcome  # as in _Request.wait

    def _passed(self, pictures: torch.Tensor) -> Encoded:
        with self._changed:
            self._count(pictures.shape[0])
        with self._compute.active():
            return self.encoder.encode(pictures)

    def _finish(self, outcomes: Iterable[tuple[_Request, Encoded | Exception]]) -> None:
        with self._changed:
            for request, outcome in outcomes:
                request.finish(outcome)

    def _take_fewer_than(self, pictures: int) -> None:
        if self._compute.is_cuda:
            torch.cuda.empty_cache()
        with self._changed:
            self._most = max(1, pictures // 2)
        _log.warning(
            "sam2: %s has no memory to encode %d frames together; from now on at most %d are",
            *(self._compute.device, pictures, self._most),
        )


def _closed() -> ModelError:
    return ModelError("sam2: this session's segmenter was closed; take a new one")


def _failed(pictures: int, exc: Exception) -> ModelError:
    """An error of its own for each caller: one that several threads raise would gather all their tracebacks."""
    reason = (str(exc).splitlines() or [""])[0]
    error = ModelError(
        f"sam2: encoding {pictures} frames of different sessions together failed: {type(exc).__name__}: {reason}; "
        "with batching.mode=off each is encoded alone"
    )
    error.__cause__ = exc
    return error
