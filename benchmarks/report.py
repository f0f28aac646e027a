"""What every benchmark JSON says about where it was measured, and how it is written."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.bench.conditions import conditions

__all__ = ["RESULTS", "ROOT", "conditions", "percentiles", "portable", "write_result"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def percentiles(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """p50, p95, p99 and max, of milliseconds rounded to a microsecond."""
    found = np.percentile(values, (50, 95, 99, 100))
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99", "max"), found, strict=True)}


def _command() -> str:
    """What was typed to run this."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name.removesuffix(".__main__") if spec is not None else sys.argv[0]
    return portable(shlex.join(["python", "-m", module, *sys.argv[1:]]))


def portable(command: str) -> str:
    """A command whose absolute paths, which only one machine has, are told by their last part."""
    return re.sub(r"(?<=\s)/(?:[^\s/]+/)*(?=[^\s/])", "DIR/", command)


def write_result(path: Path, name: str, figures: Mapping[str, Any], head: Mapping[str, Any] | None = None) -> None:
    """Write one benchmark's JSON and say where.

    Args:
        path: The file.
        name: The benchmark's name.
        figures: What was measured, units in the names.
        head: `conditions()` from before the measurement; taken now where None.
    """
    record = {"v": 1, "benchmark": name, "command": _command(), **(head or conditions()), **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(f"{name}: {path}")
