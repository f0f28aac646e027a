"""Encoders of outgoing video that are cheap, add no delay, and follow a bitrate."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import deque
from fractions import Fraction
from typing import cast

import av
import numpy as np
from aiortc.codecs import get_encoder as aiortc_get_encoder
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder as AiortcH264Encoder
from aiortc.codecs.vpx import Vp8Encoder as AiortcVp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.frame import Frame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from gest_stream.config import H264Encoder, RtcConfig
from gest_stream.errors import ConfigError
from gest_stream.hwcodec import nvenc_works
from gest_stream.rtc.scope import current_config

_LOG = logging.getLogger(__name__)

_CLOCK_HZ = 90_000
_NOMINAL_FPS = 30
_KEYFRAME_INTERVAL = 3000
"""Frames: receivers ask for keyframes where they need one."""


def get_encoder(codec: RTCRtpCodecParameters) -> Encoder:
    """The encoder of an outgoing track; takes the place of aiortc's for our connections."""
    config = current_config()
    name = codec.mimeType.lower()
    if config is not None and name == "video/h264":
        return RealtimeH264Encoder(config)
    if config is not None and name == "video/vp8":
        return RealtimeVp8Encoder(config)
    return aiortc_get_encoder(codec)


def check_encoder(config: RtcConfig) -> None:
    """Refuse settings that name an encoder that does not work here.

    Raises:
        ConfigError: NVENC is asked for and cannot be opened.
    """
    if config.h264 is H264Encoder.NVENC and not nvenc_works():
        raise ConfigError("rtc.h264: 'nvenc' cannot be opened on this machine; use 'auto', which falls back to x264")


class _Rate:
    """Frames a second, from the timestamps of the last second's."""

    def __init__(self) -> None:
        self._stamps: deque[int] = deque(maxlen=_NOMINAL_FPS + 1)

    def add(self, timestamp: int) -> None:
        if self._stamps and not 0 < timestamp - self._stamps[-1] < 2 * _CLOCK_HZ:
            self._stamps.clear()
        self._stamps.append(timestamp)

    @property
    def fps(self) -> float:
        if len(self._stamps) < _NOMINAL_FPS // 2:
            return _NOMINAL_FPS
        return min(max(_CLOCK_HZ * (len(self._stamps) - 1) / (self._stamps[-1] - self._stamps[0]), 1.0), 240.0)


class _RealtimeEncoder(Encoder):
    """What both encoders share: sizes, timestamps, keyframes and errors.

    An encoder is called from one thread at a time, but the frames that it gets may be in the hands of other encoders
    as well: it changes nothing in them, but for the picture type, which all set to the same.
    """

    def __init__(self, config: RtcConfig) -> None:
        super().__init__()
        self._config = config
        self._context: VideoCodecContext | None = None
        self._target = config.start_bitrate_kbps * 1000
        self._enough = config.max_bitrate_kbps * 1000
        self._rate = _Rate()
        self._last = 0

    @property
    def target_bitrate(self) -> int:
        """Bits a second that the encoder aims at; what is set is held within the configured bounds.

        Small pictures get no more than they need: a packet costs some 0.1 ms of Python at both ends together, whatever
        it holds (benchmarks/results/webrtc_codecs.json).
        """
        return min(self._target, self._enough)

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._target = max(self._config.min_bitrate_kbps * 1000, min(bitrate, self._config.max_bitrate_kbps * 1000))

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Encode a picture of any size and format.

        Args:
            frame: A video frame with its pts and time_base.
            force_keyframe: Make it one that can be decoded without earlier ones.

        Returns:
            RTP payloads, none where encoding failed, and the frame's timestamp in units of 1/90000 s.
        """
        assert isinstance(frame, av.VideoFrame)
        timestamp = _timestamp(frame, self._last + _CLOCK_HZ // _NOMINAL_FPS)
        if not self._last - 10 * _CLOCK_HZ < timestamp < self._last + 3600 * _CLOCK_HZ:
            self._context = None  # the source began anew
            self._last = timestamp - 1
        # codecs refuse a pts that does not grow
        self._last = max(timestamp, self._last + 1)
        self._rate.add(self._last)
        try:
            picture = self._prepared(frame, self._last, force_keyframe)
            data = self._encoded(picture)
        except (av.FFmpegError, ValueError, MemoryError) as exc:
            _LOG.warning("a %dx%d frame could not be encoded: %s", frame.width, frame.height, exc)
            self._context = None
            return [], timestamp
        return self._payloads(data), timestamp

    def _prepared(self, frame: av.VideoFrame, pts: int, force_keyframe: bool) -> av.VideoFrame:
        width, height = self._size(frame)
        picture = frame if frame.format.name == "yuv420p" else frame.reformat(format="yuv420p")
        wanted = PictureType.I if force_keyframe else PictureType.NONE
        as_is = (picture.width, picture.height, picture.pts, picture.time_base) == (width, height, pts, VIDEO_TIME_BASE)
        if picture is frame and (force_keyframe or not as_is):
            picture = _copied(frame, width, height)
        elif (picture.width, picture.height) != (width, height):
            picture = _copied(picture, width, height)
        if picture is not frame:
            picture.pts, picture.time_base = pts, VIDEO_TIME_BASE
        if picture.pict_type != wanted:  # a decoded frame says what it was, which would decide what it becomes
            picture.pict_type = wanted
        return picture

    def _encoded(self, picture: av.VideoFrame) -> bytes:
        context = self._context
        needed = round(picture.width * picture.height * _NOMINAL_FPS * self._config.max_bits_per_pixel)
        self._enough = max(self._config.min_bitrate_kbps * 1000, needed)
        if context is None or (context.width, context.height) != (picture.width, picture.height):
            context = self._open(picture.width, picture.height)
        self._context = self._adjusted(context)
        return b"".join(bytes(packet) for packet in self._context.encode(picture))

    def _size(self, frame: av.VideoFrame) -> tuple[int, int]:
        return frame.width, frame.height

    @abstractmethod
    def _open(self, width: int, height: int) -> VideoCodecContext:
        """A new codec for pictures of a size."""

    @abstractmethod
    def _adjusted(self, context: VideoCodecContext) -> VideoCodecContext:
        """The codec, or another in its place, that aims at the target bitrate."""

    @abstractmethod
    def _payloads(self, data: bytes) -> list[bytes]:
        """A frame as RTP payloads."""


class RealtimeH264Encoder(_RealtimeEncoder, AiortcH264Encoder):
    """H264 constrained baseline, by NVENC where it works, else by x264 (preset ultrafast, tune zerolatency).

    At 1.5 Mbit/s a frame of 640x480 takes 1.6 ms of CPU time and one of 1280x720 takes 3.5, against 16 and 27 with
    aiortc's settings, whose pictures are 3 dB better (benchmarks/results/webrtc_codecs.json). The level is x264's
    choice for the size; aiortc says 3.1 of everything.

    Args:
        config: Encoder and bitrates.
    """

    def __init__(self, config: RtcConfig) -> None:
        super().__init__(config)
        self._name = "libx264" if config.h264 is H264Encoder.X264 else ""

    def _size(self, frame: av.VideoFrame) -> tuple[int, int]:
        return max(frame.width & ~1, 2), max(frame.height & ~1, 2)

    def _open(self, width: int, height: int) -> VideoCodecContext:
        if not self._name:  # here and not in the constructor, which runs in the event loop
            self._name = "h264_nvenc" if nvenc_works() else "libx264"
        if self._name == "h264_nvenc":
            try:
                return _h264_context(self._name, width, height, self._config)
            except (av.FFmpegError, ValueError) as exc:  # a card takes only so many encoders
                _LOG.warning("NVENC takes no further stream (%s); x264 encodes this one", exc)
                self._name = "libx264"
        return _h264_context(self._name, width, height, self._config)

    def _adjusted(self, context: VideoCodecContext) -> VideoCodecContext:
        # both are told a frame rate of 30 and share the bitrate out by it
        bitrate = min(round(self.target_bitrate * _NOMINAL_FPS / self._rate.fps), self._config.max_bitrate_kbps * 1000)
        if abs(bitrate - (context.bit_rate or 0)) > 0.05 * bitrate:
            context.bit_rate = bitrate
        return context

    def _payloads(self, data: bytes) -> list[bytes]:
        return self._packetize(self._split_bitstream(data))


def _h264_context(name: str, width: int, height: int, config: RtcConfig) -> VideoCodecContext:
    """An open encoder. Its bitrate may be changed while it runs, up to the maximum.

    x264 follows `bit_rate` soon if it was opened in its constant-bitrate mode (maxrate equal to bit_rate) with a small
    buffer; opened otherwise it ignores changes (FFmpeg's libx264.c, reconfig_encoder).
    """
    context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, _CLOCK_HZ), Fraction(_NOMINAL_FPS, 1)
    context.gop_size, context.max_b_frames = _KEYFRAME_INTERVAL, 0
    maximum = config.max_bitrate_kbps * 1000
    context.bit_rate = maximum
    rates = {"maxrate": str(maximum), "bufsize": str(maximum // 8), "forced-idr": "1", "profile": "baseline"}
    if name == "h264_nvenc":
        context.options = {**rates, "preset": "p1", "tune": "ull", "rc": "cbr", "zerolatency": "1", "delay": "0"}
    else:
        context.options = {**rates, "preset": "ultrafast", "tune": "zerolatency"}
        context.thread_count = 1
    context.open(strict=False)
    return context


class RealtimeVp8Encoder(_RealtimeEncoder, AiortcVp8Encoder):
    """VP8 by libvpx, at the highest speed that does not show.

    cpu-used -12 without noise filter: at 1.5 Mbit/s a frame of 640x480 takes 2.7 ms of CPU time and one of 1280x720
    takes 6.2, with 46 and 44 dB; aiortc's settings take 4.2 and 9.6 for 43 dB (benchmarks/results/webrtc_codecs.json).
    More threads spin while they wait for each other.
    libvpx behind FFmpeg cannot change its bitrate while it runs, so it is opened anew, with a keyframe: when the target
    is 15% below, or 15% above and the last change is 2 s old.

    Args:
        config: Bitrates.
    """

    def __init__(self, config: RtcConfig) -> None:
        super().__init__(config)
        self._opened_at = 0

    def _open(self, width: int, height: int) -> VideoCodecContext:
        context = av.CodecContext.create("libvpx", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.gop_size = Fraction(1, _CLOCK_HZ), _KEYFRAME_INTERVAL
        context.qmin, context.qmax = 2, 63  # coarse pictures rather than a bitrate that the network does not have
        context.bit_rate = self.target_bitrate
        rate = str(self.target_bitrate)
        context.options = {
            "bufsize": rate,
            "minrate": rate,  # minrate = maxrate = bit_rate: constant bitrate
            "maxrate": rate,
            "cpu-used": "-12",
            "deadline": "realtime",
            "lag-in-frames": "0",
            "noise-sensitivity": "0",
            "overshoot-pct": "15",
            "undershoot-pct": "100",
            "partitions": "0",
            "static-thresh": "1",
        }
        context.thread_count = 1
        self._opened_at = self._last
        return context

    def _adjusted(self, context: VideoCodecContext) -> VideoCodecContext:
        change = self.target_bitrate / (context.bit_rate or self.target_bitrate)
        rested = self._last - self._opened_at > 2 * _CLOCK_HZ
        if change < 0.85 or (change > 1.15 and rested):
            return self._open(context.width, context.height)
        return context

    def _payloads(self, data: bytes) -> list[bytes]:
        payloads = self._packetize(data, self.picture_id)
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        return payloads


def _timestamp(frame: av.VideoFrame, without_pts: int) -> int:
    """A frame's pts in units of 1/90000 s, as `SenderClock.rtp_timestamp` has it."""
    while True:
        pts, time_base = frame.pts, frame.time_base
        if pts is None or time_base is None:
            return without_pts
        if frame.time_base == time_base:  # else another encoder's codec converted it in between
            return convert_timebase(pts, time_base, VIDEO_TIME_BASE)


def _copied(frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """A yuv420p picture of its own memory, cut to a size."""
    copy = av.VideoFrame(width, height, "yuv420p")
    for source, target in zip(frame.planes, copy.planes, strict=True):
        rows, columns = min(source.height, target.height), min(source.width, target.width)
        pixels = np.frombuffer(memoryview(source), np.uint8).reshape(-1, source.line_size)
        room = np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)
        room[:rows, :columns] = pixels[:rows, :columns]
    return copy
