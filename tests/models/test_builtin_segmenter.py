"""What the builtin segmenter makes of its network's answers; the network here is a rule."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from gest_stream.config import Precision, RefinerConfig
from gest_stream.errors import ConfigError, InvalidInputError, WeightsError
from gest_stream.models.builtin_segmenter import RefinerSegmenter, load_refiner
from gest_stream.models.refiner import RefinerNet, RefinerSpec
from gest_stream.models.refiner_pass import RefinerPass
from gest_stream.testing import make_landmarks
from gest_stream.training.builtin_store import save_builtin
from gest_stream.types import Frame, HandMask, MaskSource, Observation, Prompt, PromptMode

SIZE = (320, 240)
Rule = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class RuledNet(torch.nn.Module):
    """Answers as a rule says, and keeps what it was shown."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.spec, self.rule = RefinerSpec(), rule
        self.shown: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.shown.append(inputs)
        odds, there = self.rule(inputs)
        return odds, there


def told(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The landmarks' shape where there is one, else the last mask; there wherever either says so."""
    shape, past = inputs[:, 4], inputs[:, 6]
    has_shape = shape.amax(dim=(1, 2)) > 0
    odds = torch.where(has_shape[:, None, None], shape - 0.25, past - 0.5) * 24.0
    return odds, torch.where((odds > 0).any(dim=2).any(dim=1), 6.0, -6.0)


def segmenter(rule: Rule = told, **settings: float) -> RefinerSegmenter:
    config = RefinerConfig(precision=Precision.FLOAT32, **settings)  # type: ignore[arg-type]
    return RefinerSegmenter(cast(RefinerPass, RuledNet(rule)), config)


def step(
    one: RefinerSegmenter, *observations: Observation, image: np.ndarray | None = None, size: tuple[int, int] = SIZE
) -> dict[int, HandMask]:
    if image is None:
        image = np.full((size[1], size[0], 3), 120, np.uint8)
    return dict(one.step(one.encode(Frame(image, 0, Fraction(1, 30), 0, 0)), observations))


def hand(center: tuple[int, int] = (160, 120), size: int = 120, object_id: int = 1) -> Observation:
    return Observation(object_id, make_landmarks(center, size))


def region(box: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> HandMask:
    alpha = np.zeros((size[1], size[0]), np.uint8)
    alpha[box[1] : box[3], box[0] : box[2]] = 255
    return HandMask.from_full(alpha, 0.8, MaskSource.SCRIPTED)


def prompt(mode: PromptMode = PromptMode.RESET) -> Prompt:
    return Prompt(np.array([[160, 120]], np.float32), np.ones(1, np.int32), None, mode)


def test_a_hand_with_landmarks_has_a_mask_of_this_source_around_them() -> None:
    mask = step(segmenter(), hand())[1]
    columns, rows = make_landmarks((160, 120), 120).points_xy_px.round().astype(int).T
    assert mask.source is MaskSource.BUILTIN and mask.score > 0.9
    assert (mask.full()[rows, columns] >= 128).all()


def test_a_hand_without_landmarks_keeps_its_mask_and_says_that_it_was_carried() -> None:
    one = segmenter()
    before = step(one, hand())[1]
    after = step(one, Observation(1))[1]
    assert after.source is MaskSource.CARRIED and after.iou(before) > 0.9


def test_a_carried_hand_is_looked_for_where_it_is_moving_to() -> None:
    one = segmenter()
    for x in (100, 112, 124):
        seen = step(one, hand((x, 120)))[1]
    carried = step(one, Observation(1))[1]
    assert seen.box_xyxy_px is not None and carried.box_xyxy_px is not None
    assert carried.box_xyxy_px[0] - seen.box_xyxy_px[0] == pytest.approx(0.8 * 12, abs=3)


def test_a_hand_that_is_gone_has_no_mask_and_is_looked_for_only_a_while() -> None:
    one = segmenter(forget_after_frames=3)
    step(one, hand())
    net = cast(RuledNet, one._net)
    net.rule = lambda inputs: (told(inputs)[0], torch.full((len(inputs),), -6.0))
    assert [step(one, Observation(1)) for _ in range(2)] == [{}, {}]
    asked = len(net.shown)
    net.rule = told
    assert 1 in step(one, Observation(1)), "it came back where it was"
    net.rule = lambda inputs: (told(inputs)[0], torch.full((len(inputs),), -6.0))
    for _ in range(3):
        step(one, Observation(1))
    asked = len(net.shown)
    net.rule = told
    assert step(one, Observation(1)) == {} and len(net.shown) == asked


def test_a_carried_hand_is_trusted_less_from_frame_to_frame_until_a_redetector_sees_it_again() -> None:
    one = segmenter(carry_decay=0.9, min_score=0.1)
    step(one, hand())
    scores = [step(one, Observation(1))[1].score for _ in range(4)]
    assert scores == pytest.approx([scores[0] * 0.9**k for k in range(4)], abs=0.01)
    seen = step(one, Observation(1, None, None, region((100, 60, 200, 180))))[1].score
    assert seen == pytest.approx(scores[0] / 0.9, abs=0.01)


def test_the_mask_of_a_hand_with_landmarks_ends_at_its_wrist() -> None:
    def whole_crop(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((1, *inputs.shape[2:]), 8.0), torch.full((1,), 6.0)

    def below_the_wrist(**settings: float) -> bool:
        x, y = make_landmarks((160, 120), 120).points_xy_px[0].round().astype(int)
        full = step(segmenter(whole_crop, **settings), hand())[1].full()
        assert (full[y - 12 : y - 4, x] == 255).all()
        return bool(full[y + 12 : y + 20, x].any())

    assert below_the_wrist(wrist_cut=False) and not below_the_wrist()


def test_landmarks_vouch_for_a_hand_that_the_network_does_not_see() -> None:
    one = segmenter(lambda inputs: (told(inputs)[0], torch.full((len(inputs),), -6.0)))
    assert step(one, hand())[1].score < 0.1


def test_what_a_redetector_saw_starts_a_hand() -> None:
    one = segmenter()
    seen = region((80, 60, 140, 130))
    mask = step(one, Observation(1, None, prompt(), seen))[1]
    assert mask.source is MaskSource.CARRIED and mask.iou(seen) > 0.9
    assert step(one, Observation(1))[1].iou(seen) > 0.85


def test_a_region_that_only_confirms_changes_nothing() -> None:
    one = segmenter()
    before = step(one, hand())[1]
    assert step(one, Observation(1, None, None, region((0, 0, 60, 60))))[1].iou(before) > 0.9


def test_a_region_of_another_frame_size_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected a mask of the frame's size"):
        step(segmenter(), Observation(1, None, prompt(), region((0, 0, 20, 20), (100, 100))))


def test_a_reset_prompt_forgets_the_last_mask() -> None:
    one = segmenter()
    step(one, hand())
    step(one, hand())
    step(one, Observation(1, make_landmarks((160, 120), 120), prompt()))
    remembered = [float(inputs[0, 6].max()) for inputs in cast(RuledNet, one._net).shown]
    assert remembered[0] == 0.0 and remembered[1] > 0.9 and remembered[2] == 0.0


def test_no_pixel_belongs_to_two_hands() -> None:
    masks = step(segmenter(), hand((140, 120), 120, 1), hand((180, 120), 120, 2))
    assert not ((masks[1].full() >= 128) & (masks[2].full() >= 128)).any()
    assert min(mask.area_px for mask in masks.values()) > 500


def test_the_hand_with_the_better_claim_has_the_pixel() -> None:
    def rule(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        odds = torch.full((2, *inputs.shape[2:]), 3.0)
        odds[1] = 6.0
        return odds, torch.full((2,), 6.0)

    masks = step(segmenter(rule), hand((160, 120), 120, 1), hand((160, 120), 120, 2))
    assert masks[1].area_px == 0 and masks[2].area_px > 5000


def test_every_hand_is_told_of_the_others() -> None:
    one = segmenter()
    step(one, hand((140, 120), 120, 1), hand((180, 120), 120, 2))
    rivals = cast(RuledNet, one._net).shown[0][:, 5]
    assert (rivals.amax(dim=(1, 2)) == 1.0).all()
    step(one, hand((20, 40), 40, 1), hand((300, 200), 40, 2))
    assert (cast(RuledNet, one._net).shown[1][:, 5] == 0.0).all()


def test_a_hand_outside_the_frame_has_an_empty_mask() -> None:
    mask = step(segmenter(), hand((-400, 120)))[1]
    assert mask.area_px == 0 and mask.score == 0.0


def test_a_hand_at_the_edge_has_a_mask_inside_the_frame() -> None:
    mask = step(segmenter(), hand((5, 120)))[1]
    assert mask.area_px > 500 and mask.origin_xy_px[0] == 0


def test_all_hands_of_a_frame_are_computed_in_one_pass() -> None:
    one = segmenter()
    step(one, hand((60, 120), 60, 1), hand((160, 120), 60, 2), hand((260, 120), 60, 3))
    assert [len(inputs) for inputs in cast(RuledNet, one._net).shown] == [3]


def test_a_forgotten_hand_and_a_frame_of_another_size_have_no_mask() -> None:
    one = segmenter()
    step(one, hand())
    one.forget(1)
    one.forget(99)
    assert step(one, Observation(1)) == {}
    step(one, hand())
    assert step(one, Observation(1), size=(640, 480)) == {}


@pytest.mark.parametrize(("grid", "cells"), [(0, 160), (192, 192)])
def test_hands_are_looked_at_as_finely_as_the_settings_say(grid: int, cells: int) -> None:
    one = segmenter(grid=grid)
    step(one, hand())
    assert cast(RuledNet, one._net).shown[0].shape == (1, 10, cells, cells)


@pytest.mark.parametrize("grid", [32, 100, 544])
def test_a_grid_that_the_network_cannot_halve_is_refused(grid: int) -> None:
    with pytest.raises(ConfigError, match="refiner.grid: expected 0, or a multiple of 32"):
        RefinerConfig(grid=grid)


@pytest.mark.parametrize(("wanted", "taken"), [(3, 3), (0, max(1, (os.cpu_count() or 1) // 2))])
def test_it_computes_with_as_many_threads_as_it_may_and_gives_them_back(wanted: int, taken: int) -> None:
    counts: list[int] = []

    def counted(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        counts.append(torch.get_num_threads())
        return told(inputs)

    before = torch.get_num_threads()
    step(segmenter(counted, threads=wanted), hand())
    assert counts == [taken] and torch.get_num_threads() == before


def test_it_takes_no_clicks() -> None:
    assert not segmenter().takes_clicks
    assert step(segmenter(), Observation(1, None, prompt())) == {}


def test_weights_are_read_from_a_file(tmp_path: Path) -> None:
    spec = RefinerSpec((8, 12), (0, 1), 32)
    torch.manual_seed(0)
    save_builtin(tmp_path / "r.safetensors", RefinerNet(spec).state_dict(), {"spec": spec.as_metadata()})
    loaded = load_refiner(RefinerConfig(weights=tmp_path / "r.safetensors"))
    assert 1 in step(loaded, hand())


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_builtin(tmp_path / "r.safetensors", {"a": torch.zeros(2, 2)}, {"seed": 1})
    with pytest.raises(WeightsError, match="do not say what it is built of"):
        load_refiner(RefinerConfig(weights=tmp_path / "r.safetensors"))
    with pytest.raises(WeightsError, match=r"absent\.safetensors: is not there"):
        load_refiner(RefinerConfig(weights=tmp_path / "absent.safetensors"))
