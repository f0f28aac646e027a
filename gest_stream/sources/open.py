"""Picks the source that a user's text means."""

from __future__ import annotations

from pathlib import Path

from gest_stream.config import RtcConfig, SourceConfig
from gest_stream.errors import SourceOpenError
from gest_stream.interfaces import Source

NETWORK_SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
_FORMS = "a file, a folder of images, a camera number, a URL, '-' for standard input, 'whep:URL' or 'synthetic:...'"


def open_source(
    text: str,
    *,
    realtime: bool = False,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    config: SourceConfig | None = None,
    rtc: RtcConfig | None = None,
    token: str | None = None,
) -> Source:
    """The source that `text` names; nothing is opened until it is entered.

    Args:
        text: "clip.mp4", "folder/" (images), "0" or "/dev/video0" (camera), "rtsp://…", "http://…", "udp://…",
            "webrtc:whep:https://…" or "whep:https://…" (pulled by WHEP), "-" (standard input), "synthetic:…" (rendered
            hands).
        realtime: Play a file, a folder or rendered hands at its own speed, as a live source.
        size: (width, height) asked of a camera.
        rate: Frames per second asked of a camera, or given to a folder of images.
        config: Time limits, reconnecting and decoding.
        rtc: Of a WebRTC connection.
        token: For the bearer authentication of a WHEP server.

    Raises:
        SourceOpenError: `text` is empty or its scheme is unknown.
        ConfigError: What follows "whep:" is no address, or `token` cannot be sent.
    """
    config = config or SourceConfig()
    scheme, colon, rest = text.partition(":")
    if text == "-":
        from gest_stream.sources.stdin import StdinSource

        return StdinSource(realtime=realtime)
    if colon and scheme == "synthetic":
        from gest_stream.sources.synthetic import SyntheticSource, parse_synthetic_spec

        return SyntheticSource(parse_synthetic_spec(rest), realtime=realtime)
    if (url := whep_url(text)) is not None:
        from gest_stream.sources.whep import WhepSource

        return WhepSource(url, token, config=config, rtc=rtc)
    if scheme in ("webrtc", "whip") and "://" in rest:
        raise SourceOpenError(f"{scheme}: a stream is pulled with 'webrtc:whep:URL'; 'whip:URL' is for outputs")
    if _is_camera(text):
        from gest_stream.sources.webcam import WebcamSource

        return WebcamSource(int(text) if text.isdecimal() else text, size=size, rate=rate, config=config)
    if rest.startswith("//") and scheme != "file":
        if scheme.lower() not in NETWORK_SCHEMES:
            known = ", ".join(f"{name}://" for name in NETWORK_SCHEMES)
            raise SourceOpenError(f"{scheme}://: unknown kind of address; known are {known}")
        from gest_stream.sources.network import NetworkSource

        return NetworkSource(text, realtime=realtime, config=config)
    if not text.strip():
        raise SourceOpenError(f"the source is empty; pass {_FORMS}")
    path = Path(text.removeprefix("file://"))
    if path.is_dir():
        from gest_stream.sources.images import ImagesSource

        return ImagesSource(path, rate=rate, realtime=realtime)
    from gest_stream.sources.file import FileSource

    return FileSource(path, realtime, hwaccel=config.hwaccel)


def whep_url(text: str) -> str | None:
    """The address in "webrtc:whep:URL" or "whep:URL"; None where `text` is neither."""
    short = text.removeprefix("webrtc:")
    return short.removeprefix("whep:") if short.startswith("whep:") else None


def _is_camera(text: str) -> bool:
    """A bare number is a camera unless a file of that name lies there."""
    return text.startswith("/dev/video") or (text.isdecimal() and not Path(text).exists())
