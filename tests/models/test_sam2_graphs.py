"""CUDA graphs, with a capturer that replays on the CPU; and the three ways to step against each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from gest_stream.config import Sam2Runner
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Engine, Sam2Masks
from gest_stream.models.sam2_frames import FrameUpload
from gest_stream.models.sam2_graphs import Capturer, GraphEncoder, GraphSteps
from gest_stream.models.sam2_model import Features
from gest_stream.models.sam2_runners import FixedRunner, FixedShape, FixedStep, Tracked, bucket_of
from gest_stream.types import Prompt, PromptMode
from tests.models.sam2_nano import CPU, SIDE, box, click, encoded_frames, images, nano_engine, nano_model

APPEND, REFINE = PromptMode.APPEND, PromptMode.REFINE
FRAMES = 45
RUNNERS = (Sam2Runner.EXACT, Sam2Runner.BATCHED, Sam2Runner.FIXED)
Script = dict[int, dict[int, Prompt | None]]
"""What is told on a frame: a prompt for an object, or that it is to be forgotten."""

COMING_AND_GOING: Script = {
    0: {1: click(30, 30)},
    19: {1: click(60, 30, mode=APPEND)},  # a gap in a full memory
    21: {2: box(10, 10, 50, 50)},
    24: {3: click(70, 40)},
    40: {1: None},  # the last row moves
    41: {2: click(20, 50, label=0, mode=REFINE)},
    43: {3: None},
}
TWO_TOGETHER: Script = {0: {1: click(30, 30), 2: box(40, 10, 90, 60)}, 30: {1: click(60, 30, mode=APPEND)}}


@pytest.fixture(scope="module")
def encoded() -> list[Sam2Encoded]:
    return encoded_frames(nano_engine(), FRAMES)


def play(engine: Sam2Engine, encoded: Sequence[Sam2Encoded], script: Script) -> list[Sam2Masks]:
    produced = []
    for index, picture in enumerate(encoded):
        told = script.get(index, {})
        for object_id in [object_id for object_id, prompt in told.items() if prompt is None]:
            engine.forget(object_id)
        produced.append(engine.step(picture, {one: prompt for one, prompt in told.items() if prompt is not None}))
    return produced


def logits_by_id(masks: Sam2Masks) -> dict[int, torch.Tensor]:
    return {} if masks.decoded is None else dict(zip(masks.object_ids, masks.decoded.logits, strict=True))


def difference(ours: Sequence[Sam2Masks], theirs: Sequence[Sam2Masks]) -> float:
    largest = 0.0
    for one, other in zip(ours, theirs, strict=True):
        mine, reference = logits_by_id(one), logits_by_id(other)
        assert mine.keys() == reference.keys()
        largest = max([largest, *(float((mine[key] - reference[key]).abs().max()) for key in mine)])
    return largest


def fixed_runner(engine: Sam2Engine) -> FixedRunner:
    assert isinstance(engine._runner, FixedRunner)
    return engine._runner


class Replays:
    """A capturer as CUDA's: a replay reads the same inputs and writes the same outputs again."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0
        self.outputs: list[torch.Tensor] = []

    def __call__(self, run: Callable[[], object]) -> tuple[Callable[[], None], object]:
        self.captures += 1
        outputs = run()
        kept = tensors_of(outputs)
        self.outputs += kept

        def replay() -> None:
            self.replays += 1
            for mine, new in zip(kept, tensors_of(run()), strict=True):
                mine.copy_(new)

        return replay, outputs


def tensors_of(outputs: object) -> list[torch.Tensor]:
    if isinstance(outputs, Features):
        return list(outputs.tensors())
    assert isinstance(outputs, Tracked)
    decoded = outputs.decoded
    return [decoded.logits, decoded.iou, decoded.score, decoded.pointer, outputs.memory]


def captured_engine(capturer: Capturer) -> Sam2Engine:
    """A fixed engine whose steps and encoder are captured by `capturer`."""
    engine = nano_engine(Sam2Runner.FIXED)
    engine._graphs = GraphSteps(engine.model, capture=True, compile_=False, capturer=capturer)
    engine._encode_image = GraphEncoder(engine.model, capture=True, compile_=False, capturer=capturer)
    engine._runner = FixedRunner(engine.model, engine._bank, False, engine._graphs.wrap)
    return engine


@pytest.mark.parametrize("script", [COMING_AND_GOING, TWO_TOGETHER], ids=["coming and going", "two together"])
def test_exact_batched_and_fixed_steps_give_the_same_masks(script: Script, encoded: list[Sam2Encoded]) -> None:
    engines = {runner: nano_engine(runner) for runner in RUNNERS}
    exact, batched, fixed = (play(engine, encoded, script) for engine in engines.values())
    assert difference(batched, exact) <= 5e-5
    assert difference(fixed, exact) <= 5e-5
    shapes = fixed_runner(engines[Sam2Runner.FIXED]).shapes
    assert {shape.conditioning for shape in shapes} >= {None, 1}, "the shapes with and without a mask must come up"
    if script is TWO_TOGETHER:
        assert FixedShape(2, 1) in shapes


def test_the_three_ways_remember_the_same_of_objects_that_do_not_overlap(encoded: list[Sam2Encoded]) -> None:
    """Each frame from the same memory: where two objects' logits tie, rounding decides whose the pixel is for ever."""
    engines = [nano_engine(runner, non_overlap=True) for runner in RUNNERS]
    loose, agreed, apart = nano_engine(non_overlap=False), [], []
    for index, picture in enumerate(encoded[:24]):
        kept = engines[0].snapshot()
        steps = []
        for engine in (*engines, loose):
            engine.restore(kept)
            steps.append(play(engine, [picture], {0: TWO_TOGETHER.get(index, {})}))
        memories = [engine._bank.frames[:2].float() for engine in (*engines, loose)]
        for step, memory in zip(steps[1:3], memories[1:3], strict=True):
            assert difference(step, steps[0]) <= 5e-5
            agreed.append(float((memory - memories[0]).abs().mean()))
        apart.append(float((memories[3] - memories[0]).abs().mean()))
    assert max(agreed) <= 0.05 * np.median(apart), (max(agreed), np.median(apart))
    assert np.median(agreed) <= 1e-5


def test_the_three_ways_give_the_pixels_of_a_prompted_hand_to_that_hand(encoded: list[Sam2Encoded]) -> None:
    rivals = torch.full((1, 1, 16, 16), -1e4)
    rivals[..., :8] = 100.0
    with_rival, alone = [], []
    for runner in RUNNERS:
        engine = nano_engine(runner, non_overlap=True)
        play(engine, encoded[:3], {0: {1: click(30, 30)}})
        with CPU.active():
            track = engine._runner.track
            with_rival.append(track(encoded[3].features, engine._bank, [1], rivals).memory.clone())
            alone.append(track(encoded[3].features, engine._bank, [1], None).memory.clone())
    for runs in (with_rival, alone):
        torch.testing.assert_close(runs[1], runs[0], atol=5e-5, rtol=0)
        torch.testing.assert_close(runs[2], runs[0], atol=5e-5, rtol=0)
    assert float((with_rival[0] - alone[0]).abs().max()) > 0.1


def test_memory_of_every_age_moves_the_masks(encoded: list[Sam2Encoded]) -> None:
    """Or the comparisons above would show nothing."""
    kept = nano_engine()
    play(kept, encoded[:20], {0: {1: click(30, 30)}})
    plain = kept.snapshot()
    expected = logits_by_id(kept.step(encoded[20]))[1]
    record = kept._bank._records[1]
    for place in range(7):
        kept.restore(plain)
        kept._bank.frames[record.row, place] += 1
        assert float((logits_by_id(kept.step(encoded[20]))[1] - expected).abs().max()) > 1e-3
    for place in range(16):
        kept.restore(plain)
        kept._bank.pointers[record.row, place] += 3
        assert float((logits_by_id(kept.step(encoded[20]))[1] - expected).abs().max()) > 2e-4


def test_a_young_prompt_in_a_full_memory_is_masked(encoded: list[Sam2Encoded]) -> None:
    engine = nano_engine(Sam2Runner.FIXED)
    runner, bank = fixed_runner(engine), engine._bank
    play(engine, encoded[:20], {0: {1: click(30, 30)}, 18: {1: click(60, 30, mode=APPEND)}})
    reading = bank.readable(1)
    assert (len(reading.frames), len(reading.pointers)) == (7, 16), "as many as one prompt and no gap would give"
    assert runner.shape_of([reading]) == FixedShape(1, None)
    play(engine, encoded[:16], {0: {1: click(60, 30)}})
    assert runner.shape_of([bank.readable(1)]) == FixedShape(1, 1), "one prompt, and no gap any more"


@pytest.mark.parametrize(
    ("objects", "most", "bucket"), [(1, 8, 1), (2, 8, 2), (3, 8, 4), (5, 8, 8), (3, 3, 3), (5, 6, 6), (9, 32, 16)]
)
def test_objects_are_filled_up_to_a_bucket_within_the_bank(objects: int, most: int, bucket: int) -> None:
    assert bucket_of(objects, most) == bucket


def test_captured_steps_and_encoder_give_what_uncaptured_ones_give() -> None:
    pictures = images(FRAMES)
    plain, replays = nano_engine(Sam2Runner.FIXED), Replays()
    graphed = captured_engine(replays)
    expected = play(plain, [plain.encode(picture) for picture in pictures], COMING_AND_GOING)
    produced = play(graphed, [graphed.encode(picture) for picture in pictures], COMING_AND_GOING)
    assert difference(produced, expected) == 0.0
    assert set(fixed_runner(graphed).shapes) == set(fixed_runner(plain).shapes)
    steps = len(fixed_runner(graphed).shapes)
    assert steps >= 3
    assert (graphed._graphs.captured, graphed._encode_image.captured, replays.captures) == (steps, 1, steps + 1)
    prompted_alone = 2  # frames 0 and 19, where no object is tracked
    assert replays.replays == FRAMES + FRAMES - prompted_alone


def test_replays_write_the_same_outputs_and_results_outlive_them(encoded: list[Sam2Encoded]) -> None:
    replays = Replays()
    engine = captured_engine(replays)
    engine.step(encoded[0], {1: click(30, 30)})
    first = logits_by_id(engine.step(encoded[1]))[1]
    before = first.clone()
    addresses = [tensor.data_ptr() for tensor in replays.outputs]
    for picture in encoded[2:10]:
        engine.step(picture)
    assert replays.captures == 1
    assert [tensor.data_ptr() for tensor in replays.outputs] == addresses
    assert not torch.equal(replays.outputs[0][0], before), "the outputs were written again"
    assert torch.equal(first, before), "a mask that was handed out must not change"


def test_features_outlive_the_next_frames_encoding() -> None:
    encoder = GraphEncoder(nano_model(), capture=True, compile_=False, capturer=Replays())
    upload, pictures = FrameUpload(CPU, SIDE), images(3)
    with CPU.active():
        made = [encoder(upload, picture)[0] for picture in pictures]
        alone = [nano_model().encode_image(upload(picture)) for picture in pictures]
    for one, other in zip(made, alone, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors(), strict=True))


@pytest.mark.parametrize("working", [0, 2])
def test_a_capture_that_fails_is_said_once_and_masks_stay_right(
    working: int, encoded: list[Sam2Encoded], caplog: pytest.LogCaptureFixture
) -> None:
    """After the first failure nothing more is captured; graphs that were captured before stay in use."""
    replays, tries = Replays(), []

    def capturer(run: Callable[[], object]) -> tuple[Callable[[], None], object]:
        tries.append(1)
        if len(tries) > working:
            raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
        return replays(run)

    engine = captured_engine(capturer)
    with caplog.at_level(logging.WARNING):
        produced = play(engine, encoded, COMING_AND_GOING)
    assert difference(produced, play(nano_engine(Sam2Runner.FIXED), encoded, COMING_AND_GOING)) == 0.0
    assert len(tries) == working + 1
    assert engine._graphs.failure == "operation not permitted when stream is capturing"
    assert engine._graphs.captured == working
    assert [record.getMessage() for record in caplog.records] == [
        "sam2: the step cannot be captured as a CUDA graph (operation not permitted when stream is capturing); "
        "it runs uncaptured"
    ]


def test_an_encoder_that_cannot_be_captured_still_encodes(caplog: pytest.LogCaptureFixture) -> None:
    def capturer(run: Callable[[], object]) -> tuple[Callable[[], None], object]:
        raise RuntimeError("no")

    encoder = GraphEncoder(nano_model(), capture=True, compile_=False, capturer=capturer)
    plain = GraphEncoder(nano_model(), capture=False, compile_=False)
    upload = FrameUpload(CPU, SIDE)
    with CPU.active():
        for picture in images(3):
            one, other = encoder(upload, picture)[0], plain(upload, picture)[0]
            assert all(torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors(), strict=True))
    assert (encoder.failure, encoder.captured, plain.failure) == ("no", 0, "")
    assert len(caplog.records) == 1


def test_a_graph_that_finds_no_memory_is_done_without(
    encoded: list[Sam2Encoded], caplog: pytest.LogCaptureFixture
) -> None:
    """It takes memory of its own, which an uncaptured step may not need; one that does is an error of its own."""

    def capturer(run: Callable[[], object]) -> tuple[Callable[[], None], object]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    engine = captured_engine(capturer)
    produced = play(engine, encoded[:5], {0: {1: click(30, 30)}})
    expected = play(nano_engine(Sam2Runner.FIXED), encoded[:5], {0: {1: click(30, 30)}})
    assert difference(produced, expected) == 0.0
    assert engine._graphs.failure == "CUDA out of memory. Tried to allocate 2.00 GiB."
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("frames", "backend"), [(3, "eager"), (18, "aot_eager")], ids=["masked", "full"])
def test_the_fixed_step_is_one_graph_without_breaks(frames: int, backend: str, encoded: list[Sam2Encoded]) -> None:
    """What CUDA graphs and compilers need; `fullgraph` raises where the step would have to go back to Python."""

    def compiled(step: FixedStep, shape: FixedShape) -> FixedStep:
        made: Any = torch.compile(step, backend=backend, fullgraph=True, dynamic=False)
        return made  # type: ignore[no-any-return]

    plain = nano_engine(Sam2Runner.FIXED)
    play(plain, encoded[:frames], {0: {1: click(30, 30), 2: box(40, 10, 90, 60)}})
    runner = fixed_runner(plain)
    readings = [plain._bank.readable(object_id) for object_id in plain.object_ids]
    shape = runner.shape_of(readings)
    assert shape == FixedShape(2, None if frames == 3 else 1)
    inputs = runner.inputs(readings, shape, None)
    other = FixedRunner(plain.model, plain._bank, False, compiled)
    with CPU.active():
        expected = runner.step_for(shape)(encoded[frames].features, inputs)
        produced = other.step_for(shape)(encoded[frames].features, inputs)
    for mine, reference in zip(tensors_of(produced), tensors_of(expected), strict=True):
        torch.testing.assert_close(mine, reference, atol=5e-5, rtol=0)


def test_where_compiling_fails_the_step_goes_on_without_and_says_so_once(
    encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from torch._dynamo.exc import Unsupported

    def broken(run: Callable[..., object], **settings: object) -> Callable[..., object]:
        def call(*args: object) -> object:
            raise Unsupported("no compiler here\nmore", case_name="test")

        return call

    plain, engine = nano_engine(Sam2Runner.FIXED), nano_engine(Sam2Runner.FIXED)
    monkeypatch.setattr(torch, "compile", broken)
    graphs = GraphSteps(engine.model, capture=False, compile_=True)
    engine._runner = FixedRunner(engine.model, engine._bank, False, graphs.wrap)
    prompts: Script = {0: {1: click(30, 30)}}
    assert difference(play(engine, encoded[:6], prompts), play(plain, encoded[:6], prompts)) == 0.0
    assert [record.getMessage() for record in caplog.records] == [
        "sam2: torch.compile does not work here (no compiler here); going on without"
    ]
