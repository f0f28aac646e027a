"""CUDA graphs of the encoder and of the fixed step: captured once for each shape, replayed on every frame.

About 700 kernels make a frame of SAM2 tiny, and launching them one by one takes longer than most of them run. A replay
reads and writes fixed addresses, so inputs are copied in, and outputs are valid until the next replay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

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


def capture_on_cuda(run: Callable[[], T]) -> tuple[Callable[[], None], T]:
    """Capture `run` as a CUDA graph.

    The first runs let libraries choose their kernels, which must not happen while capturing. Errors of other threads'
    CUDA calls meanwhile are not ours (`thread_local`).
    """
    for _ in range(_RUNS_BEFORE_CAPTURE):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = run()
    return graph.replay, outputs


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
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as exc:
            self.failure = (str(exc).splitlines() or [type(exc).__name__])[0]
            _log.warning(
                "sam2: the %s cannot be captured as a CUDA graph (%s); it runs uncaptured", self._subject, self.failure
            )
            return None
        self.count += 1
        return replay, outputs  # type: ignore[return-value]


def _compiled(run: Callable[..., T], wanted: bool) -> Callable[..., T]:
    return torch.compile(run, fullgraph=True, dynamic=False) if wanted else run


class GraphEncoder:
    """The image encoder on its own stream, captured where that is wanted.

    Args:
        model: The modules.
        capture: Capture a graph.
        compile_: Compile with torch.compile.
        capturer: How to capture.
    """

    def __init__(self, model: Sam2Model, capture: bool, compile_: bool, capturer: Capturer = capture_on_cuda) -> None:
        self._run = _compiled(model.encode_image, compile_)
        self._captures = _Captures(capturer if capture else None, "encoder")
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
        capturer: How to capture.
    """

    def __init__(self, model: Sam2Model, capture: bool, compile_: bool, capturer: Capturer = capture_on_cuda) -> None:
        self._model = model
        self._compile = compile_
        self._captures = _Captures(capturer if capture else None, "step")
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
            own = self._own_features(features)
            if captured is None and self._captures.wanted:
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
