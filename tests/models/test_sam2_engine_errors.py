"""Whatever the engine refuses, or has no memory for, leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from gest_stream.config import MemoryPolicy, Sam2Runner
from gest_stream.errors import DeviceError, GestStreamError, InvalidInputError
from gest_stream.models import sam2_engine, sam2_runners
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Engine
from gest_stream.models.sam2_graphs import GraphSteps
from gest_stream.models.sam2_memory_gate import Sight
from gest_stream.models.sam2_model import Sam2Model
from gest_stream.models.sam2_runners import FixedRunner
from gest_stream.types import Prompt, PromptMode
from tests.models.sam2_nano import box, click, encoded_frames, images, nano_engine, nano_modules

APPEND, REFINE = PromptMode.APPEND, PromptMode.REFINE
RUNNERS = (Sam2Runner.EXACT, Sam2Runner.BATCHED, Sam2Runner.FIXED)


@pytest.fixture(scope="module")
def encoded() -> list[Sam2Encoded]:
    return encoded_frames(nano_engine(), 8)


def tracking(encoded: list[Sam2Encoded], runner: Sam2Runner = Sam2Runner.BATCHED, **settings: Any) -> Sam2Engine:
    """Objects 1 and 2 after four frames, 7 forgotten, one place left."""
    engine = nano_engine(runner, max_objects=3, **settings)
    engine.step(encoded[0], {1: click(30, 30), 2: box(40, 10, 90, 50), 7: click(9, 9)})
    engine.step(encoded[1])
    engine.forget(7)
    for picture in encoded[2:4]:
        engine.step(picture)
    return engine


def state(engine: Sam2Engine) -> tuple[Any, ...]:
    """Everything that is remembered, to compare."""
    kept = engine.snapshot()
    tensors = kept.bank.frames.float().numpy().tobytes(), kept.bank.pointers.numpy().tobytes()
    return kept.bank.records, *tensors, kept.gate._motions, kept.retired, kept.frame_size


@contextmanager
def untouched(engine: Sam2Engine, following: Sam2Encoded) -> Iterator[None]:
    """The state is the same afterwards, and so are the masks of the next frame."""
    before, kept = state(engine), engine.snapshot()
    expected = engine.step(following)
    engine.restore(kept)
    assert state(engine) == before
    yield
    assert state(engine) == before
    produced = engine.step(following)
    assert produced.object_ids == expected.object_ids
    assert produced.decoded is not None
    assert expected.decoded is not None
    assert torch.equal(produced.decoded.logits, expected.decoded.logits)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({1: click(97, 30)}, r"object 1: point \(97.0, 30.0\) lies outside the frame of 96x64 pixels"),
        ({1: click(30, -1)}, "lies outside the frame"),
        ({1: box(0, 0, 96, 65)}, "box .* reaches outside the frame of 96x64 pixels; clip it"),
        ({1: Prompt.from_mask(np.ones((64, 64), bool))}, r"mask of the frame's size \(64, 96\), got \(64, 64\)"),
        ({1: []}, "object 1: expected at least one prompt, got none"),
        ({1: None}, "expected an id and Prompts, got 1 and None"),
        ({3: click(9, 9, mode=REFINE)}, "object 3: there is no mask to refine, the object is unknown; use the mode"),
        ({7: click(9, 9)}, "object 7: was forgotten, and ids are not used twice; take a new id"),
        ({1: [click(9, 9, mode=REFINE), click(9, 9, mode=APPEND)]}, "object 1: append comes first on a frame"),
        ({3: click(9, 9), 4: click(9, 9)}, r"objects \[3, 4\]: 2 of at most 3 objects are remembered; forget some, or"),
        ({2: click(9, 9), 3: click(30, 30), 1: click(99, 9)}, r"object 1: point \(99.0, 9.0\) lies outside"),
    ],
)
def test_a_prompt_that_does_not_fit_changes_nothing(prompts: Any, message: str, encoded: list[Sam2Encoded]) -> None:
    engine = tracking(encoded)
    with untouched(engine, encoded[5]), pytest.raises(InvalidInputError, match=message):
        engine.step(encoded[4], prompts)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 96, 3), np.float64), "got .* float64; convert it to 0-255 first"),
        (np.full((64, 96, 3), np.nan, np.float32), "float32 with NaN or infinity"),
        (np.zeros((64, 96), np.uint8), r"expected \(H, W, 3\) uint8 RGB, got \(64, 96\) uint8"),
        (np.zeros((4, 96, 3), np.uint8), r"at least 8x8 pixels, got \(4, 96\)"),
        ("frame.png", "got str"),
    ],
)
def test_what_is_no_frame_changes_nothing(image: Any, message: str, encoded: list[Sam2Encoded]) -> None:
    engine = tracking(encoded)
    with untouched(engine, encoded[5]), pytest.raises(InvalidInputError, match=message):
        engine.encode(image)


def test_a_frame_of_another_size_is_refused_until_reset(encoded: list[Sam2Encoded]) -> None:
    engine = tracking(encoded)
    turned = engine.encode(images(1, size=(64, 96))[0])
    message = r"frame: its size changed from \(96, 64\) to \(64, 96\); call reset\(\) first"
    with untouched(engine, encoded[5]), pytest.raises(InvalidInputError, match=message):
        engine.step(turned, {3: click(9, 9)})
    engine.reset()
    assert engine.step(turned, {3: click(9, 90)}).object_ids == (3,)


def test_an_unknown_object_cannot_be_forgotten_and_the_known_ones_are_named(encoded: list[Sam2Encoded]) -> None:
    engine = tracking(encoded)
    with untouched(engine, encoded[5]):
        for object_id in (4, 7):
            with pytest.raises(InvalidInputError, match=f"object {object_id}: unknown; known are [12], [12]$"):
                engine.forget(object_id)
    with pytest.raises(InvalidInputError, match="object 4: unknown; known are none"):
        nano_engine().forget(4)


def test_a_forgotten_id_is_refused_after_the_warm_up_and_reset_too(encoded: list[Sam2Encoded]) -> None:
    """Ids that were merely dropped by reset come back; forgotten ones are gone for good."""
    engine = tracking(encoded)
    engine.reset()
    with pytest.raises(InvalidInputError, match="object 7: was forgotten"):
        engine.step(encoded[0], {7: click(9, 9)})
    assert engine.step(encoded[0], {1: click(9, 9)}).object_ids == (1,)


def no_memory(*args: object, **kwargs: object) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


PROMPTS = {2: click(60, 20), 3: click(9, 9), 1: click(30, 30, 0, APPEND)}
SUGGESTION = (
    "cpu: out of memory while {} with sam2 tiny at 64 pixels; choose a smaller --size or a smaller --image-size"
)


def test_no_memory_for_encoding_is_an_error_that_suggests_a_smaller_model(
    encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tracking(encoded)
    with untouched(engine, encoded[5]), monkeypatch.context() as broken:
        broken.setattr(engine.model.modules.image_encoder.trunk, "forward", no_memory)
        with pytest.raises(DeviceError, match=SUGGESTION.format("encoding a frame")) as error:
            engine.encode(images(1)[0])
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("part", ["decode", "remember", "enlarge", "embed_points"])
@pytest.mark.parametrize("works", [0, 1, 2])
def test_no_memory_anywhere_in_a_step_leaves_the_state_as_it_was(
    runner: Sam2Runner, part: str, works: int, encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part runs out of memory after it worked some times, with prompted, new and tracked objects on the frame."""
    engine = tracking(encoded, runner, non_overlap=True, memory=MemoryPolicy.CONFIDENT, min_memory_iou=0.0)
    plain, calls = getattr(engine.model, part), []

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return plain(*args, **kwargs) if len(calls) <= works else no_memory()

    prompts: dict[int, Prompt | list[Prompt]] = {2: click(60, 20), 3: [click(9, 9), click(60, 60, 0, REFINE)]}
    with untouched(engine, encoded[5]), monkeypatch.context() as broken:
        broken.setattr(engine.model, part, sometimes)
        with pytest.raises(DeviceError, match=SUGGESTION.format("tracking")):
            engine.step(encoded[4], prompts)


@pytest.mark.parametrize("works", [0, 1])
def test_no_memory_for_the_masks_that_are_handed_out_leaves_the_state_as_it_was(
    works: int, encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, plain, calls = tracking(encoded, memory=MemoryPolicy.CONFIDENT), sam2_runners.joined, []

    def sometimes(parts: Any) -> Any:
        calls.append(1)
        return plain(parts) if len(calls) <= works else no_memory()

    with untouched(engine, encoded[5]), monkeypatch.context() as broken:
        broken.setattr(sam2_engine, "joined", sometimes)
        broken.setattr(sam2_engine, "look_at", lambda decoded: [Sight(5, 0.9, (1, 1, 3, 3))] * len(decoded.iou))
        with pytest.raises(DeviceError, match="out of memory while tracking"):
            engine.step(encoded[4], {2: click(60, 20), 3: click(9, 9)})


def test_no_memory_for_looking_at_the_masks_leaves_the_state_as_it_was(
    encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tracking(encoded, memory=MemoryPolicy.CONFIDENT)
    with untouched(engine, encoded[5]), monkeypatch.context() as broken:
        broken.setattr(sam2_engine, "look_at", no_memory)
        with pytest.raises(DeviceError, match="out of memory while tracking"):
            engine.step(encoded[4], {3: click(9, 9)})


def test_no_memory_for_a_graph_is_no_error_where_there_is_enough_without_one(encoded: list[Sam2Encoded]) -> None:
    engine, plain = (tracking(encoded, Sam2Runner.FIXED) for _ in range(2))
    graphs = GraphSteps(engine.model, capture=True, compile_=False, capturer=no_memory)
    engine._runner = FixedRunner(engine.model, engine._bank, False, graphs.wrap)
    produced, expected = (one.step(encoded[4], {3: click(9, 9)}).decoded for one in (engine, plain))
    assert produced is not None
    assert expected is not None
    assert torch.equal(produced.logits, expected.logits)
    assert graphs.failure.startswith("CUDA out of memory")


@pytest.mark.parametrize("owner", [(Sam2Model, "_make_constants"), (torch, "zeros")])
def test_no_memory_for_the_model_is_an_error_that_suggests_a_smaller_one(
    owner: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.models.sam2_upstream import plain_config

    modules = nano_modules()
    with monkeypatch.context() as broken:
        broken.setattr(*owner, no_memory)
        with pytest.raises(DeviceError, match=SUGGESTION.format("loading the model")):
            Sam2Engine(modules, plain_config(64, Sam2Runner.BATCHED))


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: object, **kwargs: object) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    engine = tracking(encoded)
    with untouched(engine, encoded[5]), monkeypatch.context() as broken:
        broken.setattr(engine.model, "remember", wrong)
        with pytest.raises(RuntimeError, match="mat1") as error:
            engine.step(encoded[4], PROMPTS)
    assert not isinstance(error.value, GestStreamError)
