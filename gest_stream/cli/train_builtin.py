"""`gest-stream train builtin`: the recipes of the models that lie in the package. Registered by cli/train.py."""

from __future__ import annotations

import importlib
import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from gest_stream.cli.exit_codes import ExitCode
from gest_stream.config import nearest_name
from gest_stream.errors import ConfigError
from gest_stream.training.builtin_config import DEFAULT_DATA, BuiltinTraining, TrainBuiltin

if TYPE_CHECKING:
    from gest_stream.training.progress import Measurement, TrainingResult

PRESETS: Final = {
    "hand-seg": "gest_stream.training.builtin_seg:train_hand_seg",
    "refiner": "gest_stream.training.builtin_refiner:train_refiner",
    "sam2-nano": "gest_stream.training.builtin_nano:train_sam2_nano",
}
"""Name to module and function (a `TrainBuiltin`), imported when it is asked for: torch takes seconds."""

_LENGTH = "How long"


def preset_trainer(name: str) -> TrainBuiltin:
    """The function that trains a preset.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ConfigError(f"--preset {name}: is not known{nearest_name(name, list(PRESETS))}; presets: {known}")
    module, _, function = PRESETS[name].partition(":")
    found: TrainBuiltin = getattr(importlib.import_module(module), function)
    return found


def builtin(
    preset: Annotated[str, typer.Option(metavar="|".join(PRESETS), help="Which model.")],
    data: Annotated[
        Path, typer.Option(metavar="FOLDER", envvar="GEST_SHARDS", help="Clips, in rendered/, composited/ and real/.")
    ] = DEFAULT_DATA,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The weights that are written; PRESET.safetensors.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Batches at most; the preset knows how many.", rich_help_panel=_LENGTH)
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes at most.", rich_help_panel=_LENGTH)] = None,
    val_every: Annotated[int, typer.Option(help="Steps between measurements.", rich_help_panel=_LENGTH)] = 500,
    save_every: Annotated[int, typer.Option(help="Steps between state files.", rich_help_panel=_LENGTH)] = 250,
    val_limit: Annotated[int, typer.Option(help="Held-out samples that are measured.", rich_help_panel=_LENGTH)] = 256,
    batch: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate at its peak.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything drawn by chance.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as torch likes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training of --out; give the same options again.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Give up an unfinished training of --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a measurement on stdout.")] = False,
) -> None:
    """Train one of the models that come with gest-stream anew, from clips that were rendered and composited ahead.

    Ctrl-C writes the state; --resume goes on.
    """
    train = preset_trainer(preset)
    config = BuiltinTraining(
        preset=preset,
        data=data.expanduser(),
        out=out if out is not None else Path(f"{preset}.safetensors"),
        steps=steps,
        minutes=minutes,
        batch=batch,
        rate=rate,
        seed=seed,
        threads=threads,
        device=device,
        val_every=val_every,
        save_every=save_every,
        val_limit=val_limit,
        resume=resume,
        overwrite=overwrite,
    )
    from gest_stream.cli.train_progress import interruptible, shown_training

    console = Console(stderr=True, quiet=quiet or json)
    with (
        shown_training(console, _print_record if json else None) as tell,
        interruptible(tell) as (heard, should_stop),
    ):
        result = train(config, heard, should_stop)
    _print_summary(result, console)


def _print_record(measured: Measurement) -> None:
    typer.echo(json_module.dumps(asdict(measured)))


def _print_summary(result: TrainingResult, console: Console) -> None:
    from gest_stream.training.progress import StopReason

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    if result.stopped is StopReason.INTERRUPTED:
        say(f"interrupted after {result.steps} steps; go on with --resume and the same options")
        say(f"  {result.state}")
        raise typer.Exit(ExitCode.INTERRUPTED)
    assert result.best is not None
    told = "  ".join(f"{name} {value:.3f}" for name, value in result.best.iou.items())
    say(f"{result.steps} steps in {result.elapsed_s:.0f} s; best after {result.best.step}: IoU {told}")
    for path in (result.checkpoint, result.history):
        say(f"  {path}")
