"""A stream from the network: RTSP, RTMP, SRT, UDP, HTTP, HLS."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gest_stream.audio import AudioFeed
from gest_stream.clock import now_ns
from gest_stream.config import SourceConfig
from gest_stream.errors import SourceLostError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.audio_tap import AudioTap
from gest_stream.sources.container import paced
from gest_stream.sources.decode import Decoder, open_container, reason
from gest_stream.sources.reconnect import Reconnector
from gest_stream.sources.threaded import ThreadedSource
from gest_stream.types import Frame
from gest_stream.url import redacted

if TYPE_CHECKING:
    from av import FFmpegError
    from av.container import InputContainer

_LOG = logging.getLogger(__name__)


class NetworkSource(ThreadedSource):
    """The newest frame of a live stream, or every frame of a clip that an HTTP server holds.

    HTTP and HLS addresses that declare a length are clips: every frame is given, in order, and after a broken
    connection reading goes on behind the last frame. Everything else is live: the newest frame wins, and the source is
    connected anew when it stalls, breaks off or ends, until `config.reconnect.give_up_after_s` has passed.

    Args:
        url: The address; passwords and tokens in it appear in no message.
        realtime: Play a clip at its own speed, as a live source.
        config: Time limits and reconnecting. Leaving the source takes up to the read timeout.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.
        uniform: A random number in [0, 1), for the pauses' jitter.
    """

    def __init__(
        self,
        url: str,
        realtime: bool = False,
        *,
        config: SourceConfig | None = None,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(redacted(url))
        self._url = url
        self._scheme = url.partition(":")[0].lower()
        self._realtime = realtime
        self._config = config or SourceConfig()
        self._clock = clock
        self._wait = wait or self._stopping.wait
        self._reconnector = Reconnector(
            self._name, self._config.reconnect, self._wait, self._stopping.is_set, clock, uniform
        )
        self._tap = AudioTap(self._name)
        self._container: InputContainer | None = None
        self._decoder: Decoder | None = None
        self._clip = False

    @property
    def audio(self) -> AudioFeed | None:
        """The packets of its first audio stream."""
        return self._tap.feed

    def _open(self) -> SourceInfo:
        self._decoder = self._connect()
        live = self._realtime or not self._clip
        self._reads_before_iteration = not self._clip
        _LOG.info("%s: connected (%s)", self._name, "clip" if self._clip else "live")
        return self._decoder.info(live)

    def _frames(self) -> Iterator[Frame]:
        self._tap.release()
        frames = self._unbroken()
        return paced(frames, self._clock, self._wait) if self._clip and self._realtime else frames

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _unbroken(self) -> Iterator[Frame]:
        while self._decoder is not None:
            why = "the stream ended"
            try:
                yield from self._decoder.frames()
                if self._clip:
                    self._decoder.warn_if_short()
                    return
            except SourceLostError as exc:
                why = str(exc).removeprefix(f"{self._name}: ")
            if self._stopping.is_set():
                return
            self._close()
            self._decoder = self._reconnector.recover(self._connect, why)

    def _connect(self) -> Decoder:
        """Open the address and decode a first frame, behind the last one where it is a clip.

        Raises:
            SourceOpenError: It does not answer in time, or not with a video.
        """
        timeout_s = (self._config.open_timeout_s, self._config.read_timeout_s)
        self._container = open_container(
            self._url,
            self._name,
            options=self._options(),
            timeout_s=timeout_s,
            explain=self._explain,
            hwaccel=self._config.hwaccel,
        )
        earlier = self._decoder
        try:
            if earlier is None:
                self._clip = self._scheme in ("http", "https") and bool(self._container.duration)
            return Decoder(
                self._container,
                self._name,
                self._tap,
                timeline=earlier.timeline if earlier else None,
                resume=self._clip and earlier is not None,
                # A frame thread is a frame of delay, which only a clip can afford.
                threads="AUTO" if self._clip else "SLICE",
                clock=self._clock,
            )
        except BaseException:
            self._close()
            raise

    def _options(self) -> dict[str, str]:
        if self._scheme in ("rtsp", "rtsps"):
            return {"rtsp_transport": "tcp"} if self._config.rtsp_tcp else {}
        if self._scheme == "udp":
            return {"overrun_nonfatal": "1"}
        return {}

    def _explain(self, exc: FFmpegError) -> str:
        from av import error

        if isinstance(exc, error.ConnectionRefusedError):
            return "connection refused; start the server, or check host and port"
        if isinstance(exc, error.HTTPUnauthorizedError | error.HTTPForbiddenError):
            return f"access denied ({reason(exc)}); check the user name, password or token in the address"
        if isinstance(exc, error.HTTPNotFoundError):
            return "the server has nothing under this address (404); check the path"
        if isinstance(exc, error.TimeoutError | error.ExitError):
            return (
                f"no answer within {self._config.open_timeout_s:g} s; check the address and the firewall, "
                "or raise source.open_timeout_s"
            )
        if isinstance(exc, error.InvalidDataError):
            return "the server answers, but not with a video; open the address in a player to see what it gives"
        return f"cannot be opened: {reason(exc)}; check the address"
