"""Which container a file suffix means, and what goes into it.

Every container here stays playable when the process is killed: mp4 and mov are written in fragments of a second and
turned into ordinary files when they are closed (`hybrid_fragmented`), Matroska and WebM in clusters of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gest_stream.errors import SinkError
from gest_stream.sinks.audio_copy import MATROSKA_CODEC_IDS

# no Opus in mp4: FFmpeg 8.1 drops its last packet there, and many players know it in Matroska and WebM only
_COMMON_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_PCM = frozenset(name for name in MATROSKA_CODEC_IDS if name.startswith("pcm_"))

# `disabled`: FFmpeg would otherwise shift video and audio alike until no timestamp is negative, and with them every pts
# `max_interleave_delta` (µs): a silent audio stream holds back no more than this much video
_ANY = {"avoid_negative_ts": "disabled", "max_interleave_delta": "2000000", "flush_packets": "1"}
# `empty_moov`: without it the first second is lost when the process is killed; `delay_moov`: the header waits for the
# first packets, which AC-3 needs
_MP4 = {**_ANY, "movflags": "+hybrid_fragmented+empty_moov+delay_moov+frag_keyframe", "frag_duration": "1000000"}
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
        quality_option: What the encoder calls the constant quality that `crf` is of x264.
        nvenc: NVIDIA's encoder of the same format; None where there is none.
    """

    name: str
    pixel_format: str
    even_size: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    takes_crf: bool = False
    takes_preset: bool = False
    quality_option: str = "crf"
    nvenc: VideoCodec | None = None


# p4: NVENC's own middle of speed and size; bf 0 for the same reason as below
_NVENC_OPTIONS = {"preset": "p4", "rc": "vbr", "bf": "0"}
_NVENC = VideoCodec("h264_nvenc", "yuv420p", True, _NVENC_OPTIONS, takes_crf=True, quality_option="cq")
_H264 = VideoCodec("libx264", "yuv420p", even_size=True, takes_crf=True, takes_preset=True, nvenc=_NVENC)
# without B-frames dts equals pts: an mp4 whose process was killed has no edit list to undo their delay of two frames
_H264_MP4 = replace(_H264, options={"bf": "0"})
# cpu-used 8 and realtime: 720p at the speed of a webcam; auto-alt-ref must be off for alpha (libvpxenc.c refuses it)
_VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "auto-alt-ref": "0", "lag-in-frames": "0"}
_VP9 = VideoCodec("libvpx-vp9", "yuv420p", options=_VP9_OPTIONS, takes_crf=True)
_VP9_ALPHA = VideoCodec("libvpx-vp9", "yuva420p", options=_VP9_OPTIONS, takes_crf=True)
# prores_ks makes the same files at 4.4 times the cost: 116 against 26 ms of one core a 720p frame
_PRORES_4444 = VideoCodec("prores_aw", "yuva444p10le", options={"vendor": "apl0"})


@dataclass(frozen=True, slots=True)
class Container:
    """What one suffix means.

    Args:
        muxer: FFmpeg's muxer name.
        codec: For opaque pictures.
        alpha_codec: For pictures with alpha; None where players expect none in this container.
        audio_codecs: Codecs whose packets can be copied into it.
        options: Of the muxer.
        keeps_time_base: True where the file's clock can be the source's; Matroska always counts milliseconds.
    """

    muxer: str
    codec: VideoCodec
    alpha_codec: VideoCodec | None
    audio_codecs: frozenset[str]
    options: Mapping[str, str]
    keeps_time_base: bool


CONTAINERS: Mapping[str, Container] = {
    ".mp4": Container("mp4", _H264_MP4, None, _COMMON_AUDIO | {"flac"}, _MP4, True),
    ".mov": Container("mov", _H264_MP4, _PRORES_4444, _COMMON_AUDIO | _PCM, _MP4, True),
    ".mkv": Container("matroska", _H264, None, frozenset(MATROSKA_CODEC_IDS), _MATROSKA, False),
    ".webm": Container("webm", _VP9, _VP9_ALPHA, frozenset({"opus", "vorbis"}), _MATROSKA, False),
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
