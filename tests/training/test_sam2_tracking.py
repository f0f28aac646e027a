"""Sequences through a narrow model: what is given, clicked, remembered and learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.training.sam2_batch import Batch, SampleRules, draw_batch
from gest_stream.training.sam2_config import Sam2Part
from gest_stream.training.sam2_folder import open_folder
from gest_stream.training.sam2_loss import frame_loss, iou
from gest_stream.training.sam2_parts import training_mode, unfreeze
from gest_stream.training.sam2_prompting import PromptKind
from gest_stream.training.sam2_step import train_step
from gest_stream.training.sam2_tracking import FrameOutput, track_batch
from tests.models.sam2_nano import nano_modules
from tests.training.sam2_scene import HIDDEN, narrow_modules, write_clip

FRAMES = 3


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> dict[PromptKind, Batch]:
    """The first frames of the clip by the kind of the first frame's prompt."""
    root = tmp_path_factory.mktemp("discs")
    write_clip(root, frames=FRAMES)
    (clip,) = open_folder(root, 64, 0.01, root)
    batches = {}
    for kind in PromptKind:
        drawn = draw_batch([clip], FRAMES, kind, np.random.default_rng(0), augment=False, rules=SampleRules())
        assert drawn is not None
        batches[kind] = drawn
    return batches


def tracked(batch: Batch, corrections: Mapping[int, int] | None = None) -> list[FrameOutput]:
    with torch.no_grad():
        return list(track_batch(nano_modules(30.0), replace(batch, corrections=corrections or {})))


def test_one_point_and_tracking_give_three_candidates_and_more_points_one(discs: dict[PromptKind, Batch]) -> None:
    counts = {kind: [output.logits.shape[1] for output in tracked(discs[kind])] for kind in PromptKind}
    assert counts[PromptKind.POINT] == [3, 3, 3]
    assert counts[PromptKind.TRACKER] == counts[PromptKind.POINTS] == counts[PromptKind.BOX] == [1, 3, 3]


def test_a_mask_that_is_given_is_the_answer_and_nothing_is_learnt_from_it(discs: dict[PromptKind, Batch]) -> None:
    batch = discs[PromptKind.MASK]
    first, *others = tracked(batch)
    assert torch.equal(first.chosen[:, 0] > 0, batch.masks[0] >= 0.5)
    assert not list(first.answers()) and all(len(list(one.answers())) == 1 for one in others)


def test_every_click_is_one_more_answer_and_its_frame_is_remembered_as_certain(discs: dict[PromptKind, Batch]) -> None:
    batch = discs[PromptKind.TRACKER]
    plain, clicked = tracked(batch), tracked(batch, {1: 2})
    assert [len(list(one.answers())) for one in clicked] == [1, 3, 1]
    before = clicked[1].corrects
    assert before is not None and before.corrects is not None
    assert torch.equal(before.corrects.chosen, plain[1].chosen)
    assert not torch.equal(clicked[1].chosen, before.chosen) and not torch.equal(before.chosen, plain[1].chosen)
    assert torch.equal(clicked[0].chosen, plain[0].chosen)
    assert not torch.equal(clicked[2].chosen, plain[2].chosen)


def test_the_first_click_on_a_tracked_frame_leaves_doubt_and_the_second_none(discs: dict[PromptKind, Batch]) -> None:
    clicked = tracked(discs[PromptKind.TRACKER], {1: 2})
    assert [answer.logits.shape[1] for answer in clicked[1].answers()] == [1, 3, 3]
    on_prompted = tracked(discs[PromptKind.TRACKER], {0: 1})
    assert [answer.logits.shape[1] for answer in on_prompted[0].answers()] == [1, 1]


def test_a_refined_prompt_starts_from_its_own_first_answer(discs: dict[PromptKind, Batch]) -> None:
    batch = discs[PromptKind.BOX]
    assert not torch.equal(tracked(replace(batch, refine=True))[0].chosen, tracked(batch)[0].chosen)


def test_an_object_s_mask_does_not_depend_on_the_other_objects_of_the_batch(discs: dict[PromptKind, Batch]) -> None:
    batch = discs[PromptKind.BOX]
    alone = replace(
        batch,
        clip_of=batch.clip_of[1:],
        masks=batch.masks[:, 1:],
        present=batch.present[:, 1:],
        prompts={t: (points[1:], labels[1:]) for t, (points, labels) in batch.prompts.items()},
    )
    for together, single in zip(tracked(batch), tracked(alone), strict=True):
        assert torch.allclose(together.chosen[1:], single.chosen, atol=1e-4)


def test_a_later_frame_teaches_what_was_remembered_of_the_first(discs: dict[PromptKind, Batch]) -> None:
    batch, model = discs[PromptKind.TRACKER], narrow_modules()
    unfreeze(model, [Sam2Part.DECODER, Sam2Part.MEMORY])
    training_mode(model)
    last = list(track_batch(model, batch))[-1]
    frame_loss(last, batch.masks[-1], batch.present[-1]).backward()  # type: ignore[no-untyped-call]
    named = dict(model.named_parameters())
    for name in (
        "memory_encoder.mask_downsampler.encoder.0.weight",
        "memory_attention.layers.0.cross_attn_image.v_proj.weight",
        "obj_ptr_proj.layers.0.weight",
        "sam_mask_decoder.conv_s1.weight",
        "no_mem_embed",
    ):
        slope = named[name].grad
        assert slope is not None and float(slope.abs().max()) > 0, name
    assert all(value.grad is None for name, value in named.items() if name.startswith("image_encoder."))


def test_scores_and_masks_learn_which_of_two_objects_is_gone(tmp_path: Path) -> None:
    write_clip(tmp_path, frames=2, first=HIDDEN[0] - 1)
    (clip,) = open_folder(tmp_path, 64, 0.01, tmp_path)
    batch = draw_batch([clip], 2, PromptKind.MASK, np.random.default_rng(0), augment=False, rules=SampleRules())
    assert batch is not None and batch.present.tolist() == [[True, True], [True, False]]
    model = narrow_modules()
    unfreeze(model, [Sam2Part.DECODER, Sam2Part.MEMORY])
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=3e-3)
    torch.manual_seed(0)
    training_mode(model)
    losses = [train_step(model, optimizer, batch) for _ in range(50)]
    with torch.no_grad():
        last = list(track_batch(model.eval(), batch))[1]
    assert losses[-1] < 0.4 * losses[0]
    assert float(last.scores[0]) > 0 > float(last.scores[1])
    assert float(iou(last.chosen[0, 0], batch.masks[1, 0])) > 0.5 and not (last.chosen[1] > 0).any()
