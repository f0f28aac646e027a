"""Renders a clip in several processes; `python -m gest_stream.synthetic.workers` is one of them.

Processes of their own, not threads: torch shares one setting of its thread count among all of a process. And not
`multiprocessing`, which runs the caller's script again in every child.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, Self

from gest_stream.errors import SourceLostError
from gest_stream.synthetic.clip import ClipRenderer
from gest_stream.synthetic.config import ClipConfig
from gest_stream.synthetic.truth import SyntheticFrame

_AHEAD = 2  # frames asked of a worker at a time: one it renders, one that waits in its pipe


def render_in_processes(config: ClipConfig, workers: int) -> Iterator[SyntheticFrame]:
    """Render a clip's frames in order, each by one of some worker processes, on the CPU.

    The frames are those that `render_clip` gives. The processes end when the iterator does, is closed or is dropped.

    Args:
        config: What to render.
        workers: Number of processes, 1 or more.

    Raises:
        SourceLostError: A worker ended early.
    """
    with ExitStack() as stack:
        crew = [stack.enter_context(_Worker(config)) for _ in range(workers)]
        asked: deque[int] = deque()
        for seq in range(config.frames):
            crew[seq % workers].ask(seq)
            asked.append(seq)
            if len(asked) >= _AHEAD * workers:
                yield crew[asked.popleft() % workers].answer()
        while asked:
            yield crew[asked.popleft() % workers].answer()


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, config: ClipConfig) -> None:
        self._config = config

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "gest_stream.synthetic.workers"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._send(self._config)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass  # what was asked of a worker that is gone
        self._process.wait()

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()
        except OSError as exc:
            raise self._lost() from exc

    def ask(self, seq: int) -> None:
        self._send(seq)

    def answer(self) -> SyntheticFrame:
        assert self._process.stdout is not None
        try:
            frame = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError) as exc:
            raise self._lost() from exc
        assert isinstance(frame, SyntheticFrame)
        return frame

    def _lost(self) -> SourceLostError:
        code = self._process.poll()
        return SourceLostError(
            f"synthetic: a rendering process ended early (exit status {code}); is memory short? "
            "rendering in this process (workers=1) needs less"
        )


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer frame numbers with frames until the pipe is closed."""
    renderer = ClipRenderer(pickle.load(requests))
    while True:
        try:
            seq = pickle.load(requests)
        except EOFError:
            return
        pickle.dump(renderer.frame(seq), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    # what a library prints must not end up among the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
