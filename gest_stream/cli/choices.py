"""Option values out of a fixed set or form; a wrong one is answered with the nearest name or an example."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import typer

from gest_stream.config import nearest_name

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


def choice_parser(kind: type[ChoiceT]) -> Callable[[str], ChoiceT]:
    """A parser for `typer.Option(parser=…)` that turns a name into a member of `kind`."""

    def parse(value: str) -> ChoiceT:
        try:
            return kind(value)
        except ValueError:
            raise typer.BadParameter(
                f"{value!r} is not known{nearest_name(value, [str(name) for name in kind])}"
            ) from None

    return parse


def choice_names(kind: type[StrEnum]) -> str:
    """The names of `kind` as help shows them: "[a|b|c]"."""
    return f"[{'|'.join(kind)}]"


def choice_option(flag: str, kind: type[StrEnum], help: str, panel: str | None = None) -> Any:
    """A `typer.Option` whose value is a member of `kind`."""
    return typer.Option(flag, parser=choice_parser(kind), metavar=choice_names(kind), help=help, rich_help_panel=panel)


def parse_size(value: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` in pixels as (width, height), both at least 1."""
    parts = value.lower().split("x")
    if len(parts) == 2 and all(part.isdecimal() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[1])
    raise typer.BadParameter(f"{value!r} is not a size; write it as WIDTHxHEIGHT, for example 1280x720")


def parse_milliseconds(value: str) -> float:
    """A duration such as "33ms", "0.5s" or "33", in milliseconds; above 0."""
    number, unit = value.strip().lower(), 1.0
    if number.endswith("ms"):
        number = number.removesuffix("ms")
    elif number.endswith("s"):
        number, unit = number.removesuffix("s"), 1e3
    try:
        milliseconds = float(number) * unit
    except ValueError:
        milliseconds = 0.0
    if not 0.0 < milliseconds < float("inf"):
        raise typer.BadParameter(f"{value!r} is not a duration; write it as 33ms or 0.5s")
    return milliseconds
