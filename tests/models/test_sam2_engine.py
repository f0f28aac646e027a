"""The streaming engine: bounded memory, independent objects, snapshots, and an encoder that remembers nothing."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gest_stream.config import MemoryPolicy, Sam2Runner
from gest_stream.models import sam2_engine
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Engine
from gest_stream.models.sam2_memory_gate import Sight
from gest_stream.models.sam2_runners import FixedRunner
from gest_stream.types import Prompt, PromptMode
from tests.models.sam2_nano import FRAME_SIZE, box, click, encoded_frames, images, nano_engine

APPEND, REFINE = PromptMode.APPEND, PromptMode.REFINE
Prompts = Mapping[int, Prompt | Sequence[Prompt]]
RUNNERS = (Sam2Runner.EXACT, Sam2Runner.BATCHED, Sam2Runner.FIXED)


@pytest.fixture(scope="module")
def encoded() -> list[Sam2Encoded]:
    return encoded_frames(nano_engine(), 30)


def step(engine: Sam2Engine, picture: Sam2Encoded, prompts: Prompts | None = None) -> dict[int, torch.Tensor]:
    """Logits by object."""
    masks = engine.step(picture, prompts)
    assert masks.object_ids == () if masks.decoded is None else len(masks.object_ids) == len(masks.decoded.logits)
    assert set(masks.object_ids) == set(engine.object_ids)
    return {} if masks.decoded is None else dict(zip(masks.object_ids, masks.decoded.logits, strict=True))


def same(one: Mapping[int, torch.Tensor], other: Mapping[int, torch.Tensor], within: float = 0.0) -> bool:
    assert one.keys() == other.keys()
    return all(float((one[key] - other[key]).abs().max()) <= within for key in one)


def tensors() -> list[torch.Tensor]:
    """Every tensor that Python can reach; compilers' stand-ins, which other tests leave, hold no bytes."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]


def held_bytes() -> int:
    """Bytes of all of them, each storage once."""
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors()}
    return sum(storages.values())


@pytest.mark.parametrize("runner", RUNNERS)
def test_before_any_prompt_there_is_no_mask(runner: Sam2Runner, encoded: list[Sam2Encoded]) -> None:
    engine = nano_engine(runner)
    for picture in encoded[:2]:
        masks = engine.step(picture)
        assert (masks.object_ids, masks.decoded, masks.frame_size) == ((), None, FRAME_SIZE)
    assert step(engine, encoded[2], {3: click(30, 30)}).keys() == {3}
    engine.forget(3)
    assert step(engine, encoded[3]) == {}


@pytest.mark.parametrize(("runner", "steps"), [(Sam2Runner.FIXED, 2000), (Sam2Runner.BATCHED, 200)])
def test_memory_stays_the_same_over_many_steps_of_prompts_new_hands_and_forgotten_ones(
    runner: Sam2Runner, steps: int, encoded: list[Sam2Encoded]
) -> None:
    engine, held, reserved = nano_engine(runner, max_objects=3), [], engine_bytes()
    others = tensors()  # of other tests: kept, so that none of them goes meanwhile
    next_id = 0
    for index in range(steps):
        prompts: dict[int, Prompt] = {}
        if index % 20 == 0:
            if len(engine.object_ids) == 2:
                engine.forget(engine.object_ids[0])
            prompts[next_id] = box(10, 10, 60, 50)
            next_id += 1
        elif index % 7 == 0:
            prompts[engine.object_ids[-1]] = click(40, 30, mode=(APPEND, REFINE, PromptMode.RESET)[index % 3])
        engine.step(encoded[index % 30], prompts)
        if index in (steps // 5 - 1, steps // 2, steps - 1):
            held.append((engine.state_bytes, held_bytes(), len(engine._bank)))
    assert next_id == steps // 20
    assert held[0][0] == reserved
    assert held == [held[0]] * 3
    assert others


def engine_bytes() -> int:
    """By hand: three objects of 6 + 4 frames of 16 tokens of 8 bfloat16, and 15 + 4 pointers of 32 float32."""
    return 3 * ((6 + 4) * 16 * 8 * 2 + (15 + 4) * 32 * 4)


@pytest.mark.parametrize(("runner", "within"), [(RUNNERS[0], 0.0), (RUNNERS[1], 5e-5), (RUNNERS[2], 5e-5)])
def test_an_object_is_the_same_whoever_else_comes_and_goes(
    runner: Sam2Runner, within: float, encoded: list[Sam2Encoded]
) -> None:
    """Bit for bit one by one; batched to 1.6e-5, because memory is stored in bfloat16, where roundings show."""
    alone, among = nano_engine(runner), nano_engine(runner)
    for index, picture in enumerate(encoded):
        own = {0: {2: click(30, 30)}, 9: {2: click(60, 20, mode=APPEND)}, 15: {2: click(50, 20, 0, REFINE)}}
        others = {0: {1: click(70, 50)}, 4: {3: box(5, 5, 60, 60)}, 5: {4: click(9, 9)}, 9: {3: click(9, 9)}}
        if index in (11, 20):
            among.forget({11: 1, 20: 4}[index])
        expected = step(alone, picture, own.get(index, {}))
        produced = step(among, picture, {**others.get(index, {}), **own.get(index, {})})
        assert same({2: produced[2]}, expected, within)
    assert among.object_ids != (2,)


def test_a_prompt_for_one_object_leaves_the_others_mask_alone(encoded: list[Sam2Encoded]) -> None:
    one, other = nano_engine(Sam2Runner.EXACT), nano_engine(Sam2Runner.EXACT)
    for engine in (one, other):
        step(engine, encoded[0], {1: click(30, 30), 2: click(60, 30)})
    before = step(one, encoded[1])
    after = step(other, encoded[1], {2: click(10, 10)})
    assert same({1: before[1]}, {1: after[1]})
    assert not same({2: before[2]}, {2: after[2]}, 0.5)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_snapshot_gives_the_same_masks_as_often_as_it_is_restored(
    runner: Sam2Runner, encoded: list[Sam2Encoded]
) -> None:
    engine = nano_engine(runner, memory=MemoryPolicy.CONFIDENT)
    for index, picture in enumerate(encoded[:8]):
        step(engine, picture, {0: {1: click(30, 30), 2: box(40, 10, 90, 50)}, 6: {1: click(9, 9)}}.get(index))
    kept = engine.snapshot()
    expected = [step(engine, picture) for picture in encoded[8:14]]
    for _ in range(2):
        engine.forget(2)
        step(engine, encoded[20], {1: click(80, 10), 5: click(20, 20)})
        step(engine, encoded[21])
        engine.restore(kept)
        assert set(engine.object_ids) == {1, 2}
        produced = [step(engine, picture) for picture in encoded[8:14]]
        assert all(same(one, other) for one, other in zip(produced, expected, strict=True))


def test_a_snapshot_knows_which_ids_were_forgotten_and_how_large_frames_were(encoded: list[Sam2Encoded]) -> None:
    engine = nano_engine()
    fresh = engine.snapshot()
    step(engine, encoded[0], {1: click(30, 30)})
    engine.forget(1)
    gone = engine.snapshot()
    engine.restore(fresh)
    assert step(engine, encoded[0], {1: click(30, 30)}).keys() == {1}
    engine.restore(gone)
    with pytest.raises(ValueError, match="object 1: was forgotten"):
        engine.step(encoded[1], {1: click(30, 30)})
    engine.restore(fresh)
    larger = engine.encode(images(1, size=(128, 64))[0])
    assert engine.step(larger).frame_size == (128, 64), "a fresh engine has not seen any size"


def test_after_reset_everything_is_as_at_the_start_and_ids_may_be_used_again(encoded: list[Sam2Encoded]) -> None:
    engine, prompts = nano_engine(), {1: click(30, 30), 2: click(60, 30)}
    first = [step(engine, picture, prompts if index == 0 else None) for index, picture in enumerate(encoded[:5])]
    engine.reset()
    assert engine.object_ids == ()
    assert step(engine, encoded[9]) == {}
    engine.reset()
    again = [step(engine, picture, prompts if index == 0 else None) for index, picture in enumerate(encoded[:5])]
    assert all(same(one, other) for one, other in zip(again, first, strict=True))
    engine.reset()
    larger = engine.encode(images(1, size=(128, 64))[0])
    assert engine.step(larger, {1: click(120, 60)}).frame_size == (128, 64)


def test_reset_prompts_start_anew_and_append_and_refine_build_on_what_is_known(encoded: list[Sam2Encoded]) -> None:
    fresh, engine = nano_engine(Sam2Runner.EXACT), nano_engine(Sam2Runner.EXACT)
    for index, picture in enumerate(encoded[:6]):
        step(engine, picture, {1: click(30, 30)} if index == 0 else None)
    kept = engine.snapshot()
    expected = [step(fresh, encoded[6], {1: click(60, 20)}), step(fresh, encoded[7])]
    produced = {}
    for mode in PromptMode:
        engine.restore(kept)
        produced[mode] = [step(engine, encoded[6], {1: click(60, 20, mode=mode)}), step(engine, encoded[7])]
    reset, append, refine = produced.values()
    assert same(reset[0], expected[0])
    assert same(reset[1], expected[1])
    assert same(append[0], expected[0]), "this frame's mask is the prompt's"
    assert not same(append[1], expected[1], 1e-3), "the next one's knows what was before"
    assert not same(refine[0], expected[0], 1e-3), "starts from the tracked mask"


def test_several_prompts_on_one_frame_are_one_after_the_other(encoded: list[Sam2Encoded]) -> None:
    engine = nano_engine()
    start = engine.snapshot()

    def once(*prompts: Prompt) -> dict[int, torch.Tensor]:
        engine.restore(start)
        return step(engine, encoded[0], {1: list(prompts)})

    one, off = click(30, 30), click(60, 40, 0, REFINE)
    assert not same(once(one, off), once(one), 1e-3)
    assert same(once(box(1, 1, 9, 9), one), once(one)), "a reset drops the prompts before it"
    assert len(engine._bank._records[1].conditioning) == 1


def test_frames_encoded_ahead_or_on_another_thread_give_the_same_masks() -> None:
    pictures, ahead, alternating, threaded = images(8), nano_engine(), nano_engine(), nano_engine()
    features = [ahead.encode(picture) for picture in pictures]
    prompts = {0: {1: click(30, 30)}, 3: {2: box(40, 10, 90, 50)}}
    expected = [step(ahead, one, prompts.get(index)) for index, one in enumerate(features)]
    step_by_step = [
        step(alternating, alternating.encode(picture), prompts.get(index)) for index, picture in enumerate(pictures)
    ]
    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(threaded.encode, picture) for picture in pictures]
        aside = [step(threaded, one.result(), prompts.get(index)) for index, one in enumerate(waiting)]
    for one, two, three in zip(expected, step_by_step, aside, strict=True):
        assert same(two, one)
        assert same(three, one)


def test_encoding_does_not_advance_anything(encoded: list[Sam2Encoded]) -> None:
    engine, picture = nano_engine(), images(1, seed=5)[0]
    step(engine, encoded[0], {1: click(30, 30)})
    kept = engine.snapshot()
    expected = step(engine, encoded[1])
    engine.restore(kept)
    engine.encode(picture)
    assert same(step(engine, encoded[1]), expected)


@pytest.mark.parametrize(("memory", "bias"), [(MemoryPolicy.EVERY, 30.0), (MemoryPolicy.CONFIDENT, -100.0)])
def test_after_the_warm_up_hands_that_come_and_go_need_no_new_shape(
    memory: MemoryPolicy, bias: float, encoded: list[Sam2Encoded]
) -> None:
    """Also where the gate lets no tracked frame in, so that a memory would never fill up by itself."""
    engine = nano_engine(Sam2Runner.FIXED, score_bias=bias, memory=memory)
    warm = engine.warmup(FRAME_SIZE, objects=3)
    assert (engine.object_ids, warm.graphs, warm.fallback) == ((), 0, "")
    assert 0.0 < warm.seconds < 60.0
    runner = engine._runner
    assert isinstance(runner, FixedRunner)
    shapes = runner.shapes
    assert {(shape.objects, shape.conditioning) for shape in shapes} == {(b, c) for b in (1, 2, 4) for c in (None, 1)}
    events = {0: {1: click(30, 30)}, 20: {2: click(60, 30)}, 41: {3: box(5, 5, 60, 60)}, 63: {2: click(9, 9)}}
    for index in range(90):
        if index in (65, 85):
            engine.forget({65: 1, 85: 3}[index])
        engine.step(encoded[index % 30], events.get(index))
    assert runner.shapes == shapes


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_warm_up_leaves_nothing_behind(runner: Sam2Runner, encoded: list[Sam2Encoded]) -> None:
    cold, warm = nano_engine(runner), nano_engine(runner)
    warm.warmup((128, 128), objects=9)  # more than there is room for, and of another size
    for index, picture in enumerate(encoded[:6]):
        prompts = {1: click(30, 30), 2: click(60, 20)} if index == 0 else {}
        assert same(step(warm, picture, prompts), step(cold, picture, prompts))


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_confident_memory_does_not_take_frames_without_a_sure_mask(
    runner: Sam2Runner, encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = (2.0, 2.0, 9.0, 9.0)
    sights = {1: Sight(5, 0.9, here), 2: Sight(-5, 0.9, here), 3: Sight(5, 0.3, here), 4: Sight(5, 0.9, None)}
    engine = nano_engine(runner, memory=MemoryPolicy.CONFIDENT, min_memory_iou=0.5)
    step(engine, encoded[0], {object_id: click(20 * object_id, 30) for object_id in sights})
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(sam2_engine, "look_at", lambda decoded: [sights[one] for one in asked[-1]])
    for picture in encoded[1:6]:
        asked.append(engine.object_ids)
        step(engine, picture)
    remembered = {one: len(engine._bank.readable(one).pointers) for one in sights}
    assert remembered == {1: 6, 2: 1, 3: 1, 4: 1}


def test_a_jump_is_remembered_where_a_prompt_told_of_it_and_snapshots_keep_their_own_expectations(
    encoded: list[Sam2Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, far = (1.0, 1.0, 5.0, 5.0), (9.0, 9.0, 14.0, 14.0)
    place = [here]
    monkeypatch.setattr(sam2_engine, "look_at", lambda decoded: [Sight(5, 0.9, place[0])])
    engine = nano_engine(memory=MemoryPolicy.CONFIDENT)

    def remembers(prompt: Prompt | None = None) -> bool:
        before = engine._bank._records[1].clock
        step(engine, encoded[1], {} if prompt is None else {1: prompt})
        return engine._bank._records[1].clock > before

    step(engine, encoded[0], {1: click(30, 30)})
    assert remembers()
    kept = engine.snapshot()
    place[0] = far
    for _ in range(3):
        assert [remembers() for _ in range(9)] == [False] * 8 + [True], "a jump without a prompt waits"
        engine.restore(kept)
    assert remembers(click(60, 30, mode=APPEND))
    assert remembers(), "a prompt lets the hand be anywhere"


@pytest.mark.parametrize(("bias", "remembered"), [(30.0, True), (-100.0, False)])
def test_hands_that_are_out_of_sight_are_remembered_only_where_every_frame_is(
    bias: float, remembered: bool, encoded: list[Sam2Encoded]
) -> None:
    confident = nano_engine(score_bias=bias, memory=MemoryPolicy.CONFIDENT, min_memory_iou=0.0)
    every = nano_engine(score_bias=bias)
    for engine in (confident, every):
        for index, picture in enumerate(encoded[:5]):
            step(engine, picture, {1: click(30, 30)} if index == 0 else {})
    assert len(every._bank.readable(1).frames) == 5
    assert (len(confident._bank.readable(1).frames) > 1) is remembered
