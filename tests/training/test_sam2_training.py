"""The whole training on one clip, with a narrow model from drawn weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gest_stream.config import Precision, Sam2Config, Sam2Size
from gest_stream.errors import ConfigError, ModelError
from gest_stream.models.sam2 import load_engine
from gest_stream.models.sam2_weights import build_modules, load_checkpoint
from gest_stream.training import sam2_loop
from gest_stream.training.progress import Stage, StopReason, TrainingProgress, TrainingResult
from gest_stream.training.sam2 import train_sam2
from gest_stream.training.sam2_batch import SampleRules, draw_batch
from gest_stream.training.sam2_config import Sam2Part
from gest_stream.training.sam2_folder import open_folder
from gest_stream.training.sam2_parts import make_optimizer, part_of, set_rate, training_mode, unfreeze
from gest_stream.training.sam2_prompting import PromptKind
from gest_stream.training.sam2_tracking import track_batch
from gest_stream.types import Prompt
from tests.models.sam2_nano import SIDE, box
from tests.training.sam2_scene import (
    FRAME_SIZE,
    OVERRIDES,
    disc_ids,
    disc_picture,
    narrow_modules,
    training,
    write_clip,
)

STEPS = 32
FRAMES = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scene")
    write_clip(root, frames=FRAMES)
    return root


@pytest.fixture(scope="module")
def tuned(folder: Path) -> tuple[TrainingResult, list[TrainingProgress]]:
    """A training with everything as it is by default, but for rate and length."""
    told: list[TrainingProgress] = []
    config = training(folder, steps=STEPS, rate=1.5e-2, seed=2, val_every=16, save_every=100)
    return train_sam2(config, told.append), told


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return state


def tracked_ious(checkpoint: Path) -> list[float]:
    """IoU of both discs on every frame, prompted by their boxes on the first, through the streaming engine."""
    config = Sam2Config(image_size=SIDE, device="cpu", precision=Precision.FLOAT32, non_overlap=False)
    engine = load_engine(config, checkpoint, overrides=OVERRIDES)
    ious = []
    for index in range(FRAMES):
        prompts: dict[int, Prompt] = {}
        for one in (1, 2) if index == 0 else ():
            rows, columns = np.nonzero(disc_ids(index) == one)
            prompts[one] = box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        masks = engine.step(engine.encode(disc_picture(index)), prompts)
        assert masks.decoded is not None
        said = F.interpolate(masks.decoded.logits, size=FRAME_SIZE[::-1], mode="bilinear")[:, 0].numpy() > 0
        for one, mask in zip(masks.object_ids, said, strict=True):
            true = disc_ids(index) == one
            ious.append(float((mask & true).sum() / max((mask | true).sum(), 1)))
    return ious


def test_some_dozen_steps_lower_the_loss_clearly(tuned: tuple[TrainingResult, list[TrainingProgress]]) -> None:
    losses = tuned[0].losses
    assert len(losses) == STEPS and tuned[0].stopped is StopReason.STEPS
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])


def test_the_checkpoint_loads_and_gives_better_masks_through_the_engine(
    folder: Path, tuned: tuple[TrainingResult, list[TrainingProgress]]
) -> None:
    before, after = tracked_ious(folder / "start.pt"), tracked_ious(tuned[0].checkpoint)
    assert np.mean(after) > np.mean(before) + 0.2
    load_checkpoint(build_modules(Sam2Size.TINY, SIDE, OVERRIDES), tuned[0].checkpoint, "narrow")


def test_what_is_measured_is_what_the_streaming_engine_does(
    folder: Path, tuned: tuple[TrainingResult, list[TrainingProgress]]
) -> None:
    clip = open_folder(folder, SIDE, 0.01, folder)[0]
    rules = SampleRules(min_started_px=1)
    batch = draw_batch([clip], FRAMES, PromptKind.BOX, np.random.default_rng(0), augment=False, rules=rules)
    assert batch is not None
    model = build_modules(Sam2Size.TINY, SIDE, OVERRIDES)
    load_checkpoint(model, tuned[0].checkpoint, "narrow")
    config = Sam2Config(image_size=SIDE, device="cpu", precision=Precision.FLOAT32, non_overlap=False)
    engine = load_engine(config, tuned[0].checkpoint, overrides=OVERRIDES)
    with torch.inference_mode():
        for t, output in enumerate(track_batch(model, batch)):
            corners = batch.prompts[0][0].numpy() * (np.array(FRAME_SIZE) / SIDE)
            prompts = {k: box(*corners[k].ravel().tolist()) for k in range(2)} if t == 0 else {}
            masks = engine.step(engine.encode(disc_picture(t)), prompts)
            assert masks.decoded is not None and masks.object_ids == (0, 1)
            enlarged = F.interpolate(masks.decoded.logits, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            assert torch.allclose(output.chosen, enlarged, atol=1e-3), t
            assert torch.allclose(output.scores, masks.decoded.score, atol=1e-4)


def test_frozen_parts_do_not_change_by_a_bit_and_trained_ones_do(
    folder: Path, tuned: tuple[TrainingResult, list[TrainingProgress]]
) -> None:
    before, after = weights(folder / "start.pt"), weights(tuned[0].checkpoint)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {part_of(name) for name in changed} == {Sam2Part.DECODER, Sam2Part.MEMORY}
    for name in (
        "sam_mask_decoder.output_hypernetworks_mlps.0.layers.0.weight",
        "sam_mask_decoder.conv_s0.weight",
        "memory_attention.layers.0.cross_attn_image.k_proj.weight",
        "memory_encoder.out_proj.weight",
        "obj_ptr_proj.layers.0.weight",
        "obj_ptr_tpos_proj.weight",
        "maskmem_tpos_enc",
        "no_mem_embed",
    ):
        assert name in changed, name


def test_the_start_is_measured_and_the_best_weights_are_kept(
    tuned: tuple[TrainingResult, list[TrainingProgress]],
) -> None:
    result, told = tuned
    assert [one.step for one in result.measurements] == [0, 16, 32]
    assert result.best is not None and result.best.score == max(one.score for one in result.measurements)
    assert result.best.step > 0 and set(result.best.iou) == {"tracked", "prompted"}
    assert [one.step for one in result.measurements if one.best][-1] == result.best.step
    assert {one.stage for one in told} == {Stage.READING, Stage.MEASURING, Stage.TRAINING}
    assert [one.done for one in told if one.stage is Stage.TRAINING and one.measured is None] == list(
        range(1, STEPS + 1)
    )
    assert told[-1].share == 1.0 and told[-1].total == STEPS


def test_the_history_tells_losses_measurements_settings_and_versions(
    tuned: tuple[TrainingResult, list[TrainingProgress]],
) -> None:
    record = json.loads(tuned[0].history.read_text())
    assert record["losses"] == pytest.approx(tuned[0].losses, abs=1e-5)
    assert record["finished"] and record["steps"] == STEPS and len(record["measurements"]) == 3
    assert record["settings"]["rate"] == 1.5e-2 and record["settings"]["train"] == ["decoder", "memory"]
    assert torch.__version__.startswith(record["versions"]["torch"])


def test_a_training_that_was_broken_off_goes_on_with_the_same_losses(folder: Path) -> None:
    config = training(folder, out=folder / "whole.pt", steps=4, val_every=3)
    whole = train_sam2(config)
    broken = replace(config, out=folder / "broken.pt")
    told: list[TrainingProgress] = []
    first = train_sam2(broken, told.append, lambda: told[-1].done >= 2)
    assert first.stopped is StopReason.INTERRUPTED and first.steps == 2
    assert not list(folder.glob("*.part"))
    second = train_sam2(replace(broken, resume=True))
    assert second.stopped is StopReason.STEPS
    assert second.losses == whole.losses
    assert [one.score for one in second.measurements] == [one.score for one in whole.measurements]
    left, right = weights(whole.checkpoint), weights(second.checkpoint)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_an_unfinished_training_is_not_lost_by_accident_and_a_changed_one_is_refused(folder: Path) -> None:
    config = training(folder, out=folder / "kept.pt", steps=3)
    train_sam2(config, None, lambda: True)
    with pytest.raises(
        ConfigError, match=r"kept\.train\.pt: an unfinished training of kept\.pt lies there; go on with --res"
    ):
        train_sam2(config)
    with pytest.raises(ConfigError, match=r"was begun with other settings: frames was 3 and is 2"):
        train_sam2(replace(config, frames=2, resume=True))
    assert train_sam2(replace(config, steps=1, overwrite=True)).steps == 1
    assert train_sam2(replace(config, steps=1)).stopped is StopReason.STEPS  # a finished one is no loss


def test_it_ends_when_it_does_not_get_better_and_when_its_time_is_over(folder: Path) -> None:
    config = training(folder, out=folder / "end.pt", steps=50, val_every=1, rate=1e-9)
    result = train_sam2(replace(config, patience=2))
    assert result.stopped is StopReason.PATIENCE and result.steps < 50
    assert len(result.measurements) == result.steps + 1 and not result.measurements[-1].best
    result = train_sam2(replace(config, steps=None, minutes=0.002, patience=0))
    assert result.stopped is StopReason.TIME and 1 <= result.steps < 50


def test_bfloat16_trains_too(folder: Path) -> None:
    config = training(folder, out=folder / "half.pt", steps=2, precision=Precision.BFLOAT16)
    losses = train_sam2(config).losses
    exact = train_sam2(replace(config, precision=Precision.FLOAT32)).losses
    assert losses != exact and losses == pytest.approx(exact, rel=0.1)
    assert all(value.dtype is torch.float32 for name, value in weights(config.out).items() if "memory" in name)


def test_a_loss_that_is_no_number_changes_nothing_and_ends_the_training_when_it_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gest_stream.training.sam2_step.frame_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True)
    )
    with pytest.raises(ModelError, match=r"step 4: the loss is no number any more; .* --rate 0\.0001"):
        train_sam2(training(folder, out=folder / "nan.pt", steps=20))
    before, after = weights(folder / "start.pt"), weights(folder / "nan.pt")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_weight_belongs_to_a_part() -> None:
    names = [name for name, _ in narrow_modules().named_parameters()]
    assert {part_of(name) for name in names} == set(Sam2Part)


def parts_with_gradients(parts: Sequence[Sam2Part]) -> tuple[Any, set[Sam2Part]]:
    model = narrow_modules()
    unfreeze(model, parts)
    return model, {part_of(name) for name, value in model.named_parameters() if value.requires_grad}


def test_parts_are_unfrozen_alone_with_their_own_rates_and_without_dropout_elsewhere() -> None:
    model, found = parts_with_gradients([Sam2Part.DECODER, Sam2Part.ENCODER])
    assert found == {Sam2Part.DECODER, Sam2Part.ENCODER}
    training_mode(model)
    assert model.training and model.sam_mask_decoder.training and model.image_encoder.training
    assert not model.memory_attention.training and not model.sam_prompt_encoder.training
    groups = make_optimizer(model, 2e-4, 1e-5, 0.1).param_groups
    assert {(group["peak_lr"], group["weight_decay"]) for group in groups} == {
        *((2e-4, 0.1), (2e-4, 0.0), (1e-5, 0.1), (1e-5, 0.0))
    }
    decayed = {id(value) for group in groups if group["weight_decay"] for value in group["params"]}
    named = dict(model.named_parameters())
    assert id(named["image_encoder.trunk.patch_embed.proj.weight"]) in decayed
    assert id(named["image_encoder.trunk.patch_embed.proj.bias"]) not in decayed
    assert id(named["image_encoder.trunk.pos_embed"]) not in decayed
    assert sum(len(group["params"]) for group in groups) == sum(value.requires_grad for value in model.parameters())


def test_the_rate_rises_and_falls_with_the_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def note(optimizer: torch.optim.Optimizer, share: float) -> None:
        seen.append(share)
        set_rate(optimizer, share)

    monkeypatch.setattr(sam2_loop, "set_rate", note)
    schedule = sam2_loop.schedule_of(training(folder, steps=40, warm_up_steps=100))
    assert schedule.warm_up_steps == 4 and sam2_loop.schedule_of(training(folder, steps=None)).steps == 2000
    train_sam2(training(folder, out=folder / "rates.pt", steps=3, warm_up_steps=0))
    assert seen[0] == pytest.approx(1.0) and seen[0] > seen[1] > seen[2] > 0
