"""What runs on a GPU machine: that it runs at all and tells what it measured, on the CPU and with a narrow model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_stream

SCRIPT = Path(gpu_stream.__file__).with_name("gpu_all.sh")


def test_the_stream_is_measured_stage_by_stage_and_ahead(tmp_path: Path) -> None:
    pytest.importorskip("sam2")
    path = tmp_path / "stream.json"
    gpu_stream.main(
        ["--device", "cpu", "--model", "nano-tiny:128", "--frame-size", "160", "120", "--frames", "8", "--rounds", "1"]
        + ["--json", str(path)]
    )
    found = json.loads(path.read_text())
    assert set(found["stages_ms"]) == {"encode", "step", "draw"}
    assert found["stages_ms"]["step"]["samples"] == 8 - 5
    assert len(found["ahead_fps"]) == len(found["serial_fps"]) == 1
    assert set(found["drawing"]) == {"overlay", "green", "blur"}
    assert found["how"]["device"] == "cpu"


def test_without_a_gpu_the_script_says_so_and_writes_nothing(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    command, python = ["bash", str(SCRIPT), str(tmp_path / "out")], {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=python)
    assert done.returncode == 1
    assert "torch sees no CUDA device" in done.stderr
    assert not list((tmp_path / "out").glob("*.json"))
