"""`train_sam2_nano` as a whole: it learns, goes on after a break, and its weights are the segmenter's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.config import Sam2Config
from gest_stream.errors import ConfigError
from gest_stream.models.builtin import read_builtin
from gest_stream.models.sam2 import load_engine
from gest_stream.training import builtin_nano
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_nano import NanoTraining, train_sam2_nano
from gest_stream.training.builtin_nano_clips import NanoClips
from gest_stream.training.progress import StopReason, TrainingResult
from gest_stream.training.state import BUILTIN, TrainingState
from gest_stream.training.wide_clips import ClipKind
from tests.training.wide_scene import write_discs

STEPS = 8
SHORT = ((0.5, 128, 1, 2), (0.75, 128, 2, 1), (1.0, 256, 2, 1))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def _short_phases() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin_nano, "PHASES", SHORT)
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> BuiltinTraining:
    root = tmp_path_factory.mktemp("discs")
    data = write_discs(root / "clips", learnt=4, held_out=1, kinds=(ClipKind.RENDERED, ClipKind.REAL))
    return BuiltinTraining(
        "sam2-nano", data, root / "nano.safetensors", steps=STEPS, threads=1, device="cpu", val_every=100, val_limit=2
    )


@pytest.fixture(scope="module")
def trained(config: BuiltinTraining) -> TrainingResult:
    return train_sam2_nano(config, lambda told: None, lambda: False)


def after(steps: int) -> Callable[[], bool]:
    """Stops a training after so many steps."""
    asked = iter(range(1, steps))
    return lambda: next(asked, None) is None


def test_every_phase_is_gone_through_and_measured_at_its_end(trained: TrainingResult) -> None:
    assert trained.stopped is StopReason.STEPS and len(trained.losses) == STEPS
    assert np.isfinite(trained.losses).all()
    assert trained.best is not None and set(trained.best.iou) == {"tracked", "prompted"}


def test_its_weights_are_the_size_nano_and_say_how_they_came(config: BuiltinTraining, trained: TrainingResult) -> None:
    state, metadata = read_builtin(trained.checkpoint)
    assert metadata == {
        "preset": "sam2-nano",
        "seed": 0,
        "steps": STEPS,
        "image_size": 256,
        "elapsed_s": metadata["elapsed_s"],
    }
    engine = load_engine(Sam2Config(size="nano", device="cpu"), trained.checkpoint)  # type: ignore[arg-type]
    name = "sam_mask_decoder.mask_tokens.weight"
    assert torch.equal(engine.model.modules.state_dict()[name], state[name])
    assert json.loads(trained.history.read_text())["follows_from"]["rate"] == builtin_nano.PEAK_RATE


def test_a_training_that_was_broken_off_goes_on_with_the_same_losses(
    config: BuiltinTraining, trained: TrainingResult, tmp_path: Path
) -> None:
    own = replace(config, out=tmp_path / "nano.safetensors")
    first = train_sam2_nano(own, lambda told: None, after(3))
    assert first.stopped is StopReason.INTERRUPTED and first.steps == 3
    with pytest.raises(ConfigError, match=r"rate was 0\.001 and is 0\.01"):
        train_sam2_nano(replace(own, resume=True, rate=1e-2), lambda told: None, lambda: False)
    rest = train_sam2_nano(replace(own, resume=True), lambda told: None, lambda: False)
    np.testing.assert_allclose(rest.losses, trained.losses, rtol=1e-3)


def test_pictures_of_half_the_size_train_the_same_weights(config: BuiltinTraining) -> None:
    training = NanoTraining(config, TrainingState(BUILTIN, {}), torch.device("cpu"), lambda told: None)
    small = training._models[128]
    assert small is not training.model and small.image_size == 128
    ours, theirs = dict(training.model.named_parameters()), dict(small.named_parameters())
    assert ours.keys() == theirs.keys() and all(ours[name] is theirs[name] for name in ours)
    before = {name: value.detach().clone() for name, value in ours.items()}
    batch = training._drawn(128, 2, 2, np.random.default_rng(0))
    assert batch.images.shape[-2:] == (128, 128)
    training._learn(batch, 1.0)
    moved = [name for name, value in ours.items() if not torch.equal(value, before[name])]
    for part in ("image_encoder.", "memory_attention.", "memory_encoder.", "sam_mask_decoder."):
        assert any(name.startswith(part) for name in moved), part


def covered(clips: NanoClips) -> float:
    """Mean IoU of saying that all of a frame is hand, over the held-out clips; saying nothing gets 0."""
    return float(np.mean([(clip.masks[1:, 0] >= 128).mean(axis=(1, 2)).mean() for clip in clips.measured(256)]))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_few_hundred_steps_beat_every_constant_answer(config: BuiltinTraining, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "clips", learnt=40, held_out=6)
    short = replace(config, data=data, out=tmp_path / "nano.safetensors", steps=300, batch=8, val_limit=12)
    result = train_sam2_nano(short, lambda told: None, lambda: False)
    constant = covered(NanoClips.find(data, 12))
    assert 0.0 < constant < 0.2
    assert result.best is not None
    assert result.best.iou["prompted"] > constant + 0.2 and result.best.iou["tracked"] > constant
