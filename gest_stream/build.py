"""The one place that wires concrete classes: settings in, a detector, segmenter, tracker or pipeline out."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gest_stream import pipeline
from gest_stream.buffer import FrameRing
from gest_stream.clock import now_ns
from gest_stream.config import PipelineConfig, RedetectorKind, SegmenterKind
from gest_stream.errors import ConfigError
from gest_stream.interfaces import HandDetector, Redetector, Segmenter, Sink, Source
from gest_stream.tracking.redetection import Redetection
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult

_LOG = logging.getLogger(__name__)
_DEFAULT_TIME_BASE = Fraction(1, 30)
_EXIT_POLL_S = 0.5


def choose_segmenter(config: PipelineConfig) -> tuple[SegmenterKind, str]:
    """Which segmenter `config` gets on this machine, and why, in one line."""
    if config.segmenter is not SegmenterKind.AUTO:
        return config.segmenter, f"{config.segmenter}: asked for"
    lacking = _what_sam2_lacks(config)
    if lacking:
        return SegmenterKind.LIGHT, f"light: needs no weights and runs on any CPU; sam2 was not taken: {lacking}"
    return SegmenterKind.SAM2, f"sam2: the {config.sam2.size} model's weights and a CUDA device are here"


def _what_sam2_lacks(config: PipelineConfig) -> str:
    """Why `auto` does not take sam2; "" where it does. Weights are looked for first: torch takes seconds to import."""
    from gest_stream.models.registry import find_model_file, sam2_weights_name
    from gest_stream.models.store import ModelStore

    name = sam2_weights_name(config.sam2.size)
    if config.sam2.checkpoint is None and not ModelStore().path(name).exists():
        short = find_model_file(name).short_name
        return f"its weights are not here (fetch them with 'gest-stream models fetch {short}')"
    if not config.sam2.device.startswith(("auto", "cuda")):
        return f"it is to run on {config.sam2.device}, where it takes seconds a frame"
    import torch

    return "" if torch.cuda.is_available() else "torch sees no CUDA device"


def make_segmenter(config: PipelineConfig) -> Segmenter[Any] | None:
    """The segmenter of `config`; None for `none`, which tracks landmarks only.

    Raises:
        WeightsError: Its weights can neither be found nor fetched, or belong to another model.
        DeviceError: Its device is not there.
    """
    kind, reason = choose_segmenter(config)
    _LOG.info("segmenter %s", reason)
    if kind is SegmenterKind.NONE:
        return None
    if kind is SegmenterKind.SAM2:
        return _make_sam2(config)
    from gest_stream.models.light import LightSegmenter

    return LightSegmenter(config.light)


def _make_sam2(config: PipelineConfig) -> Segmenter[Any]:
    from gest_stream.models.registry import sam2_weights_name
    from gest_stream.models.sam2 import Sam2Segmenter, load_engine
    from gest_stream.models.store import ModelStore

    checkpoint = config.sam2.checkpoint or ModelStore().fetch(sam2_weights_name(config.sam2.size))
    engine = load_engine(config.sam2, checkpoint, config.tracker.max_tracks)
    segmenter = Sam2Segmenter(engine)
    if engine.compute.is_cuda:
        segmenter.warmup((1280, 720), config.tracker.max_tracks)
    else:
        _LOG.warning(
            "sam2 on %s at %d pixels takes seconds a frame; a smaller --image-size is faster, and the segmenter light "
            "keeps up with a camera",
            *(engine.compute.device, config.sam2.image_size),
        )
    return segmenter


def choose_redetector(config: PipelineConfig) -> tuple[RedetectorKind, str]:
    """Which redetector `config` gets on this machine, and why, in one line."""
    wanted = config.redetector
    if choose_segmenter(config)[0] is SegmenterKind.NONE:
        return RedetectorKind.NONE, "none: there is no segmenter that it would prompt"
    if wanted.kind is not RedetectorKind.AUTO:
        return wanted.kind, f"{wanted.kind}: asked for"
    if wanted.checkpoint is not None:
        return RedetectorKind.DINO, f"dino: its checkpoint {wanted.checkpoint} was given"
    from gest_stream.models.registry import GEST_DETECTRON, find_model_file
    from gest_stream.models.store import ModelStore

    if not ModelStore().path(GEST_DETECTRON).exists():
        fetch = f"gest-stream models fetch {find_model_file(GEST_DETECTRON).short_name}"
        return RedetectorKind.NONE, f"none: no weights are here (fetch them with '{fetch}', or train some)"
    if not wanted.device.startswith(("auto", "cuda")):
        return RedetectorKind.NONE, f"none: it is to run on {wanted.device}, where gest_detectron's takes seconds"
    import torch

    if not torch.cuda.is_available():
        return RedetectorKind.NONE, "none: torch sees no CUDA device, and without one gest_detectron's takes seconds"
    return RedetectorKind.DINO, "dino: gest_detectron's weights and a CUDA device are here"


def make_redetector(config: PipelineConfig) -> Redetector | None:
    """The redetector of `config`; None where there is none.

    Raises:
        WeightsError: Its weights can neither be found nor fetched, or belong to another model.
        ConfigError: It is `builtin`, and no checkpoint is given.
        DeviceError: Its device is not there.
    """
    kind, reason = choose_redetector(config)
    _LOG.info("redetector %s", reason)
    if kind is RedetectorKind.NONE:
        return None
    checkpoint = config.redetector.checkpoint
    if checkpoint is None and kind is RedetectorKind.BUILTIN:
        raise ConfigError(
            "redetector builtin: this version ships no weights for it; train some with 'gest-stream train decoder "
            "--backbone nano' and give them with --redetector-checkpoint"
        )
    from gest_stream.models.redetector import load_redetector
    from gest_stream.models.registry import GEST_DETECTRON
    from gest_stream.models.store import ModelStore

    return load_redetector(config.redetector, checkpoint or ModelStore().fetch(GEST_DETECTRON))


def _make_redetection(config: PipelineConfig, redetector: Redetector | None) -> Redetection | None:
    if redetector is None:
        return None
    from gest_stream.models.map_flow import FlowCarrier

    return Redetection(redetector, FlowCarrier(), config.tracker.redetection.regions)


def make_detector(config: PipelineConfig) -> HandDetector:
    """MediaPipe's hand landmarker with the model file of `config`, fetched first where it is absent.

    Raises:
        WeightsError: The model file can neither be found nor fetched.
        MissingDependencyError: mediapipe is not installed.
    """
    from gest_stream.models.hands import MediaPipeHands
    from gest_stream.models.registry import HAND_LANDMARKER
    from gest_stream.models.store import ModelStore

    model_path = config.hands.model_path or ModelStore().fetch(HAND_LANDMARKER)
    return MediaPipeHands(config.hands, model_path)


class HandTracker(TrackerCore):
    """Tracks hands through frames that the caller has: landmarks, masks and stable ids.

    >>> tracker = HandTracker()                        # doctest: +SKIP
    >>> for rgb in frames:                             # doctest: +SKIP
    ...     for hand in tracker.step(rgb).tracks:
    ...         print(hand.id, hand.handedness, hand.mask.area_px)

    Args:
        config: Settings; the source's and the sinks' are not used.
        detector: Instead of MediaPipe.
        segmenter: Instead of the one that `config` names.
        redetector: Instead of the one that `config` names.

    Raises:
        ModelError: A model cannot be loaded.
    """

    def __init__(
        self,
        config: PipelineConfig | None = None,
        *,
        detector: HandDetector | None = None,
        segmenter: Segmenter[Any] | None = None,
        redetector: Redetector | None = None,
    ) -> None:
        config = config or PipelineConfig()
        segmenter = segmenter or make_segmenter(config)
        if redetector is None and segmenter is not None:
            redetector = make_redetector(config)
        super().__init__(
            detector or make_detector(config),
            segmenter,
            config.tracker,
            _make_redetection(config, redetector),
        )
        self._steps = 0

    def step(self, frame: Frame | NDArray[np.uint8], pts: int | None = None) -> FrameResult:
        """Advance by one frame.

        Args:
            frame: A `Frame`, or an (H, W, 3) uint8 RGB array.
            pts: Media time of an array, in thirtieths of a second; counted from 0 where it is not given. It must
                grow from call to call.

        Returns:
            The hands on it; `tracks` is empty where there is none.

        Raises:
            InvalidInputError: The array has another dtype or shape.
        """
        if not isinstance(frame, Frame):
            frame = Frame(frame, self._steps if pts is None else pts, _DEFAULT_TIME_BASE, now_ns(), self._steps)
        self._steps += 1
        return super().step(frame)


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

        Raises:
            SourceOpenError: `source` names nothing that can be read; files are opened on entering.
        """
        config = config or PipelineConfig()
        if isinstance(source, str | Path):
            from gest_stream.sources.open import open_source

            source = open_source(str(source), realtime=realtime, config=config.source)
        return cls(source, lambda: tracker or HandTracker(config), sinks, config.buffer)


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
