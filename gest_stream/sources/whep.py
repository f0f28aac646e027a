"""A stream that is pulled from somebody else's server by WHEP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gest_stream.audio import AudioFeed
from gest_stream.config import RtcConfig, SourceConfig
from gest_stream.errors import SourceError, SourceLostError, SourceOpenError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.webrtc import TrackSource
from gest_stream.types import Frame

if TYPE_CHECKING:
    from aiortc import RTCRtpTransceiver

    from gest_stream.rtc.call import Call
    from gest_stream.rtc.connection import RtcConnection

_LEAST_S = 0.5  # for the first frame, where connecting has used up the time
_FIRST_STEP = 3000  # of the 90 kHz clock, a thirtieth of a second, where two frames have not told the rate yet


@dataclass(slots=True)
class _Line:
    """A call and the source that takes its frames."""

    call: Call
    track: TrackSource

    async def close(self) -> None:
        try:
            await self.track.__aexit__(None, None, None)
        finally:
            await self.call.hang_up()


class WhepSource:
    """The newest frame of a stream that a WHEP server (draft-ietf-wish-whep) gives.

    Only video is asked for; a stream's sound is left where it is. When no frame comes for the read timeout, or the
    server hangs up, the source is connected anew until `config.reconnect.give_up_after_s` has passed; pts and seq go
    on growing across that, without the gap.

    Args:
        url: The endpoint's http:// or https:// address; passwords and tokens in it appear in no message.
        token: For the endpoint's bearer authentication.
        config: Time limits and reconnecting: `open_timeout_s` for the HTTP answer, `read_timeout_s` between frames.
        rtc: Of the connection: its ICE servers (the endpoint's own where it has none), and `connect_timeout_s` for
            everything between the HTTP answer and the first frame.

    Raises:
        ConfigError: The address is not one of HTTP, or the token has characters that no header carries.
    """

    def __init__(
        self, url: str, token: str | None = None, *, config: SourceConfig | None = None, rtc: RtcConfig | None = None
    ) -> None:
        from gest_stream.rtc.endpoint import Endpoint, Protocol

        self._config = config or SourceConfig()
        self._rtc = rtc or RtcConfig()
        self._endpoint = Endpoint(Protocol.WHEP, url, token, self._config.open_timeout_s)
        self._name = self._endpoint.name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._stopping = asyncio.Event()
        self._line: _Line | None = None
        self._info: SourceInfo | None = None
        self._last: tuple[int, int] | None = None  # pts and seq of the last frame
        self._step = _FIRST_STEP
        self._pts_shift = self._seq_shift = 0
        self._joining = False

    @property
    def info(self) -> SourceInfo:
        """What is known of the stream; valid once entered."""
        if self._info is None:
            raise SourceError(f"{self._name}: is not open yet; enter it with 'async with' first")
        return self._info

    @property
    def audio(self) -> AudioFeed | None:
        """None: only video is asked for."""
        return None

    async def __aenter__(self) -> Self:
        from gest_stream.rtc.endpoint import DialError

        if self._loop is not None:
            raise SourceError(f"{self._name}: was already used; make a new source for every run")
        self._loop = asyncio.get_running_loop()
        try:
            if not self._stopped:
                await self._unless_stopped(self._connect())
        except DialError as exc:
            raise SourceOpenError(str(exc)) from exc
        except BaseException:
            await self._hang_up()
            raise
        if self._line is None:
            raise SourceOpenError(f"{self._name}: was stopped while it was being opened")
        self._info = self._line.track.info
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()
        await self._hang_up()

    async def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    def stop(self) -> None:
        """End the stream; safe from any thread, and more than once."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to wake
                self._loop.call_soon_threadsafe(self._tell_stop)

    def _tell_stop(self) -> None:
        self._stopping.set()
        if self._line is not None:
            self._line.track.stop()

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while (line := self._line) is not None:
            why = "the server ended the session"
            try:
                async for frame in line.track:
                    yield self._placed(frame)
            except SourceLostError as exc:
                why = str(exc).removeprefix(f"{self._name}: ")
            if self._stopped:
                return
            await self._hang_up()
            await self._unless_stopped(self._reconnect(why))
            self._joining = True

    async def _connect(self) -> None:
        """Connect and wait for the first frame; fills `_line`.

        Raises:
            DialError: No connection came about.
            SourceOpenError: It did, and no frame came.
        """
        from gest_stream.rtc.call import dial

        def add_video(connection: RtcConnection) -> RTCRtpTransceiver:
            return connection.addTransceiver("video", direction="recvonly")

        assert self._loop is not None
        since_s = self._loop.time()
        call = await dial(self._endpoint, self._rtc, add_video)
        left_s = max(self._rtc.connect_timeout_s - (self._loop.time() - since_s), _LEAST_S)
        [transceiver] = call.connection.getTransceivers()
        track = TrackSource(
            transceiver.receiver.track,
            self._name,
            first_frame_timeout_s=left_s,
            idle_after_s=self._config.read_timeout_s,
        )
        try:
            await track.__aenter__()
        except BaseException:
            await call.hang_up()
            raise
        self._line = _Line(call, track)
        if self._stopped:  # when there was no line to tell
            track.stop()

    async def _reconnect(self, why: str) -> None:
        from gest_stream.rtc.endpoint import DialError
        from gest_stream.rtc.redial import redial

        setting = "source.reconnect.give_up_after_s"
        try:
            await redial(self._name, self._config.reconnect, self._connect, why, setting=setting)
        except DialError as exc:
            raise SourceLostError(str(exc)) from exc

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, which is cancelled where the source is stopped meanwhile."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    def _placed(self, frame: Frame) -> Frame:
        """A connection's frame in its place in the whole stream; each connection has a clock and a count of its own."""
        if self._joining and self._last is not None:
            last_pts, last_seq = self._last
            self._pts_shift, self._seq_shift = last_pts + self._step - frame.pts, last_seq + 1
        self._joining = False
        pts, seq = frame.pts + self._pts_shift, frame.seq + self._seq_shift
        if self._last is not None and seq == self._last[1] + 1:
            self._step = pts - self._last[0]
        self._last = pts, seq
        return Frame(frame.image, pts, frame.time_base, frame.captured_ns, seq)
