"""`train_decoder` as a whole: it learns, goes on after a break, and keeps the best."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gest_stream.config import DinoBackbone, RedetectorConfig
from gest_stream.errors import ConfigError, DeviceError, ModelError, SinkError, WeightsError
from gest_stream.models.dino_decoder import HandNet, NetSpec, load_net, save_net
from gest_stream.models.redetector import load_redetector
from gest_stream.training import decoder
from gest_stream.training.config import DataKind, DataSource, DecoderTraining
from gest_stream.training.data import prepare_data
from gest_stream.training.decoder import train_decoder
from gest_stream.training.measure import measure
from gest_stream.training.progress import Measurement, Stage, StopReason, TrainingProgress, TrainingResult
from tests.training.conftest import RENDER, Rendered
from tests.training.made_data import folder_source, make_folder, small_training

STEPS = 50


@pytest.fixture(scope="module")
def smoke(rendered_hands: Rendered, tmp_path_factory: pytest.TempPathFactory) -> DecoderTraining:
    """50 steps of nano on 32 rendered pictures."""
    return small_training(
        tmp_path_factory.mktemp("smoke"),
        [DataSource(DataKind.SYNTHETIC, rendered_hands.root)],
        input_size=84,
        steps=STEPS,
        batch=6,
        val_every=25,
        val_share=0.2,
        render=RENDER,
    )


@dataclass(frozen=True)
class Run:
    """What a training told and left."""

    result: TrainingResult
    told: list[TrainingProgress]


@pytest.fixture(scope="module")
def uninterrupted(smoke: DecoderTraining) -> Run:
    told: list[TrainingProgress] = []
    return Run(train_decoder(smoke, told.append), told)


@pytest.fixture
def pictures(tmp_path: Path) -> DecoderTraining:
    """A training of a moment on twelve pictures."""
    return small_training(tmp_path, [folder_source(make_folder(tmp_path / "pictures"))])


def after(steps: int) -> Callable[[], bool]:
    """Stops a training after so many steps."""
    asked = iter(range(1, steps))
    return lambda: next(asked, None) is None


def test_fifty_steps_lower_the_loss_by_half(uninterrupted: Run) -> None:
    losses = uninterrupted.result.losses
    assert len(losses) == STEPS and uninterrupted.result.stopped is StopReason.STEPS
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_a_training_that_was_broken_off_goes_on_with_the_same_losses(
    smoke: DecoderTraining, uninterrupted: Run, tmp_path: Path
) -> None:
    config = replace(smoke, out=tmp_path / "net.pt", workers=2)
    first = train_decoder(config, should_stop=after(25))
    assert first.stopped is StopReason.INTERRUPTED and first.steps == 25
    second = train_decoder(replace(config, resume=True))
    assert second.losses == uninterrupted.result.losses
    assert [one.iou for one in second.measurements] == [one.iou for one in uninterrupted.result.measurements]
    weights, expected = (load_net(path).state_dict() for path in (config.out, smoke.out))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_the_checkpoint_is_the_network_that_was_measured_best(smoke: DecoderTraining, uninterrupted: Run) -> None:
    result = uninterrupted.result
    assert result.best is max(result.measurements, key=lambda one: one.score)
    data = prepare_data(smoke, True, lambda progress: None)
    iou = measure(load_net(result.checkpoint), data.kept_back(0), torch.device("cpu"), 2, 1)
    assert iou == pytest.approx(dict(result.best.iou), abs=1e-6)


def test_the_checkpoint_is_a_redetector(uninterrupted: Run) -> None:
    config = RedetectorConfig(device="cpu", backbone=DinoBackbone.NANO)
    redetector = load_redetector(config, uninterrupted.result.checkpoint)
    assert redetector.kind == "builtin"
    redetector.close()


def test_progress_counts_steps_and_brings_every_measurement_once(uninterrupted: Run) -> None:
    told = uninterrupted.told
    steps = [one.done for one in told if one.stage is Stage.TRAINING and one.measured is None]
    assert steps == list(range(1, STEPS + 1))
    assert tuple(one.measured for one in told if one.measured) == uninterrupted.result.measurements
    assert [one.stage for one in told if one.stage is not Stage.TRAINING][:1] == [Stage.READING]


def test_the_history_holds_losses_measurements_settings_and_versions(uninterrupted: Run) -> None:
    history = json.loads(uninterrupted.result.history.read_text())
    assert history["losses"] == pytest.approx(list(uninterrupted.result.losses), abs=1e-6)
    assert [one["step"] for one in history["measurements"]] == [25, 50] and history["finished"]
    assert history["settings"]["batch"] == 6 and history["network"]["backbone"] == "nano"
    assert history["versions"]["torch"] == torch.__version__.partition("+")[0] or history["versions"]["torch"]


@dataclass
class Scores:
    """Stands in for the measurement and keeps the weights that it was shown."""

    left: Iterator[float]
    seen: list[dict[str, torch.Tensor]]

    def __call__(self, net: HandNet, *_: object) -> dict[str, float]:
        self.seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"hand": next(self.left)}


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scores]:
    def put(*values: float) -> Scores:
        fake = Scores(iter(values), [])
        monkeypatch.setattr(decoder, "measure", fake)
        return fake

    return put


def test_it_ends_when_it_does_not_get_better_and_keeps_the_best(
    pictures: DecoderTraining, scores: Callable[..., Scores]
) -> None:
    fake = scores(0.2, 0.5, 0.5, 0.3, 0.9)
    result = train_decoder(replace(pictures, steps=9, val_every=1, patience=2))
    assert result.stopped is StopReason.PATIENCE and result.steps == 4
    assert result.best is not None and (result.best.step, result.best.score) == (2, 0.5)
    assert [one.best for one in result.measurements] == [True, True, False, False]
    kept = load_net(result.checkpoint).state_dict()
    assert all(torch.equal(kept[name], value) for name, value in fake.seen[1].items())
    assert not all(torch.equal(kept[name], value) for name, value in fake.seen[3].items())


def test_patience_goes_on_counting_after_a_break(pictures: DecoderTraining, scores: Callable[..., Scores]) -> None:
    scores(0.5, 0.4)
    config = replace(pictures, steps=9, val_every=1, patience=2)
    train_decoder(config, should_stop=after(2))
    scores(0.3)
    result = train_decoder(replace(config, resume=True))
    assert result.stopped is StopReason.PATIENCE and result.steps == 3
    assert result.best == Measurement(1, {"hand": 0.5}, 0.5, *_rest(result.measurements[0]))


def _rest(measured: Measurement) -> tuple[float | None, float, float, bool]:
    return measured.loss, measured.rate_share, measured.elapsed_s, measured.best


def test_no_patience_never_ends_it(pictures: DecoderTraining, scores: Callable[..., Scores]) -> None:
    scores(0.5, 0.4, 0.3, 0.2)
    assert train_decoder(replace(pictures, val_every=1, patience=0)).stopped is StopReason.STEPS


def test_minutes_end_it(pictures: DecoderTraining) -> None:
    result = train_decoder(replace(pictures, steps=None, minutes=1e-6))
    assert result.stopped is StopReason.TIME and result.steps == 1 and result.best is not None


def test_the_state_is_written_every_few_steps(pictures: DecoderTraining) -> None:
    class Broken(Exception):
        pass

    def tell(progress: TrainingProgress) -> None:
        if progress.stage is Stage.TRAINING and progress.done == 4:
            raise Broken

    config = replace(pictures, steps=6, save_every=2)
    with pytest.raises(Broken):
        train_decoder(config, tell)
    result = train_decoder(replace(config, resume=True))
    assert result.steps == 6
    fresh = train_decoder(replace(config, out=config.out.with_name("fresh.pt")))
    assert result.losses == fresh.losses


def test_a_training_may_be_made_longer(pictures: DecoderTraining) -> None:
    train_decoder(pictures)
    assert train_decoder(replace(pictures, steps=6, resume=True)).steps == 6


def test_going_on_with_other_settings_is_refused_with_both(pictures: DecoderTraining) -> None:
    train_decoder(pictures, should_stop=after(2))
    again = replace(pictures, resume=True)
    with pytest.raises(ConfigError, match=r"batch was 2 and is 3; rate was 0\.001 and is 0\.01; .* --init CHECKPOINT"):
        train_decoder(replace(again, batch=3, rate=0.01))
    with pytest.raises(ConfigError, match="begun with other settings: the pictures"):
        train_decoder(replace(again, val_share=0.6))
    with pytest.raises(ConfigError, match="begun with --input-size 56, not 84"):
        train_decoder(replace(again, input_size=84))
    with pytest.raises(WeightsError, match=r"net\.train\.pt: has the backbone nano .*, not DINOv2 ViT-S/14"):
        train_decoder(replace(again, backbone=DinoBackbone.VITS14))
    assert train_decoder(replace(again, val_every=3, save_every=1, workers=2, patience=3)).steps == 4


def test_an_unfinished_training_is_not_overwritten_by_accident(pictures: DecoderTraining) -> None:
    train_decoder(pictures, should_stop=after(2))
    with pytest.raises(ConfigError, match="an unfinished training of net.pt lies there; go on with --resume"):
        train_decoder(pictures)
    assert train_decoder(replace(pictures, overwrite=True)).steps == 4
    assert train_decoder(pictures).steps == 4  # a finished one may be made anew


def test_there_must_be_something_to_go_on_with(pictures: DecoderTraining) -> None:
    with pytest.raises(ConfigError, match=r"net\.train\.pt: there is no training to go on with"):
        train_decoder(replace(pictures, resume=True))
    pictures.out.with_suffix(".train.pt").write_bytes(b"no state")
    with pytest.raises(WeightsError, match=r"net\.train\.pt: is no checkpoint"):
        train_decoder(replace(pictures, resume=True))
    torch.save({"format": "something else"}, pictures.out.with_suffix(".train.pt"))
    with pytest.raises(WeightsError, match="is not the state of a training"):
        train_decoder(replace(pictures, resume=True))


def test_a_checkpoint_is_measured_before_it_is_trained_on(pictures: DecoderTraining, tmp_path: Path) -> None:
    train_decoder(pictures)
    config = replace(pictures, backbone=None, input_size=0, init=pictures.out, out=tmp_path / "tuned.pt", rate=1e-6)
    result = train_decoder(config)
    assert result.measurements[0].step == 0 and result.measurements[0].loss is None
    before, tuned = load_net(pictures.out), load_net(config.out)
    assert tuned.spec == before.spec
    close = [torch.allclose(a, b, atol=1e-4) for a, b in zip(before.parameters(), tuned.parameters(), strict=True)]
    assert all(close)


def test_the_seed_decides(pictures: DecoderTraining, tmp_path: Path) -> None:
    losses = [
        train_decoder(replace(pictures, out=tmp_path / f"{name}.pt", seed=seed)).losses
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_the_caller_s_random_numbers_stay_as_they_are(pictures: DecoderTraining) -> None:
    before = torch.get_rng_state()
    train_decoder(pictures)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("kind", "trained", "encoder_rate", "peaks"),
    [
        (DinoBackbone.NANO, True, None, {"decoder": 0.01, "encoder": 0.01}),
        (DinoBackbone.VITS14, True, None, {"decoder": 0.01, "encoder": 0.0002}),
        (DinoBackbone.VITS14, True, 0.005, {"decoder": 0.01, "encoder": 0.005}),
        (DinoBackbone.VITS14, False, None, {"decoder": 0.01}),
    ],
)
def test_encoder_and_decoder_have_their_own_rates(
    pictures: DecoderTraining, kind: DinoBackbone, trained: bool, encoder_rate: float | None, peaks: dict[str, float]
) -> None:
    with torch.device("meta"):
        net = HandNet(NetSpec(kind))
    net.train_backbone(trained)
    optimizer = decoder._make_optimizer(net, replace(pictures, rate=0.01, backbone_rate=encoder_rate), trained)
    names = {id(value): name for name, value in net.named_parameters()}
    found = {names[id(one)]: group for group in optimizer.param_groups for one in group["params"]}
    assert found.keys() == {name for name in names.values() if name.partition(".")[0] in peaks}
    assert all(group["peak"] == peaks[name.partition(".")[0]] for name, group in found.items())
    shapes = dict(net.named_parameters())
    assert all((group["weight_decay"] > 0) == (shapes[name].ndim > 1) for name, group in found.items())


@pytest.mark.slow
def test_a_frozen_encoder_stays_and_a_trained_one_moves(pictures: DecoderTraining, tmp_path: Path) -> None:
    base = tmp_path / "base.pt"
    torch.manual_seed(0)
    save_net(base, HandNet(NetSpec(DinoBackbone.VITS14, input_size=56, width=16)))
    config = replace(pictures, backbone=None, init=base, steps=2, batch=1)
    moved = {}
    for frozen in (True, False):
        out = tmp_path / f"frozen {frozen}.pt"
        train_decoder(replace(config, freeze_backbone=frozen, out=out))
        state = torch.load(out.with_suffix(".train.pt"), weights_only=True)["values"]["net"]
        start = load_net(base).state_dict()
        for part in ("encoder", "decoder"):
            names = [name for name in start if name.startswith(part)]
            moved[frozen, part] = max(float((state[name] - start[name]).abs().max()) for name in names)
    assert moved[True, "encoder"] == 0.0 and moved[False, "encoder"] > 0.0
    assert moved[True, "decoder"] > 10 * moved[False, "encoder"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_learns_alike_and_goes_on_after_a_break(
    pictures: DecoderTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """On the CPU; a GPU chooses its dtype itself."""
    short = replace(pictures, steps=3, val_limit=1)
    exact = train_decoder(short).losses
    monkeypatch.setattr(decoder, "_amp_dtype", lambda device: dtype)
    config = replace(short, out=tmp_path / "mixed.pt")
    mixed = train_decoder(config)
    assert mixed.losses != exact and mixed.losses == pytest.approx(exact, abs=0.03)
    assert train_decoder(replace(config, amp=False, out=tmp_path / "off.pt")).losses == exact
    broken_off = replace(config, out=tmp_path / "again.pt")
    train_decoder(broken_off, should_stop=after(1))
    assert train_decoder(replace(broken_off, resume=True)).losses == mixed.losses


def test_no_memory_in_the_first_step_is_told_with_the_remedy(
    pictures: DecoderTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: HandNet, images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(HandNet, "forward", exhausted)
    told: list[TrainingProgress] = []
    with pytest.raises(DeviceError, match="out of memory with batches of 8; .* --batch 4, or a smaller --input-size"):
        train_decoder(replace(pictures, batch=8), told.append)
    assert all(one.stage is Stage.READING for one in told)


def test_no_memory_on_the_cpu_is_told_as_well_and_other_errors_are_left_alone(
    pictures: DecoderTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("a bug"),
    ]

    def fails(self: HandNet, images: torch.Tensor) -> torch.Tensor:
        raise errors.pop(0)

    monkeypatch.setattr(HandNet, "forward", fails)
    with pytest.raises(DeviceError, match="out of memory"):
        train_decoder(pictures)
    with pytest.raises(RuntimeError, match="a bug"):
        train_decoder(pictures)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_before_the_data_are_read(pictures: DecoderTraining) -> None:
    told: list[TrainingProgress] = []
    with pytest.raises(DeviceError, match="device 'cuda': torch sees 0 CUDA devices"):
        train_decoder(replace(pictures, device="cuda"), told.append)
    assert not told


def test_a_loss_that_is_no_number_ends_it(pictures: DecoderTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    real = HandNet.forward
    monkeypatch.setattr(HandNet, "forward", lambda self, images: real(self, images) * float("nan"))
    with pytest.raises(ModelError, match=r"step 0: the loss is nan; .* --overwrite --rate 0\.0001"):
        train_decoder(pictures)
    assert not pictures.out.exists()


def test_an_output_folder_that_is_not_there_is_told_first(pictures: DecoderTraining, tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    with pytest.raises(SinkError, match="the folder does not exist; create it: mkdir -p"):
        train_decoder(replace(pictures, out=tmp_path / "nowhere" / "net.pt"), told.append)
    assert not told


@pytest.mark.parametrize("content", ['{"images": [], "annotations": []}', "no JSON"])
def test_a_history_is_not_written_over_another_file(pictures: DecoderTraining, content: str) -> None:
    other = pictures.out.with_suffix(".json")
    other.write_text(content)
    with pytest.raises(SinkError, match=r"net\.json: the history .* it is another file; choose another --out"):
        train_decoder(pictures)
    assert other.read_text() == content


def test_the_checkpoint_that_is_trained_on_is_not_overwritten(pictures: DecoderTraining) -> None:
    train_decoder(pictures)
    with pytest.raises(SinkError, match="this is the input; give the output another name"):
        train_decoder(replace(pictures, init=pictures.out))
