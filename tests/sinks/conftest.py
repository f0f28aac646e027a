"""What the sinks' tests share: running a sink, reading back a video, and audio that was really encoded."""

import asyncio
import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gest_stream.audio import AudioFeed
from gest_stream.interfaces import Sink, SourceInfo
from gest_stream.types import AudioFormat, AudioPacket, Frame, FrameResult

SUFFIXES = [".mp4", ".mov", ".mkv", ".webm"]
"""Of video files."""


def info_of(size: tuple[int, int] = (64, 48), time_base: Fraction = Fraction(1, 30), name: str = "test") -> SourceInfo:
    return SourceInfo(name, False, size, time_base, Fraction(30))


def picture(size: tuple[int, int], colour: tuple[int, int, int]) -> np.typing.NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), colour, np.uint8)


def result_at(
    pts: int,
    size: tuple[int, int] = (64, 48),
    time_base: Fraction = Fraction(1, 30),
    colour: tuple[int, int, int] = (90, 90, 90),
) -> FrameResult:
    return FrameResult(Frame(picture(size, colour), pts, time_base, 0, max(pts, 0)))


def run_sink(
    sink: Sink, results: Iterable[FrameResult], info: SourceInfo | None = None, audio: AudioFeed | None = None
) -> None:
    async def scenario() -> None:
        try:
            await sink.open(info or info_of(), audio)
            for result in results:
                await sink.write(result)
        finally:
            await sink.close()

    asyncio.run(scenario())


def decoded(path: Path) -> list[tuple[Fraction, np.typing.NDArray[np.uint8]]]:
    """(media time in seconds, RGB) of every frame."""
    with av.open(str(path)) as source:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24").astype(np.uint8))
            for frame in source.decode(video=0)
            if frame.pts is not None and frame.time_base is not None
        ]


def times(path: Path) -> list[Fraction]:
    return [time for time, _ in decoded(path)]


def encoded_audio(encoder: str, container: str, seconds: float = 2.0) -> tuple[AudioFormat, list[AudioPacket]]:
    """A noise of `seconds`, encoded, muxed and read back as a source would read it."""
    memory = io.BytesIO()
    with av.open(memory, "w", format=container) as output:
        stream: Any = output.add_stream(encoder, rate=48_000)
        stream.layout = "stereo"
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=48_000)
        noise = (np.random.default_rng(7).normal(size=(1, 2048)) * 3000).astype(np.int16)
        for index in range(int(seconds * 48_000 / 1024)):
            frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, index * 1024
            for resampled in resampler.resample(frame):
                output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as source:
        audio = source.streams.audio[0]
        assert audio.time_base is not None
        format = AudioFormat(
            audio.codec_context.name, 48_000, "stereo", audio.time_base, audio.codec_context.extradata or b""
        )
        packets = [
            AudioPacket(bytes(packet), packet.pts or 0, packet.dts or 0, packet.duration or 0)
            for packet in source.demux(audio)
            if packet.size
        ]
    return format, packets


@pytest.fixture(scope="session")
def aac() -> tuple[AudioFormat, list[AudioPacket]]:
    return encoded_audio("aac", "mp4")


@pytest.fixture(scope="session")
def opus() -> tuple[AudioFormat, list[AudioPacket]]:
    return encoded_audio("libopus", "ogg")
