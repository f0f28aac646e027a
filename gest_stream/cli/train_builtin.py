"""`gest-stream train builtin`: the recipes of the models that lie in the package. Registered by cli/train.py."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from gest_stream.cli.options import QuietOption
from gest_stream.cli.train_options import (
    LENGTH,
    DeviceOption,
    MeasurementsOption,
    MinutesOption,
    OverwriteOption,
    ResumeOption,
    SaveEveryOption,
    SeedOption,
    ValEveryOption,
)
from gest_stream.config import nearest_name
from gest_stream.errors import ConfigError
from gest_stream.training.builtin_config import DEFAULT_DATA, BuiltinTraining, TrainBuiltin

PRESETS: Final = {
    "hand-seg": "gest_stream.training.builtin_seg:train_hand_seg",
    "refiner": "gest_stream.training.builtin_refiner:train_refiner",
    "sam2-nano": "gest_stream.training.builtin_nano:train_sam2_nano",
}
"""Name to module and function (a `TrainBuiltin`), imported when it is asked for: torch takes seconds."""


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
        int | None, typer.Option(help="Batches at most; the preset knows how many.", rich_help_panel=LENGTH)
    ] = None,
    minutes: MinutesOption = None,
    val_every: ValEveryOption = 500,
    save_every: SaveEveryOption = 250,
    val_limit: Annotated[int, typer.Option(help="Held-out samples that are measured.", rich_help_panel=LENGTH)] = 256,
    batch: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate at its peak.")] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="WEIGHTS", help="Begin with these, of hand-seg or the refiner.")
    ] = None,
    seed: SeedOption = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as torch likes.")] = 0,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json: MeasurementsOption = False,
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
        init=init,
        seed=seed,
        threads=threads,
        device=device,
        val_every=val_every,
        save_every=save_every,
        val_limit=val_limit,
        resume=resume,
        overwrite=overwrite,
    )
    from gest_stream.cli.train_progress import print_result, run_training

    console = Console(stderr=True, quiet=quiet or json)
    print_result(console, run_training(partial(train, config), console, json))
