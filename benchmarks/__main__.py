"""Runs every benchmark, each in a process of its own: `make bench`."""

import subprocess
import sys

COMMANDS = (
    ["benchmarks.quality"],
    ["benchmarks.end_to_end"],
    ["benchmarks.soak", "--frames", "9000", "--json", "benchmarks/results/soak_quick.json"],
)

for command in COMMANDS:
    subprocess.run([sys.executable, "-m", *command], check=True)
