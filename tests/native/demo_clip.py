"""A short piece of the synthetic demo clip: pictures, truth, files, and what a scripted worker needs of it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic import SyntheticFrame, preset, render_clip

SIZE = (640, 360)
FRAMES = 60
_THUMBNAIL = (32, 18)

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class DemoClip:
    """The clip.

    Args:
        pictures: (N, H, W, 3) uint8 RGB.
        masks: (N, H, W) bool, True where a hand is.
        path: FFV1 in Matroska, RGB as it is.
        script: What `ClipScript.load` reads.
    """

    pictures: Pictures
    masks: NDArray[np.bool_]
    path: Path
    script: Path


@dataclass(frozen=True, slots=True, eq=False)
class ClipScript:
    """Where the hands are, for whoever recognises a frame of the clip.

    Args:
        thumbnails: (N, h, w) float32 grey.
        hands: (N, hands, H, W) uint8 alpha.
        points: (N, hands, 21, 3) float32 landmarks, pixels.
        seen: (N, hands) bool, True where the hand is in the picture.
    """

    thumbnails: NDArray[np.float32]
    hands: NDArray[np.uint8]
    points: NDArray[np.float32]
    seen: NDArray[np.bool_]

    @classmethod
    def load(cls, path: Path) -> ClipScript:
        """Read what `render` wrote."""
        with np.load(path) as data:
            return cls(data["thumbnails"], data["hands"], data["points"], data["seen"])

    def index_of(self, picture: Pictures) -> int:
        """Which frame of the clip looks most like (H, W, 3) uint8 RGB."""
        distance = np.abs(self.thumbnails - thumbnail(picture)).mean(axis=(1, 2))
        return int(distance.argmin())


def thumbnail(picture: Pictures) -> NDArray[np.float32]:
    """(h, w) float32 grey."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32)


def render(folder: Path) -> DemoClip:
    """Render the clip into an empty folder."""
    frames = list(render_clip(replace(preset("demo"), size=SIZE, frames=FRAMES)))
    pictures = np.stack([frame.frame.image for frame in frames])
    hands = np.stack([_alphas(frame) for frame in frames])
    script = folder / "script.npz"
    np.savez(
        script,
        thumbnails=np.stack([thumbnail(picture) for picture in pictures]),
        hands=hands,
        points=np.stack([[hand.landmarks.points_px for hand in frame.hands] for frame in frames]),
        seen=np.array([[hand.present for hand in frame.hands] for frame in frames]),
    )
    path = folder / "clip.mkv"
    write_lossless(path, pictures)
    return DemoClip(pictures, hands.max(axis=1) > 127, path, script)


def _alphas(frame: SyntheticFrame) -> NDArray[np.uint8]:
    alphas = np.zeros((len(frame.hands), SIZE[1], SIZE[0]), np.uint8)
    for alpha, hand in zip(alphas, frame.hands, strict=True):
        alpha[hand.hand_mask.slices] = hand.hand_mask.crop
    return alphas


def write_lossless(path: Path, pictures: Pictures) -> None:
    """Write RGB pictures so that they come back bit for bit, at uneven times, as cameras have them."""
    height, width = pictures.shape[1:3]
    raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r 30 -i -"
    uneven = "setpts='(N+0.3*mod(N,3))/30/TB'"
    command = ["ffmpeg", "-v", "error", "-y", *raw.split(), "-vf", uneven, "-fps_mode", "passthrough"]
    subprocess.run(
        [*command, "-pix_fmt", "bgra", "-c:v", "ffv1", str(path)], input=pictures.tobytes(), check=True, timeout=60
    )


def recode(path: Path, to: Path, pix_fmt: str, codec: str) -> None:
    """Write the clip once more, with chroma as cameras and files have it."""
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(path), "-fps_mode", "passthrough", "-pix_fmt", pix_fmt]
    quality = ["-preset", "ultrafast", "-crf", "10"] if codec == "libx264" else []
    subprocess.run([*command, "-c:v", codec, *quality, str(to)], check=True, timeout=60)


def read_pictures(path: Path, channels: int = 3) -> Pictures:
    """Every picture of a file, (N, H, W, channels) uint8 RGB or RGBA."""
    pix_fmt = "rgb24" if channels == 3 else "rgba"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    raw = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"], stdout=subprocess.PIPE, check=True, timeout=60
    ).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0], channels)


def read_times(path: Path) -> list[tuple[int, str]]:
    """(pts, time_base) of every frame of a file."""
    entries = "frame=pts:stream=time_base"
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "csv=p=0"]
    lines = subprocess.run([*command, str(path)], stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()
    values = [line.strip().rstrip(",") for line in lines.split() if line.strip()]
    time_base = next(value for value in values if "/" in value)
    return [(int(value), time_base) for value in values if "/" not in value]


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0
