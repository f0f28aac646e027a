"""Which container a file suffix means, and what goes into it.

Every container here stays playable when the process is killed: mp4 and mov are written in fragments of a second and
turned into ordinary files when they are closed (`hybrid_fragmented`), Matroska and WebM in clusters of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gest_stream.errors import SinkError
from gest_stream.sinks.audio_copy import MATROSKA_CODEC_IDS

_COMMON_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_PCM = frozenset(name for name in MATROSKA_CODEC_IDS if name.startswith("pcm_"))

# `disabled`: FFmpeg would otherwise shift video and audio alike until no timestamp is negative, and with them every pts
# `max_interleave_delta` (µs): a silent audio stream holds back no more than this much video
_ANY = {"avoid_negative_ts": "disabled", "max_interleave_delta": "2000000", "flush_packets": "1"}
_MP4 = {**_ANY, "movflags": "+hybrid_fragmented+frag_keyframe", "frag_duration": "1000000"}
_MATROSKA = {**_ANY, "cluster_time_limit": "1000"}


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """An encoder and the pixels it takes.

    Args:
        name: FFmpeg's encoder name.
        pixel_format: FFmpeg's pixel format name.
        even_size: True where width and height must be even.
        options: Encoder options that do not depend on the user's choice of quality.
        takes_crf: True where the encoder knows `crf`.
        takes_preset: True where the encoder knows x264's presets.
    """

    name: str
    pixel_format: str
    even_size: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    takes_crf: bool = False
    takes_preset: bool = False


_H264 = VideoCodec("libx264", "yuv420p", even_size=True, takes_crf=True, takes_preset=True)
# cpu-used 8 and realtime: 720p at the speed of a webcam; auto-alt-ref must be off for alpha (libvpxenc.c refuses it)
_VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "auto-alt-ref": "0", "lag-in-frames": "0"}
_VP9 = VideoCodec("libvpx-vp9", "yuv420p", options=_VP9_OPTIONS, takes_crf=True)
_VP9_ALPHA = VideoCodec("libvpx-vp9", "yuva420p", options=_VP9_OPTIONS, takes_crf=True)
_PRORES_4444 = VideoCodec(
    "prores_ks", "yuva444p10le", options={"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}
)


@dataclass(frozen=True, slots=True)
class Container:
    """What one suffix means.

    Args:
        muxer: FFmpeg's muxer name.
        codec: For opaque pictures.
        alpha_codec: For pictures with alpha; None where players expect none in this container.
        audio_codecs: Codecs whose packets can be copied into it.
        options: Of the muxer.
    """

    muxer: str
    codec: VideoCodec
    alpha_codec: VideoCodec | None
    audio_codecs: frozenset[str]
    options: Mapping[str, str]


CONTAINERS: Mapping[str, Container] = {
    ".mp4": Container("mp4", _H264, None, _COMMON_AUDIO | {"flac", "opus"}, _MP4),
    ".mov": Container("mov", _H264, _PRORES_4444, _COMMON_AUDIO | _PCM, _MP4),
    ".mkv": Container("matroska", _H264, None, frozenset(MATROSKA_CODEC_IDS), _MATROSKA),
    ".webm": Container("webm", _VP9, _VP9_ALPHA, frozenset({"opus", "vorbis"}), _MATROSKA),
}


def container_for(path: Path) -> Container:
    """The container that the suffix of `path` asks for.

    Raises:
        SinkError: The suffix is missing or unknown.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        known = ", ".join(CONTAINERS)
        got = f"unknown video suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise SinkError(f"{path}: {got}; name the output with one of {known}, e.g. {path.with_suffix('.mp4').name}")
    return container


def codec_for(path: Path, alpha: bool) -> VideoCodec:
    """The encoder for `path`.

    Raises:
        SinkError: The suffix is unknown, or the container carries no alpha and `alpha` is asked for.
    """
    container = container_for(path)
    if not alpha:
        return container.codec
    if container.alpha_codec is None:
        raise SinkError(
            f"{path}: {path.suffix} files carry no transparency; "
            f"use {path.with_suffix('.webm').name} (VP9) or {path.with_suffix('.mov').name} (ProRes 4444)"
        )
    return container.alpha_codec
