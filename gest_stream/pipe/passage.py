"""What passes by the tracker: original frames, and packets of the other streams, in the order they were read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import Packet, VideoFrame

_MAX_FRAMES = 16
_MAX_PACKET_BYTES = 32 << 20


@dataclass(slots=True)
class Picture:
    """A frame on its way, and the picture that is to leave in its place.

    Args:
        seq: Of the frame, as the source counts.
        pts: In the stream's time_base, as the source repaired it.
        original: As it was decoded.
        painted: What is written; None until it was drawn, and for ever where the frame was not processed.
        settled: Nothing more will be drawn.
    """

    seq: int
    pts: int
    original: VideoFrame
    painted: VideoFrame | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Passing:
    """A packet that is copied.

    Args:
        stream: Index of its stream in the input.
        packet: As it was read, moved by what the timeline moved the pictures by.
    """

    stream: int
    packet: Packet[Any]


class Passage:
    """A bounded queue between the thread that reads a stream, the one that draws and the one that writes.

    The reader waits where the writer is behind. Until the writer starts nothing waits, since what is read to open the
    source is kept for it. What follows the first frame that was not processed (a run that was stopped) is not written.

    Args:
        max_frames: Frames on their way.
        max_packet_bytes: Size of the packets that wait.
    """

    def __init__(self, max_frames: int = _MAX_FRAMES, max_packet_bytes: int = _MAX_PACKET_BYTES) -> None:
        self._max_frames = max_frames
        self._max_packet_bytes = max_packet_bytes
        self._items: deque[Picture | Passing] = deque()
        self._pictures: dict[int, Picture] = {}
        self._packet_bytes = 0
        self._changed = threading.Condition()
        self._started = self._finished = self._closed = False

    # -- the thread that reads ---------------------------------------------------------------------------------------

    def add_packet(self, passing: Passing) -> bool:
        """Pass a packet on; False where nothing is taken any more."""
        size = passing.packet.size
        return self._add(passing, size, lambda: self._packet_bytes + size <= self._max_packet_bytes)

    def add_frame(self, picture: Picture) -> bool:
        """Pass a frame on, before the tracker gets it; False where nothing is taken any more."""
        return self._add(picture, 0, lambda: len(self._pictures) < self._max_frames)

    def _add(self, item: Picture | Passing, size: int, has_room: Callable[[], bool]) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._started or not self._items or has_room())
            if self._closed:
                return False
            self._items.append(item)
            self._packet_bytes += size
            if isinstance(item, Picture):
                self._pictures[item.seq] = item
            self._changed.notify_all()
            return True

    # -- the thread that draws ---------------------------------------------------------------------------------------

    def first_frame(self) -> VideoFrame | None:
        """The first frame that waits, as it was decoded."""
        with self._changed:
            return next((item.original for item in self._items if isinstance(item, Picture)), None)

    def original_of(self, seq: int) -> VideoFrame | None:
        """The frame as it was decoded; None where it is not on its way."""
        with self._changed:
            picture = self._pictures.get(seq)
            return None if picture is None else picture.original

    def paint(self, seq: int, painted: VideoFrame) -> None:
        """What is to be written for frame `seq`; frames before it that were not painted will not be."""
        with self._changed:
            for earlier in self._pictures.values():
                if earlier.seq < seq:
                    earlier.settled = True
            if seq in self._pictures:
                self._pictures[seq].painted, self._pictures[seq].settled = painted, True
            self._changed.notify_all()

    def finish(self) -> None:
        """No more will be painted."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    # -- the thread that writes --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take."""
        with self._changed:
            self._started = True
            self._changed.notify_all()

    def take(self) -> Picture | Passing | None:
        """The next thing to write, waiting for it; None at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(self._is_settled)
                if self._closed or not self._items:
                    return None
                item = self._items.popleft()
                if isinstance(item, Passing):
                    self._packet_bytes -= item.packet.size
                    self._changed.notify_all()
                    return item
                del self._pictures[item.seq]
                self._changed.notify_all()
                if item.painted is not None:
                    return item
                if not item.settled:  # the run ended before its turn
                    return None

    def _is_settled(self) -> bool:
        if self._closed:
            return True
        if not self._items:
            return self._finished
        head = self._items[0]
        return isinstance(head, Passing) or head.settled or self._finished

    def close(self) -> None:
        """Take nothing any more and let nobody wait; more than once does no harm."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._closed
