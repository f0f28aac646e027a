"""Programs that load the frei0r filter, and the masks read back from the pictures that they write."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gest_stream.overlay.palette import GREEN_SCREEN
from tests.native.demo_clip import DemoClip, Pictures, iou

_SEEN_AFTER = 3  # frames that a tracker may take to trust a hand
_CHANGED = 8  # grey levels that an overlay changes at least


def run(command: Sequence[str], plugin: Path, runtime: Path) -> str:
    """Run a program that finds the filter and the worker; returns what it says."""
    environment = {**os.environ, "FREI0R_PATH": str(plugin.parent), "XDG_RUNTIME_DIR": str(runtime)}
    environment["GST_REGISTRY"] = str(runtime / "registry.bin")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=110)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    return said


def filtered(clip: DemoClip, parameters: str, plugin: Path, runtime: Path) -> tuple[Path, str]:
    """The clip as ffmpeg writes it through the filter, and what ffmpeg says."""
    out = runtime / "out.mkv"
    video_filter = f"format=rgba,frei0r=filter_name=gest_stream:filter_params={parameters}"
    command = ["ffmpeg", "-v", "warning", "-y", "-i", str(clip.path), "-vf", video_filter]
    command += ["-fps_mode", "passthrough", "-pix_fmt", "bgra", "-c:v", "ffv1", str(out)]
    return out, run(command, plugin, runtime)


def left_of_green(out: Pictures, clip: DemoClip) -> NDArray[np.bool_]:
    """(N, H, W) bool: more hand than chroma key green, worked out from each pixel and what it was."""
    green = np.array(GREEN_SCREEN, np.float32)
    away, was = out.astype(np.float32) - green, clip.pictures[: len(out)].astype(np.float32) - green
    return np.asarray((away * was).sum(axis=3) > 0.5 * (was * was).sum(axis=3))


def overlaid(out: Pictures, clip: DemoClip) -> NDArray[np.bool_]:
    """(N, H, W) bool: changed by an overlay, its soft edge counted."""
    return np.asarray(np.abs(out.astype(np.int16) - clip.pictures).max(axis=3) > _CHANGED)


MASKS_OF: Mapping[str, Callable[[Pictures, DemoClip], NDArray[np.bool_]]] = MappingProxyType(
    {"green": left_of_green, "overlay": overlaid}
)
"""How masks are read back, by effect."""


def ious(masks: NDArray[np.bool_], clip: DemoClip) -> list[float]:
    """Intersection over union with the truth, of every frame from the one on which a tracker trusts a hand."""
    return [iou(mask, truth) for mask, truth in zip(masks, clip.masks, strict=True)][_SEEN_AFTER:]
