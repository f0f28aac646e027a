"""What every benchmark JSON says about where it was measured, and how it is written."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_PACKAGES = ("torch", "mediapipe", "opencv-contrib-python", "av", "numpy", "scipy")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def conditions() -> dict[str, Any]:
    """Machine, versions, commit and date, for the head of a result."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 2),
            "system": platform.platform(terse=True),
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }


def write_result(path: Path, name: str, figures: Mapping[str, Any], head: Mapping[str, Any] | None = None) -> None:
    """Write one benchmark's JSON and say where.

    Args:
        path: The file.
        name: The benchmark's name.
        figures: What was measured, units in the names.
        head: `conditions()` from before the measurement; taken now where None.
    """
    record = {"v": 1, "benchmark": name, **(head or conditions()), **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(f"{name}: {path}")
