"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gest_stream.cli.choices import choice_names, choice_parser
from gest_stream.config import EffectKind, RedetectorKind, Sam2Size, SegmenterKind

OUTPUTS = "Outputs"
TRACKING = "Tracking"
_SAM2 = "Segmenter sam2"

SegmenterOption = Annotated[
    SegmenterKind | None,
    typer.Option(
        "--segmenter",
        parser=choice_parser(SegmenterKind),
        metavar=choice_names(SegmenterKind),
        help="What makes the masks.",
        rich_help_panel=TRACKING,
    ),
]
RedetectorOption = Annotated[
    RedetectorKind | None,
    typer.Option(
        "--redetector",
        parser=choice_parser(RedetectorKind),
        metavar=choice_names(RedetectorKind),
        help="What finds hands that the landmarks miss.",
        rich_help_panel=TRACKING,
    ),
]
EffectOption = Annotated[
    EffectKind | None,
    typer.Option(
        "--effect",
        parser=choice_parser(EffectKind),
        metavar=choice_names(EffectKind),
        help="What the picture with the hands shows.",
        rich_help_panel=OUTPUTS,
    ),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).", rich_help_panel=TRACKING)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, for example tracker.loss.lost_after_frames=8; may be repeated.",
        rich_help_panel=TRACKING,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object on stdout.")]
BackgroundOption = Annotated[
    Path | None, typer.Option("--background", help="Picture for --effect replace.", rich_help_panel=OUTPUTS)
]
SizeOption = Annotated[
    Sam2Size | None,
    typer.Option(
        "--size",
        parser=choice_parser(Sam2Size),
        metavar=choice_names(Sam2Size),
        help="Which SAM 2.1 model.",
        rich_help_panel=_SAM2,
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=_SAM2)
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option("--image-size", help="Side of its input in pixels: 1024, 768, 512 ….", rich_help_panel=_SAM2),
]
CheckpointOption = Annotated[
    Path | None, typer.Option("--checkpoint", help="Weights of your own, of the same --size.", rich_help_panel=_SAM2)
]
RedetectorCheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--redetector-checkpoint",
        help="Its weights: of 'gest-stream train decoder', or gest_detectron's.",
        rich_help_panel=TRACKING,
    ),
]
MaxHandsOption = Annotated[
    int | None, typer.Option("--max-hands", help="Hands looked for on a frame.", rich_help_panel=TRACKING)
]
MirroredOption = Annotated[
    bool | None, typer.Option("--mirrored", help="The picture is a mirror image.", rich_help_panel=TRACKING)
]
