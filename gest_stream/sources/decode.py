"""Demuxes and decodes one opened container: the core that files, pipes and network sources share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gest_stream.clock import now_ns
from gest_stream.config import Hwaccel
from gest_stream.errors import SourceLostError, SourceOpenError
from gest_stream.hwcodec import cuda_decoding
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.audio_tap import AudioTap
from gest_stream.sources.picture import RgbConverter
from gest_stream.sources.timeline import Picture, Timeline
from gest_stream.types import Frame

if TYPE_CHECKING:
    from av import FFmpegError, Packet, VideoFrame
    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_LOG = logging.getLogger(__name__)
_SHORT_BY_S = 1


def reason(exc: FFmpegError | OSError) -> str:
    """The words of an error itself, without the address it concerns (which may hold a password)."""
    return exc.strerror or type(exc).__name__


def open_container(
    target: Any,
    shown: str,
    *,
    format: str | None = None,
    options: dict[str, str] | None = None,
    timeout_s: tuple[float, float] | None = None,
    explain: Callable[[FFmpegError], str] = reason,
    buffer_bytes: int = 32768,
    hwaccel: Hwaccel = Hwaccel.NONE,
) -> InputContainer:
    """Open `target` for reading.

    Args:
        target: An FFmpeg address or a binary file object.
        shown: What the user called it, without secrets; the only name that reaches messages.
        format: FFmpeg's name of the container, None to find out.
        options: FFmpeg's options for the container and the protocol.
        timeout_s: Seconds that opening and each later read may take, None for ever.
        explain: Words for an error, with the remedy.
        buffer_bytes: Read at once from a file object.
        hwaccel: What decodes its video.

    Raises:
        SourceOpenError: It cannot be opened as a container, or the decoder that was asked for is not there.
    """
    import av

    accelerated = _decoding_by(hwaccel, shown)
    try:
        container: InputContainer = av.open(
            target,
            "r",
            format=format,
            container_options=options,
            timeout=timeout_s,
            metadata_errors="replace",
            buffer_size=buffer_bytes,
            hwaccel=accelerated,
        )
    except av.FFmpegError as exc:
        # The error and its traceback would print the address as it was given, with the password in it.
        exc.args = (*exc.args[:2], shown, *exc.args[3:])
        raise SourceOpenError(f"{shown}: {explain(exc)}") from exc
    except OSError as exc:  # a file object's own, passed through by PyAV
        raise SourceOpenError(f"{shown}: cannot be read: {reason(exc)}") from exc
    return container


def _decoding_by(hwaccel: Hwaccel, shown: str) -> HWAccel | None:
    if hwaccel is Hwaccel.NONE:
        return None
    accelerated = cuda_decoding()
    if accelerated is None and hwaccel is Hwaccel.CUDA:
        raise SourceOpenError(
            f"{shown}: source.hwaccel: no CUDA device can be opened for decoding; check the driver with nvidia-smi, "
            "or use 'auto', which falls back to the CPU"
        )
    _LOG.info("%s: %s decodes", shown, "the CPU" if accelerated is None else "NVDEC")
    return accelerated


class Decoder:
    """The frames of one container, and its audio packets on the side. Used from one thread.

    Args:
        container: Opened for reading; stays its owner's to close.
        name: What the user called it, for messages.
        audio: Takes the packets of its first audio stream.
        timeline: Carries numbering and pts on from an earlier container; None starts anew.
        resume: Give only what follows the timeline's last frame.
        threads: FFmpeg's threading: "AUTO" for throughput, "SLICE" where a frame of delay for every core matters.
        clock: Monotonic nanoseconds.

    Raises:
        SourceOpenError: It holds no video, or none that can be decoded.
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        audio: AudioTap,
        *,
        timeline: Timeline | None = None,
        resume: bool = False,
        threads: str = "AUTO",
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._container = container
        self._name = name
        self._audio = audio
        self._clock = clock
        self._converter = RgbConverter()
        self._damaged = 0
        self._stream = _video_stream(container, name)
        self._stream.thread_type = threads
        self._time_base = Fraction(self._stream.time_base or Fraction(1, 90_000))
        self._rate = _rate(self._stream)
        self._end: Fraction | None = None
        sound = next(iter(container.streams.audio), None)
        self._sound = sound if audio.connect(sound, resume) else None
        self.timeline = timeline or Timeline(name, self._time_base, self._rate)
        self._behind = self._seek(self.timeline) if resume else None
        self._frames = self._decode()
        try:
            first = next(self._frames, None)
        except SourceLostError as exc:
            raise SourceOpenError(str(exc)) from exc
        if first is None:
            raise SourceOpenError(
                f"{name}: its video stream ({self._stream.codec_context.name}) holds no frame that can be decoded; "
                "play it in another program to see whether the file is damaged"
            )
        self.first = first

    def info(self, live: bool) -> SourceInfo:
        """What is known of the stream, its first frame decoded."""
        return SourceInfo(
            self._name, live, self.first.size, self.first.time_base, self._rate, self._stream.frames or self._estimate()
        )

    @property
    def duration_s(self) -> Fraction | None:
        """Length that the container declares; None for an endless stream."""
        duration = self._container.duration
        return Fraction(duration, 1_000_000) if duration and duration > 0 else None

    def frames(self) -> Iterator[Frame]:
        """Every frame from the first on.

        Raises:
            SourceLostError: Reading failed before the end; every frame that could be decoded has been given.
        """
        yield self.first
        yield from self._frames

    @property
    def missing_s(self) -> float:
        """Seconds between the last frame and the end that a file's index promises."""
        if not self._stream.duration or self._end is None:
            return 0.0
        promised = ((self._stream.start_time or 0) + self._stream.duration) * self._time_base
        return float(promised - self._end)

    def warn_if_short(self) -> None:
        """Say so where the index promises more than there was: the file was cut off."""
        if self.missing_s > _SHORT_BY_S:
            _LOG.warning(
                "%s: the video ends %.1f s before the end its index promises; the file is cut off, copy it again",
                self._name,
                self.missing_s,
            )

    def _decode(self) -> Iterator[Frame]:
        import av

        failure: av.FFmpegError | OSError | None = None
        packets = self._container.demux(self._wanted())
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as exc:  # OSError: a file object's own, passed through by PyAV
                failure, packet = exc, None
            if packet is None:
                break
            if packet.stream.index == self._stream.index:
                yield from self._of_packet(packet)
            elif not self._take_other(packet):
                return
        if failure is not None:
            yield from self._of_packet(None)
            raise SourceLostError(f"{self._name}: reading failed: {reason(failure)}") from failure

    def _wanted(self) -> Sequence[Stream]:
        """The streams that are read."""
        return [self._stream] if self._sound is None else [self._stream, self._sound]

    def _take_other(self, packet: Packet[Any]) -> bool:
        """Take a packet that is not of the video; False ends the frames."""
        self._audio.take(packet, self.timeline.shift_s)
        return True

    def _of_packet(self, packet: Packet[Any] | None) -> Iterator[Frame]:
        """The frames that a packet completes; None takes those the decoder still holds."""
        import av

        try:
            decoded: list[VideoFrame] = self._stream.codec_context.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError as exc:
            self._damaged += 1
            if self._damaged == 1:
                _LOG.warning("%s: a damaged piece of video was skipped (%s)", self._name, reason(exc))
            return
        for frame in decoded:
            if self._behind is None or frame.pts is None or frame.pts > self._behind:
                yield self._finish(frame)

    def _finish(self, frame: VideoFrame) -> Frame:
        captured_ns = self._clock()
        time_base = self._time_base if frame.time_base is None else Fraction(frame.time_base)
        if frame.pts is not None:
            self._end = frame.pts * time_base
        return self.timeline.frame(Picture(self._converter.convert(frame), frame.pts, time_base, captured_ns))

    def _seek(self, timeline: Timeline) -> int | None:
        """Go to the keyframe before the timeline's last frame; that frame's pts, below which nothing is given again."""
        import av

        if timeline.end_s is None:
            return None
        last = round((timeline.end_s - timeline.shift_s) / self._time_base)
        try:
            self._container.seek(last, stream=self._stream)
        except av.FFmpegError as exc:
            _LOG.debug("%s: cannot seek (%s); reading it again from the start", self._name, reason(exc))
        return last

    def _estimate(self) -> int | None:
        if self._rate is None or self.duration_s is None:
            return None
        return round(self._rate * self.duration_s)


def _rate(stream: VideoStream) -> Fraction | None:
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate) if rate else None


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if streams:
        best = container.streams.best("video")
        chosen = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        if chosen.codec_context is None:
            raise SourceOpenError(f"{name}: FFmpeg has no decoder for its video; convert it to H.264 first")
        return chosen
    kinds = dict.fromkeys("a cover picture" if s.type == "video" else s.type for s in container.streams)
    held = f"only {' and '.join(kinds)}" if kinds else "no stream at all"
    raise SourceOpenError(f"{name}: holds no video, {held}; pass a file with a picture track")
