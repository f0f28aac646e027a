"""`gest-stream train decoder` as a user types it, on a handful of small pictures."""

import json
import signal
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from gest_stream.cli import train_progress
from gest_stream.cli.exit_codes import ExitCode, exit_code_of
from gest_stream.cli.main import app
from gest_stream.cli.train import parse_data
from gest_stream.cli.train_progress import interruptible
from gest_stream.config import DinoBackbone
from gest_stream.errors import ConfigError, DeviceError, InvalidInputError, WeightsError
from gest_stream.models.dino import DinoEncoder
from gest_stream.models.dino_decoder import load_net
from gest_stream.training.config import DataKind, DataSource, Grey
from gest_stream.training.progress import Measurement, Stage, TrainingProgress
from tests.training.made_data import make_egohands, make_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "pictures")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["train", "decoder", *map(str, args)])


def run_small(pictures: Path, out: Path, *args: object) -> Result:
    fixed = ("--grey", "forearm", "--backbone", "nano", "--input-size", 56, "--batch", 2, "--device", "cpu")
    return run("--data", f"folder:{pictures}", "-o", out, *fixed, "--val-share", 0.3, "--workers", 1, *args)


def error_of(result: Result) -> str:
    assert result.exception is not None and not isinstance(result.exception, SystemExit), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("synthetic", DataSource(DataKind.SYNTHETIC)),
        ("synthetic:/tmp/cache", DataSource(DataKind.SYNTHETIC, Path("/tmp/cache"))),
        ("egohands:ego", DataSource(DataKind.EGOHANDS, Path("ego"))),
        (
            "folder:a,weight=2.5,grey=ignore",
            DataSource(DataKind.FOLDER, Path("a"), weight=2.5, grey=Grey.IGNORE),
        ),
        ("coco:x.json,images=pictures", DataSource(DataKind.COCO, Path("x.json"), images=Path("pictures"))),
        ("folder:a, b", DataSource(DataKind.FOLDER, Path("a, b"))),
    ],
)
def test_a_set_is_read_from_its_text(text: str, source: DataSource) -> None:
    assert parse_data(text) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folders:a", "'folders' is not known; did you mean 'folder'"),
        ("/my/hands", "expected KIND:PATH, for example folder:/my/hands; '/my/hands' is not known"),
        ("folder:a,wieght=2", "'wieght' is not known; did you mean 'weight'"),
        ("folder:a,weight=much", "weight: expected a number, got 'much'"),
        ("folder:a,weight=0", "weight of folder:a: expected a number above 0, got 0.0"),
        ("folder:a,grey=black", "grey: expected forearm or ignore, got 'black'"),
        ("folder", "data folder: names no place; write folder:PATH"),
    ],
)
def test_a_set_that_cannot_be_understood_is_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_data(text)


def test_a_path_that_is_there_is_taken_as_it_is_written(tmp_path: Path) -> None:
    odd = tmp_path / "a,weight=3"
    odd.mkdir()
    assert parse_data(f"folder:{odd}").path == odd


def test_a_training_writes_checkpoint_history_and_a_summary(pictures: Path, tmp_path: Path) -> None:
    result = run_small(pictures, tmp_path / "net.pt", "--steps", 3)
    assert result.exit_code == 0, result.output
    assert "step 3" in result.stderr and "3 steps in" in result.stderr and "all steps made" in result.stderr
    assert load_net(tmp_path / "net.pt").spec.input_size == 56
    assert json.loads((tmp_path / "net.json").read_text())["steps"] == 3
    assert not result.stdout


def test_json_is_one_object_a_measurement_and_nothing_else(pictures: Path, tmp_path: Path) -> None:
    result = run_small(pictures, tmp_path / "net.pt", "--steps", 4, "--val-every", 2, "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["step"] for record in records] == [2, 4]
    assert set(records[0]["iou"]) == {"hand", "forearm"} and records[0]["best"]
    assert not result.stderr


def test_ctrl_c_leaves_a_state_that_is_gone_on_with(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "net.pt"
    printed = train_progress._print_record

    def print_and_interrupt(measured: Measurement) -> None:
        printed(measured)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train_progress, "_print_record", print_and_interrupt)
    before = signal.getsignal(signal.SIGINT)
    result = run_small(pictures, out, "--steps", 6, "--val-every", 2, "--json")
    assert result.exit_code == ExitCode.INTERRUPTED and json.loads(result.stdout)["step"] == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert torch.load(tmp_path / "net.train.pt", weights_only=True)["step"] == 2
    monkeypatch.setattr(train_progress, "_print_record", printed)
    again = run_small(pictures, out, "--steps", 6, "--val-every", 2, "--json", "--resume")
    assert again.exit_code == 0, again.output
    assert [json.loads(line)["step"] for line in again.stdout.splitlines()] == [4, 6]
    whole = run_small(pictures, tmp_path / "whole.pt", "--steps", 6, "--val-every", 2, "--quiet")
    assert whole.exit_code == 0 and not whole.output
    losses = [json.loads((tmp_path / name).read_text())["losses"] for name in ("net.json", "whole.json")]
    assert losses[0] == losses[1] and len(losses[0]) == 6


def test_an_interrupted_training_says_how_to_go_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gest_stream.cli.train_progress.measured_line", lambda measured: signal.raise_signal(signal.SIGINT)
    )
    result = run_small(pictures, tmp_path / "net.pt", "--steps", 6, "--val-every", 2)
    assert result.exit_code == 130
    assert "interrupted after 2 steps; go on with --resume" in result.stderr and "net.train.pt" in result.stderr


def test_ctrl_c_before_the_first_step_ends_at_once() -> None:
    with interruptible(lambda told: None) as (tell, should_stop):
        tell(TrainingProgress(Stage.READING, 1, 2))
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not should_stop()
        tell(TrainingProgress(Stage.TRAINING, 1, 2))
        signal.raise_signal(signal.SIGTERM)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_options_reach_the_settings(pictures: Path, tmp_path: Path) -> None:
    others = (
        "--classes",
        "hand",
        "--rate",
        0.01,
        "--seed",
        5,
        "--no-amp",
        "--patience",
        3,
        "--frames",
        8,
        "--val-limit",
        9,
    )
    result = run_small(
        pictures, tmp_path / "net.pt", "--steps", 1, *others, "--coco-hand", "palm", "--coco-hand", "fist"
    )
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "net.json").read_text())["settings"]
    assert settings["rate"] == 0.01 and settings["seed"] == 5 == settings["render"]["seed"]
    assert settings["classes"] == ["hand"] and settings["patience"] == 3 and settings["amp"] is False
    assert (
        settings["render"]["frames"] == 8 and settings["val_limit"] == 9 and settings["coco_hand"] == ["palm", "fist"]
    )
    assert settings["data"][0]["grey"] == "forearm" and settings["freeze_backbone"] is True
    assert load_net(tmp_path / "net.pt").spec.classes == ("hand",)


def test_bad_data_end_with_the_code_for_usage_before_any_file_is_written(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.pt"
    for path in (pictures / "masks").iterdir():
        path.unlink()
    result = run_small(pictures, out)
    assert "masks: holds no files" in error_of(result)
    assert isinstance(result.exception, InvalidInputError) and exit_code_of(result.exception) is ExitCode.USAGE
    assert not list(tmp_path.glob("net*"))


def test_a_class_that_is_nowhere_is_left_out_by_the_option_that_the_message_names(tmp_path: Path) -> None:
    frame = {"frame_num": 1, "myleft": [[11, 21], [61, 21], [61, 71]]}
    folder = make_egohands(tmp_path / "ego", {name: [frame] for name in "ABCD"})
    small = ("--backbone", "nano", "--input-size", 56, "--batch", 2, "--steps", 1, "--device", "cpu", "--workers", 1)
    args = ("--data", f"egohands:{folder}", "-o", tmp_path / "net.pt", *small)
    assert "leave the class out: --classes hand" in error_of(run(*args))
    assert run(*args, "--classes", "hand").exit_code == 0


def test_weights_of_another_backbone_name_both(pictures: Path, tmp_path: Path) -> None:
    torch.save(DinoEncoder(DinoBackbone.VITS14).vit.state_dict(), tmp_path / "s.pth")
    result = run("--data", f"folder:{pictures}", "--backbone", "vits14_reg", "--backbone-weights", tmp_path / "s.pth")
    assert isinstance(result.exception, WeightsError)
    assert "is DINOv2 ViT-S/14" in error_of(result) and "DINOv2 ViT-S/14 with registers" in error_of(result)


def test_a_backbone_without_an_address_asks_for_its_file(pictures: Path) -> None:
    assert "--backbone-weights FILE" in error_of(run("--data", f"folder:{pictures}", "--backbone", "vitb14"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_device_error(pictures: Path, tmp_path: Path) -> None:
    result = run_small(pictures, tmp_path / "net.pt", "--device", "cuda")
    assert isinstance(result.exception, DeviceError) and "use --device cpu" in error_of(result)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--classes", "thumb"), "'thumb' is not known; it is hand, or hand,forearm"),
        (("--backbone", "vits15"), "did you mean 'vits14'"),
        (("--grey", "black"), "'black' is not known"),
        (("--batch", "0"), "batch: expected 1 to 4096, got 0"),
        (("--steps", "0"), "steps: expected 1 or more, got 0"),
        (("--minutes", "-1"), "minutes: expected a number above 0, got -1.0"),
        (("--val-share", "1.0"), "val_share: expected above 0 and below 1, got 1.0"),
        (("-o", "net.onnx"), "net.onnx: a checkpoint's name ends in .pt"),
        (("--resume", "--overwrite"), "exclude each other"),
        (("--init", "a.pt", "--backbone-weights", "b.pth"), "give --init or --backbone-weights"),
        (("--backbone", "nano", "--backbone-weights", "b.pth"), "nano has no official weights"),
        (("--input-size", "20"), "input_size: expected 0, or 56 to 2044, got 20"),
    ],
)
def test_settings_without_a_meaning_are_explained(args: tuple[str, ...], message: str) -> None:
    result = run("--data", "synthetic", *args)
    told = result.stderr + str(result.exception)
    assert message in " ".join(told.replace("│", " ").split())


def test_data_are_required() -> None:
    result = run()
    assert result.exit_code == 2 and "--data" in result.stderr
