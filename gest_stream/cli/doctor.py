"""`gest-stream doctor`: what works on this machine, and what to install for the rest."""

from __future__ import annotations

import json as json_module
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated

import typer


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Args:
        topic: What was looked at.
        verdict: How it stands.
        detail: Version, count or error.
        remedy: What to do about it; "" where nothing is needed.
    """

    topic: str
    verdict: Verdict
    detail: str
    remedy: str = ""


_PACKAGES = ("torch", "torchvision", "sam2", "mediapipe", "opencv-contrib-python", "av", "numpy", "aiortc")
_EXTRAS = {"pyvirtualcam": "virtualcam", "supervision": "supervision"}
_CV2_RIVALS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python-headless")


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_packages() -> list[Check]:
    """Required and optional packages, and whether a second cv2 wheel overwrites the first."""
    checks = [Check("python", Verdict.OK, f"{platform.python_version()} at {sys.executable}")]
    for package in _PACKAGES:
        version = _version(package)
        verdict = Verdict.OK if version else Verdict.MISSING
        checks.append(Check(package, verdict, version or "", "" if version else "pip install gest-stream"))
    for package, extra in _EXTRAS.items():
        version = _version(package)
        remedy = "" if version else f"optional: pip install 'gest-stream[{extra}]'"
        checks.append(Check(package, Verdict.OK if version else Verdict.MISSING, version or "", remedy))
    rivals = [package for package in _CV2_RIVALS if _version(package)]
    if rivals:
        remedy = f"pip uninstall {' '.join(rivals)} && pip install --force-reinstall opencv-contrib-python"
        checks.append(Check("cv2", Verdict.BROKEN, f"{', '.join(rivals)} overwrites opencv-contrib-python", remedy))
    return checks


def check_devices() -> list[Check]:
    """CPU cores and GPUs."""
    checks = [Check("cpu", Verdict.OK, f"{os.cpu_count()} cores, {platform.machine()}")]
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            checks.append(Check("cuda", Verdict.OK, torch.cuda.get_device_name(index)))
    else:
        remedy = "optional: an NVIDIA GPU with a driver for the learned segmenters"
        checks.append(Check("cuda", Verdict.MISSING, "no device", remedy))
    return checks


def check_models() -> list[Check]:
    """The weight files that the default settings need, and which others are here."""
    from gest_stream.models.builtin import BUILTIN_NAMES
    from gest_stream.models.registry import HAND_LANDMARKER
    from gest_stream.models.store import ModelStatus, ModelStore

    checks = []
    for model in ModelStore().list():
        name = model.file.name
        if model.status is ModelStatus.OK:
            checks.append(Check(name, Verdict.OK, str(model.path)))
        elif model.status is ModelStatus.DAMAGED:
            checks.append(Check(name, Verdict.BROKEN, "wrong SHA-256", f"gest-stream models fetch {name}"))
        elif name == HAND_LANDMARKER:
            remedy = f"fetched on first use, or now: gest-stream models fetch {name}"
            checks.append(Check(name, Verdict.MISSING, "", remedy))
    return [*checks, *map(_check_builtin, BUILTIN_NAMES)]


def _check_builtin(name: str) -> Check:
    """Whether weights that belong to the package are there and can be read."""
    from gest_stream.errors import WeightsError
    from gest_stream.models.builtin import builtin_path, load_builtin

    path = builtin_path(name)
    if not path.exists():
        return Check(name, Verdict.MISSING, "not in this installation", "pip install --force-reinstall gest-stream")
    try:
        load_builtin(name)
    except WeightsError as exc:
        return Check(name, Verdict.BROKEN, str(exc), "pip install --force-reinstall gest-stream")
    return Check(name, Verdict.OK, str(path))


def check_cameras() -> list[Check]:
    """Cameras that can be opened by number."""
    from gest_stream.sources.cameras import list_cameras

    cameras = list_cameras()
    if not cameras:
        return [
            Check("cameras", Verdict.MISSING, "none found", "plug one in; on Linux your user must read /dev/video*")
        ]
    return [Check("cameras", Verdict.OK, ", ".join(str(camera) for camera in cameras))]


def check_codecs() -> list[Check]:
    """Encoders that outputs use."""
    import av

    uses = {"libx264": "mp4, mkv and mov", "libvpx-vp9": "transparent .webm", "prores_ks": "transparent .mov"}
    return [
        Check(
            name,
            Verdict.OK if name in av.codecs_available else Verdict.MISSING,
            uses[name],
            "" if name in av.codecs_available else "pip install --force-reinstall av (its wheel has it)",
        )
        for name in uses
    ]


_SECTIONS: dict[str, Callable[[], list[Check]]] = {
    "Packages": check_packages,
    "Devices": check_devices,
    "Models": check_models,
    "Cameras": check_cameras,
    "Encoders": check_codecs,
}


def gather() -> dict[str, list[Check]]:
    """Every section's checks; a section that raises becomes one broken check."""
    report = {}
    for title, section in _SECTIONS.items():
        try:
            report[title] = section()
        except Exception as exc:  # the doctor must report what is broken, whatever it is
            report[title] = [Check(title.lower(), Verdict.BROKEN, f"{type(exc).__name__}: {exc}")]
    return report


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what works on this machine, and what to install for the rest."""
    report = gather()
    if json:
        typer.echo(json_module.dumps({title: [asdict(check) for check in checks] for title, checks in report.items()}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = {Verdict.OK: "green", Verdict.MISSING: "yellow", Verdict.BROKEN: "red"}
    console = Console()
    for title, checks in report.items():
        table = Table.grid(padding=(0, 2))
        table.title, table.title_justify = title, "left"
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in checks:
            verdict = Text(str(check.verdict), style=colors[check.verdict])
            table.add_row(check.topic, verdict, Text(" - ".join(filter(None, (check.detail, check.remedy)))))
        console.print(table)
        console.print()
