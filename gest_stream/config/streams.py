"""Settings of what goes in and out: sources, rings and drawing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require, take_members
from gest_stream.config.device import device_is_known
from gest_stream.config.rtc import H264Encoder

_X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


class BufferPolicy(StrEnum):
    """What happens to frames that come faster than they are processed."""

    AUTO = "auto"
    """`live` for live sources, `lossless` for files."""
    LIVE = "live"
    """The newest frames win, the others are dropped and counted."""
    LOSSLESS = "lossless"
    """Every frame is processed; the source waits."""


@dataclass(frozen=True, slots=True)
class BufferConfig:
    """The rings between the stages.

    Args:
        policy: What happens to frames that come too fast.
        depth: Frames held between source and tracker; 0 picks 1 for live and 4 for lossless.
        sink_depth: Results held for each sink.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    policy: BufferPolicy = BufferPolicy.AUTO
    depth: int = 0
    sink_depth: int = 4

    def __post_init__(self) -> None:
        take_members(self, policy=BufferPolicy)
        require(0 <= self.depth <= 256, "buffer.depth", "0 to 256", self.depth)
        require(1 <= self.sink_depth <= 256, "buffer.sink_depth", "1 to 256", self.sink_depth)


class EffectKind(StrEnum):
    """What a segmented picture shows."""

    OVERLAY = "overlay"
    CONTOUR = "contour"
    GREEN = "green"
    TRANSPARENT = "transparent"
    BLUR = "blur"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class EffectConfig:
    """How a segmented picture is drawn.

    Args:
        kind: The effect.
        opacity: Of the overlay's colour, 0 to 1.
        feather_px: Width of the soft edge between hand and background, pixels.
        blur_px: Strength (sigma) of the background blur, pixels at 720 lines; scaled with the picture.
        background: Picture file for `replace`.
        landmarks: Draw the landmarks over the effect too.
        labels: Write id and handedness beside each hand (overlay and contour).
        device: Where hands and background are put together: "cpu", or "cuda", "cuda:N", "mps" or "auto" for a torch
            device, from which only the finished picture comes back. `contour` and `transparent` stay on the CPU.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    kind: EffectKind = EffectKind.OVERLAY
    opacity: float = 0.45
    feather_px: int = 2
    blur_px: float = 12.0
    background: Path | None = None
    landmarks: bool = False
    labels: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        take_members(self, kind=EffectKind)
        require(device_is_known(self.device), "effect.device", "auto, cpu, cuda, cuda:N or mps", self.device)
        require(0.0 <= self.opacity <= 1.0, "effect.opacity", "0 to 1", self.opacity)
        require(0 <= self.feather_px <= 64, "effect.feather_px", "0 to 64", self.feather_px)
        require(0.0 < self.blur_px <= 200.0, "effect.blur_px", "above 0, up to 200", self.blur_px)


@dataclass(frozen=True, slots=True)
class ReconnectConfig:
    """How a lost live source is brought back: attempts with exponentially growing pauses.

    Args:
        initial_s: Pause before the first attempt, seconds.
        max_s: Longest pause, seconds.
        jitter: Each pause is stretched or shortened by up to this fraction at random, 0 to 0.9.
        give_up_after_s: Seconds without a frame after which the source is given up; 0 gives up at once.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    initial_s: float = 0.5
    max_s: float = 10.0
    jitter: float = 0.25
    give_up_after_s: float = 60.0

    def __post_init__(self) -> None:
        require(self.initial_s > 0, "source.reconnect.initial_s", "above 0", self.initial_s)
        expected = f"at least initial_s ({self.initial_s})"
        require(self.max_s >= self.initial_s, "source.reconnect.max_s", expected, self.max_s)
        require(0.0 <= self.jitter <= 0.9, "source.reconnect.jitter", "0 to 0.9", self.jitter)
        require(self.give_up_after_s >= 0, "source.reconnect.give_up_after_s", "0 or more", self.give_up_after_s)


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """How video files are compressed.

    Args:
        h264: What encodes H.264.
        crf: Constant quality of H.264 and VP9, 0 (best) to 51; ProRes has none.
        preset: x264's trade of speed for size: a faster one makes larger files of the same crf.
        threads: Encoder threads, 0 lets the encoder choose.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    h264: H264Encoder = H264Encoder.X264
    crf: int = 20
    preset: str = "superfast"
    threads: int = 0

    def __post_init__(self) -> None:
        take_members(self, h264=H264Encoder)
        require(0 <= self.crf <= 51, "video.crf", "0 to 51", self.crf)
        require(self.preset in _X264_PRESETS, "video.preset", f"one of {', '.join(_X264_PRESETS)}", self.preset)
        require(self.threads >= 0, "video.threads", "0 or more", self.threads)


class Hwaccel(StrEnum):
    """What decodes the video of files and network sources, by FFmpeg's name."""

    NONE = "none"
    """The CPU."""
    AUTO = "auto"
    """`cuda` where it can be opened, else the CPU."""
    CUDA = "cuda"
    """NVIDIA's decoder (NVDEC); what it does not decode the CPU does."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Time limits of cameras and network sources, and what decodes.

    Args:
        open_timeout_s: Seconds that connecting may take.
        read_timeout_s: Seconds without data (network) or frames (camera) after which the source counts as lost.
        rtsp_tcp: Carry RTSP over TCP; UDP loses packets without a word.
        reconnect: What happens then.
        hwaccel: What decodes files and network streams. Pictures are converted on the CPU in any case.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    rtsp_tcp: bool = True
    reconnect: ReconnectConfig = field(default_factory=ReconnectConfig)
    hwaccel: Hwaccel = Hwaccel.NONE

    def __post_init__(self) -> None:
        take_members(self, hwaccel=Hwaccel)
        require(0 < self.open_timeout_s <= 300, "source.open_timeout_s", "above 0, up to 300", self.open_timeout_s)
        require(0 < self.read_timeout_s <= 300, "source.read_timeout_s", "above 0, up to 300", self.read_timeout_s)
