"""Where and when something was measured: machine, versions, commit. Imports nothing heavy, so it runs anywhere."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("gest-stream", "torch", "mediapipe", "opencv-contrib-python", "av", "numpy", "scipy")


def conditions() -> dict[str, Any]:
    """Date, commit, machine and versions, for the head of a record."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "gpu": gpu_name(),
            "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "system": platform.platform(terse=True),
        },
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}},
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def gpu_name() -> str | None:
    """The CUDA device that torch uses; None where nothing has set one up, since asking takes seconds."""
    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch is not None and torch.cuda.is_available() else None


def _commit() -> str:
    """Of the checkout this file is tracked in, "-dirty" where files differ from it; "unknown" without one."""
    folder, name = Path(__file__).parent, Path(__file__).name
    if _git(folder, "ls-files", "--error-unmatch", name) is None:
        return "unknown"
    return _git(folder, "describe", "--always", "--dirty") or "unknown"


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def version_of(package: str) -> str:
    """Of an installed package; "absent" where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
