"""Renders the short clips that the benchmark's small SAM2 is trained on and measured with, once, to disk.

    python -m benchmarks.small_sam2_clips [--clips 1200] [--workers 1] [--folder ~/.cache/gest_stream/benchmarks/clips]

The training clips are those of `gest-stream train sam2` (training/sam2_rendering.py) at this model's square. The seeds
of the named presets are never trained on: those clips are the held-out ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.small_sam2 import IMAGE_SIZE, default_folder
from gest_stream.synthetic import PRESETS, ClipRenderer, preset
from gest_stream.training.sam2_clip import TrainingClip
from gest_stream.training.sam2_rendering import ClipShape, render_to_disk, square_clip

SHAPE: Final = ClipShape(side=IMAGE_SIZE, frames=8)
HELD_OUT_FRAMES: Final = 32


def render_held_out(name: str, frames: int = HELD_OUT_FRAMES, stride: int = 2) -> TrainingClip:
    """Every second frame of a named preset, from just before its first event."""
    config = preset(name)
    start = max(0, round(config.events[0].start_s * config.rate) - 6) if config.events else 0
    renderer = ClipRenderer(config)
    return square_clip([renderer.frame(start + k * stride) for k in range(frames)], IMAGE_SIZE)


def held_out_path(folder: Path, name: str) -> Path:
    """Where a held-out clip lies."""
    return folder / f"held_out_{name}.npz"


def clip_motion(path: Path) -> float:
    """How far a hand of a stored clip gets from where it starts, in hand sizes, at most."""
    with np.load(path) as stored:
        landmarks = stored["landmarks"]
    middles = landmarks.mean(axis=2)
    return float(np.linalg.norm(middles - middles[0], axis=2).max() / np.ptp(landmarks[0], axis=1).max())


def _write_held_out(name: str, folder: Path) -> None:
    path = held_out_path(folder, name)
    if not path.exists():
        render_held_out(name).save(path)


def render_all(folder: Path, clips: int, workers: int) -> None:
    """Render the held-out clips and the first `clips` training clips, each by one of some processes."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(10,)
    ) as pool:
        for job in [pool.submit(_write_held_out, name, folder) for name in PRESETS]:
            job.result()
    render_to_disk(folder, SHAPE, clips, workers, _print_progress)


def _print_progress(done: int, total: int) -> None:
    if done % 50 == 0:
        print(f"{done} of {total} clips", flush=True)


def main() -> None:
    """Render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=default_folder() / "clips")
    args = parser.parse_args()
    render_all(args.folder, args.clips, args.workers)


if __name__ == "__main__":
    main()
