import gc
import subprocess
from dataclasses import replace

import pytest

from gest_stream.errors import SourceLostError
from gest_stream.synthetic import ClipConfig
from gest_stream.synthetic.workers import render_in_processes

TINY = ClipConfig(size=(96, 64), frames=4, hands=1)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    processes: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    return processes


def test_processes_end_with_the_iterator(started: list[subprocess.Popen[bytes]]) -> None:
    frames = render_in_processes(replace(TINY, frames=1000), 2)
    assert next(frames).frame.seq == 0
    assert len(started) == 2 and all(process.poll() is None for process in started)
    del frames
    gc.collect()
    assert all(process.poll() is not None for process in started)


def test_a_process_that_dies_is_an_error_and_not_a_hang(started: list[subprocess.Popen[bytes]]) -> None:
    frames = render_in_processes(replace(TINY, frames=1000), 1)
    next(frames)
    started[0].kill()
    with pytest.raises(SourceLostError, match="rendering process ended early"):
        for _ in frames:
            pass
