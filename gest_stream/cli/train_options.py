"""Options that the training commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

LENGTH: Final = "How long"

MinutesOption = Annotated[
    float | None, typer.Option(help="Minutes at most, and the last measurement.", rich_help_panel=LENGTH)
]
PatienceOption = Annotated[
    int, typer.Option(help="End after so many measurements without a better one; 0: never.", rich_help_panel=LENGTH)
]
ValEveryOption = Annotated[int, typer.Option(help="Steps between measurements.", rich_help_panel=LENGTH)]
SaveEveryOption = Annotated[int, typer.Option(help="Steps between state files.", rich_help_panel=LENGTH)]
CheckpointOption = Annotated[Path, typer.Option("--out", "-o", help="The checkpoint that is written, .pt.")]
SeedOption = Annotated[int, typer.Option(help="Of everything drawn by chance.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the training of --out; give the same options again.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Give up an unfinished training of --out.")]
MeasurementsOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a measurement on stdout.")]
