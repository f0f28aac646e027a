"""What file and pipe share: one container, every frame of it, or at its own speed."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from gest_stream.audio import AudioFeed
from gest_stream.clock import Pacer, now_ns
from gest_stream.errors import SourceLostError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.audio_tap import AudioTap
from gest_stream.sources.decode import Decoder
from gest_stream.sources.threaded import ThreadedSource
from gest_stream.types import Frame

if TYPE_CHECKING:
    from av.container import InputContainer

_LOG = logging.getLogger(__name__)


class ContainerSource(ThreadedSource):
    """Every frame of one container, in order, with its pts; a subclass says how it is opened.

    Args:
        name: What the user called it, for messages.
        realtime: Play at its own speed, as a live source: `captured_ns` is the moment a frame is due.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.
    """

    def __init__(
        self,
        name: str,
        realtime: bool,
        *,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(name)
        self._realtime = realtime
        self._clock = clock
        self._wait = wait or self._stopping.wait
        self._tap = AudioTap(name)
        self._container: InputContainer | None = None
        self._decoder: Decoder | None = None

    @abstractmethod
    def _open_container(self) -> InputContainer:
        """Open what is read, or raise `SourceOpenError`."""

    @property
    def audio(self) -> AudioFeed | None:
        """The packets of its first audio stream."""
        return self._tap.feed

    def _open(self) -> SourceInfo:
        self._container = self._open_container()
        self._decoder = self._make_decoder(self._container)
        return self._decoder.info(self._realtime)

    def _make_decoder(self, container: InputContainer) -> Decoder:
        return Decoder(container, self._name, self._tap, clock=self._clock)

    def _frames(self) -> Iterator[Frame]:
        decoder = self._decoder
        assert decoder is not None
        self._tap.release()
        frames = decoder.frames()
        try:
            yield from paced(frames, self._clock, self._wait) if self._realtime else frames
        except SourceLostError as exc:
            if not self._stopping.is_set():
                _LOG.warning("%s; what could be decoded was delivered", exc)
            return
        decoder.warn_if_short()

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = self._decoder = None


def paced(frames: Iterator[Frame], clock: Callable[[], int], wait: Callable[[float], object]) -> Iterator[Frame]:
    """Hold each frame until it is due, and stamp `captured_ns` then."""
    pacer = Pacer()
    for frame in frames:
        delay_s = pacer.delay_s(frame.time_s, clock())
        if delay_s > 0:
            wait(delay_s)
        yield replace(frame, captured_ns=clock())
