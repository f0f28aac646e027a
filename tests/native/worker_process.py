"""A worker in a process of its own, to be killed, stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_REPOSITORY = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """Starts on entering, and is gone on leaving.

    Args:
        arguments: Of Python, such as `-m tests.native.scripted_worker …`.
        runtime: XDG_RUNTIME_DIR, below which its socket is.
        ready: What it writes once hosts can connect.
    """

    def __init__(self, arguments: list[str], runtime: Path, ready: str = "ready") -> None:
        self._arguments = arguments
        self._environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "OMP_NUM_THREADS": "1"}
        self._ready = ready
        self._process: subprocess.Popen[str] | None = None
        self.address = runtime / "gest_stream" / "worker.sock"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert self._process is None
        self._process = subprocess.Popen(
            [sys.executable, *self._arguments],
            cwd=_REPOSITORY,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if self._ready in line:
                return
        self.kill()
        raise AssertionError(f"the worker ended before it was ready:\n{''.join(said)}")

    def kill(self) -> None:
        """Kill it, also where it hangs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
        self._process = None

    def hang(self) -> None:
        """Stop it, as a debugger would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
