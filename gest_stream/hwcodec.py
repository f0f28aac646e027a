"""NVIDIA's video engines, by PyAV: whether they can be opened on this machine."""

from __future__ import annotations

import functools
import logging
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

_LOG = logging.getLogger(__name__)
_PROBE_SIZE = 320, 240


@functools.cache
def nvenc_works() -> bool:
    """Whether NVIDIA's encoder encodes a picture here; tried once a process, which takes a while."""
    import av

    try:
        codec = av.CodecContext.create("h264_nvenc", "w")
        codec.width, codec.height = _PROBE_SIZE
        codec.pix_fmt, codec.time_base = "yuv420p", Fraction(1, 30)
        codec.options = {"preset": "p1", "delay": "0"}
        frame = av.VideoFrame(*_PROBE_SIZE, "yuv420p")
        frame.pts, frame.time_base = 0, codec.time_base
        return len([*codec.encode(frame), *codec.encode(None)]) > 0
    except (av.FFmpegError, ValueError) as exc:
        _LOG.debug("NVENC cannot be used: %s", exc)
        return False


def cuda_decoding() -> HWAccel | None:
    """What `av.open` takes to decode on NVIDIA's engine, with the CPU for what that does not decode; None without one.

    A device is opened to find out: PyAV refuses a whole file where there is none, with an error that reads like the
    file's own.
    """
    import av
    from av.codec import Codec
    from av.codec.hwaccel import HWAccel

    wanted = HWAccel(device_type="cuda", allow_software_fallback=True)
    try:
        wanted.create(Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError) as exc:
        _LOG.debug("CUDA cannot be opened for decoding: %s", exc)
        return None
    return wanted
