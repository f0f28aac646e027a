"""Keeps the log lines that an inference library writes past Python off the process's standard error.

MediaPipe 1.x heeds none of the usual switches (GLOG_minloglevel, TF_CPP_MIN_LOG_LEVEL, GOOGLE_STDERRTHRESHOLD and its
own MpSetLoggingCallback were tried with 1.2.2: no line less was written), so file descriptor 2 itself is filtered.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_log = logging.getLogger(__name__)

_STDERR = 2
_NOISE = re.compile(
    rb"INFO: Created TensorFlow Lite "
    rb"|WARNING: Logging before InitGoogle\(\)"
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} [\d:.]+ +\d+ \S+\.(?:cc|h):\d+\] "
)

# File descriptor 2 belongs to the whole process: two filters at once would restore each other's redirection.
_one_at_a_time = threading.Lock()


@contextmanager
def native_log_filtered() -> Iterator[None]:
    """Hold back what is written to standard error meanwhile, then pass it on without the native library's chatter.

    Only lines of information and warning in absl's and TensorFlow Lite's own formats are taken out (they go to this
    module's logger at DEBUG); everything else, native errors and other threads' output included, is written when the
    block ends, in order. Keep the block short: a process that another thread starts meanwhile inherits the
    redirection, and what was held back is lost if the process is killed.
    """
    with _one_at_a_time:
        try:
            saved = os.dup(_STDERR)
        except OSError:  # no standard error, nothing to keep clean
            yield
            return
        try:
            with tempfile.TemporaryFile() as held:
                _flush_python()
                os.dup2(held.fileno(), _STDERR)
                try:
                    yield
                finally:
                    _flush_python()
                    os.dup2(saved, _STDERR)
                    _pass_on(held)
        finally:
            os.close(saved)


def _flush_python() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _pass_on(held: IO[bytes]) -> None:
    held.seek(0)
    for line in held:
        if _NOISE.match(line):
            _log.debug("%s", line.decode(errors="replace").rstrip())
        else:
            os.write(_STDERR, line)
