"""Results on a data channel: version 1, one JSON object a frame, the newest only.

    {"v": 1, "type": "result",
     "seq", "pts", "time_base", "time_s", "size", "tracks", "timings_ms"    as in sinks/jsonl.py, without masks
     "fps": 29.9, "dropped": 4,       processed frames a second; frames dropped since the session began
     "rtp_timestamp": 1234 or null,   RTP timestamp of the returned picture that shows this result
     "capture_time_ms": … or null}    Unix milliseconds on the sender's clock at which the frame was captured

On request (`results` command) tracks have `contour_px` (polygons), `mask_rle` and `landmarks_world_m`, or have no
`landmarks_px`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError

from gest_stream.clock import now_ns
from gest_stream.interfaces import SourceInfo
from gest_stream.rtc.clocks import ReceiverClock, SenderClock
from gest_stream.server.metrics import ServerMetrics
from gest_stream.sinks.jsonl import result_record
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult, HandMask

if TYPE_CHECKING:
    from gest_stream.audio import AudioFeed


_MAX_WAITING_BYTES = 16_384
_FPS_WINDOW = 60
DEFAULT_EXTRAS = frozenset({"landmarks"})


class ResultsChannel:
    """One data channel that results go to; what does not fit in at once is dropped.

    Args:
        channel: Of a peer; messages from it are ignored.
        sender: Of the returned picture, for `rtp_timestamp`.
    """

    def __init__(self, channel: RTCDataChannel, sender: SenderClock | None) -> None:
        self._channel = channel
        self.sender = sender
        self.extras = DEFAULT_EXTRAS
        """What tracks hold besides boxes, states and scores."""
        self.dropped = 0
        """Results that were not sent."""

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return bool(self._channel.readyState == "open")

    def send(self, message: str) -> bool:
        """Send or drop a message; call it on the event loop."""
        if not self.is_open or self._channel.bufferedAmount > _MAX_WAITING_BYTES:
            self.dropped += 1
            return False
        with contextlib.suppress(InvalidStateError, ConnectionError):  # it closes right now
            self._channel.send(message)
            return True
        return False


class ResultsSink(ThreadedSink):
    """Writes results to any number of data channels, and counts them.

    Args:
        metrics: Told of every result.
        receiver: Of the picture that is processed, for `capture_time_ms`.
        dropped: Frames dropped so far, by where.
    """

    def __init__(
        self, metrics: ServerMetrics, receiver: ReceiverClock | None, dropped: Callable[[], Mapping[str, int]]
    ) -> None:
        super().__init__("results channel")
        self._metrics = metrics
        self._receiver = receiver
        self._dropped = dropped
        self._counted: dict[str, int] = {}
        self._channels: list[ResultsChannel] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._times_ns: deque[int] = deque(maxlen=_FPS_WINDOW)
        self.frame_size: tuple[int, int] | None = None
        """(width, height) of the newest result's frame, pixels."""

    def add(self, channel: ResultsChannel) -> None:
        """Send results there too; channels that were closed are forgotten."""
        self._channels = [*(one for one in self._channels if one.is_open), channel]

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Nothing to get ready."""

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Get ready; channels may have been added before."""
        self._loop = asyncio.get_running_loop()
        await super().open(info, audio)

    def _write(self, result: FrameResult) -> None:
        self._metrics.observe(result.timings_ms)
        self.frame_size = result.frame.size
        dropped = self._count_drops()
        self._times_ns.append(now_ns())
        channels = [channel for channel in self._channels if channel.is_open]
        if not channels or self._loop is None:
            return
        base = self._record(result, dropped)
        messages = [(channel, _message(base, result, channel)) for channel in channels]
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads
            self._loop.call_soon_threadsafe(self._send, messages)

    def _count_drops(self) -> int:
        """Tell the metrics what was dropped since the last result; all that was dropped so far."""
        dropped = dict(self._dropped())
        for where, count in dropped.items():
            self._metrics.dropped.labels(where).inc(max(0, count - self._counted.get(where, 0)))
        self._counted = dropped
        return sum(dropped.values())

    def _record(self, result: FrameResult, dropped: int) -> dict[str, Any]:
        record = result_record(result, masks=False)
        captured_ms = None
        if self._receiver is not None:
            captured_ms = self._receiver.capture_time_ms(result.frame.pts)
        return {
            **record,
            "type": "result",
            "fps": round(self.fps, 2),
            "dropped": dropped,
            "capture_time_ms": None if captured_ms is None else round(captured_ms, 2),
        }

    @property
    def fps(self) -> float:
        """Results a second, over the last two seconds or so."""
        if len(self._times_ns) < 2:
            return 0.0
        return (len(self._times_ns) - 1) / max((self._times_ns[-1] - self._times_ns[0]) / 1e9, 1e-9)

    def _send(self, messages: list[tuple[ResultsChannel, str]]) -> None:
        for channel, message in messages:
            if not channel.send(message):
                self._metrics.dropped.labels("results").inc()

    def _close(self) -> None:
        """Nothing to finish: the channels end with their connections."""


def _message(base: dict[str, Any], result: FrameResult, channel: ResultsChannel) -> str:
    frame, extras = result.frame, channel.extras
    rtp_timestamp = channel.sender.rtp_timestamp(frame.pts, frame.time_base) if channel.sender is not None else None
    tracks = []
    for record, track in zip(base["tracks"], result.tracks, strict=True):
        mine = dict(record)
        if "landmarks" not in extras:
            mine.pop("landmarks_px")
        if "landmarks_world" not in extras:
            mine.pop("landmarks_world_m")
        if "contour" in extras:
            mine["contour_px"] = contour_px(track.mask) if track.mask is not None else None
        if "mask_rle" in extras:
            from gest_stream.sinks.mask_rle import encode_rle

            mine["mask_rle"] = encode_rle(track.mask) if track.mask is not None else None
        tracks.append(mine)
    record = {**base, "tracks": tracks, "rtp_timestamp": rtp_timestamp}
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def contour_px(mask: HandMask) -> list[list[list[int]]]:
    """The outlines of a mask, as polygons of [x, y] in pixels of the frame; holes are left out."""
    import cv2

    if mask.crop.size == 0:
        return []
    x, y = mask.origin_xy_px
    outlines, _ = cv2.findContours(
        mask.inside.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1, offset=(x, y)
    )
    return [outline.reshape(-1, 2).tolist() for outline in outlines if len(outline) >= 3]
