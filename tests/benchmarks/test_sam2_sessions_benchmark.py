"""The benchmark of sessions over one set of weights: it runs on a bare machine, and paces frames as a camera does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import ROOT
from benchmarks.sam2_clip import Model, make_clip
from benchmarks.sam2_sessions import Session, parse_model
from gest_stream.config import Sam2Size
from gest_stream.models.sam2_engine import Sam2Masks
from tests.benchmarks.test_sam2_engine_benchmark import NOT_NEEDED


def test_it_writes_speed_and_memory_where_only_torch_and_sam2_are_installed(tmp_path: Path) -> None:
    command = (
        "--model nano-tiny:64 --sessions 1 2 --rounds 1 --frames 2 --frame-size 96 64 --objects 1 --fps 50 "
        "--device cpu --window-ms 200 --max-batch 2"
    )
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED!r}.split()))\n"
        f"sys.argv[1:] = {command!r}.split() + ['--json', {str(tmp_path / 'out.json')!r}]\n"
        "from benchmarks.sam2_sessions import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["complete"]
    assert found["how"]["gpu"] == "none was lent: says nothing about a GPU"
    for sessions, result in zip((1, 2), found["results"], strict=True):
        assert result["sessions"] == sessions
        assert [one["encoder_passes"] for one in result["servers"]] == ["off", "on"]
        alone, joined = result["servers"]
        assert alone["flat_out"]["frame"]["samples"] == joined["flat_out"]["frame"]["samples"] == 2 * sessions
        assert alone["pictures_a_pass"] == 1.0
        assert (joined["largest_pass"] == 2) is (sessions == 2)
        assert [one["memory"]["sets_of_weights"] for one in result["servers"]] == [1, 1]
        for memory in (alone["memory"], joined["memory"]):
            assert memory["tensor_bytes_of_weights_and_encoder"] >= memory["weight_bytes"] > 0
            assert 0 <= memory["tensor_bytes_a_session"] - memory["bank_bytes_a_session"] < 10_000


def test_paced_frames_that_come_while_another_is_worked_on_are_dropped_and_waiting_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gap_ns = 100_000_000
    now = [0]

    class Engine:
        def encode(self, image: Any) -> int:
            return 1

        def step(self, encoded: int, prompts: Any) -> Sam2Masks:
            now[0] += gap_ns * 5 // 2
            return Sam2Masks((), None, (96, 64))

    def sleep(seconds: float) -> None:
        now[0] += round(seconds * 1e9)

    begin = threading.Barrier(1)
    session = Session(Engine(), make_clip((96, 64), 1))  # type: ignore[arg-type]
    with monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter_ns", lambda: now[0])
        patched.setattr(time, "sleep", sleep)
        times = session.run_paced(10, 10.0, 0.5, begin)
    # frames 0, 2, 5 and 7 are worked on; each but 0 and 5 came half a gap before the one ahead of it was done
    assert times.frame == [250.0, 300.0, 250.0, 300.0]
    assert times.encode == [0.0] * 4
    assert times.step == [250.0] * 4
    assert times.dropped == 6


def test_a_model_is_named_by_size_and_picture() -> None:
    assert parse_model("nano-tiny:128") == Model(Sam2Size.TINY, 128, nano=True)
    assert parse_model("base_plus:1024") == Model(Sam2Size.BASE_PLUS, 1024)
    with pytest.raises(ValueError, match="huge"):
        parse_model("huge:1024")
