"""`gest-stream train`: fine-tuning on a user's own pictures, and on rendered ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gest_stream.cli.choices import choice_option
from gest_stream.cli.exit_codes import EPILOG
from gest_stream.cli.options import QuietOption
from gest_stream.cli.train_builtin import builtin
from gest_stream.cli.train_options import (
    LENGTH,
    CheckpointOption,
    DeviceOption,
    MeasurementsOption,
    MinutesOption,
    OverwriteOption,
    PatienceOption,
    ResumeOption,
    SaveEveryOption,
    SeedOption,
    ValEveryOption,
)
from gest_stream.cli.train_sam2 import sam2
from gest_stream.config import DinoBackbone, nearest_name
from gest_stream.errors import ConfigError
from gest_stream.training.config import CLASSES, DataKind, DataSource, DecoderTraining, Grey, RenderConfig

if TYPE_CHECKING:
    from gest_stream.training.progress import OnProgress, TrainingResult

train_app = typer.Typer(no_args_is_help=True, help="Train networks on pictures of your own, and on rendered hands.")
train_app.command("sam2", epilog=EPILOG)(sam2)
train_app.command("builtin", epilog=EPILOG)(builtin)

_DATA = "Data"
_NETWORK = "Network"
_DATA_KEYS = ("weight", "grey", "images")


def parse_data(text: str) -> DataSource:
    """`KIND[:PATH][,weight=NUMBER][,grey=forearm|ignore][,images=FOLDER]` as a set.

    Raises:
        ConfigError: It has another form.
    """
    values: dict[str, str] = {}
    rest = text
    while "," in rest and not Path(rest.partition(":")[2]).exists():
        head, _, last = rest.rpartition(",")
        key, found, value = last.partition("=")
        if not found:
            break
        if key not in _DATA_KEYS:
            raise ConfigError(f"--data {text}: {key!r} is not known{nearest_name(key, list(_DATA_KEYS))}")
        values[key], rest = value, head
    name, _, place = rest.partition(":")
    if name not in list(DataKind):
        hint = nearest_name(name, [str(kind) for kind in DataKind])
        raise ConfigError(
            f"--data {text}: expected KIND:PATH, for example folder:{place or name}; {name!r} is not known{hint}"
        )
    if "grey" in values and values["grey"] not in list(Grey):
        raise ConfigError(f"--data {text}: grey: expected forearm or ignore, got {values['grey']!r}")
    try:
        weight = float(values.get("weight", 1.0))
    except ValueError:
        raise ConfigError(f"--data {text}: weight: expected a number, got {values['weight']!r}") from None
    return DataSource(
        DataKind(name),
        Path(place) if place else None,
        weight,
        Grey(values["grey"]) if "grey" in values else None,
        Path(values["images"]) if "images" in values else None,
    )


def _sources(texts: list[str] | None, grey: Grey | None, images: Path | None) -> tuple[DataSource, ...]:
    """What was named, with what was said for all of it."""
    return tuple(
        replace(source, grey=source.grey or grey, images=source.images or images)
        for source in map(parse_data, texts or [])
    )


def _parse_classes(value: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in value.split(","))
    if names not in (CLASSES[:1], CLASSES):
        raise typer.BadParameter(f"{value!r} is not known; it is hand, or hand,forearm")
    return names


DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="KIND:PATH",
        help="egohands:FOLDER, folder:FOLDER, coco:FILE.json or synthetic, with ,weight=2 ,grey=forearm or "
        ",images=FOLDER behind it; may be repeated.",
        rich_help_panel=_DATA,
    ),
]


@train_app.command(epilog=EPILOG)
def decoder(
    data: DataOption,
    out: CheckpointOption = Path("redetector.pt"),
    val: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:PATH", help="Measure with these instead of a share.", rich_help_panel=_DATA),
    ] = None,
    val_share: Annotated[
        float, typer.Option(help="Share of the data that is kept back to measure with.", rich_help_panel=_DATA)
    ] = 0.1,
    val_limit: Annotated[
        int, typer.Option(help="Pictures that are measured, evenly spaced; 0: all.", rich_help_panel=_DATA)
    ] = 256,
    grey: Annotated[
        Grey | None,
        choice_option("--grey", Grey, "What 128 means in mask folders.", _DATA),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures of COCO files.", rich_help_panel=_DATA)
    ] = None,
    coco_hand: Annotated[
        list[str] | None, typer.Option(help="COCO category that is a hand; may be repeated.", rich_help_panel=_DATA)
    ] = None,
    coco_forearm: Annotated[
        list[str] | None, typer.Option(help="COCO category that is a forearm.", rich_help_panel=_DATA)
    ] = None,
    frames: Annotated[
        int, typer.Option(help="Pictures that are rendered for synthetic.", rich_help_panel=_DATA)
    ] = 4000,
    backgrounds: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures without hands to lay rendered hands over.", rich_help_panel=_DATA),
    ] = None,
    backbone: Annotated[
        DinoBackbone | None,
        choice_option("--backbone", DinoBackbone, "The encoder; vits14 where nothing else says.", _NETWORK),
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="Official DINOv2 file of that backbone.", rich_help_panel=_NETWORK)
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Go on from a checkpoint of this command.", rich_help_panel=_NETWORK)
    ] = None,
    train_backbone: Annotated[
        bool, typer.Option("--train-backbone", help="Train the encoder too.", rich_help_panel=_NETWORK)
    ] = False,
    classes: Annotated[
        Any | None,
        typer.Option(
            parser=_parse_classes,
            metavar="[hand|hand,forearm]",
            help="What is told from the background.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    input_size: Annotated[
        int, typer.Option(help="Longer side of what the network sees, pixels; 0: 448.", rich_help_panel=_NETWORK)
    ] = 0,
    steps: Annotated[int | None, typer.Option(help="Batches at most.", rich_help_panel=LENGTH)] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Passes over the data at most; 20 where nothing is said.", rich_help_panel=LENGTH),
    ] = None,
    minutes: MinutesOption = None,
    patience: PatienceOption = 10,
    val_every: ValEveryOption = 200,
    save_every: SaveEveryOption = 200,
    batch: Annotated[int, typer.Option(help="Pictures a step.")] = 16,
    rate: Annotated[float, typer.Option(help="Learning rate at its peak.")] = 1e-3,
    backbone_rate: Annotated[
        float | None, typer.Option(help="Of the encoder, where it is trained; a fiftieth of --rate.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    amp: Annotated[bool, typer.Option("--amp/--no-amp", help="Mixed precision on CUDA.")] = True,
    workers: Annotated[int, typer.Option(help="Threads that load and processes that render; 0: one a core.")] = 0,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json: MeasurementsOption = False,
) -> None:
    """Train the redetector's network, which finds hands that the landmarks have lost.

    Ctrl-C writes the state; --resume goes on. `gest-stream run --redetector-checkpoint FILE` takes the result.
    """
    config = DecoderTraining(
        data=_sources(data, grey, images),
        out=out,
        val=_sources(val, grey, images),
        val_share=val_share,
        val_limit=val_limit,
        backbone=backbone,
        backbone_weights=backbone_weights,
        init=init,
        classes=classes,
        input_size=input_size,
        freeze_backbone=not train_backbone,
        steps=steps,
        epochs=epochs,
        minutes=minutes,
        batch=batch,
        rate=rate,
        backbone_rate=backbone_rate,
        seed=seed,
        device=device,
        amp=amp,
        workers=workers,
        val_every=val_every,
        save_every=save_every,
        patience=patience,
        resume=resume,
        overwrite=overwrite,
        coco_hand=tuple(coco_hand or ("hand",)),
        coco_forearm=tuple(coco_forearm or ("forearm",)),
        render=RenderConfig(frames=frames, seed=seed, backgrounds=backgrounds, workers=workers),
    )
    from gest_stream.cli.train_progress import print_result, run_training

    console = Console(stderr=True, quiet=quiet or json)
    train = _trainer(config, console)
    print_result(console, run_training(train, console, json))


def _trainer(config: DecoderTraining, console: Console) -> Callable[[OnProgress, Callable[[], bool]], TrainingResult]:
    """The training of these settings; the weights that it starts from are fetched first."""
    from gest_stream.cli.download import fetch_missing
    from gest_stream.training.decoder import train_decoder
    from gest_stream.training.network import official_file

    needed = official_file(config)
    if needed is not None:
        fetch_missing(needed, console)
    return partial(train_decoder, config)
