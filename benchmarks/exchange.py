"""What handing a frame to a worker and taking it back costs a host plugin, with a worker that does nothing.

    python -m benchmarks.exchange [--frames 300] [--rounds 7] [--json out.json]

The C client of plugins/shared sends 1280x720 RGBA frames (3.7 MB) to `gest-stream worker --echo`, a process of its own,
which copies them back. What is measured is the whole of `gsx_process`: the copy into shared memory, the message, the
worker's copy, the answer, the copy out. The cases take turns, so that all see the same machine:

    back to back   the next frame follows at once: pages and code are warm
    30 fps         a host's own pace: the worker sleeps between frames
    copies         no worker at all, three times 3.7 MB are copied in this process: what no exchange can be faster than
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, ROOT, conditions, percentiles, write_result
from gest_stream.exchange.messages import Effect

_SIZE = (1280, 720)
_SHARED = ROOT / "plugins" / "shared"
_PROGRAM = "import typer; from gest_stream.cli.worker import worker; typer.run(worker)"
_ASKED_MS = 2.0


def build_host(folder: Path) -> Path:
    """Compile the host that measures itself."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("exchange: no C compiler found; on Debian: apt-get install gcc")
    program = folder / "host"
    sources = [_SHARED / "tests" / "exchange_cost.c", *sorted(_SHARED.glob("gst_exchange*.c"))]
    subprocess.run([compiler, "-std=c11", "-O2", *map(str, sources), "-o", str(program)], check=True)
    return program


@contextmanager
def worker(path: Path) -> Iterator[None]:
    """A worker that does nothing, in a process of its own."""
    command = [sys.executable, "-c", _PROGRAM, "--echo", "--socket", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        if not line.startswith("listening"):
            raise SystemExit(f"exchange: the worker did not start: {line}{process.stderr.read()}")
        yield
    finally:
        process.terminate()
        process.wait()


def exchanges_ms(host: Path, path: Path, frames: int, fps: float) -> list[float]:
    """Milliseconds of each exchange; the first tenth warms up."""
    numbers = (frames, fps, int(Effect.ECHO), *_SIZE)
    done = subprocess.run([str(host), str(path), *map(str, numbers)], check=True, capture_output=True, text=True)
    *lines, last = done.stdout.splitlines()
    if last != "not answered 0":
        raise SystemExit(f"exchange: {last} of {frames} frames")
    return [float(line) for line in lines[frames // 10 :]]


def copies_ms(count: int) -> list[float]:
    """Milliseconds of three copies of a frame."""
    frames = [np.full((_SIZE[1], _SIZE[0] * 4), i, np.uint8) for i in range(4)]
    took = []
    for _ in range(count):
        start = time.perf_counter_ns()
        for source, target in zip(frames, frames[1:], strict=False):
            np.copyto(target, source)
        took.append((time.perf_counter_ns() - start) / 1e6)
    return took


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=RESULTS / "exchange.json")
    args = parser.parse_args()
    head = conditions()
    runs: dict[str, list[list[float]]] = {"back to back": [], "30 fps": [], "copies": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        host, path = build_host(folder), folder / "worker.sock"
        with worker(path):
            for _ in range(args.rounds):
                runs["back to back"].append(exchanges_ms(host, path, args.frames, 0))
                runs["30 fps"].append(exchanges_ms(host, path, max(60, args.frames // 5), 30))
                runs["copies"].append(copies_ms(args.frames))
    cases: dict[str, Any] = {}
    for case, rounds in runs.items():
        medians = [round(float(np.median(values)), 3) for values in rounds]
        cases[case] = {
            "ms": percentiles([value for values in rounds for value in values]),
            "median_ms_by_round": medians,
            "best_round_median_ms": min(medians),
        }
    figures = {
        "size": list(_SIZE),
        "format": "RGBA",
        "frames_a_round": args.frames,
        "asked_median_ms": _ASKED_MS,
        "load_after": round(os.getloadavg()[0], 2),
        "cases": cases,
    }
    write_result(args.json, "exchange", figures, head)


if __name__ == "__main__":
    main()
