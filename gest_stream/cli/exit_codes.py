"""Exit codes of every command; `gest-stream --help` prints them."""

from __future__ import annotations

from enum import IntEnum

from gest_stream import errors


class ExitCode(IntEnum):
    """What a command ended with."""

    OK = 0
    BUG = 1
    USAGE = 2
    SOURCE = 3
    MODEL = 4
    SINK = 5
    DEPENDENCY = 6
    INTERRUPTED = 130


def exit_code_of(error: errors.GestStreamError) -> ExitCode:
    """The exit code that tells what kind of error ended a command."""
    kinds: tuple[tuple[type[errors.GestStreamError], ExitCode], ...] = (
        (errors.SourceError, ExitCode.SOURCE),
        (errors.ModelError, ExitCode.MODEL),
        (errors.SinkError, ExitCode.SINK),
        (errors.MissingDependencyError, ExitCode.DEPENDENCY),
        (errors.ConfigError, ExitCode.USAGE),
        (errors.InvalidInputError, ExitCode.USAGE),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), ExitCode.BUG)


EPILOG = (
    "Exit codes: 0 done; 1 a bug; 2 wrong usage or setting; 3 the source; 4 a model; 5 an output; "
    "6 a package is missing; 130 interrupted (the files are finished)."
)
