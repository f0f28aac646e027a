"""The thread that decodes what one receiver got: bounded before it and behind it, and never stopped by what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, cast

import av
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import decoder_worker as aiortc_worker
from av.codec.context import Flags
from av.frame import Frame
from av.video.codeccontext import VideoCodecContext

from gest_stream.config import RtcConfig
from gest_stream.rtc.scope import current_config

_LOG = logging.getLogger(__name__)

_SHOWN_VIDEO = 2
"""Decoded frames that may wait in a track's queue."""
_SHOWN_AUDIO = 50
"""The same for audio: 1 s."""
_REQUEST_INTERVAL_S = 0.5
"""Between requests for a keyframe; every one costs the sender as many bits as several other frames."""
_WAIT_FOR_KEYFRAME_S = 2.0
"""A stream that refreshes its picture bit by bit has none; then decoding goes on anyway."""
_FAILURES_BEFORE_NEW_DECODER = 60

_Task = tuple[RTCRtpCodecParameters, JitterFrame]


@dataclass(slots=True)
class DecodingCounts:
    """What became of received frames.

    Args:
        decoded: Frames given to the track.
        dropped: Encoded frames that were dropped because the decoder could not keep up, or lacked their keyframe.
        replaced: Decoded frames that were replaced by newer ones before anybody took them.
        too_large: Encoded frames that were not decoded because they have too many pixels.
        failed: Encoded frames that could not be decoded.
    """

    decoded: int = 0
    dropped: int = 0
    replaced: int = 0
    too_large: int = 0
    failed: int = 0


_COUNTS: ContextVar[DecodingCounts | None] = ContextVar("gest_stream_rtc_decoding", default=None)


@contextmanager
def counting(counts: DecodingCounts) -> Iterator[None]:
    """Have decoder threads that are started within the block write into `counts`."""
    token = _COUNTS.set(counts)
    try:
        yield
    finally:
        _COUNTS.reset(token)


class DecoderThread(threading.Thread):
    """A daemon, so that a connection that nobody closed cannot hold the interpreter; it runs in its maker's context."""

    def __init__(self, *, target: Any, name: str, args: tuple[Any, ...]) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)
        self._context = copy_context()

    def run(self) -> None:
        """Do the work."""
        self._context.run(super().run)


def decode_received(
    loop: asyncio.AbstractEventLoop,
    input_q: queue.Queue[_Task | None],
    output_q: asyncio.Queue[Frame | None],
    decode_error: threading.Event,
) -> None:
    """Decode until None comes; takes the place of aiortc's `decoder_worker` for our connections.

    Args:
        loop: The event loop of the track.
        input_q: Encoded frames, each with its codec.
        output_q: The track's queue.
        decode_error: Set to ask the sender for a keyframe.
    """
    config = current_config()
    if config is None:
        aiortc_worker(loop, input_q, output_q, decode_error)
    else:
        _Worker(loop, input_q, output_q, decode_error, config, _COUNTS.get() or DecodingCounts()).run()


class VideoDecoder(Decoder):
    """FFmpeg's own VP8 or H264 decoder, without delay, on one thread.

    A frame of 1280x720 takes 0.9 ms for H264 and 1.9 for VP8 (benchmarks/results/webrtc_codecs.json); further threads
    would wait for each other where cores are shared.

    Args:
        name: "VP8" or "H264".
        max_frame_px: Pixels beyond which FFmpeg refuses a picture.
    """

    def __init__(self, name: str, max_frame_px: int) -> None:
        self._codec = cast(VideoCodecContext, av.CodecContext.create(name.lower(), "r"))
        self._codec.thread_count = 1
        self._codec.flags |= Flags.low_delay
        self._codec.options = {"max_pixels": str(max_frame_px)}
        self._max_frame_px = max_frame_px

    @property
    def refused(self) -> tuple[int, int] | None:
        """The size of the pictures where it is why they are not decoded."""
        size = self._codec.width, self._codec.height
        return size if size[0] * size[1] > self._max_frame_px else None

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]:
        """The pictures of one encoded frame; their pts are its timestamp."""
        packet = av.Packet(encoded_frame.data)
        packet.pts = encoded_frame.timestamp
        packet.time_base = VIDEO_TIME_BASE
        return cast(list[Frame], self._codec.decode(packet))


class _Worker:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        input_q: queue.Queue[_Task | None],
        output_q: asyncio.Queue[Frame | None],
        decode_error: threading.Event,
        config: RtcConfig,
        counts: DecodingCounts,
    ) -> None:
        self._loop, self._input, self._output, self._error = loop, input_q, output_q, decode_error
        self._config, self._counts = config, counts
        self._pending: deque[_Task] = deque()
        self._decoder: Decoder | None = None
        self._codec_name = ""
        self._skips_since: float | None = None
        self._refuses_vp8 = False
        self._refused: tuple[int, int] | None = None
        self._requested_at = -1e9
        self._failures = 0

    def run(self) -> None:
        try:
            while self._take():
                codec, encoded = self._pending.popleft()
                try:
                    self._decode(codec, encoded)
                except Exception as exc:  # nothing that a peer sends may end the thread
                    self._fail(codec, exc)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for the end
                self._loop.call_soon_threadsafe(self._output.put_nowait, None)

    def _take(self) -> bool:
        """Fill `_pending` with all there is, at least one frame; False when the end has come."""
        while not self._pending or not self._input.empty():
            task = self._input.get()
            if task is None:
                return False
            self._pending.append(task)
            if len(self._pending) > self._config.max_backlog:
                self._shorten()
        return True

    def _shorten(self) -> None:
        """Hold the backlog within its bound: from the newest keyframe on, or from the next one."""
        count = len(self._pending)
        if not _is_video(self._pending[-1][0]):
            kept = count - 1
        else:
            keyframe = next((i for i in reversed(range(1, count)) if is_keyframe(*self._pending[i])), count)
            kept = count - keyframe
            if kept == 0:
                self._skips_since = time.monotonic()
                self._request_keyframe()
        for _ in range(count - kept):
            self._pending.popleft()
        self._counts.dropped += count - kept
        _LOG.debug("the decoder is behind: %d frames dropped", count - kept)

    def _decode(self, codec: RTCRtpCodecParameters, encoded: JitterFrame) -> None:
        if not encoded.data:  # FFmpeg takes an empty packet for the end of the stream
            return
        video = _is_video(codec)
        if video and not self._is_wanted(codec, encoded):
            return
        if codec.name != self._codec_name or self._decoder is None:
            self._decoder = VideoDecoder(codec.name, self._config.max_frame_px) if video else get_decoder(codec)
            self._codec_name = codec.name
        for frame in self._decoder.decode(encoded):
            self._failures = 0
            self._counts.decoded += 1
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._show, frame, _SHOWN_VIDEO if video else _SHOWN_AUDIO)

    def _is_wanted(self, codec: RTCRtpCodecParameters, encoded: JitterFrame) -> bool:
        size = vp8_size(encoded.data) if codec.name == "VP8" else None
        if size is not None:
            self._refuses_vp8 = size[0] * size[1] > self._config.max_frame_px
        if self._refuses_vp8:  # its inter frames as well, which cannot be predicted from older pictures
            self._refuse(size)
            return False
        if getattr(encoded, "follows_loss", False):
            self._skips_since = time.monotonic()
        if self._skips_since is None:
            return True
        if is_keyframe(codec, encoded) or time.monotonic() - self._skips_since > _WAIT_FOR_KEYFRAME_S:
            self._skips_since = None
            return True
        self._counts.dropped += 1
        self._request_keyframe()
        return False

    def _refuse(self, size: tuple[int, int] | None) -> None:
        """Pass over a picture that is too large; another keyframe would be as large, so none is asked for."""
        self._counts.too_large += 1
        if size is not None and size != self._refused:
            _LOG.warning("a peer sends %dx%d pixels; at most %d are taken", *size, self._config.max_frame_px)
            self._refused = size

    def _fail(self, codec: RTCRtpCodecParameters, exc: Exception) -> None:
        if isinstance(self._decoder, VideoDecoder) and (size := self._decoder.refused) is not None:
            self._refuse(size)
            return
        self._counts.failed += 1
        self._failures += 1
        level = logging.INFO if self._failures == 1 else logging.DEBUG
        _LOG.log(level, "a received %s frame cannot be decoded (%s); a keyframe is asked for", codec.name, exc)
        if self._failures % _FAILURES_BEFORE_NEW_DECODER == 0:
            self._decoder = None
        self._request_keyframe()

    def _request_keyframe(self) -> None:
        now = time.monotonic()
        if now - self._requested_at >= _REQUEST_INTERVAL_S:
            self._requested_at = now
            self._error.set()

    def _show(self, frame: Frame, limit: int) -> None:
        """Put a frame into the track's queue in place of the oldest; runs in the event loop."""
        while self._output.qsize() >= limit:
            self._output.get_nowait()
            self._counts.replaced += 1
        self._output.put_nowait(frame)


def _is_video(codec: RTCRtpCodecParameters) -> bool:
    return codec.mimeType.lower().startswith("video/")


def is_keyframe(codec: RTCRtpCodecParameters, encoded: JitterFrame) -> bool:
    """Whether a VP8 or H264 frame can be decoded without earlier ones."""
    if codec.name == "VP8":
        return vp8_size(encoded.data) is not None
    return _IDR.search(encoded.data) is not None


_IDR = re.compile(rb"\x00\x00\x01[\x05\x25\x45\x65]")
"""A slice of an IDR picture, nal_unit_type 5 (ITU-T H.264, table 7-1), behind the start code that aiortc writes."""


def vp8_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels that a VP8 keyframe says it has; None for other frames (RFC 6386, section 9.1)."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != b"\x9d\x01\x2a":
        return None
    return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
