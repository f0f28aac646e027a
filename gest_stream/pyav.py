"""Hands in the video frames of applications that use PyAV: `av.VideoFrame` in, `av.VideoFrame` out.

with av.open("in.mp4") as container:
    for frame in gest_stream.av_filter(container, config):
        output.mux(stream.encode(frame))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from os import PathLike
from types import TracebackType
from typing import Any, Self

import av
from av.container import InputContainer
from av.error import FFmpegError

from gest_stream.build import HandTracker
from gest_stream.clock import now_ns
from gest_stream.config import EffectKind, PipelineConfig
from gest_stream.errors import InvalidInputError, SourceLostError, SourceOpenError
from gest_stream.overlay import Renderer
from gest_stream.pipe.planes import layout_of, with_alpha
from gest_stream.pipe.repaint import Repainter, unconvertible
from gest_stream.sources.picture import Orientation, RgbConverter, turned
from gest_stream.sources.timeline import Picture, Timeline
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult

__all__ = ["AvFilter", "av_filter"]

_NAME = "av_filter"
_TIME_BASE_WHERE_UNKNOWN = Fraction(1, 30)


class AvFilter:
    """Draws the hands into frames, one at a time and in order. One thread at a time.

    The frame that comes out has the format, pts, time_base, duration, colour matrix, range and tags, side data and
    orientation of the one that went in, which is not written to. What was not drawn on keeps its bits: every luma
    sample, and every chroma sample that no drawn pixel shares (see `pipe.repaint.Repainter`). The effect `transparent`
    gives the format with alpha that belongs to the frame's own: yuva420p for yuv420p, rgba for rgb24.

    Args:
        config: Settings; the effect's are what is drawn.
        tracker: Instead of one made from `config`; closed with the filter.

    Raises:
        ModelError: A model cannot be loaded.
        ConfigError: The effect lacks its background.
    """

    def __init__(self, config: PipelineConfig | None = None, *, tracker: TrackerCore | None = None) -> None:
        config = config or PipelineConfig()
        self._renderer = Renderer(config.effect)
        self._alpha = config.effect.kind is EffectKind.TRANSPARENT
        self._converter = RgbConverter()
        self._repainter = Repainter()
        self._timeline: Timeline | None = None
        self._closed = False
        self.result: FrameResult | None = None
        """What was found on the newest frame; its picture is upright RGB."""
        self._tracker = tracker if tracker is not None else HandTracker(config)
        self._tracker.set_live(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def process(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Take the hands one frame further, and draw them.

        Args:
            frame: Of any size and nearly any format; bits, palettes, mosaics and GPU memory are refused. A pts that is
                missing or does not grow is passed on as it is.

        Returns:
            A new frame; `frame` itself where nothing was drawn.

        Raises:
            InvalidInputError: It is not a video frame, its format cannot be drawn on or has no counterpart with alpha,
                or the filter is closed.
        """
        if self._closed:
            raise InvalidInputError("AvFilter: is closed; make a new one")
        if not isinstance(frame, av.VideoFrame):
            raise InvalidInputError(
                f"AvFilter: expected an av.VideoFrame, got {_kind_of(frame)}; pass on frames of video streams only"
            )
        if not frame.width or not frame.height:
            raise InvalidInputError("AvFilter: got an empty frame, of 0x0 pixels")
        layout_of(frame.format)  # refused before the tracker has seen it
        if self._alpha:
            with_alpha(frame.format)
        self.result = result = self._tracker.step(self._upright(frame))
        before, drawn = result.frame.image, self._renderer.render(result)
        stored = _reversed(self._converter.orientation)
        if any(stored):
            before, drawn = turned(before, stored), turned(drawn, stored)
        return self._repainter.repaint(frame, before, drawn)

    def reset(self) -> None:
        """Forget the hands: the frames that follow are of another stream. Their ids go on."""
        self._tracker.reset()
        self._timeline = self.result = None

    def close(self) -> None:
        """Let go of the models; more than once does no harm."""
        self._closed = True
        self._tracker.close()

    def _upright(self, frame: av.VideoFrame) -> Frame:
        """`frame` as the tracker takes it: numbered, upright RGB, with a pts that grows."""
        captured_ns = now_ns()
        try:
            image = self._converter.convert(frame)
        except OSError as exc:
            raise unconvertible(frame) from exc
        time_base = Fraction(frame.time_base) if frame.time_base else _TIME_BASE_WHERE_UNKNOWN
        self._timeline = self._timeline or Timeline(_NAME, time_base, None)
        return self._timeline.frame(Picture(image, frame.pts, time_base, captured_ns))


def av_filter(
    frames: Iterable[av.VideoFrame] | InputContainer,
    config: PipelineConfig | None = None,
    *,
    tracker: TrackerCore | None = None,
) -> Iterator[av.VideoFrame]:
    """Draw the hands into every frame of a stream; see `AvFilter` for what stays as it is.

    The models are loaded when the first frame is asked for, and let go of at the end.

    Args:
        frames: Frames in order, for example `container.decode(video=0)`; or a container that is open for reading, whose
            best video stream is taken. It is not closed.
        config: Settings; the effect's are what is drawn.
        tracker: Instead of one made from `config`; closed at the end.

    Returns:
        An iterator over as many frames.

    Raises:
        InvalidInputError: `frames` is neither; while iterating, as `AvFilter.process`.
        SourceOpenError: The container holds no video.
        SourceLostError: While iterating: the container can be read no further.
    """
    return _filtered(_frames_of(frames), config, tracker)


def _frames_of(frames: object) -> Iterator[Any]:
    if isinstance(frames, InputContainer):
        stream = frames.streams.best("video")
        if stream is None:
            raise SourceOpenError(f"{_NAME}: {frames.name or 'the container'} holds no video")
        return _decoded(frames, stream.index)
    if isinstance(frames, str | bytes | PathLike):
        raise InvalidInputError(f"{_NAME}: expected frames or a container, got {frames!r}; open it first: av.open(...)")
    if isinstance(frames, av.VideoFrame):
        raise InvalidInputError(f"{_NAME}: expected an iterable of frames, got one; use AvFilter().process(frame)")
    if not isinstance(frames, Iterable):
        raise InvalidInputError(
            f"{_NAME}: expected an iterable of av.VideoFrame or a container open for reading, got {_kind_of(frames)}"
        )
    return iter(frames)


def _decoded(container: InputContainer, stream: int) -> Iterator[Any]:
    try:
        yield from container.decode(container.streams[stream])
    except (FFmpegError, OSError) as exc:  # OSError: a file object's own, passed through by PyAV
        raise SourceLostError(
            f"{_NAME}: {container.name or 'the container'} can be read no further: {exc.strerror or exc}"
        ) from exc


def _filtered(
    frames: Iterator[Any], config: PipelineConfig | None, tracker: TrackerCore | None
) -> Iterator[av.VideoFrame]:
    with AvFilter(config, tracker=tracker) as hands:
        for frame in frames:
            yield hands.process(frame)


def _reversed(orientation: Orientation) -> Orientation:
    """How an upright picture is turned to lie as the stored one did."""
    transpose, mirror, upend = orientation
    return (True, upend, mirror) if transpose else orientation


def _kind_of(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
