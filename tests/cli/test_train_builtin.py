"""`gest-stream train builtin`: its table of presets, its options, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gest_stream.cli import train_builtin
from gest_stream.cli.exit_codes import ExitCode
from gest_stream.cli.train_builtin import PRESETS, builtin, preset_trainer
from gest_stream.errors import ConfigError
from gest_stream.training.builtin_config import BuiltinTraining
from tests.training.wide_scene import write_discs


def run(*args: object) -> Result:
    app = typer.Typer()
    app.command("builtin")(builtin)
    return CliRunner().invoke(app, [*map(str, args)])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs"), learnt=2, held_out=1)


def test_the_module_loads_nothing_heavy() -> None:
    code = (
        "import sys, gest_stream.cli.train_builtin\n"
        "print(sorted({'torch', 'sam2', 'cv2', 'av', 'PIL', 'scipy', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_of_the_table_has_its_function(name: str) -> None:
    assert callable(preset_trainer(name))


def test_a_preset_that_is_not_known_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="hand-sog: is not known; did you mean 'hand-seg'"):
        preset_trainer("hand-sog")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"out": Path("net.pt")}, "ends in .safetensors"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"init": Path("net.safetensors"), "resume": True}, "leave --init out"),
        ({"steps": 0}, "steps: expected 1 or more, got 0"),
        ({"minutes": float("nan")}, "minutes: expected a number above 0"),
        ({"rate": 2.0}, "rate: expected above 0, up to 1, got 2.0"),
        ({"device": "gpu"}, "device: expected auto, cpu"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BuiltinTraining("hand-seg", **settings)  # type: ignore[arg-type]


def test_only_presets_that_can_begin_with_weights_are_given_some() -> None:
    with pytest.raises(ConfigError, match="leave --init out"):
        BuiltinTraining("sam2-nano", init=Path("net.safetensors"))
    assert BuiltinTraining("refiner", init=Path("net.safetensors")).begun_with == {"init": "net.safetensors"}


def test_it_trains_and_prints_its_measurements_as_json(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.safetensors"
    told = run(
        *("--preset", "hand-seg", "--data", clips, "--out", out, "--steps", 2, "--batch", 2, "--threads", 1, "--json"),
        *("--device", "cpu"),
    )
    assert told.exit_code == 0, told.output
    (line,) = told.stdout.splitlines()
    assert json.loads(line)["step"] == 2 and "rendered hand" in json.loads(line)["iou"]
    assert out.exists() and out.with_suffix(".json").exists()


def test_an_interrupted_training_says_how_to_go_on(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = preset_trainer("hand-seg")
    monkeypatch.setattr(train_builtin, "preset_trainer", lambda name: lambda c, tell, stop: real(c, tell, lambda: True))
    out = tmp_path / "own.safetensors"
    told = run("--preset", "hand-seg", "--data", clips, "--out", out, "--batch", 2, "--threads", 1, "--device", "cpu")
    assert told.exit_code == ExitCode.INTERRUPTED
    assert "interrupted after 1 steps; go on with --resume" in told.output
    assert out.with_suffix(".train.pt").exists()
