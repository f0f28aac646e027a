"""Encoder passes that sessions share: who waits for whom, and whom an error reaches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gest_stream.clock import now_ns
from gest_stream.config import BatchingConfig, BatchingMode
from gest_stream.errors import ConfigError, ModelError
from gest_stream.models.sam2_batcher import BatchingStats, Encoded, EncoderBatcher, EncoderSeat
from gest_stream.models.sam2_device import Compute
from gest_stream.models.sam2_frames import FrameUpload
from gest_stream.models.sam2_graphs import GraphEncoder
from gest_stream.models.sam2_model import Features
from tests.models.sam2_nano import CPU, SIDE, images, nano_model
from tests.models.test_sam2_graphs import Replays

WAITING = BatchingConfig(BatchingMode.ON, max_batch=8)
"""In these tests with a window that is longer than their deadlines."""

TOLERANCE = 1e-5
"""Measured: 0.0 with one thread, in float32 and bfloat16, for nano and for tiny at 256 and 512 pixels."""

DEADLINE_S = 20.0
Image = NDArray[np.uint8]


class Watched(GraphEncoder):
    """Notes the size and the thread of each pass, and fails or waits where it is told to."""

    def __init__(self) -> None:
        super().__init__(nano_model(), capture=False, compile_=False)
        self.sizes: list[int] = []
        self.threads: list[str] = []
        self.before: Callable[[torch.Tensor], object] = lambda pictures: None

    def encode(self, pictures: torch.Tensor) -> Encoded:
        self.sizes.append(pictures.shape[0])
        self.threads.append(threading.current_thread().name)
        self.before(pictures)
        return super().encode(pictures)


class Room:
    """A batcher with some sessions, each with a thread."""

    def __init__(self, seats: int, config: BatchingConfig) -> None:
        self.encoder = Watched()
        self.batcher = EncoderBatcher(self.encoder, CPU, config)
        if config is WAITING:
            self.batcher._window_ns = int(3 * DEADLINE_S * 1e9)
        self.seats = [self.batcher.seat() for _ in range(seats)]
        self.uploads = [FrameUpload(CPU, SIDE) for _ in range(seats)]
        self.threads = ThreadPoolExecutor(seats, "session")

    def meet(self, *seats: int) -> None:
        """Have these sessions send frames, for longer than a test takes; the others not for long."""
        for index, seat in enumerate(self.seats):
            seat.seen_ns = now_ns() + int(3 * DEADLINE_S * 1e9) if index in seats else 0

    def ask(self, index: int, image: Image) -> Future[Features]:
        def encode() -> Features:
            with CPU.active():
                return self.seats[index](self.uploads[index], image)[0]

        return self.threads.submit(encode)

    def waiting(self) -> int:
        with self.batcher._changed:
            return len(self.batcher._waiting)


@contextmanager
def room_of(seats: int, config: BatchingConfig = WAITING) -> Iterator[Room]:
    room = Room(seats, config)
    try:
        yield room
    finally:
        room.encoder.before = lambda pictures: None
        room.batcher.close()
        room.threads.shutdown()


def soon(true: Callable[[], bool]) -> None:
    """Wait for something that happens."""
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


def alone(image: Image) -> Features:
    with CPU.active():
        return nano_model().encode_image(FrameUpload(CPU, SIDE)(image))


def close_to(ours: Features, theirs: Features) -> bool:
    pairs = zip(ours.tensors(), theirs.tensors(), strict=True)
    return all(one.shape == other.shape and float((one - other).abs().max()) <= TOLERANCE for one, other in pairs)


def no_memory(pictures: torch.Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_session_that_is_alone_computes_at_once_on_its_own_thread() -> None:
    with room_of(1) as room:
        for image in images(3):
            assert close_to(room.ask(0, image).result(DEADLINE_S), alone(image))
        assert room.encoder.sizes == [1, 1, 1]
        assert all(name.startswith("session") for name in room.encoder.threads)
        assert room.batcher._thread is None


@pytest.mark.parametrize("sessions", [2, 4])
def test_sessions_that_ask_together_share_a_pass_and_each_gets_its_own_features(sessions: int) -> None:
    pictures = images(sessions)
    with room_of(sessions) as room:
        room.meet(*range(sessions))
        asked = [room.ask(index, image) for index, image in enumerate(pictures)]
        for future, image in zip(asked, pictures, strict=True):  # the window is not over: everybody has asked
            assert close_to(future.result(DEADLINE_S), alone(image))
        assert room.encoder.sizes == [sessions]
        assert room.encoder.threads == ["gest-stream-encode"]
        assert room.batcher.stats == BatchingStats(passes=1, pictures=sessions, largest=sessions)
    assert not close_to(alone(pictures[0]), alone(pictures[1])), "or it would not matter whose they are"


def test_frames_of_different_sizes_share_a_pass() -> None:
    pictures = [images(1, size=size)[0] for size in ((96, 64), (64, 128), (320, 180))]
    with room_of(3) as room:
        room.meet(0, 1, 2)
        asked = [room.ask(index, image) for index, image in enumerate(pictures)]
        assert all(close_to(one.result(DEADLINE_S), alone(image)) for one, image in zip(asked, pictures, strict=True))
        assert room.encoder.sizes == [3]


def test_a_frame_waits_for_another_session_no_longer_than_the_window() -> None:
    with room_of(2, BatchingConfig(BatchingMode.ON, window_ms=60.0)) as room:
        room.meet(0, 1)
        [image], start = images(1), time.monotonic()
        assert close_to(room.ask(0, image).result(DEADLINE_S), alone(image))
        assert time.monotonic() - start >= 0.06
        assert room.encoder.sizes == [1]


def test_a_session_that_sends_no_more_frames_is_not_waited_for() -> None:
    with room_of(2) as room:
        room.meet(0)
        room.seats[1].seen_ns = now_ns() - 1_100_000_000
        room.ask(0, images(1)[0]).result(DEADLINE_S)
        assert room.encoder.threads[0].startswith("session")


def test_a_pass_takes_no_more_than_it_may_and_who_asked_first_comes_first() -> None:
    pictures, running, go_on = images(5), threading.Event(), threading.Event()

    def hold(batch: torch.Tensor) -> None:
        running.set()
        assert go_on.wait(DEADLINE_S)

    with room_of(5, BatchingConfig(BatchingMode.ON, window_ms=0.0, max_batch=2)) as room:
        room.meet(*range(5))
        room.encoder.before = hold
        asked = [room.ask(0, pictures[0])]
        assert running.wait(DEADLINE_S)
        for index in range(1, 5):  # while the first pass is running
            asked.append(room.ask(index, pictures[index]))
            soon(lambda: room.waiting() == index)  # noqa: B023
        go_on.set()
        assert all(close_to(one.result(DEADLINE_S), alone(image)) for one, image in zip(asked, pictures, strict=True))
        assert room.encoder.sizes == [1, 2, 2]


def test_where_memory_does_not_do_for_a_batch_its_frames_are_encoded_one_by_one_and_batches_are_smaller_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pictures = images(4)
    with room_of(4) as room:
        room.encoder.before = lambda batch: no_memory(batch) if batch.shape[0] > 2 else None
        for _ in range(2):
            room.meet(0, 1, 2, 3)
            asked = [room.ask(index, image) for index, image in enumerate(pictures)]
            for future, image in zip(asked, pictures, strict=True):
                assert close_to(future.result(DEADLINE_S), alone(image))
        assert room.encoder.sizes == [4, 1, 1, 1, 1, 2, 2]
        assert room.batcher.most == 2
    assert [record.getMessage() for record in caplog.records] == [
        "sam2: cpu has no memory to encode 4 frames together; from now on at most 2 are"
    ]


def test_who_has_no_memory_even_alone_is_told_and_nobody_else() -> None:
    pictures = images(3)
    with CPU.active():
        hers = FrameUpload(CPU, SIDE)(pictures[1])
    with room_of(3) as room:
        room.encoder.before = lambda batch: no_memory(batch) if batch.shape[0] > 1 or torch.equal(batch, hers) else None
        room.meet(0, 1, 2)
        asked = [room.ask(index, image) for index, image in enumerate(pictures)]
        assert isinstance(asked[1].exception(DEADLINE_S), torch.OutOfMemoryError)
        for index in (0, 2):
            assert close_to(asked[index].result(DEADLINE_S), alone(pictures[index]))


def test_a_pass_that_fails_is_an_error_of_its_sessions_alone_and_the_next_one_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def wrong(batch: torch.Tensor) -> None:
        raise RuntimeError("an illegal memory access\nmore")

    pictures = images(3)
    with room_of(3) as room:
        room.meet(0, 1)
        room.encoder.before = wrong
        asked = [room.ask(index, pictures[index]) for index in (0, 1)]
        errors = [future.exception(DEADLINE_S) for future in asked]
        assert all(isinstance(error, ModelError) for error in errors)
        assert errors[0] is not errors[1], "two threads that raise one error would write into one traceback"
        message = "sam2: encoding 2 frames of different sessions together failed: RuntimeError: an illegal memory acc"
        assert str(errors[0]).startswith(message)
        room.encoder.before = lambda batch: None
        room.meet(0, 1, 2)
        later = [room.ask(index, pictures[index]) for index in range(3)]
        assert all(close_to(one.result(DEADLINE_S), alone(image)) for one, image in zip(later, pictures, strict=True))
    assert caplog.records == []


def test_a_device_that_fails_while_memory_is_freed_is_an_error_of_the_pass_and_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(pictures: int) -> None:
        raise RuntimeError("the device was lost")

    with room_of(2) as room:
        room.meet(0, 1)
        room.encoder.before = no_memory
        monkeypatch.setattr(room.batcher, "_take_fewer_than", lost)
        for future in [room.ask(index, image) for index, image in enumerate(images(2))]:
            error = future.exception(DEADLINE_S)
            assert isinstance(error, ModelError)
            assert "the device was lost" in str(error)
        room.encoder.before = lambda batch: None
        room.meet(0, 1)
        again = [room.ask(index, image) for index, image in enumerate(images(2))]
        assert all(close_to(one.result(DEADLINE_S), alone(image)) for one, image in zip(again, images(2), strict=True))


def test_a_session_that_is_closed_while_its_frame_waits_is_told_and_the_others_go_on_without_it() -> None:
    pictures = images(3)
    with room_of(3) as room:
        room.meet(0, 1, 2)
        asked = [room.ask(index, pictures[index]) for index in (0, 1)]
        soon(lambda: room.waiting() == 2)
        room.seats[1].close()
        with pytest.raises(ModelError, match="this session's segmenter was closed; take a new one"):
            asked[1].result(DEADLINE_S)
        assert not asked[0].done(), "it waits for the third"
        room.seats[2].close()
        assert close_to(asked[0].result(DEADLINE_S), alone(pictures[0]))
        assert (room.encoder.sizes, room.batcher.seats) == ([1], 1)
        with pytest.raises(ModelError, match="closed"):
            room.seats[1](room.uploads[1], pictures[1])
        room.seats[1].close()


def test_closing_encodes_what_waits_joins_the_thread_and_leaves_the_sessions_on_their_own() -> None:
    [image] = images(1)
    with room_of(2) as room:
        room.meet(0, 1)
        asked = room.ask(0, image)
        soon(lambda: room.waiting() == 1)
        thread = room.batcher._thread
        assert thread is not None
        assert thread.is_alive()
        room.batcher.close()
        assert not thread.is_alive()
        assert close_to(asked.result(DEADLINE_S), alone(image))
        room.meet(0, 1)
        assert close_to(room.ask(1, image).result(DEADLINE_S), alone(image))
        assert room.encoder.threads[1].startswith("session")
        room.batcher.close()


def test_under_load_every_frame_is_encoded_once_and_none_piles_up() -> None:
    sessions, frames = 4, 25
    clips = [images(frames, seed=seed) for seed in range(sessions)]
    most_waiting = [0]
    with room_of(sessions, BatchingConfig(BatchingMode.ON, window_ms=5.0, max_batch=3)) as room:
        room.encoder.before = lambda batch: most_waiting.append(room.waiting())

        def play(index: int) -> bool:
            with CPU.active():
                made = [room.seats[index](room.uploads[index], image)[0] for image in clips[index]]
            return all(close_to(one, alone(image)) for one, image in zip(made, clips[index], strict=True))

        done = [room.threads.submit(play, index) for index in range(sessions)]
        assert [future.result(DEADLINE_S) for future in done] == [True] * sessions
        stats = room.batcher.stats
    assert stats.pictures == sum(room.encoder.sizes) == sessions * frames
    assert stats.passes == len(room.encoder.sizes)
    assert 2 <= stats.largest <= 3
    assert max(most_waiting) <= sessions


def test_batching_is_on_where_there_is_cuda_and_off_elsewhere_unless_it_is_asked_for() -> None:
    cuda = Compute(torch.device("cuda"), torch.bfloat16)
    most = {
        (compute.is_cuda, mode): EncoderBatcher(Watched(), compute, BatchingConfig(mode, max_batch=5)).most
        for compute in (CPU, cuda)
        for mode in BatchingMode
    }
    assert most == {
        (False, BatchingMode.AUTO): 1,
        (False, BatchingMode.ON): 5,
        (False, BatchingMode.OFF): 1,
        (True, BatchingMode.AUTO): 5,
        (True, BatchingMode.ON): 5,
        (True, BatchingMode.OFF): 1,
    }


def test_where_batching_is_off_sessions_encode_on_their_own_threads() -> None:
    with room_of(2, BatchingConfig(BatchingMode.OFF)) as room:
        room.meet(0, 1)
        asked = [room.ask(index, image) for index, image in enumerate(images(2))]
        assert all(future.result(DEADLINE_S) for future in asked)
        assert room.encoder.sizes == [1, 1]
        assert room.batcher._thread is None


def test_each_number_of_pictures_is_captured_once_and_gives_what_uncaptured_passes_give() -> None:
    replays, pictures = Replays(), images(6)
    captured = GraphEncoder(nano_model(), capture=True, compile_=False, capturer=replays)
    upload = FrameUpload(CPU, SIDE)
    with CPU.active():
        for first, count in ((0, 1), (1, 3), (4, 1), (3, 3), (2, 3), (1, 2), (5, 1)):
            together = torch.cat([upload(image) for image in pictures[first : first + count]])
            features, ready = captured.encode(together)
            assert ready is None
            for index in range(count):
                assert close_to(features.of_picture(index), alone(pictures[first + index]))
    assert (captured.captured, replays.captures, replays.replays) == (3, 3, 7)


def test_the_seat_tells_of_the_encoders_graphs_while_it_is_open() -> None:
    seat: EncoderSeat
    with room_of(1) as room:
        seat = room.seats[0]
        assert (seat.captured, seat.failure) == (0, "")
        seat.close()
        with pytest.raises(ModelError, match="closed"):
            _ = seat.captured


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_ms": -1.0}, "batching.window_ms: expected 0 to 1000, got -1.0"),
        ({"max_batch": 0}, "batching.max_batch: expected 1 to 32, got 0"),
        ({"mode": "onn"}, "mode: 'onn' is not known; did you mean 'on'"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BatchingConfig(**settings)  # type: ignore[arg-type]
