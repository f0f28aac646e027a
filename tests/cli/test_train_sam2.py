"""`gest-stream train sam2`, with a narrow model on one clip."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from gest_stream.cli.train_sam2 import parse_clips, sam2
from gest_stream.config import Precision, Sam2Size
from gest_stream.errors import ConfigError
from gest_stream.training import sam2 as entry
from gest_stream.training import sam2_loop
from gest_stream.training.progress import TrainingResult
from gest_stream.training.sam2_config import ClipData, ClipKind, Sam2Part, Sam2Training
from gest_stream.training.sam2_step import train_step
from tests.models.sam2_nano import SIDE
from tests.training.sam2_scene import OVERRIDES, write_clip, write_start

Train = Callable[..., TrainingResult]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scene")
    write_clip(root, frames=4)
    write_start(root / "start.pt")
    return root


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command builds the narrow model instead of the official one."""
    real: Train = entry.train_sam2
    monkeypatch.setattr(
        entry,
        "train_sam2",
        lambda config, tell, stop: real(replace(config, overrides=OVERRIDES, min_area=0.01), tell, stop),
    )


def run(*args: object) -> Result:
    app = typer.Typer()
    app.command("sam2")(sam2)
    return CliRunner().invoke(app, [*map(str, args)])


def options(folder: Path, out: str, steps: int = 2) -> list[object]:
    return [
        *("--data", f"clips:{folder}", "--out", folder / out, "--init", folder / "start.pt", "--device", "cpu"),
        *("--image-size", SIDE, "--frames", 2, "--steps", steps),
    ]


def test_the_module_loads_nothing_heavy() -> None:
    code = (
        "import sys, gest_stream.cli.train_sam2\n"
        "print(sorted({'torch', 'sam2', 'cv2', 'av', 'PIL', 'scipy', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("narrow")
def test_a_training_says_how_it_went_and_where_its_files_are(folder: Path) -> None:
    result = run(*options(folder, "told.pt"))
    assert result.exit_code == 0, result.output
    told = result.stderr
    assert "step 0  " in told and "step 2  " in told
    assert "2 steps in " in told and "all steps made; IoU of followed objects " in told
    for name in ("told.pt", "told.json"):
        assert str(folder / name) in told
    assert f"--segmenter sam2 --size tiny --image-size {SIDE} --checkpoint {folder / 'told.pt'}" in told
    assert not result.stdout


@pytest.mark.usefixtures("narrow")
def test_measurements_are_json_lines_where_that_is_asked_for(folder: Path) -> None:
    result = run(*options(folder, "json.pt"), "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["step"] for record in records] == [0, 2] and not result.stderr
    assert all(set(record["iou"]) == {"tracked", "prompted"} for record in records)


@pytest.mark.usefixtures("narrow")
def test_where_nothing_was_better_than_the_start_that_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam2_loop, "measure", lambda *_: {"tracked": 0.5, "prompted": 0.5})
    result = run(*options(folder, "worse.pt"))
    assert "0.500 at the start, 0.500 at best (step 0)" in result.stderr
    assert "nothing was better than the start, which is what the checkpoint holds" in result.stderr
    start, kept = (torch.load(folder / name, weights_only=True)["model"] for name in ("start.pt", "worse.pt"))
    assert all(torch.equal(start[name], kept[name]) for name in start)


@pytest.mark.usefixtures("narrow")
def test_ctrl_c_writes_the_state_and_resume_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def step(*args: Any) -> Any:
        nonlocal made
        made += 1
        if made == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(*args)

    monkeypatch.setattr(sam2_loop, "train_step", step)
    before = signal.getsignal(signal.SIGINT)
    result = run(*options(folder, "cut.pt", steps=5))
    assert result.exit_code == 130, result.output
    assert "interrupted after 2 steps; go on with --resume and the same options" in result.stderr
    assert str(folder / "cut.train.pt") in result.stderr and signal.getsignal(signal.SIGINT) is before
    again = run(*options(folder, "cut.pt", steps=5), "--resume")
    assert again.exit_code == 0 and "5 steps in " in again.stderr and made == 5


def test_options_become_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sam2Training] = []

    def train(config: Sam2Training, *_: Any) -> None:
        seen.append(config)
        raise ConfigError("seen")

    monkeypatch.setattr(entry, "train_sam2", train)
    run(
        *("--data", "synthetic:kept", "--data", folder, "--val", f"clips:{folder}", "--val-share", 0.2),
        *("--rendered", 30, "--size", "base_plus", "--image-size", 512, "--init", "own.pt", "--train", "memory"),
        *("--unfreeze-encoder", "--frames", 6, "--batch", 2, "--max-objects", 4, "--max-stride", 5, "--minutes", 3),
        *("--patience", 4, "--val-every", 50, "--save-every", 60, "--rate", 1e-5, "--encoder-rate", 1e-6),
        *("--seed", 9, "--device", "cpu", "--precision", "bfloat16", "--workers", 2, "--overwrite", "-o", "tuned.pt"),
    )
    assert seen == [
        Sam2Training(
            data=(ClipData(ClipKind.SYNTHETIC, Path("kept")), ClipData(ClipKind.CLIPS, folder)),
            out=Path("tuned.pt"),
            val=(ClipData(ClipKind.CLIPS, folder),),
            val_share=0.2,
            rendered=30,
            size=Sam2Size.BASE_PLUS,
            image_size=512,
            init=Path("own.pt"),
            train=(Sam2Part.MEMORY,),
            unfreeze_encoder=True,
            frames=6,
            batch=2,
            max_objects=4,
            max_stride=5,
            minutes=3.0,
            patience=4,
            val_every=50,
            save_every=60,
            rate=1e-5,
            encoder_rate=1e-6,
            seed=9,
            device="cpu",
            precision=Precision.BFLOAT16,
            workers=2,
            overwrite=True,
        )
    ]


def test_defaults_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sam2Training] = []
    monkeypatch.setattr("gest_stream.cli.download.fetch_missing", lambda *_: None)
    monkeypatch.setattr(entry, "train_sam2", lambda config, *_: seen.append(config))
    run("--data", "synthetic")
    assert seen == [Sam2Training(data=(ClipData(ClipKind.SYNTHETIC),))]


def test_data_of_no_known_kind_are_refused(tmp_path: Path) -> None:
    assert parse_clips("synthetic") == ClipData(ClipKind.SYNTHETIC)
    assert parse_clips(str(tmp_path)) == ClipData(ClipKind.CLIPS, tmp_path)
    with pytest.raises(ConfigError, match=r"--data clip:x: is no folder that is there, .* did you mean 'clips'\?"):
        parse_clips("clip:x")
    with pytest.raises(ConfigError, match="names no folder; write clips:FOLDER"):
        parse_clips("clips:")


def test_a_part_that_is_not_known_is_refused_with_the_nearest(folder: Path) -> None:
    error = run(*options(folder, "part.pt"), "--train", "decoder,memori").exception
    assert isinstance(error, ConfigError) and "'memori' is not known; did you mean 'memory'?" in str(error)
