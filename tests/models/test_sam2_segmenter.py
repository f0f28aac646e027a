"""The segmenter in front of the engine: prompts where the tracker gives them, finished masks out."""

from __future__ import annotations

import inspect
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.config import Sam2Config, Sam2Runner
from gest_stream.errors import InvalidInputError, WeightsError
from gest_stream.interfaces import Segmenter
from gest_stream.models.mask_holes import fill_holes
from gest_stream.models.sam2 import Sam2Segmenter, load_engine
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Masks
from gest_stream.models.sam2_masks import to_hand_masks
from gest_stream.models.sam2_model import Decoded
from gest_stream.models.wrist_cut import cut_at_wrist
from gest_stream.testing import make_landmarks
from gest_stream.types import Frame, HandMask, Observation, Prompt
from tests.models.sam2_nano import FRAME_SIZE, NANO, SIDE, box, click, images, nano_engine, nano_weights
from tests.models.sam2_upstream import plain_config

LARGE = (640, 360)


def make_segmenter(**settings: object) -> Sam2Segmenter:
    plain = {"wrist_cut": False, "max_hole_share": 0.0, **settings}
    return Sam2Segmenter(nano_engine(Sam2Runner.BATCHED, **plain))  # type: ignore[arg-type]


def frames(count: int, size: tuple[int, int] = FRAME_SIZE) -> list[Frame]:
    return [Frame(image, index, Fraction(1, 30), 0, index) for index, image in enumerate(images(count, size=size))]


def scripted(segmenter: Sam2Segmenter, monkeypatch: pytest.MonkeyPatch, *hands: torch.Tensor) -> Sam2Encoded:
    """Let the engine see these hands, (S/4, S/4) logits, as objects 1, 2, …, on a large frame."""
    logits, count = torch.stack(hands)[:, None], len(hands)
    decoded = Decoded(logits, torch.full((count,), 0.9), torch.full((count, 1), 5.0), torch.zeros(count, 32))
    masks = Sam2Masks(tuple(range(1, count + 1)), decoded, LARGE)
    monkeypatch.setattr(segmenter.engine, "step", lambda encoded, prompts: masks)
    return segmenter.encode(frames(1, LARGE)[0])


def hand(*rectangles: tuple[int, int, int, int]) -> torch.Tensor:
    """Logits of a hand in rectangles (top, bottom, left, right) of cells."""
    logits = torch.full((16, 16), -8.0)
    for top, bottom, left, right in rectangles:
        logits[top:bottom, left:right] = 8.0
    return logits


def overlap(one: HandMask, other: HandMask) -> int:
    return int(np.count_nonzero((one.full() >= 128) & (other.full() >= 128)))


def test_it_has_every_verb_of_the_protocol() -> None:
    segmenter: Segmenter[Sam2Encoded] = make_segmenter()
    for verb in ("encode", "step", "forget", "reset", "close"):
        asked, given = (inspect.signature(getattr(cls, verb)) for cls in (Segmenter, type(segmenter)))
        assert list(asked.parameters) == list(given.parameters)
    [frame] = frames(1)
    assert segmenter.step(segmenter.encode(frame), [Observation(1, None, click(30, 30))]).keys() <= {1}


def test_masks_are_the_engines_and_prompts_are_passed_on_where_they_are() -> None:
    segmenter, engine = make_segmenter(), nano_engine()
    prompts: dict[int, dict[int, Prompt]] = {0: {1: click(30, 30)}, 2: {2: box(40, 10, 90, 60)}, 4: {1: click(60, 20)}}
    for index, frame in enumerate(frames(6)):
        told = prompts.get(index, {})
        observations = [Observation(object_id, None, told.get(object_id)) for object_id in (1, 2)]
        found = segmenter.step(segmenter.encode(frame), observations)
        expected = to_hand_masks(engine.step(engine.encode(frame.image), told), non_overlap=False)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[one].full(), expected[one].full()) for one in found)
        assert 1 in found
        assert (2 in found) is (index >= 2), "a hand that was never prompted has no mask"


def test_a_hand_that_is_not_in_the_picture_has_no_mask_but_stays_known() -> None:
    segmenter = Sam2Segmenter(nano_engine(score_bias=-100.0))
    first, second = frames(2)
    assert segmenter.step(segmenter.encode(first), [Observation(1, None, click(30, 30))]) == {}
    assert segmenter.engine.object_ids == (1,)
    assert segmenter.step(segmenter.encode(second), [Observation(1)]) == {}


@pytest.mark.parametrize("non_overlap", [True, False])
def test_masks_of_two_hands_are_disjoint_where_that_is_asked_for(non_overlap: bool) -> None:
    segmenter, shared = make_segmenter(non_overlap=non_overlap), []
    for index, frame in enumerate(frames(5)):
        prompts = (click(30, 30), box(10, 10, 80, 60)) if index == 0 else (None, None)
        observations = [Observation(one, None, prompt) for one, prompt in enumerate(prompts, 1)]
        found = segmenter.step(segmenter.encode(frame), observations)
        assert found.keys() == {1, 2}
        shared.append(overlap(found[1], found[2]))
    assert (max(shared) == 0) is non_overlap


def test_small_holes_are_filled_where_a_share_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    holed = hand((2, 14, 2, 14))
    holed[7, 7] = -8.0
    areas = {}
    for share in (0.0, 0.02):
        segmenter = make_segmenter(max_hole_share=share)
        encoded = scripted(segmenter, monkeypatch, holed)
        found = segmenter.step(encoded, [Observation(1)])[1]
        areas[share] = found.area_px
        assert bool(found.full()[168, 300] >= 128) is (share > 0)
    assert 0 < areas[0.02] - areas[0.0] < 40 * 22.5 * 1.5


def test_a_hand_seen_through_another_keeps_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    around, inside = hand((2, 14, 2, 14)), hand((7, 8, 7, 8))
    around[7, 7] = -8.0
    segmenter = make_segmenter(non_overlap=True, max_hole_share=0.02)
    found = segmenter.step(scripted(segmenter, monkeypatch, around, inside), [Observation(1), Observation(2)])
    assert found[2].area_px > 0
    assert overlap(found[1], found[2]) == 0


def test_the_forearm_is_cut_where_the_switch_and_landmarks_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks = make_landmarks((320.0, 130.0), 160.0)
    with_arm = hand((2, 16, 6, 10))
    cut, uncut = make_segmenter(wrist_cut=True), make_segmenter(wrist_cut=False)
    encoded = scripted(cut, monkeypatch, with_arm)
    whole = cut.step(encoded, [Observation(1)])[1]
    assert whole.box_xyxy_px is not None
    assert whole.box_xyxy_px[3] == 360, "without landmarks nothing is cut"
    shortened = cut.step(encoded, [Observation(1, landmarks)])[1]
    assert shortened.box_xyxy_px is not None
    assert shortened.box_xyxy_px[3] < 260
    assert np.array_equal(shortened.full(), cut_at_wrist(whole, landmarks).full())
    encoded = scripted(uncut, monkeypatch, with_arm)
    assert np.array_equal(uncut.step(encoded, [Observation(1, landmarks)])[1].full(), whole.full())


def test_cut_and_filled_is_what_both_steps_give(monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks = make_landmarks((320.0, 130.0), 160.0)
    with_arm = hand((2, 16, 5, 11))
    with_arm[5, 8] = -8.0
    segmenter = make_segmenter(wrist_cut=True, max_hole_share=0.05)
    found = segmenter.step(scripted(segmenter, monkeypatch, with_arm), [Observation(1, landmarks)])[1]
    plain = make_segmenter()
    raw = plain.step(scripted(plain, monkeypatch, with_arm), [Observation(1, landmarks)])[1]
    assert np.array_equal(found.full(), fill_holes(cut_at_wrist(raw, landmarks), 0.05).full())


def test_forgetting_drops_a_hand_for_good_and_ignores_unknown_ones() -> None:
    segmenter = make_segmenter()
    first, second = frames(2)
    segmenter.step(segmenter.encode(first), [Observation(1, None, click(30, 30)), Observation(2, None, click(60, 30))])
    segmenter.forget(99)
    segmenter.forget(1)
    segmenter.forget(1)
    assert segmenter.step(segmenter.encode(second), [Observation(2)]).keys() == {2}
    with pytest.raises(InvalidInputError, match="object 1: was forgotten"):
        segmenter.step(segmenter.encode(second), [Observation(1, None, click(30, 30))])


@pytest.mark.parametrize("verb", ["reset", "close"])
def test_reset_and_close_drop_every_hand(verb: str) -> None:
    segmenter = make_segmenter()
    segmenter.step(segmenter.encode(frames(1)[0]), [Observation(1, None, click(30, 30))])
    getattr(segmenter, verb)()
    assert segmenter.engine.object_ids == ()
    [larger] = frames(1, (128, 96))
    assert segmenter.step(segmenter.encode(larger), [Observation(1)]) == {}


def test_warming_up_leaves_no_hand_behind() -> None:
    segmenter = make_segmenter()
    assert segmenter.warmup((320, 180)).seconds > 0
    assert segmenter.step(segmenter.encode(frames(1)[0]), []) == {}


def test_an_engine_is_loaded_from_a_checkpoint_of_its_size(tmp_path: Path) -> None:
    path = tmp_path / "nano.pt"
    torch.save({"model": nano_weights(30.0)}, path)
    config = plain_config(SIDE, Sam2Runner.BATCHED)
    loaded = load_engine(config, path, max_objects=2, overrides=NANO)
    engine, [image] = nano_engine(), images(1)
    ours, theirs = (one.step(one.encode(image), {1: click(30, 30)}).decoded for one in (loaded, engine))
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours.logits, theirs.logits)
    with pytest.raises(InvalidInputError, match="at most 2 objects"):
        loaded.step(loaded.encode(image), {2: click(9, 9), 3: click(30, 30)})
    with pytest.raises(WeightsError, match="nano.pt: does not fit sam2.1 tiny"):
        load_engine(Sam2Config(image_size=SIDE, device="cpu"), path)
