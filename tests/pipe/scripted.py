"""Trackers that know where the hands are, streams to filter, and what came out."""

from __future__ import annotations

import asyncio
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from gest_stream import pipeline
from gest_stream.config import BufferConfig, BufferPolicy, EffectConfig, EffectKind
from gest_stream.pipe.encoding import PipeFormat, PipeOptions
from gest_stream.pipe.passage import Passage
from gest_stream.pipe.sink import PipeSink
from gest_stream.pipe.source import PipeSource
from gest_stream.pipeline import RunStats
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import HandLandmarks
from tests.media import Clip, make_clip

SIZE = (128, 96)
CENTER = (64.0, 48.0)
HAND_PX = 50.0
RAW = Clip(size=SIZE, frames=12, codec="rawvideo")

GREEN = EffectConfig(kind=EffectKind.GREEN, feather_px=0)
TRANSPARENT = EffectConfig(kind=EffectKind.TRANSPARENT, feather_px=0)
OVERLAY = EffectConfig(kind=EffectKind.OVERLAY, feather_px=0, labels=False)


def one_hand(seq: int) -> Sequence[HandLandmarks]:
    """A hand in the middle of a picture of `SIZE`."""
    return [make_landmarks(CENTER, HAND_PX)]


def no_hand(seq: int) -> Sequence[HandLandmarks]:
    return []


def tracker_of(script: Callable[[int], Sequence[HandLandmarks]] = one_hand) -> TrackerCore:
    return TrackerCore(ScriptedDetector(script), ScriptedSegmenter())


def noise(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A picture whose every pixel is another, soft enough to keep its colours in 4:2:0."""
    import cv2

    rough = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(rough, (0, 0), 2), np.uint8)


def piped(format: str, clip: Clip) -> bytes:
    buffer = io.BytesIO()
    make_clip(buffer, clip, format)
    return buffer.getvalue()


@dataclass(slots=True)
class Filtered:
    """What a run left behind."""

    stats: RunStats
    data: bytes


def filtered(
    data: bytes | BinaryIO,
    *,
    effect: EffectConfig = GREEN,
    options: PipeOptions | None = None,
    script: Callable[[int], Sequence[HandLandmarks]] = one_hand,
    out: BinaryIO | None = None,
    during: Callable[[pipeline.Pipeline], None] | None = None,
) -> Filtered:
    """Run a stream through the filter on a scripted tracker.

    Args:
        data: The stream, or a file to read it from.
        effect: What is drawn.
        options: Container and codec.
        script: Where the hands are.
        out: Where the stream goes; kept in `data` where None.
        during: Called with the open pipeline before it runs.
    """
    passage = Passage()
    source = PipeSource(passage, io.BytesIO(data) if isinstance(data, bytes) else data)
    kept = io.BytesIO()
    sink = PipeSink(source, passage, Unclosable(kept) if out is None else out, effect, options)

    async def run() -> RunStats:
        lossless = BufferConfig(BufferPolicy.LOSSLESS)
        async with pipeline.Pipeline(source, lambda: tracker_of(script), [sink], lossless) as opened:
            if during is not None:
                during(opened)
            return await opened.run()

    return Filtered(asyncio.run(run()), kept.getvalue())


class Unclosable(io.RawIOBase, BinaryIO):
    """A file without a descriptor that only goes forward, as a pipe does."""

    def __init__(self, target: io.BytesIO) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._target.write(data)


@dataclass(frozen=True, slots=True)
class Read:
    """A stream as a reader sees it.

    Args:
        format: FFmpeg's container name.
        frames: Of its first video stream.
        times_s: Of the frames.
        packets: (payload, time in seconds) of every other stream by its index.
        codecs: Of all streams.
        rate: Of the video.
    """

    format: str
    frames: list[av.VideoFrame]
    times_s: list[Fraction]
    packets: dict[int, list[tuple[bytes, Fraction]]]
    codecs: list[str]
    rate: Fraction | None

    @property
    def rgb(self) -> list[NDArray[Any]]:
        return [frame.to_ndarray(format="rgb24") for frame in self.frames]


def read(data: bytes) -> Read:
    """Everything of a stream."""
    frames: list[av.VideoFrame] = []
    packets: dict[int, list[tuple[bytes, Fraction]]] = defaultdict(list)
    with av.open(io.BytesIO(data), "r") as container:
        video = container.streams.video[0]
        for packet in container.demux():
            if packet.stream.index == video.index:
                frames += video.codec_context.decode(packet)
            elif packet.size:
                assert packet.pts is not None and packet.time_base is not None
                packets[packet.stream.index].append((bytes(packet), packet.pts * packet.time_base))
        codecs = [stream.codec_context.name if stream.codec_context else stream.type for stream in container.streams]
        times = [(frame.pts or 0) * Fraction(frame.time_base or 1) for frame in frames]
        return Read(container.format.name, frames, times, dict(packets), codecs, video.average_rate)


NUT, MATROSKA, Y4M = PipeFormat.NUT, PipeFormat.MATROSKA, PipeFormat.Y4M
