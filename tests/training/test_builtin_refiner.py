"""The refiner's recipe: its loss, that it can be gone on with, and that a short run of it learns something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.cli.train_builtin import preset_trainer
from gest_stream.config import RefinerConfig
from gest_stream.errors import ConfigError, InvalidInputError, WeightsError
from gest_stream.models.builtin import read_builtin
from gest_stream.models.builtin_segmenter import load_refiner
from gest_stream.models.refiner import RefinerNet, RefinerSpec, build_refiner, folded
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_refiner import train_refiner
from gest_stream.training.builtin_refiner_episode import Cue, Sample
from gest_stream.training.builtin_refiner_loss import as_batch, refiner_loss
from gest_stream.training.builtin_refiner_pool import held_episodes, load_pool
from gest_stream.training.builtin_refiner_start import read_start, start_with
from gest_stream.training.builtin_store import save_builtin
from gest_stream.training.progress import StopReason, TrainingProgress
from gest_stream.training.wide_clips import ClipKind, WideClip, clip_path
from tests.training.refiner_clips import drawn_clip, rendered_wide_clip

TINY = RefinerSpec((8, 12, 16), (0, 0, 1), 32)
SMALL = RefinerSpec((12, 24, 48, 64), (0, 1, 1, 1), 64)


def put(root: Path, clips: list[WideClip], held: list[WideClip]) -> Path:
    (root / ClipKind.RENDERED).mkdir(parents=True)
    for index, clip in [*enumerate(clips), *enumerate(held, 100_000)]:
        clip.save(clip_path(root, ClipKind.RENDERED, index))
    return root


def training(root: Path, **changes: object) -> BuiltinTraining:
    config = BuiltinTraining(
        "refiner", root, root / "refiner.safetensors", 60, batch=4, device="cpu", val_every=50, save_every=10
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def quiet(_: TrainingProgress) -> None:
    """Tell nobody."""


def sample(there: float = 1.0) -> Sample:
    maps = np.zeros((3, 32, 32), np.float32)
    maps[0, 8:24, 8:24] = 1.0
    return Sample(np.zeros((10, 32, 32), np.float32), maps, np.ones((3, 32, 32), np.float32), there)


def loss_of(one: Sample, odds: np.ndarray, seen: float = 20.0) -> float:
    _, wanted, known, there = as_batch([one], torch.device("cpu"))
    maps = torch.from_numpy(odds.astype(np.float32))[None]
    return float(refiner_loss(maps, torch.full((1,), seen), wanted, known, there))


def test_the_right_answer_costs_nothing_and_the_wrong_one_much() -> None:
    right = (sample().maps - 0.5) * 40.0
    assert loss_of(sample(), right) < 0.01 < 1.0 < loss_of(sample(), -right)


def test_what_nobody_knows_costs_nothing() -> None:
    one = sample()
    one.known[:, :, :16] = 0.0
    odds = (one.maps - 0.5) * 40.0
    odds[:, :, :16] *= -1.0
    assert loss_of(one, odds) < 0.01


def test_missing_the_edge_costs_more_than_missing_the_middle() -> None:
    right = (sample().maps - 0.5) * 40.0
    edge, middle = right.copy(), right.copy()
    edge[0, 8, 8:24] *= -1.0
    middle[0, 15, 8:24] *= -1.0
    assert loss_of(sample(), edge) > 1.3 * loss_of(sample(), middle)


def test_whether_the_hand_is_there_counts_only_where_somebody_knows() -> None:
    right = (sample().maps - 0.5) * 40.0
    assert loss_of(sample(1.0), right, -20.0) > 1.0 > 0.01 > loss_of(sample(float("nan")), right, -20.0)


def test_the_preset_is_in_the_table() -> None:
    assert preset_trainer("refiner") is train_refiner


def test_a_training_that_is_gone_on_with_ends_where_one_without_a_break_does(tmp_path: Path) -> None:
    clips = [drawn_clip(seed, hands=1 + seed % 2) for seed in range(3)]
    whole, broken = (put(tmp_path / name, clips, [drawn_clip(9)]) for name in ("whole", "broken"))
    straight = train_refiner(training(whole), quiet, lambda: False, TINY)
    steps = iter(range(1000))
    paused = train_refiner(training(broken), quiet, lambda: next(steps) == 49, TINY)
    resumed = train_refiner(training(broken, resume=True), quiet, lambda: False, TINY)
    assert paused.stopped is StopReason.INTERRUPTED and paused.steps == 50
    assert resumed.steps == 60 and resumed.losses == straight.losses
    states = [read_builtin(root / "refiner.safetensors")[0] for root in (whole, broken)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_weights_say_what_they_were_trained_on_and_run(tmp_path: Path) -> None:
    root = put(tmp_path / "data", [drawn_clip()], [drawn_clip(9)])
    result = train_refiner(training(root, steps=2), quiet, lambda: False, TINY)
    noted = read_builtin(result.checkpoint)[1]
    assert noted["clips"] == {"rendered": 1} and noted["seed"] == 0 and noted["spec"]["grid"] == 32
    assert not load_refiner(RefinerConfig(weights=result.checkpoint)).takes_clicks
    assert set(result.measurements[-1].iou) == {"landmarks", "carried", "region", "presence"}


def test_other_settings_do_not_go_on_with_a_training(tmp_path: Path) -> None:
    root = put(tmp_path / "data", [drawn_clip()], [drawn_clip(9)])
    train_refiner(training(root, steps=2), quiet, lambda: True, TINY)
    with pytest.raises(ConfigError, match="was begun with other settings"):
        train_refiner(training(root, steps=3, resume=True), quiet, lambda: False, TINY)


def test_no_clips_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "rendered").mkdir()
    with pytest.raises(InvalidInputError, match="no clip has a hand"):
        train_refiner(training(tmp_path), quiet, lambda: False, TINY)


def baseline(root: Path, channel: int, cue: Cue) -> float:
    """Mean IoU of what is told, taken for the answer as it is."""
    ious = []
    for one in held_episodes(load_pool(root, held_out=True), cue, 8, SMALL.grid, 1):
        while not one.over:
            told = one.next()
            wanted, said = told.maps[0] > 0.5, told.inputs[channel] > 0.25
            if wanted.sum() >= 24:
                ious.append(float((wanted & said).sum() / max((wanted | said).sum(), 1)))
            if not one.over:
                one.feed(told.inputs[6])
    return float(np.mean(ious))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take many times as long where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("one_thread")
def test_a_short_run_of_the_recipe_beats_what_it_is_told(tmp_path: Path) -> None:
    clips, held = [rendered_wide_clip(seed) for seed in range(12)], [rendered_wide_clip(seed) for seed in range(50, 58)]
    root = put(tmp_path / "data", clips, held)
    config = training(root, steps=400, batch=8, val_every=400, save_every=400, val_limit=32)
    found = train_refiner(config, quiet, lambda: False, SMALL).measurements[-1].iou
    shape, copied = baseline(root, 4, Cue.BOTH), baseline(root, 6, Cue.PAST)
    assert found["landmarks"] > shape + 0.03, f"the landmarks' shape alone reaches {shape:.3f}"
    assert found["carried"] > copied + 0.05, f"the last mask, left where it was, reaches {copied:.3f}"
    assert found["presence"] > 0.75


def test_weights_without_normalisations_start_a_training_that_computes_the_same() -> None:
    torch.manual_seed(0)
    learnt = RefinerNet(TINY, normalised=True)
    crops = torch.randn(6, 10, 32, 32)
    for _ in range(3):
        learnt(crops)
    plain = folded(learnt.state_dict())
    before = build_refiner(plain, TINY)(crops)[0]
    net = RefinerNet(TINY, normalised=True)
    start_with(net, plain, crops)
    assert torch.allclose(net(crops)[0], before, atol=1e-3)
    assert torch.allclose(build_refiner(folded(net.state_dict()), TINY)(crops)[0], before, atol=1e-3)


def test_a_training_begins_with_weights_of_the_same_network_only(tmp_path: Path) -> None:
    path = tmp_path / "refiner.safetensors"
    save_builtin(path, folded(RefinerNet(TINY, normalised=True).state_dict()), {"spec": TINY.as_metadata()})
    assert set(read_start(path, replace(TINY, grid=64))) == set(RefinerNet(TINY).state_dict())
    with pytest.raises(WeightsError, match=r"refiner\.safetensors: .* built of \(8, 12, 16\) .* not of \(12, 24"):
        read_start(path, SMALL)
    save_builtin(path, {}, {"preset": "another"})
    with pytest.raises(WeightsError, match=r"refiner\.safetensors: no refiner's training can begin"):
        read_start(path, SMALL)


def test_a_training_that_begins_with_weights_measures_them_first_and_its_weights_say_so(tmp_path: Path) -> None:
    root = put(tmp_path / "data", [drawn_clip()], [drawn_clip(9)])
    old = train_refiner(training(root, steps=20), quiet, lambda: False, TINY)
    new = training(root, steps=4, rate=1e-6, init=old.checkpoint, out=tmp_path / "new.safetensors")
    paused = train_refiner(new, quiet, lambda: True, TINY)
    assert paused.measurements[0].step == 0 and old.best is not None
    assert paused.measurements[0].score == pytest.approx(old.best.score, abs=0.02)
    train_refiner(replace(new, init=None, resume=True), quiet, lambda: False, TINY)
    assert read_builtin(new.out)[1]["init"] == "refiner.safetensors"
