"""Tables of a benchmark's JSON: picked by paths where somebody said what matters, all of it where nobody did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

HEAD_KEYS: Final = ("v", "benchmark", "date", "commit", "command", "machine", "versions", "complete", "load_after")
"""What a page says above a table, not in it."""

_MISSING: Final = object()
_NOTHING: Final = "–"
_MOST_ROWS: Final = 40
_LISTED: Final = 3


@dataclass(frozen=True, slots=True)
class Table:
    """What becomes a Markdown table.

    Args:
        columns: Headers.
        rows: Cells, as many in each row as there are headers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """With a bar in a cell escaped."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


class TableSpec(Protocol):
    """What makes a table of a record; None where the record has nothing of it."""

    def table(self, record: Mapping[str, Any]) -> Table | None:
        """The table."""
        ...


@dataclass(frozen=True, slots=True)
class Figures:
    """Single values, one a row.

    Args:
        rows: (what it is called, path to it); paths are keys with slashes between.
    """

    rows: tuple[tuple[str, str], ...]

    def table(self, record: Mapping[str, Any]) -> Table | None:
        """Rows whose value is there."""
        found = [(label, value_at(record, path)) for label, path in self.rows]
        rows = tuple((label, cell(value)) for label, value in found if value is not _MISSING)
        return Table(("what", "figure"), rows) if rows else None


@dataclass(frozen=True, slots=True)
class Each:
    """One row for every entry of a list or mapping, or of several that lie within each other.

    Args:
        over: Path in which each `*` stands for every key of a mapping or every item of a list.
        keys: Header of each `*`'s own key, "" where it is a list's and says nothing.
        columns: (header, path from the entry).
        outer: (header, path from the entry of the first `*`), before them.
    """

    over: str
    keys: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    outer: tuple[tuple[str, str], ...] = ()

    def table(self, record: Mapping[str, Any]) -> Table | None:
        """Rows and columns in which there is anything at all."""
        rows = []
        for keys, within, entry in entries(record, self.over.split("/")):
            values = [value_at(entry, path) for _, path in self.columns]
            if any(value is not _MISSING for value in values):
                around = [value_at(within, path) for _, path in self.outer]
                named = [key for key, header in zip(keys, self.keys, strict=True) if header]
                rows.append((*map(cell, around), *named, *map(cell, values)))
        headers = tuple(header for header, _ in (*self.outer, *((key, "") for key in self.keys if key), *self.columns))
        kept = [index for index in range(len(headers)) if any(row[index] != _NOTHING for row in rows)]
        if not rows:
            return None
        return Table(tuple(headers[k] for k in kept), tuple(tuple(row[k] for k in kept) for row in rows))


@dataclass(frozen=True, slots=True)
class Everything:
    """Every value that a record holds, by its path: for records that nobody wrote a section for."""

    def table(self, record: Mapping[str, Any]) -> Table | None:
        """At most 40 rows; the last says how many more there are."""
        rows = [(path, cell(value)) for path, value in leaves(record) if path.split("/")[0] not in HEAD_KEYS]
        if len(rows) > _MOST_ROWS:
            rows[_MOST_ROWS:] = [(f"and {len(rows) - _MOST_ROWS} more", "in the file")]
        return Table(("what", "figure"), tuple(rows)) if rows else None


def value_at(record: Any, path: str) -> Any:
    """What lies at a path; an object that is no value where there is nothing. "" is the record itself."""
    found = record
    for key in path.split("/") if path else ():
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif _is_list(found) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return _MISSING
    return found


def entries(record: Any, steps: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(keys of the stars, entry of the first star, entry) of everything that a path with stars leads to."""
    if not steps:
        yield (), record, record
    elif steps[0] != "*":
        yield from entries(value_at(record, steps[0]), steps[1:])
    else:
        items: Iterable[tuple[Any, Any]] = ()
        if isinstance(record, Mapping):
            items = record.items()
        elif _is_list(record):
            items = enumerate(record)
        for key, value in items:
            for keys, _, entry in entries(value, steps[1:]):
                yield (str(key), *keys), value, entry


def leaves(record: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that is no mapping and no list of such."""
    if isinstance(record, Mapping) and not _is_spread(record):
        for key, value in record.items():
            yield from leaves(value, f"{path}/{key}" if path else str(key))
    elif _is_list(record) and any(isinstance(one, Mapping | list | tuple) for one in record):
        for index, value in enumerate(record):
            yield from leaves(value, f"{path}/{index}" if path else str(index))
    else:
        yield path, record


def cell(value: Any) -> str:
    """A value as a reader wants it: few digits, spreads as "median (least to most)", long lists by their ends."""
    if value is None or value is _MISSING:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _number(value)
    if _is_spread(value):
        if len(value.get("by_round", ())) == 1:
            return f"{cell(value['median'])} (one round)"
        return f"{cell(value['median'])} ({cell(value['min'])} to {cell(value['max'])})"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {cell(one)}" for key, one in value.items()) or _NOTHING
    if _is_list(value):
        return _listed(value)
    return str(value)


def _listed(values: Sequence[Any]) -> str:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    if numbers and len(values) > _LISTED:
        return f"{cell(min(values))} to {cell(max(values))} ({len(values)} values)"
    return ", ".join(cell(one) for one in values) or _NOTHING


def _number(value: float) -> str:
    if value == 0:
        return "0"  # never -0
    if abs(value) < 0.1:
        return f"{value:.3g}"
    digits = next((digits for limit, digits in ((1, 4), (10, 3), (100, 2), (1000, 1)) if abs(value) < limit), 0)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_spread(value: Any) -> bool:
    return isinstance(value, Mapping) and {"median", "min", "max"} <= value.keys()


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
