"""The page: the costs that remain, then a section for each committed JSON.

Figures are never written by hand there. A JSON whose benchmark has no section is shown whole.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.report import ROOT
from benchmarks.results_page.builtin import BUILTIN
from benchmarks.results_page.programs import PROGRAMS
from benchmarks.results_page.runs import RUNS
from benchmarks.results_page.sam2 import SAM2
from benchmarks.results_page.section import PLAIN, Section
from benchmarks.results_page.tables import Table, cell

SECTIONS: Final[Mapping[str, Section]] = {**RUNS, **BUILTIN, **SAM2, **PROGRAMS}
"""By what a JSON says its benchmark is, or by its file's name; in the order of the page."""

PAGE: Final = ROOT / "benchmarks" / "RESULTS.md"
COSTS: Final = "costs.json"
_COST_FIELDS: Final = {"cost": str, "share_ms": int | float, "evidence": str, "remedy": str}
_PICTURES: Final = (".png", ".jpg")

_INTRODUCTION: Final = """# Results

Made by `make results` from the JSONs in `benchmarks/results`; do not edit. Each section says where and when its figures
were made: many were made on a machine that other programs were using, which makes times longer. Times of different
sections come from different days and cannot be compared; ratios within a section can.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One JSON.

    Args:
        name: Its file's name.
        record: What is in it.
    """

    name: str
    record: Mapping[str, Any]

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return self.name.removesuffix(".json")

    @property
    def benchmark(self) -> str:
        """What made it; the file's name where the JSON does not say."""
        return str(self.record.get("benchmark", self.stem))

    @property
    def section(self) -> Section:
        """What is written about it."""
        return SECTIONS.get(self.benchmark, PLAIN)


def committed(folder: Path) -> list[Path]:
    """The files of a folder that git keeps, sorted; all of them where there is no git."""
    done = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, capture_output=True, text=True)
    names = [name for name in done.stdout.split("\0") if name]
    found = [folder / name for name in names] if done.returncode == 0 and names else folder.iterdir()
    return sorted(path for path in found if path.is_file())


def read_results(paths: Iterable[Path]) -> list[Result]:
    """The JSONs among these, in the order of the page.

    Raises:
        ValueError: One is not JSON, or not an object.
    """
    results = []
    for path in paths:
        if path.suffix != ".json" or path.name == COSTS:
            continue
        record = _read(path)
        if not isinstance(record, dict):
            raise ValueError(f"{path}: expected a JSON object, got {type(record).__name__}; measure it again")
        results.append(Result(path.name, record))
    order = list(SECTIONS)
    rank = {name: place for place, name in enumerate(order)}
    return sorted(results, key=lambda one: (rank.get(one.benchmark, len(order)), one.name))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as exc:
        raise ValueError(f"{path}: not JSON: {exc}; measure it again") from exc


def read_costs(path: Path) -> list[dict[str, Any]]:
    """The remaining costs, the largest first.

    Raises:
        ValueError: The file is no list of objects with the fields cost, share_ms, evidence and remedy.
    """
    costs = _read(path)
    if not isinstance(costs, list):
        raise ValueError(f"{path}: expected a list of costs, got {type(costs).__name__}")
    for index, one in enumerate(costs):
        if not isinstance(one, dict) or set(one) != set(_COST_FIELDS):
            raise ValueError(f"{path}: entry {index}: expected the fields {', '.join(_COST_FIELDS)}, got {one!r}")
        for name, kind in _COST_FIELDS.items():
            if not isinstance(one[name], kind) or isinstance(one[name], bool):
                raise ValueError(f"{path}: entry {index}: {name}: expected {kind}, got {one[name]!r}")
    return sorted(costs, key=lambda one: float(one["share_ms"]), reverse=True)


def costs_text(costs: Sequence[Mapping[str, Any]]) -> str:
    """The section on what is left to gain."""
    heading = "## The three largest remaining costs, and what would remove each\n"
    rows = tuple(
        (str(k + 1), one["cost"], cell(one["share_ms"]), _linked(one["evidence"]), one["remedy"])
        for k, one in enumerate(costs[:3])
    )
    columns = ("", "cost", "ms a frame", "evidence", "what would remove it")
    return f"{heading}\n{Table(columns, rows).markdown()}\n"


def _linked(evidence: str) -> str:
    """Names of JSONs as links to them."""
    return re.sub(r"\b\w+\.json\b", lambda name: f"[{name[0]}](results/{name[0]})", evidence)


def conditions_text(result: Result) -> str:
    """Machine, versions, date and commit, in a line each."""
    record = result.record
    machine = record.get("machine") or {}
    where = [f"{machine['cores']} cores of {machine['cpu']}"] if "cpu" in machine else ["machine: not recorded"]
    if machine.get("gpu"):
        where.append(str(machine["gpu"]))
    if machine.get("load_before") is not None:
        where.append(f"load {cell(machine['load_before'])} before")
    versions = ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items())
    date = str(record.get("date", "not recorded")).replace("T", " ").replace("+00:00", " UTC")
    commit = f"`{record['commit']}`" if "commit" in record else "not recorded"
    lines = [
        f"- where: {'; '.join(where)}",
        f"- versions: {versions or 'not recorded'}",
        f"- date: {date}; commit: {commit}",
        f"- made by: {_command(result)}; file: [{result.name}](results/{result.name})",
    ]
    if record.get("complete") is False:
        lines.append("- **incomplete**: the run was cut off")
    return "\n".join(lines)


def _command(result: Result) -> str:
    """What makes the file; older ones do not say with which options they were made."""
    if "command" in result.record:
        return f"`{result.record['command']}`"
    command = result.section.command
    return f"`{command}`, options not recorded" if command else "see above, or the file"


def title_of(result: Result, several: bool) -> str:
    """A section's title; the file's name where it has none, or shares it."""
    title = result.section.title
    if not title:
        return result.stem
    return f"{title} (`{result.stem}`)" if several else title


def section_text(result: Result, title: str, pictures: Sequence[str]) -> str:
    """One JSON's section."""
    section = result.section
    tables = [table for spec in section.tables if (table := spec.table(result.record)) is not None]
    if not tables:
        tables = [table for spec in PLAIN.tables if (table := spec.table(result.record)) is not None]
    parts = [f"## {title}", section.what, *(table.markdown() for table in tables)]
    parts += [f"![{title}]({picture})" for picture in pictures]
    parts.append(conditions_text(result))
    return "\n\n".join(part for part in parts if part) + "\n"


def pictures_of(results: Sequence[Result], pictures: Sequence[str]) -> dict[str, list[str]]:
    """Which pictures stand in which JSON's section; those of none under "".

    A picture belongs to the JSON with the longest name that its own begins with, or to the first of those whose
    section names it.
    """
    found: dict[str, list[str]] = {}
    for picture in pictures:
        stem = Path(picture).stem
        named = [one.name for one in results if picture in one.section.pictures]
        begun = sorted((one for one in results if stem.startswith(one.stem)), key=lambda one: -len(one.stem))
        owner = (named or [one.name for one in begun] or [""])[0]
        found.setdefault(owner, []).append(picture)
    return found


def page(benchmarks: Path) -> str:
    """The whole page.

    Args:
        benchmarks: The folder that holds `results` and `pictures`.
    """
    paths = [path for name in ("results", "pictures") for path in committed(benchmarks / name)]
    results = read_results(paths)
    pictures = [path.relative_to(benchmarks).as_posix() for path in paths if path.suffix in _PICTURES]
    owned = pictures_of(results, pictures)
    kinds = [one.benchmark for one in results]
    costs = benchmarks / "results" / COSTS
    parts = [costs_text(read_costs(costs))] if costs in paths else []
    for one in results:
        title = title_of(one, kinds.count(one.benchmark) > 1)
        parts.append(section_text(one, title, owned.get(one.name, ())))
    rest = owned.get("", [])
    if rest:
        parts.append("## Other pictures\n\n" + "\n\n".join(f"![{Path(one).stem}]({one})" for one in rest) + "\n")
    titles = [part.split("\n", 1)[0].removeprefix("## ") for part in parts]
    contents = "".join(f"- [{title}](#{anchor(title)})\n" for title in titles)
    return "\n".join([_INTRODUCTION, contents, *parts])


def anchor(title: str) -> str:
    """What a link to a heading points at, as GitHub names it."""
    kept = "".join(one for one in title.lower() if one.isalnum() or one in " -_")
    return kept.replace(" ", "-")
