"""CUDA graphs of the encoder and of the fixed step: captured once for each shape, replayed on every frame.

About 700 kernels make a frame of SAM2 tiny, and launching them one by one takes longer than most of them run. A replay
reads and writes fixed addresses, so inputs are copied in, and outputs are valid until the next replay.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.models.sam2_frames import FrameUpload
from gest_stream.models.sam2_model import Features, Sam2Model
from gest_stream.models.sam2_runners import FixedInputs, FixedShape, FixedStep, Tracked

_log = logging.getLogger(__name__)

_RUNS_BEFORE_CAPTURE = 3

T = TypeVar("T")
Capturer = Callable[[Callable[[], object]], tuple[Callable[[], None], object]]
"""Captures a call without arguments: what replays it, and its outputs, which a replay writes again."""


def capture_on_cuda(
    run: Callable[[], T], stream: torch.cuda.Stream | None = None, pool: Any = None
) -> tuple[Callable[[], None], T]:
    """Capture `run` as a CUDA graph.

    The first runs let libraries choose their kernels, which must not happen while capturing. Errors of other threads'
    CUDA calls meanwhile are not ours (`thread_local`).

    Args:
        run: Reads and writes the same addresses whenever it is called.
        stream: To capture on. Graphs that are replayed at the same time must not share one: cuBLAS keeps a workspace
            for each stream, and its address is part of the graph. None makes one.
        pool: Memory for intermediate results, from `torch.cuda.graph_pool_handle`; shared only by graphs that are
            never replayed at the same time and whose outputs are read at once. None takes new memory.
    """
    stream = stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    with torch.cuda.stream(stream):
        for _ in range(_RUNS_BEFORE_CAPTURE):
            run()
        torch.cuda.synchronize(stream.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            outputs = run()
    torch.cuda.synchronize(stream.device)
    return graph.replay, outputs


class CaptureStream:
    """A stream on which the graphs of engines that work at the same time are captured, one after the other.

    For graphs that are all replayed on one and the same other stream, as the steps of all engines are on the default
    stream: so no two of them run at once, and they may share cuBLAS's workspace. With a stream for each engine they
    might come to share the encoder's: torch has 32 streams, which it hands out in turn.

    Args:
        device: A CUDA device.
        turn: Held while capturing.
    """

    def __init__(self, device: torch.device, turn: threading.Lock) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._turn = turn

    def capturer(self) -> Capturer:
        """Captures here, with memory of its own."""
        pool = torch.cuda.graph_pool_handle()

        def capture(run: Callable[[], object]) -> tuple[Callable[[], None], object]:
            with self._turn:
                return capture_on_cuda(run, self._stream, pool)

        return capture


def _capturer(model: Sam2Model, capture: bool, capturer: Capturer | None) -> Capturer | None:
    """The given one, else one that captures on a stream and in a memory pool of its own; None where none is wanted."""
    if not capture or capturer is not None:
        return capturer if capture else None
    stream = torch.cuda.Stream(model.compute.device)  # type: ignore[no-untyped-call]
    pool = torch.cuda.graph_pool_handle()
    return lambda run: capture_on_cuda(run, stream, pool)


class _Captures:
    """Captures for one owner; the first failure ends all capturing, and is said once."""

    def __init__(self, capturer: Capturer | None, subject: str) -> None:
        self._capturer = capturer
        self._subject = subject
        self.count = 0
        self.failure = ""

    @property
    def wanted(self) -> bool:
        return self._capturer is not None and not self.failure

    def capture(self, run: Callable[[], T]) -> tuple[Callable[[], None], T] | None:
        """None where capturing is not wanted or fails."""
        if self._capturer is None or self.failure:
            return None
        try:
            replay, outputs = self._capturer(run)
        except RuntimeError as exc:  # a lack of memory too: a graph needs memory of its own, an eager run may not
            self.failure = (str(exc).splitlines() or [type(exc).__name__])[0]
            if isinstance(exc, torch.OutOfMemoryError) and torch.cuda.is_available():
                torch.cuda.empty_cache()
            _log.warning(
                "sam2: the %s cannot be captured as a CUDA graph (%s); it runs uncaptured", self._subject, self.failure
            )
            return None
        self.count += 1
        return replay, outputs  # type: ignore[return-value]


def _compiled(run: Callable[..., T], wanted: bool) -> Callable[..., T]:
    """`run` through torch.compile, where that is wanted and works; it is tried when it is first called."""
    if not wanted:
        return run
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    compiled: Callable[..., T] | None = torch.compile(run, fullgraph=True, dynamic=False)

    def call(*args: object) -> T:
        nonlocal compiled
        if compiled is not None:
            try:
                return compiled(*args)
            except (TorchDynamoException, FailOnRecompileLimitHit) as exc:
                compiled = None
                _log.warning("sam2: torch.compile does not work here (%s); going on without", str(exc).splitlines()[0])
        return run(*args)

    return call


class ImageEncoder(Protocol):
    """What an engine encodes pictures with: its own, or one that several engines share."""

    @property
    def captured(self) -> int:
        """Graphs that were captured."""
        ...

    @property
    def failure(self) -> str:
        """Why capturing failed; "" where it did not."""
        ...

    def __call__(self, upload: FrameUpload, image: NDArray[np.uint8]) -> tuple[Features, torch.cuda.Event | None]:
        """Features of an image, and on CUDA the event after which they are there."""
        ...


class GraphEncoder:
    """The image encoder on its own stream, captured where that is wanted, once for each number of pictures.

    Several threads may call it; what a graph reads and writes is used by one at a time.

    Args:
        model: The modules.
        capture: Capture a graph.
        compile_: Compile with torch.compile.
        capturer: How to capture, if not as CUDA does.
    """

    def __init__(self, model: Sam2Model, capture: bool, compile_: bool, capturer: Capturer | None = None) -> None:
        self._run = _compiled(model.encode_image, compile_)
        self._captures = _Captures(_capturer(model, capture, capturer), "encoder")
        self._stream = torch.cuda.Stream(model.compute.device) if model.compute.is_cuda else None  # type: ignore[no-untyped-call]
        self._graphs: dict[int, tuple[Callable[[], None], torch.Tensor, Features]] = {}
        self._replaying = threading.Lock()

    @property
    def captured(self) -> int:
        """Graphs that were captured."""
        return self._captures.count

    @property
    def failure(self) -> str:
        """Why capturing failed; "" where it did not."""
        return self._captures.failure

    def __call__(self, upload: FrameUpload, image: NDArray[np.uint8]) -> tuple[Features, torch.cuda.Event | None]:
        """Features of an image, and on CUDA the event after which they are there."""
        return self.encode(self.prepare(upload, image))

    def prepare(self, upload: FrameUpload, image: NDArray[np.uint8]) -> torch.Tensor:
        """The picture that `encode` takes, made on the encoder's stream."""
        with self._on_stream():
            return upload(image)

    def encode(self, pictures: torch.Tensor) -> tuple[Features, torch.cuda.Event | None]:
        """Features of B pictures that were prepared, (B, 3, S, S), and on CUDA the event after which they are there."""
        with self._on_stream():
            features = self._features(pictures)
            if self._stream is None:
                return features, None
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
        return features, ready

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _features(self, pictures: torch.Tensor) -> Features:
        count = pictures.shape[0]
        if count not in self._graphs and not self._captures.wanted:
            return self._run(pictures)
        with self._replaying:
            graph = self._graphs.get(count) or self._capture(pictures)
            if graph is None:
                return self._run(pictures)
            replay, static, features = graph
            static.copy_(pictures)
            replay()
            # the next frame may be encoded while this one's features are still read
            return Features(*(tensor.clone() for tensor in features.tensors()))

    def _capture(self, pictures: torch.Tensor) -> tuple[Callable[[], None], torch.Tensor, Features] | None:
        static = pictures.clone()
        captured = self._captures.capture(lambda: self._run(static))
        if captured is None:
            return None
        replay, features = captured
        self._graphs[pictures.shape[0]] = graph = (replay, static, features)
        return graph


class GraphSteps:
    """Captures the fixed step, once for each shape.

    Args:
        model: The modules.
        capture: Capture graphs.
        compile_: Compile with torch.compile.
        capturer: How to capture, if not as CUDA does.
    """

    def __init__(self, model: Sam2Model, capture: bool, compile_: bool, capturer: Capturer | None = None) -> None:
        self._model = model
        self._compile = compile_
        self._captures = _Captures(_capturer(model, capture, capturer), "step")
        self._features: Features | None = None

    @property
    def captured(self) -> int:
        """Graphs that were captured."""
        return self._captures.count

    @property
    def failure(self) -> str:
        """Why capturing failed; "" where it did not."""
        return self._captures.failure

    def wrap(self, step: FixedStep, shape: FixedShape) -> FixedStep:
        """The step of one shape, captured when it is first called."""
        run = _compiled(step, self._compile)
        if not self._captures.wanted:
            return run
        static: FixedInputs | None = None
        captured: tuple[Callable[[], None], Tracked] | None = None

        def replayed(features: Features, inputs: FixedInputs) -> Tracked:
            nonlocal static, captured
            if captured is None and not self._captures.wanted:
                return run(features, inputs)
            own = self._own_features(features)
            if captured is None:
                static = fixed = FixedInputs(*(tensor.clone() for tensor in inputs.tensors()))
                captured = self._captures.capture(lambda: run(own, fixed))
                _log.debug("sam2: captured the step for %s", shape)
            if captured is None or static is None:
                return run(features, inputs)
            for mine, given in zip(static.tensors(), inputs.tensors(), strict=True):
                mine.copy_(given)
            replay, outputs = captured
            replay()
            return outputs

        return replayed

    def _own_features(self, features: Features) -> Features:
        """This frame's features at the addresses that every graph reads."""
        if self._features is None:
            self._features = Features(*(tensor.clone() for tensor in features.tensors()))
            return self._features
        for mine, given in zip(self._features.tensors(), features.tensors(), strict=True):
            mine.copy_(given)
        return self._features
