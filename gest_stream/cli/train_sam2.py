"""`gest-stream train sam2`: fine-tuning of SAM 2.1 on clips with masks. Registered by cli/train.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gest_stream.cli.choices import choice_option
from gest_stream.cli.options import QuietOption
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
from gest_stream.config import Precision, Sam2Size, nearest_name
from gest_stream.errors import ConfigError
from gest_stream.training.sam2_config import ClipData, ClipKind, Sam2Training, parse_parts

if TYPE_CHECKING:
    from gest_stream.training.progress import OnProgress, TrainingResult

_DATA = "Data"
_MODEL = "Model"
_SAMPLES = "Samples"


def parse_clips(text: str) -> ClipData:
    """`clips:FOLDER`, `synthetic`, `synthetic:FOLDER` or a folder of clips as a set.

    Raises:
        ConfigError: It is none of them.
    """
    name, _, place = text.partition(":")
    if name in list(ClipKind):
        return ClipData(ClipKind(name), Path(place) if place else None)
    if Path(text).exists():
        return ClipData(ClipKind.CLIPS, Path(text))
    raise ConfigError(
        f"--data {text}: is no folder that is there, and {name!r} is not known"
        f"{nearest_name(name, [str(kind) for kind in ClipKind])}"
    )


def sam2(
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="KIND:PATH",
            help="clips:FOLDER (JPEGImages/ and Annotations/, or videos beside --save-masks folders) or synthetic; "
            "may be repeated.",
            rich_help_panel=_DATA,
        ),
    ],
    out: CheckpointOption = Path("sam2.pt"),
    val: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:PATH", help="Measure with these instead of a share.", rich_help_panel=_DATA),
    ] = None,
    val_share: Annotated[
        float, typer.Option(help="Share of the clips that is kept back to measure with.", rich_help_panel=_DATA)
    ] = 0.1,
    rendered: Annotated[
        int, typer.Option("--rendered", help="Clips that are rendered for synthetic.", rich_help_panel=_DATA)
    ] = 400,
    size: Annotated[
        Sam2Size,
        choice_option("--size", Sam2Size, "Which SAM 2.1 model; nano is ours.", _MODEL),
    ] = Sam2Size.TINY,
    image_size: Annotated[
        int,
        typer.Option(
            help="Side of its input in pixels; run it with the same. 0: 1024, for nano 256.", rich_help_panel=_MODEL
        ),
    ] = 0,
    init: Annotated[
        Path | None,
        typer.Option(help="Start from this checkpoint, not from the size's own.", rich_help_panel=_MODEL),
    ] = None,
    train: Annotated[
        str,
        typer.Option(metavar="PART,PART", help="What is trained: decoder, memory, prompts.", rich_help_panel=_MODEL),
    ] = "decoder,memory",
    unfreeze_encoder: Annotated[
        bool,
        typer.Option(
            "--unfreeze-encoder", help="Train the image encoder too, at --encoder-rate.", rich_help_panel=_MODEL
        ),
    ] = False,
    frames: Annotated[int, typer.Option(help="Frames of a sequence.", rich_help_panel=_SAMPLES)] = 8,
    batch: Annotated[int, typer.Option(help="Clips a step.", rich_help_panel=_SAMPLES)] = 1,
    max_objects: Annotated[int, typer.Option(help="Objects followed in a clip at most.", rich_help_panel=_SAMPLES)] = 3,
    max_stride: Annotated[
        int, typer.Option(help="Most frames from one frame of a sequence to the next.", rich_help_panel=_SAMPLES)
    ] = 4,
    steps: Annotated[
        int | None, typer.Option(help="At most; 2000 where nothing is said.", rich_help_panel=LENGTH)
    ] = None,
    minutes: MinutesOption = None,
    patience: PatienceOption = 10,
    val_every: ValEveryOption = 200,
    save_every: SaveEveryOption = 200,
    rate: Annotated[float, typer.Option(help="Learning rate at its peak.")] = 5e-6,
    encoder_rate: Annotated[float, typer.Option(help="Of the image encoder, where it is trained.")] = 3e-6,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: Annotated[
        Precision,
        choice_option("--precision", Precision, "What it computes in; auto is bfloat16 on CUDA, else float32."),
    ] = Precision.AUTO,
    workers: Annotated[int, typer.Option(help="Processes that render; 0: one a core.")] = 0,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json: MeasurementsOption = False,
) -> None:
    """Fine-tune SAM 2.1's mask decoder and memory on clips with masks.

    Ctrl-C writes the state; --resume goes on. `gest-stream run --segmenter sam2 --size SIZE --checkpoint FILE` takes
    the result.
    """
    config = Sam2Training(
        data=tuple(map(parse_clips, data)),
        out=out,
        val=tuple(map(parse_clips, val or [])),
        val_share=val_share,
        rendered=rendered,
        size=size,
        image_size=image_size,
        init=init,
        train=parse_parts(train),
        unfreeze_encoder=unfreeze_encoder,
        frames=frames,
        batch=batch,
        max_objects=max_objects,
        max_stride=max_stride,
        steps=steps,
        minutes=minutes,
        patience=patience,
        val_every=val_every,
        save_every=save_every,
        rate=rate,
        encoder_rate=encoder_rate,
        seed=seed,
        device=device,
        precision=precision,
        workers=workers,
        resume=resume,
        overwrite=overwrite,
    )
    from gest_stream.cli.train_progress import print_line, print_result, run_training

    console = Console(stderr=True, quiet=quiet or json)
    result = run_training(_trainer(config, console), console, json)
    assert result.best is not None
    start, best = result.measurements[0].score, result.best
    told = f"IoU of followed objects {start:.3f} at the start, {best.score:.3f} at best (step {best.step})"
    print_result(console, result, told)
    if best.step == 0:
        print_line(
            console,
            "nothing was better than the start, which is what the checkpoint holds; try another --rate or more data",
        )
    print_line(
        console,
        f"use it: gest-stream run SOURCE --segmenter sam2 --size {config.size} --image-size {config.image_size} "
        f"--checkpoint {result.checkpoint}",
    )


def _trainer(config: Sam2Training, console: Console) -> Callable[[OnProgress, Callable[[], bool]], TrainingResult]:
    """The training of these settings; the weights that it starts from are fetched first."""
    from gest_stream.cli.download import fetch_missing
    from gest_stream.models.registry import sam2_weights_name
    from gest_stream.training.sam2 import train_sam2

    if config.init is None and not config.resume and not config.size.bundled:
        fetch_missing(sam2_weights_name(config.size), console)
    return partial(train_sam2, config)
