"""Puts a MediaPipe `.task` bundle together from a wheel on the package index.

For machines that reach a package index and nothing else. Nothing of the wheel is installed or run: two model files are
taken out of it, each is checked, and they are stored in an uncompressed zip, which is all that a bundle is.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from gest_stream.errors import WeightsError
from gest_stream.models.registry import WheelBundle

_log = logging.getLogger(__name__)

# Any platform's wheel holds the same models, so the running interpreter's own platform does not matter.
_ANY_WHEEL = (
    *("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"),
    *("--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--platform", "manylinux_2_28_x86_64"),
)
_ALIGNMENT = 4  # mediapipe copies a model, and warns, whose first byte is not on a 4-byte border of the file
_LOCAL_HEADER_BYTES = 30
_EXTRA_ID = 0xFEED  # an id nobody has registered in the zip specification (APPNOTE 4.5); readers skip it
_UNIX = 3


def download_wheel(requirement: str, folder: Path, pip_args: Sequence[str] = (), timeout_s: float = 600.0) -> Path:
    """Fetch one wheel with this interpreter's pip, which knows the user's index, proxy and certificates.

    Args:
        requirement: The pinned requirement, "mediapipe==0.10.21".
        folder: Empty folder that the wheel is put into.
        pip_args: Further arguments of `pip download`, such as `--index-url`.
        timeout_s: After this many seconds pip is ended.

    Returns:
        The wheel's path.

    Raises:
        WeightsError: pip is absent, failed or took too long.
    """
    command = [sys.executable, "-m", "pip", "download", *_ANY_WHEEL, *pip_args, "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as exc:
        raise WeightsError(f"{requirement}: pip did not finish the download within {timeout_s:g} s") from exc
    except OSError as exc:
        raise WeightsError(f"{requirement}: pip could not be started with {sys.executable}: {exc}") from exc
    _log.debug("%s: pip: %s", requirement, done.stderr.strip())
    if done.returncode != 0:
        if "No module named pip" in done.stderr:
            raise WeightsError(
                f"{requirement}: this Python has no pip to fetch it with; add it with '{sys.executable} -m ensurepip'"
            )
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise WeightsError(f"{requirement}: pip could not fetch it: {said[-1]}")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"{requirement}: expected one wheel from pip, got {[wheel.name for wheel in wheels]}")
    return wheels[0]


def assemble(bundle: WheelBundle, wheel: Path, target: Path) -> None:
    """Write the bundle's members, taken out of `wheel`, to `target`.

    The same members give the same bytes on every machine: fixed order, dates, modes and padding.

    Args:
        bundle: What to take and how to name it.
        wheel: The downloaded wheel.
        target: The file to write.

    Raises:
        WeightsError: The wheel is no zip file, lacks a member, or a member has another SHA-256.
    """
    try:
        with (
            zipfile.ZipFile(wheel) as source,
            target.open("wb") as raw,
            zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as out,
        ):
            for member in bundle.members:
                content = source.read(member.wheel_path)
                got = hashlib.sha256(content).hexdigest()
                if got != member.sha256:
                    raise WeightsError(
                        f"{wheel.name}: {member.wheel_path} has sha256 {got}, expected {member.sha256}; "
                        "the package index gave another file than the official one"
                    )
                out.writestr(_entry(member.name, raw.tell()), content)
    except KeyError as exc:
        raise WeightsError(f"{wheel.name}: a model is missing from the wheel: {exc.args[0]}") from exc
    except zipfile.BadZipFile as exc:
        raise WeightsError(f"{wheel.name}: not a usable wheel: {exc}") from exc


def _entry(name: str, offset: int) -> zipfile.ZipInfo:
    """A zip entry at `offset` of the file whose content begins on an aligned byte."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = _UNIX  # zipfile would write 0 on Windows
    entry.external_attr = 0o644 << 16
    unpadded = offset + _LOCAL_HEADER_BYTES + len(name.encode()) + 4
    padding = -unpadded % _ALIGNMENT
    entry.extra = struct.pack("<HH", _EXTRA_ID, padding) + b"\0" * padding
    return entry
