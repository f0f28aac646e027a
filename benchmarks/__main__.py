"""Runs every benchmark, each in a process of its own: `make bench`. The first is `gest-stream bench`."""

import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUM = "/usr/bin/chromium"
FREI0R = "/usr/include/frei0r.h"

FFMPEG = (
    [
        *("benchmarks.pipe_filter", "--frames", "100", "--repeats", "1"),
        *("--json", "benchmarks/results/pipe_filter_quick.json"),
    ],
)
PLUGINS = (
    ["benchmarks.plugins", "--rounds", "1", "--obs-rounds", "1", "--json", "benchmarks/results/plugins_quick.json"],
)
BROWSER = (["benchmarks.webrtc_loop", "--json", "benchmarks/results/webrtc_loop_quick.json"],)
COMMANDS = (
    ["gest_stream", "bench", "--json", "benchmarks/results/bench.json", "--plot", "benchmarks/pictures/bench.png"],
    ["benchmarks.quality"],
    ["benchmarks.live_cpu", "--seconds", "10", "--json", "benchmarks/results/live_cpu_quick.json"],
    ["benchmarks.peers", "--quick"],
    [
        *("benchmarks.deadline", "--presets", "easy", "--picture", "benchmarks/results/deadline_quick.jpg"),
        *("--json", "benchmarks/results/deadline_quick.json"),
    ],
    ["benchmarks.exchange", "--json", "benchmarks/results/exchange_quick.json"],
    ["benchmarks.webrtc_codecs", "--rounds", "1", "--json", "benchmarks/results/webrtc_codecs_quick.json"],
    ["benchmarks.sam2_quality"],
    ["benchmarks.reacquisition", "--json", "benchmarks/results/reacquisition_quick.json"],
    ["benchmarks.redetector_latency", "--json", "benchmarks/results/redetector_latency_quick.json"],
    ["benchmarks.soak", "--frames", "9000", "--json", "benchmarks/results/soak_quick.json"],
    [
        *("benchmarks.sam2_engine", "--cases", "tiny:256:2:2", "--runners", "batched", "--precisions", "float32"),
        *("--json", "benchmarks/results/sam2_engine_quick.json"),
    ],
    ["benchmarks.sam2_sessions", "--json", "benchmarks/results/sam2_sessions_quick.json"],
    ["benchmarks.sam2_long_run", "--steps", "5000", "--json", "benchmarks/results/sam2_engine_long_quick.json"],
)

for command in (
    *COMMANDS,
    *(FFMPEG if shutil.which("ffmpeg") else ()),
    *(PLUGINS if Path(FREI0R).exists() and shutil.which("cmake") and shutil.which("ffmpeg") else ()),
    *(BROWSER if Path(CHROMIUM).exists() else ()),
):
    subprocess.run([sys.executable, "-m", *command], check=True)
