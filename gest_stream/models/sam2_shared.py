"""SAM2 for several sessions at a time: one set of weights, and a memory of its own for each session.

    with load_shared(config, checkpoint) as shared:
        one, other = shared.segmenter(), shared.segmenter()   # each with a thread of its own, or several
        ...
        one.close()                                           # the other goes on

Shared are the weights, the constants made of them, the encoder with its stream and its CUDA graphs, and the stream
that steps are captured on. Each session has its memory bank, its gate, its upload of frames and the graphs of its
steps. Steps of all sessions run on the device's default stream, one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from gest_stream.clock import now_ns
from gest_stream.config import BatchingConfig, Sam2Config, Sam2Runner
from gest_stream.errors import ModelError
from gest_stream.models.sam2 import Sam2Segmenter
from gest_stream.models.sam2_batcher import BatchingStats, EncoderBatcher, EncoderSeat
from gest_stream.models.sam2_device import Compute, choose_compute, out_of_memory_is_an_error, runner_of
from gest_stream.models.sam2_engine import Sam2Engine, WarmUp
from gest_stream.models.sam2_graphs import CaptureStream, GraphEncoder
from gest_stream.models.sam2_model import Sam2Model
from gest_stream.models.sam2_weights import build_modules, load_checkpoint


class SessionSegmenter(Sam2Segmenter):
    """A segmenter over weights that others use, too. Nothing but `close` may be called once it is closed.

    Args:
        engine: Over the shared weights; belongs to the segmenter from now on.
        seat: What the engine encodes with; likewise.
    """

    def __init__(self, engine: Sam2Engine, seat: EncoderSeat) -> None:
        super().__init__(engine)
        self._seat = seat

    def close(self) -> None:
        """Free the session's memory; other sessions go on. A frame that waits to be encoded raises `ModelError`."""
        engine, self._engine = self._engine, None
        self._seat.close()
        if engine is not None:
            engine.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    model: Sam2Model
    batcher: EncoderBatcher
    step_captures: CaptureStream | None


class SharedSam2:
    """The weights of one SAM2 on one device, for any number of sessions. Safe from any thread.

    With `compile`, the encoder alone is compiled: steps are bound to a session's memory, and would be compiled anew for
    each.

    Args:
        modules: A `SAM2Base` with its weights (sam2_weights.py), which belongs to it from now on.
        config: Of every session.
        batching: How encoder passes are joined.

    Raises:
        DeviceError: The device is not there, or has too little memory.
        WeightsError: The modules are built in a way that the engine does not follow.
    """

    def __init__(self, modules: Any, config: Sam2Config | None = None, batching: BatchingConfig | None = None) -> None:
        self.config = config if config is not None else Sam2Config()
        self._batching = batching if batching is not None else BatchingConfig()
        chosen = choose_compute(self.config)
        # said anew in every thread: sessions come at any time, and a redetector may just have set another number
        self.compute = replace(chosen, threads=self.config.threads or torch.get_num_threads())
        self._lock = threading.Lock()
        with out_of_memory_is_an_error(self.compute.device, self.config, "loading the model"):
            self._loaded: _Loaded | None = _load(modules, self.compute, self.config, self._batching)
        self.compute.synchronize()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sessions(self) -> int:
        """Segmenters that are open; 0 once this was closed."""
        return self._loaded.batcher.seats if self._loaded is not None else 0

    @property
    def stats(self) -> BatchingStats:
        """What was encoded so far; nothing once this was closed."""
        return self._loaded.batcher.stats if self._loaded is not None else BatchingStats()

    def warmup(self) -> WarmUp:
        """Pay for the encoder's first-time costs now, for every number of pictures; sessions warm up their own steps.

        Raises:
            ModelError: It was closed.
            DeviceError: The GPU's memory is full.
        """
        loaded, start = self._still_loaded(), now_ns()
        encoder, side = loaded.batcher.encoder, loaded.model.image_size
        for count in range(1, loaded.batcher.most + 1):
            with (
                out_of_memory_is_an_error(self.compute.device, self.config, f"encoding {count} frames together"),
                self.compute.active(),
            ):
                encoder.encode(torch.zeros(count, 3, side, side, device=self.compute.device))
        self.compute.synchronize()
        return WarmUp((now_ns() - start) / 1e9, encoder.captured, encoder.failure)

    def segmenter(self, max_objects: int = 8) -> SessionSegmenter:
        """A segmenter for one session, with room for so many objects.

        Raises:
            ModelError: It was closed.
            DeviceError: The GPU's memory has no room for one more session.
        """
        with self._lock:
            loaded = self._still_loaded()
            seat = loaded.batcher.seat()
        capturer = loaded.step_captures.capturer() if loaded.step_captures is not None else None
        try:
            engine = Sam2Engine(loaded.model, replace(self.config, compile=False), max_objects, seat, capturer)
        except BaseException:
            seat.close()
            raise
        return SessionSegmenter(engine, seat)

    def close(self) -> None:
        """Begin no more sessions, and join the thread; more than once does no harm.

        The weights are freed when the last session is closed, too; until then open ones go on, encoding alone.
        """
        with self._lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.batcher.close()

    def _still_loaded(self) -> _Loaded:
        if self._loaded is None:
            raise ModelError("sam2: the shared weights were closed; load them anew")
        return self._loaded


def _load(modules: Any, compute: Compute, config: Sam2Config, batching: BatchingConfig) -> _Loaded:
    model, capturer, steps = Sam2Model(modules, compute), None, None
    graphs = runner_of(config, compute) is Sam2Runner.GRAPH
    if graphs:
        turn = threading.Lock()
        capturer = CaptureStream(compute.device, turn).capturer()
        steps = CaptureStream(compute.device, turn)
    encoder = GraphEncoder(model, graphs, config.compile, capturer)
    return _Loaded(model, EncoderBatcher(encoder, compute, batching), steps)


def load_shared(
    config: Sam2Config, checkpoint: Path, batching: BatchingConfig | None = None, overrides: Sequence[str] = ()
) -> SharedSam2:
    """The weights of a checkpoint for several sessions.

    Args:
        config: Size, image size, device and all else, of every session.
        checkpoint: The weights.
        batching: How encoder passes are joined.
        overrides: Settings of the `sam2` package's config, for models of other shapes.

    Raises:
        WeightsError: The checkpoint cannot be read or is of another size.
        DeviceError: The device is not there, or has too little memory.
        MissingDependencyError: The package sam2 is not installed.
    """
    modules = build_modules(config.size, config.image_size, overrides)
    load_checkpoint(modules, checkpoint, f"sam2.1 {config.size}")
    return SharedSam2(modules, config, batching)
