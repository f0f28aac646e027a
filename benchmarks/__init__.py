"""Benchmarks: each module writes one JSON; `python -m benchmarks` runs them all."""
