"""Several sessions over one set of weights: each as if it had its own, and none in another's way."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gest_stream.config import BatchingConfig, BatchingMode, Sam2Config, Sam2Runner
from gest_stream.errors import DeviceError, InvalidInputError, ModelError, WeightsError
from gest_stream.interfaces import Segmenter
from gest_stream.models import sam2_graphs
from gest_stream.models.sam2_batcher import EncoderBatcher
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Engine
from gest_stream.models.sam2_graphs import Capturer, CaptureStream, GraphEncoder, GraphSteps
from gest_stream.models.sam2_runners import FixedRunner
from gest_stream.models.sam2_shared import SessionSegmenter, SharedSam2, load_shared
from gest_stream.types import Frame, Observation, Prompt, PromptMode
from tests.models.sam2_nano import (
    CPU,
    NANO,
    SEEN,
    SIDE,
    box,
    click,
    images,
    nano_model,
    nano_modules,
    nano_weights,
)
from tests.models.sam2_upstream import plain_config
from tests.models.test_sam2_graphs import Replays

RUNNERS = (Sam2Runner.EXACT, Sam2Runner.BATCHED, Sam2Runner.FIXED)
FRAMES = 20
TOGETHER = 8
"""Frames where sessions run at once: threads hand the interpreter to and fro, which takes long on a busy machine."""
JOINED = BatchingConfig(BatchingMode.ON, window_ms=50.0)
SHORT = BatchingConfig(BatchingMode.ON, window_ms=1.0)

Script = Mapping[int, Mapping[int, Prompt]]
SCRIPTS: Sequence[Script] = (
    {0: {1: click(30, 30)}, 3: {2: box(40, 10, 90, 50)}, 6: {1: click(60, 20, mode=PromptMode.APPEND)}},
    {0: {1: box(5, 5, 60, 60), 2: click(70, 50)}, 5: {2: click(50, 20, 0, PromptMode.REFINE)}},
    {2: {5: click(60, 30)}, 3: {1: box(10, 10, 50, 50)}},
)
Logits = list[dict[int, torch.Tensor]]


def share(
    runner: Sam2Runner = Sam2Runner.BATCHED, batching: BatchingConfig | None = None, **settings: Any
) -> SharedSam2:
    modules = nano_model().modules  # the same for all tests: in float32 on the CPU nothing about them changes
    return SharedSam2(modules, plain_config(SIDE, runner, **settings), batching)


def play(engine: Sam2Engine, index: int, frames: Sequence[int] = range(FRAMES)) -> Iterator[dict[int, torch.Tensor]]:
    """The masks of one session, frame by frame: its own clip and prompts."""
    clip = images(FRAMES, seed=index)
    for frame in frames:
        masks = engine.step(engine.encode(clip[frame]), SCRIPTS[index].get(frame))
        yield {} if masks.decoded is None else dict(zip(masks.object_ids, masks.decoded.logits.clone(), strict=True))


@cache
def modules_of_their_own() -> Any:
    return nano_modules(SEEN)


@cache
def separate(runner: Sam2Runner, index: int) -> Logits:
    """What an engine of its own gives."""
    return list(play(Sam2Engine(modules_of_their_own(), plain_config(SIDE, runner), 4), index))


def difference(ours: Logits, theirs: Logits) -> float:
    assert [one.keys() for one in ours] == [other.keys() for other in theirs]
    pairs = [(mine[key], other[key]) for mine, other in zip(ours, theirs, strict=True) for key in mine]
    assert len(pairs) >= TOGETHER
    return max(float((mine - other).abs().max()) for mine, other in pairs)


def at_once(engines: Sequence[Sam2Engine]) -> list[Logits]:
    """Every session on a thread of its own, all begun together."""
    begin = threading.Barrier(len(engines), timeout=60)

    def run(index: int) -> Logits:
        begin.wait()
        return list(play(engines[index], index, range(TOGETHER)))

    with ThreadPoolExecutor(len(engines)) as threads:
        return [future.result(100) for future in [threads.submit(run, index) for index in range(len(engines))]]


def parameters(engine: Sam2Engine) -> dict[str, int]:
    """Where each weight lies."""
    return {name: value.data_ptr() for name, value in engine.model.modules.state_dict().items()}


def held_bytes() -> int:
    """Bytes of every tensor that Python can reach, each storage once."""
    gc.collect()
    found = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in found}.values())


@contextmanager
def without_collector() -> Iterator[None]:
    """Only what nothing refers to goes."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("runner", RUNNERS)
def test_interleaved_sessions_give_exactly_the_masks_of_engines_of_their_own(runner: Sam2Runner) -> None:
    with share(runner) as shared:
        engines = [shared.segmenter(4).engine for _ in range(2)]
        turns = zip(play(engines[0], 0), play(engines[1], 1), strict=True)
        one, other = (list(masks) for masks in zip(*turns, strict=True))
    assert difference(one, separate(runner, 0)) == 0.0
    assert difference(other, separate(runner, 1)) == 0.0


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("batching", [None, JOINED], ids=["alone", "joined"])
def test_sessions_on_threads_give_exactly_the_masks_of_engines_of_their_own(
    runner: Sam2Runner, batching: BatchingConfig | None
) -> None:
    """Passes that are shared, too: measured to the last bit here, where one thread computes each."""
    with share(runner, batching) as shared:
        made = at_once([shared.segmenter(4).engine for _ in SCRIPTS])
        assert (shared.stats.largest > 1) is (batching is not None)
        assert shared.stats.pictures == len(SCRIPTS) * TOGETHER
    for index, masks in enumerate(made):
        assert difference(masks, separate(runner, index)[:TOGETHER]) <= (0.0 if batching is None else 5e-5)


@pytest.mark.parametrize("batching", [None, JOINED], ids=["alone", "joined"])
def test_sessions_on_threads_may_share_a_captured_encoder_and_have_captured_steps(
    batching: BatchingConfig | None,
) -> None:
    """What a graph reads and writes lies at one address for all."""
    model = share(Sam2Runner.FIXED)._still_loaded().model
    encoder = GraphEncoder(model, capture=True, compile_=False, capturer=Replays())
    batcher = EncoderBatcher(encoder, CPU, batching)
    engines = []
    for _ in SCRIPTS:
        engine = Sam2Engine(model, plain_config(SIDE, Sam2Runner.FIXED), 4, batcher.seat())
        engine._graphs = GraphSteps(model, capture=True, compile_=False, capturer=Replays())
        engine._runner = FixedRunner(model, engine._bank, False, engine._graphs.wrap)
        engines.append(engine)
    made = at_once(engines)
    batcher.close()
    assert (batcher.stats.largest > 1) is (encoder.captured > 1) is (batching is not None)
    for index, masks in enumerate(made):
        assert difference(masks, separate(Sam2Runner.FIXED, index)[:TOGETHER]) <= (0.0 if batching is None else 5e-5)


def test_weights_are_there_once_and_a_session_more_takes_its_bank_and_no_more() -> None:
    with share() as shared:
        one = shared.segmenter(4)
        before = held_bytes()
        other = shared.segmenter(4)
        normalisation = 2 * 3 * 4  # mean and deviation of three channels
        assert held_bytes() - before == other.engine.state_bytes + normalisation
        assert parameters(one.engine) == parameters(other.engine)
        assert len(parameters(one.engine)) > 100


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_session_that_is_closed_frees_its_bank_and_leaves_the_others_as_they_are(runner: Sam2Runner) -> None:
    with share(runner, SHORT) as shared, without_collector():
        leaving, staying = shared.segmenter(4), shared.segmenter(4)
        masks = list(play(staying.engine, 0, range(10)))
        for _ in play(leaving.engine, 1):
            pass
        bank = weakref.ref(leaving.engine._bank.frames)
        leaving.close()
        assert bank() is None
        assert shared.sessions == 1
        masks += list(play(staying.engine, 0, range(10, FRAMES)))
        assert difference(masks, separate(runner, 0)) == 0.0
        for use in (lambda: leaving.engine, leaving.reset, lambda: leaving.encode(frame_of(0))):
            with pytest.raises(ModelError, match="this session's segmenter was closed; take a new one"):
                use()
        leaving.close()


@pytest.mark.parametrize("order", ["sessions first", "weights first"])
def test_weights_are_freed_when_both_the_last_session_and_they_themselves_are_closed(order: str) -> None:
    with without_collector():
        shared = SharedSam2(nano_modules(SEEN), plain_config(SIDE, Sam2Runner.FIXED), SHORT)
        sessions = [shared.segmenter(4) for _ in range(2)]
        at_once([session.engine for session in sessions])
        weight = weakref.ref(next(sessions[0].engine.model.modules.parameters()))
        closing: list[Callable[[], None]] = [sessions[0].close, sessions[1].close, shared.close]
        for close in closing if order == "sessions first" else reversed(closing):
            assert weight() is not None
            close()
        assert weight() is None
    assert shared.sessions == 0
    assert shared.stats.pictures == 0


def test_closed_weights_begin_no_session_and_let_the_open_ones_finish() -> None:
    shared = share(batching=SHORT)
    session, other = shared.segmenter(4), shared.segmenter(4)
    masks = list(play(session.engine, 0, range(5)))
    list(play(other.engine, 1, range(2)))
    shared.close()
    with pytest.raises(ModelError, match="the shared weights were closed; load them anew"):
        shared.segmenter()
    with pytest.raises(ModelError, match="closed"):
        shared.warmup()
    masks += list(play(session.engine, 0, range(5, FRAMES)))
    assert difference(masks, separate(Sam2Runner.BATCHED, 0)) == 0.0
    shared.close()


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with share(batching=JOINED) as shared:
        at_once([shared.segmenter(4).engine for _ in range(2)])
        assert "gest-stream-encode" in [thread.name for thread in threading.enumerate()]
    assert threading.active_count() == before


def frame_of(index: int, size: tuple[int, int] = (96, 64)) -> Frame:
    return Frame(images(index + 1, size=size)[index], index, Fraction(1, 30), 0, index)


def test_a_sessions_segmenter_has_every_verb_and_errors_are_its_own() -> None:
    with share(batching=SHORT) as shared:
        one: Segmenter[Sam2Encoded] = shared.segmenter(2)
        other = shared.segmenter(2)
        for segmenter in (one, other):
            segmenter.step(segmenter.encode(frame_of(0)), [Observation(1, None, click(30, 30))])
        with pytest.raises(InvalidInputError, match="its size changed"):
            one.step(one.encode(frame_of(1, (128, 64))), [Observation(1)])
        with pytest.raises(InvalidInputError, match="object 1: was forgotten"):
            one.forget(1)
            one.step(one.encode(frame_of(1)), [Observation(1, None, click(30, 30))])
        with pytest.raises(InvalidInputError, match="at least 8x8 pixels"):
            one.encode(Frame(np.zeros((4, 96, 3), np.uint8), 1, Fraction(1, 30), 0, 1))
        assert other.step(other.encode(frame_of(1)), [Observation(1)]).keys() == {1}
        assert other.warmup((96, 64), objects=2).graphs == 0


def test_a_session_without_room_is_an_error_and_takes_no_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*args: object, **kwargs: object) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with share() as shared:
        session = shared.segmenter(4)
        with monkeypatch.context() as broken:
            broken.setattr(torch, "zeros", no_memory)
            with pytest.raises(DeviceError, match="cpu: out of memory while making room for a session with sam2 tiny"):
                shared.segmenter(4)
        assert shared.sessions == 1
        assert difference(list(play(session.engine, 0)), separate(Sam2Runner.BATCHED, 0)) == 0.0


def test_every_thread_computes_with_as_many_cpu_threads_as_the_weights_were_loaded_with() -> None:
    """torch's setting is each thread's own, and a new thread begins with the last one that anybody set."""
    assert torch.get_num_threads() == 1

    def encode(session: SessionSegmenter) -> int:
        session.encode(frame_of(0))
        return torch.get_num_threads()

    with share() as shared, ThreadPoolExecutor(1) as meddler, ThreadPoolExecutor(1) as thread:
        meddler.submit(torch.set_num_threads, 3).result(20)
        assert thread.submit(encode, shared.segmenter(4)).result(20) == 1
    with share(threads=2) as shared, ThreadPoolExecutor(1) as thread:
        torch.set_num_threads(1)
        assert thread.submit(encode, shared.segmenter(4)).result(20) == 2


def test_the_encoder_alone_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[bool] = []

    def compiled(run: Callable[..., Any], want: bool) -> Callable[..., Any]:
        wanted.append(want)
        return run

    monkeypatch.setattr(sam2_graphs, "_compiled", compiled)
    with share(Sam2Runner.FIXED, compile=True) as shared:
        session = shared.segmenter(4)
        for _ in play(session.engine, 0, range(3)):
            pass
    assert wanted == [True, False]


def test_graphs_without_cuda_are_refused() -> None:
    with pytest.raises(DeviceError, match="runner graph: needs a CUDA device, got cpu"):
        share(Sam2Runner.GRAPH)


def test_graphs_of_several_sessions_are_captured_one_at_a_time_on_one_stream_each_with_its_own_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With stand-ins for CUDA: what two threads capture at once must not meet."""
    seen, busy, entered = [], threading.Lock(), threading.Barrier(3, timeout=60)

    def capture(run: Callable[[], object], stream: object, pool: object) -> tuple[Callable[[], None], object]:
        assert busy.acquire(blocking=False), "two captures at once"
        seen.append((stream, pool))
        run()
        busy.release()
        return lambda: None, None

    pools = iter("abc")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: object())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(pools))
    monkeypatch.setattr(sam2_graphs, "capture_on_cuda", capture)
    captures = CaptureStream(torch.device("cuda"), threading.Lock())

    def capture_some(capturer: Capturer) -> None:
        entered.wait()
        for _ in range(20):
            capturer(lambda: time.sleep(0.0002))

    with ThreadPoolExecutor(3) as threads:
        for future in [threads.submit(capture_some, captures.capturer()) for _ in range(3)]:
            future.result(60)
    assert len({stream for stream, _ in seen}) == 1
    assert Counter(pool for _, pool in seen) == {"a": 20, "b": 20, "c": 20}


def test_no_memory_for_the_weights_is_an_error_that_suggests_a_smaller_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*args: object, **kwargs: object) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    modules = nano_model().modules
    monkeypatch.setattr(torch, "zeros", no_memory)
    with pytest.raises(DeviceError, match="out of memory while loading the model .* choose a smaller --size"):
        SharedSam2(modules, plain_config(SIDE, Sam2Runner.BATCHED))


def test_shared_weights_are_loaded_from_a_checkpoint_of_their_size(tmp_path: Path) -> None:
    path = tmp_path / "nano.pt"
    torch.save({"model": nano_weights(SEEN)}, path)
    config = plain_config(SIDE, Sam2Runner.BATCHED)
    with load_shared(config, path, SHORT, NANO) as shared:
        assert difference(list(play(shared.segmenter(4).engine, 0)), separate(Sam2Runner.BATCHED, 0)) == 0.0
        warm = shared.warmup()
        assert (warm.graphs, warm.fallback) == (0, "")
    with pytest.raises(WeightsError, match="nano.pt: does not fit sam2.1 tiny"):
        load_shared(Sam2Config(image_size=SIDE, device="cpu"), path)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", [BatchingMode.OFF, BatchingMode.ON])
def test_on_cuda_sessions_share_an_encoder_and_each_has_its_own_steps(mode: BatchingMode) -> None:
    """In float32, by the sign of logits: kernels of other batch sizes round differently."""
    config = plain_config(SIDE, Sam2Runner.GRAPH, device="cuda")
    with SharedSam2(nano_modules(SEEN), config, BatchingConfig(mode, window_ms=50.0)) as shared:
        warm = shared.warmup()
        assert (warm.graphs, warm.fallback) == (4 if mode is BatchingMode.ON else 1, "")
        engines = [shared.segmenter(4).engine for _ in SCRIPTS]
        for engine in engines:
            assert engine.warmup((96, 64), objects=2).fallback == ""
        made = at_once(engines)
        assert (shared.stats.largest > 1) is (mode is BatchingMode.ON)
    for index, masks in enumerate(made):
        own = list(play(Sam2Engine(nano_modules(SEEN), config, 4), index, range(TOGETHER)))
        agreeing = [(one[key] > 0) == (other[key] > 0) for one, other in zip(masks, own, strict=True) for key in one]
        assert float(torch.cat(agreeing).float().mean()) >= 0.98
