"""What a record says of where it was made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gest_stream.bench import conditions as module
from gest_stream.bench.conditions import conditions, gpu_name
from gest_stream.bench.lossless import memory_of, resident_mb
from gest_stream.bench.stopwatch import Stopwatch


def test_a_checkout_tells_its_commit_and_machine() -> None:
    found = conditions()
    assert found["versions"]["numpy"] and found["versions"]["python"].startswith("3.")
    assert found["machine"]["cpu"] and found["machine"]["cores"] >= 1
    assert found["date"].endswith("+00:00")


def test_a_file_that_git_does_not_track_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel installed into a folder below somebody's own repository."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "conditions.py"))
    assert conditions()["commit"] == "unknown"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert conditions()["commit"] == "unknown"


class FakeCuda:
    """As much of `torch.cuda` as is asked; every event happens 7 ms after the one before."""

    def __init__(self) -> None:
        self.recorded = self.waits = 0

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def get_device_name(self) -> str:
        return "a GPU"

    def synchronize(self) -> None:
        self.waits += 1

    def Event(self, enable_timing: bool) -> FakeEvent:  # noqa: N802
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.place = 0

    def record(self) -> None:
        self._cuda.recorded += 1
        self.place = self._cuda.recorded

    def elapsed_time(self, other: FakeEvent) -> float:
        return 7.0 * (other.place - self.place)


def test_the_gpu_is_timed_and_waited_for_where_cuda_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    watch = Stopwatch()
    with watch.stage("outer"), watch.stage("step"):
        pass
    watch.subtract("outer", "step")
    watch.end_frame()
    assert watch.gpu_ms == {"step": [7.0], "outer": [14.0]}
    assert cuda.waits == 2 and gpu_name() == "a GPU"


def test_resident_memory_is_that_of_this_process() -> None:
    before = resident_mb()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    after = resident_mb()
    assert before is not None and after is not None and 40 < after - before < 200
    del held


def test_memory_has_its_slope_after_the_warm_up() -> None:
    times = [float(k) for k in range(30)]
    rss = [100.0 + 10 * k if k < 10 else 200.0 + 0.5 * (k - 10) for k in range(30)]
    found = memory_of(times, rss, frames=300, seconds=30.0, interval_s=1.0)
    assert found.slope_mb_per_min == 30.0 and found.peak_mb == 209.5


def test_memory_that_the_system_does_not_tell_is_null() -> None:
    found = memory_of([], [], frames=300, seconds=30.0, interval_s=1.0)
    assert (found.rss_mb, found.slope_mb_per_min, found.peak_mb) == (None, None, None)
