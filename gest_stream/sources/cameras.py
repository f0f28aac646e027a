"""The cameras this machine has, by name, without opening any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gest_stream.sources.images import natural_key

_SYS = Path("/sys/class/video4linux")
_DEV = Path("/dev")


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    Args:
        device: What to open, "/dev/video0".
        name: What it calls itself.
    """

    device: str
    name: str

    def __str__(self) -> str:
        return f"{self.device} ({self.name})"


def list_cameras(sys_root: Path = _SYS, dev_root: Path = _DEV) -> tuple[Camera, ...]:
    """The cameras Linux knows; empty on other systems, where only opening an index tells.

    Nodes that carry a camera's metadata instead of pictures (an index above 0) are left out.
    """
    if not sys_root.is_dir():
        return ()
    cameras = []
    for node in sorted(sys_root.iterdir(), key=lambda path: natural_key(path.name)):
        device = dev_root / node.name
        if device.exists() and _read(node / "index", "0") == "0":
            cameras.append(Camera(str(device), _read(node / "name", "unnamed camera")))
    return tuple(cameras)


def _read(path: Path, default: str) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or default
    except OSError:
        return default
