"""Runs over a source that is given by its name."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gest_stream import pipeline
from gest_stream.buffer import FrameRing
from gest_stream.build import models
from gest_stream.build.tracker import HandTracker
from gest_stream.config import PipelineConfig
from gest_stream.interfaces import Sink, Source
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult

_EXIT_POLL_S = 0.5


class Pipeline(pipeline.Pipeline):
    """A `pipeline.Pipeline` that is opened by the name of its source."""

    @classmethod
    def open(
        cls,
        source: str | Path | Source,
        *,
        config: PipelineConfig | None = None,
        sinks: Sequence[Sink] = (),
        realtime: bool = False,
        tracker: TrackerCore | None = None,
        token: str | None = None,
    ) -> Pipeline:
        """A run over `source`; enter it with `async with`.

        Args:
            source: A file, a camera index, a URL, "-", "synthetic:demo", … as `sources.open_source` reads it, or a
                source.
            config: Settings.
            sinks: Where results go besides the iterator.
            realtime: Play a file at its own speed, dropping what comes too fast, as a camera would.
            tracker: Instead of a `HandTracker` made from `config`; closed with the pipeline, unless the source cannot
                be opened.
            token: Bearer token of a WHEP server.

        Raises:
            SourceOpenError: `source` names nothing that can be read; files are opened on entering.
        """
        config = config or PipelineConfig()
        if isinstance(source, str | Path):
            from gest_stream.sources.open import open_source

            source = open_source(str(source), realtime=realtime, config=config.source, rtc=config.rtc, token=token)

        def make_tracker() -> TrackerCore:
            return tracker or HandTracker(config, detector=models.make_detectors(config))

        return cls(source, make_tracker, sinks, config.buffer)


async def save_frames(source: Source, path: Path, on_frame: Callable[[Frame], None] | None = None) -> None:
    """Write the frames of an entered source to a video file, untouched.

    Args:
        source: Entered; read to its end.
        path: The file; its suffix chooses the container.
        on_frame: Called after each frame, for progress.

    Raises:
        SinkError: The file cannot be written.
    """
    from gest_stream.sinks.video import VideoSink

    sink = VideoSink(path)
    try:
        await sink.open(source.info, source.audio)
        async for frame in source:
            await sink.write(FrameResult(frame))
            if on_frame is not None:
                on_frame(frame)
    finally:
        await sink.close()


def track(
    source: str | Path | Source,
    *,
    config: PipelineConfig | None = None,
    sinks: Sequence[Sink] = (),
    realtime: bool = False,
    tracker: TrackerCore | None = None,
) -> Iterator[FrameResult]:
    """Iterate over the results of `source` in plain synchronous code.

    The run has an event loop on a thread of its own; leaving the loop early ends it and finishes the sinks.

    Args:
        source: As for `Pipeline.open`.
        config: Settings.
        sinks: Where results go besides the iterator.
        realtime: Play a file at its own speed, as a camera would.
        tracker: Instead of a `HandTracker` made from `config`.

    Yields:
        One result a frame, in order.

    Raises:
        GestStreamError: What ended the run early.
    """
    begun: queue.SimpleQueue[tuple[Callable[[], None], FrameRing[FrameResult]] | None] = queue.SimpleQueue()
    errors: list[BaseException] = []

    async def run() -> None:
        async with Pipeline.open(source, config=config, sinks=sinks, realtime=realtime, tracker=tracker) as opened:
            ring = opened.subscribe()
            begun.put((opened.stop, ring))
            ended = asyncio.create_task(opened.finish())
            while not (await asyncio.wait({ended}, timeout=_EXIT_POLL_S))[0]:
                if not threading.main_thread().is_alive():  # the program ends without having left the loop
                    opened.stop()
                    ring.close(discard=True)
            ended.result()

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as exc:
            errors.append(exc)
        begun.put(None)

    thread = threading.Thread(target=work, name="gest-stream-track")
    thread.start()
    try:
        started = begun.get()
        if started is not None:
            stop, ring = started
            try:
                while (result := ring.take()) is not None:
                    yield result
            finally:
                stop()
                ring.close(discard=True)
    finally:
        thread.join()
    if errors:
        raise errors[0]
