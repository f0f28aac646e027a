"""`train_hand_seg` as a whole: it learns, goes on after a break, and its weights are the redetector's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.config import Precision, RedetectorConfig
from gest_stream.errors import ConfigError
from gest_stream.models.builtin import read_builtin
from gest_stream.models.hand_seg import load_hand_seg
from gest_stream.models.hand_seg_net import ARCHITECTURE, HandSegNet
from gest_stream.models.sam2_device import Compute
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_seg import measure_pictures, train_hand_seg
from gest_stream.training.builtin_seg_data import SegPicture, SegPictures, pictures_of
from gest_stream.training.labels import HAND, IGNORE, LabelledImage
from gest_stream.training.progress import StopReason, TrainingProgress, TrainingResult
from gest_stream.training.wide_clips import ClipKind
from tests.training.wide_scene import HAND_RGB, disc_clip, write_discs

STEPS = 40
CPU = Compute.choose("cpu", Precision.FLOAT32)


def after(steps: int) -> Callable[[], bool]:
    """Stops a training after so many steps."""
    asked = iter(range(1, steps))
    return lambda: next(asked, None) is None


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> BuiltinTraining:
    root = tmp_path_factory.mktemp("discs")
    data = write_discs(root / "clips", learnt=6, held_out=2, kinds=(ClipKind.RENDERED, ClipKind.REAL))
    return BuiltinTraining(
        "hand-seg", data, root / "net.safetensors", steps=STEPS, batch=4, threads=1, device="cpu", val_every=STEPS
    )


@pytest.fixture(scope="module")
def trained(config: BuiltinTraining) -> TrainingResult:
    told: list[TrainingProgress] = []
    return train_hand_seg(config, told.append, lambda: False)


def test_the_loss_falls_by_a_third(trained: TrainingResult) -> None:
    assert trained.stopped is StopReason.STEPS and len(trained.losses) == STEPS
    assert np.mean(trained.losses[-4:]) < 0.67 * trained.losses[0]


def test_it_is_measured_on_what_was_held_out_by_kind_and_class(trained: TrainingResult) -> None:
    assert trained.best is not None
    assert set(trained.best.iou) == {"rendered hand", "rendered forearm", "real hand"}
    assert trained.best.score == pytest.approx((trained.best.iou["rendered hand"] + trained.best.iou["real hand"]) / 2)


def test_its_weights_are_the_redetectors_and_say_how_they_came(
    config: BuiltinTraining, trained: TrainingResult
) -> None:
    _, metadata = read_builtin(trained.checkpoint)
    assert metadata["architecture"] == ARCHITECTURE and metadata["steps"] == STEPS and metadata["seed"] == 0
    assert metadata["pictures"] == {"rendered": 12, "real": 6}
    load_hand_seg(RedetectorConfig(device="cpu"), trained.checkpoint).close()
    assert json.loads(trained.history.read_text())["follows_from"]["batch"] == 4


def test_a_training_that_was_broken_off_goes_on_with_the_same_losses(
    config: BuiltinTraining, trained: TrainingResult, tmp_path: Path
) -> None:
    own = replace(config, out=tmp_path / "net.safetensors")
    first = train_hand_seg(own, lambda told: None, after(10))
    assert first.stopped is StopReason.INTERRUPTED and first.steps == 10
    with pytest.raises(ConfigError, match="rate was 0.002 and is 0.001"):
        train_hand_seg(replace(own, resume=True, rate=1e-3), lambda told: None, lambda: False)
    rest = train_hand_seg(replace(own, resume=True), lambda told: None, lambda: False)
    np.testing.assert_allclose(rest.losses, trained.losses, rtol=1e-3)
    assert rest.best is not None and trained.best is not None
    assert rest.best.score == pytest.approx(trained.best.score, abs=1e-3)


def test_a_training_that_begins_with_weights_measures_them_first_and_is_better_from_its_first_step_on(
    config: BuiltinTraining, trained: TrainingResult, tmp_path: Path
) -> None:
    own = replace(config, out=tmp_path / "net.safetensors", init=trained.checkpoint, rate=1e-4, steps=2, val_every=2)
    result = train_hand_seg(own, lambda told: None, lambda: False)
    assert trained.best is not None and [one.step for one in result.measurements] == [0, 2]
    assert result.measurements[0].score == pytest.approx(trained.best.score, abs=0.02)  # stored in half precision
    assert max(result.losses) < 0.8 * trained.losses[0]
    assert read_builtin(own.out)[1]["init"] == "net.safetensors"


def test_a_training_that_began_with_weights_goes_on_with_pictures_as_large_as_before(
    config: BuiltinTraining, trained: TrainingResult, tmp_path: Path
) -> None:
    whole, broken = (
        replace(config, out=tmp_path / name, init=trained.checkpoint, rate=1e-4, steps=6, val_every=6)
        for name in ("whole.safetensors", "broken.safetensors")
    )
    straight = train_hand_seg(whole, lambda told: None, lambda: False)
    train_hand_seg(broken, lambda told: None, after(1))
    rest = train_hand_seg(replace(broken, init=None, resume=True), lambda told: None, lambda: False)
    np.testing.assert_allclose(rest.losses, straight.losses, rtol=0.005)
    assert json.loads(rest.history.read_text())["follows_from"]["init"] == "net.safetensors"


def test_the_best_is_sought_among_measurements_of_the_same_kinds(config: BuiltinTraining, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "clips", learnt=2, held_out=1)
    own = replace(config, data=data, out=tmp_path / "net.safetensors", steps=6)
    first = train_hand_seg(own, lambda told: None, lambda: False)
    write_discs(tmp_path / "clips", learnt=2, held_out=1, kinds=(ClipKind.REAL,))
    rest = train_hand_seg(replace(own, resume=True, steps=8), lambda told: None, lambda: False)
    assert first.best is not None and "real hand" not in first.best.iou
    assert rest.best is rest.measurements[-1] and rest.best.best and "real hand" in rest.best.iou
    assert read_builtin(own.out)[1]["steps"] == 8


class Oracle(HandSegNet):
    """Takes the colour of the discs for hand."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        near = (images.float() - torch.tensor(HAND_RGB)).abs().amax(dim=3) < 3.0
        cells = torch.nn.functional.avg_pool2d(near.float()[:, None], 2)
        return 10 * torch.cat([torch.full_like(cells, 0.5), cells, torch.zeros_like(cells)], dim=1)


def test_an_oracle_measures_nearly_one_and_background_everywhere_zero() -> None:
    pictures = SegPictures({ClipKind.RENDERED: pictures_of(disc_clip(3, ClipKind.RENDERED, frames=4))})
    found = measure_pictures(Oracle(), pictures, CPU)
    assert found["rendered hand"] > 0.95 and found["rendered forearm"] == 0.0
    silent = HandSegNet()
    torch.nn.init.zeros_(silent.head.weight)
    assert silent.head.bias is not None
    silent.head.bias.data = torch.tensor([1.0, 0.0, 0.0])
    assert measure_pictures(silent, pictures, CPU)["rendered hand"] == 0.0


def test_a_hand_that_is_seen_where_there_is_none_counts_as_one_that_is_missed() -> None:
    seen = pictures_of(disc_clip(3, ClipKind.RENDERED, frames=1))
    empty = [SegPicture(LabelledImage(one.picture.image, np.zeros_like(one.picture.labels)), True) for one in seen]
    alone = measure_pictures(Oracle(), SegPictures({ClipKind.RENDERED: seen}), CPU)["rendered hand"]
    both = measure_pictures(Oracle(), SegPictures({ClipKind.RENDERED: seen + empty}), CPU)["rendered hand"]
    assert both == pytest.approx(alone / 2)


def test_of_pictures_without_a_hand_the_share_is_told_in_which_none_is_seen() -> None:
    seen = pictures_of(disc_clip(3, ClipKind.RENDERED, frames=1))[0].picture.image
    labels = np.zeros(seen.shape[:2], np.uint8)
    pictures = [SegPicture(LabelledImage(image, labels), True) for image in (seen, seen * np.uint8(0))]
    assert measure_pictures(Oracle(), SegPictures({ClipKind.EMPTY: pictures}), CPU) == {"empty hand": 0.5}


def test_what_nobody_knows_does_not_count() -> None:
    image = np.full((192, 256, 3), HAND_RGB, np.uint8)
    labels = np.full((192, 256), IGNORE, np.uint8)
    labels[:, :100] = HAND
    pictures = SegPictures({ClipKind.REAL: [SegPicture(LabelledImage(image, labels), False)]})
    assert measure_pictures(Oracle(), pictures, CPU) == {"real hand": 1.0}
