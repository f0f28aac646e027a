"""A piped stream of which the pictures go to the tracker, and everything else past it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import SourceLostError
from gest_stream.pipe.passage import Passage, Passing, Picture
from gest_stream.sources.audio_tap import AudioTap
from gest_stream.sources.decode import Decoder
from gest_stream.sources.stdin import StdinSource
from gest_stream.types import Frame

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

    from gest_stream.audio import AudioFeed


@dataclass(frozen=True, slots=True, eq=False)
class StreamParts:
    """What an output is modelled on. Valid while the source is open and before its first frame is asked for.

    Args:
        format: FFmpeg's name of the input's container.
        video: The stream that is decoded.
        others: All other streams.
        metadata: The container's tags.
    """

    format: str
    video: VideoStream
    others: tuple[Stream, ...]
    metadata: dict[str, str]


class PipeSource(StdinSource):
    """Every frame of a y4m, NUT, Matroska or MPEG-TS stream, the rest of it handed to a passage.

    Args:
        passage: Takes each frame as it was decoded, and the packets of all other streams, in the order they come.
        file: Binary file to read instead of standard input; it is not closed.
        on_stop: Called when the stream is to be ended early, on any thread.
    """

    def __init__(
        self, passage: Passage, file: BinaryIO | None = None, on_stop: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(file)
        self._passage = passage
        self._on_stop = on_stop
        self._parts: StreamParts | None = None

    @property
    def parts(self) -> StreamParts:
        """What an output is modelled on.

        Raises:
            SourceLostError: The source is not open.
        """
        if self._parts is None:
            raise SourceLostError(f"{self._name}: is not open; enter it with 'async with' first")
        return self._parts

    @property
    def audio(self) -> AudioFeed | None:
        """None: audio passes with the other streams."""
        return None

    def stop(self) -> None:
        """End the stream early; safe from any thread, and more than once."""
        self._on_stop()
        super().stop()

    def _make_decoder(self, container: InputContainer) -> Decoder:
        decoder = _PassingDecoder(container, self._name, self._passage)
        format = {"matroska,webm": "matroska"}.get(container.format.name, container.format.name)
        self._parts = StreamParts(format, decoder.stream, decoder.others, dict(container.metadata))
        return decoder

    def _frames(self) -> Iterator[Frame]:
        for frame in super()._frames():
            if self._passage.closed:  # nobody writes any more
                return
            yield frame


class _PassingDecoder(Decoder):
    """Decodes the video; frames and all other packets go to the passage in the order they are read."""

    def __init__(self, container: InputContainer, name: str, passage: Passage) -> None:
        from av.video.reformatter import VideoReformatter

        self._passage = passage
        self._reformatter = VideoReformatter()
        super().__init__(container, name, AudioTap(name))

    @property
    def stream(self) -> VideoStream:
        """The stream that is decoded."""
        return self._stream

    @property
    def others(self) -> tuple[Stream, ...]:
        """All other streams."""
        return tuple(stream for stream in self._container.streams if stream.index != self._stream.index)

    def _wanted(self) -> Sequence[Stream]:
        return tuple(self._container.streams)

    def _take_other(self, packet: Packet[Any]) -> bool:
        if not packet.size:
            return True
        time_base = packet.stream.time_base
        if self.timeline.shift_s and time_base:
            shift = round(self.timeline.shift_s / time_base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        return self._passage.add_packet(Passing(packet.stream.index, packet))

    def _finish(self, frame: VideoFrame) -> Frame:
        try:
            finished = super()._finish(frame)
        except OSError as exc:
            raise SourceLostError(
                f"{self._name}: FFmpeg cannot convert its pictures ({frame.format.name}, colour matrix "
                f"{frame.colorspace}) to RGB; convert them first, for example with its zscale filter"
            ) from exc
        # not every container can say how a picture is to be turned
        upright = self._turned(frame, finished.image) if any(self._converter.orientation) else frame
        self._passage.add_frame(Picture(finished.seq, finished.pts, upright))
        return finished

    def _turned(self, frame: VideoFrame, image: NDArray[np.uint8]) -> VideoFrame:
        """`image`, (H, W, 3) uint8 RGB, in the format and colours of `frame`."""
        import av
        from av.video.reformatter import Interpolation

        rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
        rgb.colorspace, rgb.color_range = frame.colorspace, frame.color_range
        rgb.color_primaries, rgb.color_trc = frame.color_primaries, frame.color_trc
        rgb.pts, rgb.time_base = frame.pts, Fraction(frame.time_base or 1)
        turned = self._reformatter.reformat(
            rgb, format=frame.format.name, interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND, threads=1
        )
        turned.colorspace = frame.colorspace
        return turned
