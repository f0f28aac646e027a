"""CUDA graphs of the encoder and of the fixed step: captured once for each shape, replayed on every frame.

About 700 kernels make a frame of SAM2 tiny, and launching them one by one takes longer than most of them run. A replay
reads and writes fixed addresses, so inputs are copied in, and outputs are valid until the next replay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

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


class GraphEncoder:
    """The image encoder on its own stream, captured where that is wanted.

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
        self._input: torch.Tensor | None = None
        self._captured: tuple[Callable[[], None], Features] | None = None

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
        if self._stream is None:
            return self._features(upload(image)), None
        with torch.cuda.stream(self._stream):
            features = self._features(upload(image))
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
        return features, ready

    def _features(self, picture: torch.Tensor) -> Features:
        if self._captured is None and self._captures.wanted:
            self._input = static = picture.clone()
            self._captured = self._captures.capture(lambda: self._run(static))
        if self._captured is None or self._input is None:
            return self._run(picture)
        replay, features = self._captured
        self._input.copy_(picture)
        replay()
        # the next frame may be encoded while this one's features are still read
        return Features(*(tensor.clone() for tensor in features.tensors()))


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
