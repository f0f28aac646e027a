"""What others do is told from what is done here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.browser.other_work import OtherWork

_BUSY = "import time\nwhile time.process_time() < 30: pass"
_LAUNCH = """
from subprocess import DEVNULL, Popen
import sys
print(Popen([sys.executable, "-c", sys.argv[1]], stdout=DEVNULL).pid)
"""


def test_the_work_of_a_descendant_is_not_that_of_others() -> None:
    with _busy_child() as child:
        with OtherWork() as others:
            _let_work(child)
    assert child.pid not in others.taken_s


def test_the_work_of_a_process_that_descends_from_nobody_here_is_that_of_others() -> None:
    with _busy_orphan() as orphan:
        with OtherWork() as others:
            _let_work(orphan)
    assert others.taken_s[orphan.pid] >= 0.2
    assert others.cores > 0


@contextmanager
def _busy_child() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", _BUSY]) as child:
        try:
            yield psutil.Process(child.pid)
        finally:
            child.kill()


@contextmanager
def _busy_orphan() -> Iterator[psutil.Process]:
    """The child of a process that has ended."""
    launched = subprocess.run([sys.executable, "-c", _LAUNCH, _BUSY], check=True, stdout=subprocess.PIPE, text=True)
    orphan = psutil.Process(int(launched.stdout))
    try:
        yield orphan
    finally:
        orphan.kill()


def _let_work(process: psutil.Process) -> None:
    """Wait until it had a quarter of a second of a processor."""
    before_s, deadline = process.cpu_times().user, time.monotonic() + 30
    while process.cpu_times().user < before_s + 0.25:
        assert time.monotonic() < deadline, "it gets no processor time"
        time.sleep(0.02)
