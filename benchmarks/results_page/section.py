"""What benchmarks/RESULTS.md says about one benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.results_page.tables import Everything, TableSpec

_LEVELS: Final = ("p50", "p95", "p99", "max")


def times(path: str) -> tuple[tuple[str, str], ...]:
    """Columns of a distribution's percentiles."""
    return tuple((f"{name} ms", f"{path}/{name}") for name in _LEVELS)


@dataclass(frozen=True, slots=True)
class Section:
    """What is written about the results of one benchmark.

    Args:
        title: Of the section; the file's name is added where there are several.
        what: What is measured, and what the figures mean.
        command: What makes the file, where the file does not say; "" where `what` does.
        tables: What is shown of it.
        pictures: Files in benchmarks/ that belong to it, besides those whose name begins as the JSON's.
    """

    title: str
    what: str
    command: str
    tables: tuple[TableSpec, ...]
    pictures: tuple[str, ...] = ()


PLAIN: Final = Section("", "", "", (Everything(),))
"""For a benchmark without a section of its own."""
