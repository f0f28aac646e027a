"""Processes that make clips by their keys and keep them on disk, for everything that is rendered ahead of a training.

Processes of their own, not threads: torch shares one setting of its thread count among all of a process. And not
`multiprocessing`, which runs the caller's script again in every child.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import Any, Self

from gest_stream.errors import GestStreamError, InvalidInputError


def make_in_processes(module: str, job: Any, keys: Sequence[str], workers: int) -> Generator[str, None, None]:
    """Have clips made, and yield the key of each, in order, once it is there.

    The processes end when the iterator does, is closed or is dropped.

    Args:
        module: Runs as `python -m module` and calls `serve`.
        job: What all clips have in common; is pickled.
        keys: Names of the clips, without line ends.
        workers: Number of processes, 1 or more.

    Raises:
        InvalidInputError: A clip could not be made, or a process ended early.
    """
    idle: SimpleQueue[_Process] = SimpleQueue()

    def make(key: str) -> str:
        process = idle.get()
        try:
            process.make(key)
        finally:
            idle.put(process)
        return key

    with ExitStack() as stack:
        threads = ThreadPoolExecutor(workers)
        stack.callback(threads.shutdown, cancel_futures=True)
        for _ in range(workers):
            idle.put(stack.enter_context(_Process(module, job)))
        yield from threads.map(make, keys)


class _Process:
    """One process and the pipes to it; it is killed on leaving, which ends a `make` that waits for it."""

    def __init__(self, module: str, job: Any) -> None:
        self._module, self._job = module, pickle.dumps(job)

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", self._module]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        with suppress(OSError):  # it is gone already; `make` tells
            self._send(self._job)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what was asked of a process that is gone
                pipe.close()

    def _send(self, message: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(message)
        self._process.stdin.flush()

    def make(self, key: str) -> None:
        assert self._process.stdout is not None
        with suppress(OSError):
            self._send(key.encode() + b"\n")
        answer = self._process.stdout.readline().decode()
        if not answer.endswith("\n"):
            raise InvalidInputError(
                f"clip {key}: a rendering process ended early (exit status {self._process.poll()}); is memory short? "
                "fewer at a time need less: --workers 1"
            )
        if trouble := answer.strip():
            raise InvalidInputError(trouble)


def serve(prepare: Callable[[Any], Callable[[str], None]]) -> None:
    """Make the clips whose keys come line by line; answer each with an empty line, or with what went wrong.

    Args:
        prepare: Takes the job and gives what makes one clip of it.
    """
    # what a library prints must not end up among the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        make = prepare(pickle.load(sys.stdin.buffer))
        for line in sys.stdin.buffer:
            trouble = ""
            try:
                make(line.decode().strip())
            except (GestStreamError, OSError) as exc:
                trouble = " ".join(str(exc).split())
            print(trouble, file=answers, flush=True)  # noqa: T201
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
