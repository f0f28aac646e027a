"""`gest-stream train sam2`: fine-tuning of SAM 2.1 on clips with masks. Registered by cli/train.py."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gest_stream.cli.choices import choice_option
from gest_stream.cli.exit_codes import ExitCode
from gest_stream.config import Precision, Sam2Size, nearest_name
from gest_stream.errors import ConfigError
from gest_stream.training.sam2_config import ClipData, ClipKind, Sam2Training, parse_parts

if TYPE_CHECKING:
    from gest_stream.training.progress import Measurement, TrainingResult

_DATA = "Data"
_MODEL = "Model"
_SAMPLES = "Samples"
_LENGTH = "How long"


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
    out: Annotated[Path, typer.Option("--out", "-o", help="The checkpoint that is written, .pt.")] = Path("sam2.pt"),
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
        int | None, typer.Option(help="At most; 2000 where nothing is said.", rich_help_panel=_LENGTH)
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes at most.", rich_help_panel=_LENGTH)] = None,
    patience: Annotated[
        int,
        typer.Option(help="End after so many measurements without a better one; 0: never.", rich_help_panel=_LENGTH),
    ] = 10,
    val_every: Annotated[int, typer.Option(help="Steps between measurements.", rich_help_panel=_LENGTH)] = 200,
    save_every: Annotated[int, typer.Option(help="Steps between state files.", rich_help_panel=_LENGTH)] = 200,
    rate: Annotated[float, typer.Option(help="Learning rate at its peak.")] = 5e-6,
    encoder_rate: Annotated[float, typer.Option(help="Of the image encoder, where it is trained.")] = 3e-6,
    seed: Annotated[int, typer.Option(help="Of everything drawn by chance.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[
        Precision,
        choice_option("--precision", Precision, "What it computes in; auto is bfloat16 on CUDA, else float32."),
    ] = Precision.AUTO,
    workers: Annotated[int, typer.Option(help="Processes that render; 0: one a core.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training of --out; give the same options again.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Give up an unfinished training of --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a measurement on stdout.")] = False,
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
    console = Console(stderr=True, quiet=quiet or json)
    result = _train(config, console, _print_record if json else None)
    _print_summary(config, result, console)


def _train(config: Sam2Training, console: Console, on_measured: Callable[[Measurement], None] | None) -> TrainingResult:
    from gest_stream.cli.download import fetch_missing
    from gest_stream.cli.train_progress import interruptible, shown_training
    from gest_stream.models.registry import sam2_weights_name
    from gest_stream.training.sam2 import train_sam2

    if config.init is None and not config.resume and not config.size.bundled:
        fetch_missing(sam2_weights_name(config.size), console)
    with shown_training(console, on_measured) as tell, interruptible(tell) as (heard, should_stop):
        return train_sam2(config, heard, should_stop)


def _print_record(measured: Measurement) -> None:
    typer.echo(json_module.dumps(asdict(measured)))


def _print_summary(config: Sam2Training, result: TrainingResult, console: Console) -> None:
    from gest_stream.training.progress import StopReason

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    if result.stopped is StopReason.INTERRUPTED:
        say(f"interrupted after {result.steps} steps; go on with --resume and the same options")
        say(f"  {result.state}")
        raise typer.Exit(ExitCode.INTERRUPTED)
    reasons = {
        StopReason.STEPS: "all steps made",
        StopReason.TIME: "the time is over",
        StopReason.PATIENCE: "it does not get better any more",
    }
    assert result.best is not None
    start, best = result.measurements[0], result.best
    say(
        f"{result.steps} steps in {result.elapsed_s:.0f} s, {reasons[result.stopped]}; IoU of followed objects "
        f"{start.score:.3f} at the start, {best.score:.3f} at best (step {best.step})"
    )
    if best.step == 0:
        say("nothing was better than the start, which is what the checkpoint holds; try another --rate or more data")
    say(f"  {result.checkpoint}")
    say(f"  {result.history}")
    say(
        f"use it: gest-stream run SOURCE --segmenter sam2 --size {config.size} --image-size {config.image_size} "
        f"--checkpoint {result.checkpoint}"
    )
