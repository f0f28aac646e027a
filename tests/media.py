"""Small clips for tests, made with PyAV: sizes, rotation, variable rates, colours, audio, codecs, damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

QUADRANTS = ((220, 40, 40), (40, 200, 60), (50, 60, 210), (235, 235, 235))
"""Colours of the top left, top right, bottom left and bottom right quarter."""


def quadrants(size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A picture of `size` (width, height) whose quarters are red, green, blue and white."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = QUADRANTS[0]
    image[: height // 2, width // 2 :] = QUADRANTS[1]
    image[height // 2 :, : width // 2] = QUADRANTS[2]
    image[height // 2 :, width // 2 :] = QUADRANTS[3]
    return image


def numbered(index: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A grey picture whose level tells its index: 20 + 10 * (index % 20)."""
    return np.full((size[1], size[0], 3), 20 + 10 * (index % 20), np.uint8)


def number_of(image: NDArray[np.uint8]) -> int:
    """The index (modulo 20) of a `numbered` picture, also after lossy coding."""
    return round((float(image.mean()) - 20) / 10)


@dataclass(frozen=True, slots=True)
class Clip:
    """How a clip is made.

    Args:
        size: (width, height) in pixels.
        frames: Number of frames.
        rate: Frames per second.
        pts: Of every frame in `time_base`; None counts frames at `rate`.
        time_base: Seconds per pts unit; None is 1/rate.
        codec: FFmpeg's encoder.
        pix_fmt: Of the encoded pictures.
        rotation: Degrees counter-clockwise that a player turns the picture by.
        display_matrix: Nine integers in FFmpeg's layout, for what is not a rotation; instead of `rotation`.
        matrix: Colour matrix, FFmpeg's `Colorspace` name; None leaves it undeclared.
        full_range: None leaves the range undeclared.
        audio: Codec of a tone beside the video; None makes none.
        images: The pictures; None numbers them by grey level.
        options: For the encoder.
        container_options: For the muxer.
    """

    size: tuple[int, int] = (64, 48)
    frames: int = 10
    rate: Fraction = Fraction(30)
    pts: Sequence[int] | None = None
    time_base: Fraction | None = None
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    rotation: int | None = None
    display_matrix: tuple[int, ...] | None = None
    matrix: str | None = None
    full_range: bool | None = None
    audio: str | None = None
    images: Sequence[NDArray[np.uint8]] | None = None
    options: tuple[tuple[str, str], ...] = (("qp", "4"),)
    container_options: tuple[tuple[str, str], ...] = ()


def make_clip(target: Any, clip: Clip | None = None, format: str | None = None) -> Any:
    """Write a clip.

    Args:
        target: A path or a binary file object.
        clip: How it is made; None takes the defaults.
        format: FFmpeg's container name; None goes by the suffix.

    Returns:
        `target`.
    """
    clip = clip or Clip()
    to = str(target) if isinstance(target, Path) else target
    with av.open(to, "w", format=format, container_options=dict(clip.container_options)) as out:
        video: Any = out.add_stream(clip.codec, rate=clip.rate)
        video.width, video.height = clip.size
        video.pix_fmt = clip.pix_fmt
        if clip.codec.startswith("libx26"):
            video.options = dict(clip.options)
        video.time_base = video.codec_context.time_base = clip.time_base or 1 / clip.rate
        # One thread: clips this small gain nothing from more, and the machine is shared.
        video.codec_context.thread_count = 1
        _declare_colours(video.codec_context, clip)
        if clip.rotation is not None:
            video.set_display_rotation(clip.rotation)
        if clip.display_matrix is not None:
            video.set_display_matrix(clip.display_matrix)
        sound: Any = out.add_stream(clip.audio, rate=48_000) if clip.audio else None
        for index in range(clip.frames):
            out.mux(video.encode(_video_frame(clip, index)))
        out.mux(video.encode(None))
        if sound is not None:
            _add_tone(out, sound, float(clip.frames / clip.rate))
    return target


def make_audio(path: Path, seconds: float = 0.5, cover: NDArray[np.uint8] | None = None) -> Path:
    """Write a file that holds a tone and no video, but maybe a cover picture."""
    with av.open(str(path), "w", format="mp4") as out:
        sound = out.add_stream("aac", rate=48_000)
        if cover is not None:
            picture: Any = out.add_stream("mjpeg", rate=1)
            picture.height, picture.width = cover.shape[:2]
            picture.pix_fmt = "yuvj420p"
            picture.disposition = Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(cover, format="rgb24")
            frame.pts = 0
            out.mux(picture.encode(frame))
            out.mux(picture.encode(None))
        _add_tone(out, sound, seconds)
    return path


def make_image(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write one RGB picture; the suffix picks the format."""
    import cv2

    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: cannot be written")
    return path


def truncated(path: Path, target: Path, fraction: float) -> Path:
    """Copy the first `fraction` of a file's bytes."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * fraction)])
    return target


def _declare_colours(context: Any, clip: Clip) -> None:
    if clip.matrix is not None:
        context.colorspace = {"ITU709": 1, "ITU601": 6}[clip.matrix]
    if clip.full_range is not None:
        context.color_range = 2 if clip.full_range else 1


def _video_frame(clip: Clip, index: int) -> av.VideoFrame:
    image = numbered(index, clip.size) if clip.images is None else clip.images[index % len(clip.images)]
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format=clip.pix_fmt,
        dst_colorspace=clip.matrix,
        dst_color_range=None if clip.full_range is None else ("JPEG" if clip.full_range else "MPEG"),
    )
    frame.pts = index if clip.pts is None else clip.pts[index]
    frame.time_base = clip.time_base or 1 / clip.rate
    return frame


def _add_tone(out: Any, stream: Any, seconds: float) -> None:
    time = np.arange(int(48_000 * seconds)) / 48_000
    samples = (0.2 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    for start in range(0, len(samples), 1024):
        block = np.ascontiguousarray(np.stack([samples[start : start + 1024]] * 2))
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
