"""Options that several commands have, and how they become settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from gest_stream.cli.choices import choice_option, parse_milliseconds
from gest_stream.cli.settings import compose_config
from gest_stream.config import EffectKind, PipelineConfig, RedetectorKind, Sam2Size, SegmenterKind

OUTPUTS: Final = "Outputs"
TRACKING: Final = "Tracking"
_SAM2 = "Segmenter sam2"

SegmenterOption = Annotated[
    SegmenterKind | None, choice_option("--segmenter", SegmenterKind, "What makes the masks.", TRACKING)
]
EffectOption = Annotated[
    EffectKind | None, choice_option("--effect", EffectKind, "What the picture with the hands shows.", OUTPUTS)
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object on stdout.")]

_SETTINGS: Final[Mapping[str, Any]] = {
    "effect.kind": EffectOption,
    "effect.background": Annotated[
        Path | None, typer.Option("--background", help="Picture for --effect replace.", rich_help_panel=OUTPUTS)
    ],
    "segmenter": SegmenterOption,
    "sam2.size": Annotated[
        Sam2Size | None, choice_option("--size", Sam2Size, "Which SAM 2.1 model; nano is ours, for CPUs.", _SAM2)
    ],
    "sam2.device": Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=_SAM2)
    ],
    "sam2.image_size": Annotated[
        int | None,
        typer.Option(
            "--image-size", help="Side of its input in pixels: 1024, 768, 512 …; nano: 256.", rich_help_panel=_SAM2
        ),
    ],
    "sam2.checkpoint": Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Weights of your own, of the same --size.", rich_help_panel=_SAM2),
    ],
    "deadline.limit_ms": Annotated[
        float | None,
        typer.Option(
            "--deadline",
            parser=parse_milliseconds,
            metavar="TIME",
            help="Give every frame a mask within this time, for example 33ms: an earlier one, carried, if need be.",
            rich_help_panel=TRACKING,
        ),
    ],
    "redetector.kind": Annotated[
        RedetectorKind | None,
        choice_option("--redetector", RedetectorKind, "What finds hands that the landmarks miss.", TRACKING),
    ],
    "redetector.checkpoint": Annotated[
        Path | None,
        typer.Option(
            "--redetector-checkpoint",
            help="Its weights: of 'gest-stream train decoder', or gest_detectron's.",
            rich_help_panel=TRACKING,
        ),
    ],
    "hands.max_hands": Annotated[
        int | None, typer.Option("--max-hands", help="Hands looked for on a frame.", rich_help_panel=TRACKING)
    ],
    "hands.mirrored": Annotated[
        bool | None, typer.Option("--mirrored", help="The picture is a mirror image.", rich_help_panel=TRACKING)
    ],
}
"""What every command that tracks takes: the setting, by its dotted name, and its option."""

_FILE = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).", rich_help_panel=TRACKING)]
_ASSIGNMENTS = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, for example tracker.loss.lost_after_frames=8; may be repeated.",
        rich_help_panel=TRACKING,
    ),
]


@dataclass(frozen=True, slots=True)
class Given:
    """What a user said with the options that `tracking_options` adds.

    Args:
        file: Of --config.
        assignments: Of --set.
        flags: Dotted setting name to value, None where the option was not given.
    """

    file: Path | None
    assignments: tuple[str, ...]
    flags: Mapping[str, Any]

    def settings(self, flags: Mapping[str, Any] | None = None) -> PipelineConfig:
        """The settings, with the command's own `flags` besides.

        Raises:
            ConfigError: A key is unknown or a value does not fit.
        """
        return compose_config(self.file, list(self.assignments), {**self.flags, **(flags or {})})


def tracking_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every command that tracks in the place of its keyword-only parameter `given`.

    Typer reads a command's signature: the wrapper's has the options, and what they got goes to `command` as a `Given`.
    """
    hints = get_type_hints(command, include_extras=True)
    shared = {key.replace(".", "_"): (key, option) for key, option in _SETTINGS.items()}
    added = {
        **{name: option for name, (_, option) in shared.items()},
        "config": _FILE,
        "assignments": _ASSIGNMENTS,
    }
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == "given":
            parameters += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
                for name, option in added.items()
            ]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))

    @functools.wraps(command)
    def with_given(**values: Any) -> None:
        flags = {key: values.pop(name) for name, (key, _) in shared.items()}
        given = Given(values.pop("config"), tuple(values.pop("assignments") or ()), flags)
        command(given=given, **values)

    vars(with_given)["__signature__"] = inspect.Signature(parameters)
    with_given.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_given
