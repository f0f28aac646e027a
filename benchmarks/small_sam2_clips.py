"""Renders the short clips that the benchmark's small SAM2 is trained on and measured with, once, to disk.

    python -m benchmarks.small_sam2_clips [--clips 1200] [--workers 1] [--folder ~/.cache/gest_stream/benchmarks/clips]

A clip is one .npz of `FRAMES` frames, already resized to the model's square as the engine does (aspect not kept), with
the visible part of either hand and its true landmarks. Clips that are there already are kept. The seeds of the named
presets are never trained on: those clips are the held-out ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.small_sam2 import IMAGE_SIZE, default_folder
from gest_stream.synthetic import PRESETS, ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame, preset

FRAMES: Final = 8
HELD_OUT_FRAMES: Final = 32
_FIRST_SEED: Final = 100_000
_RATE: Final = 30
_SIZES: Final = ((320, 240), (320, 240), (384, 216))
"""Half of a webcam's sizes: rendering costs a third, and the model's square is smaller still."""

_STRIDES: Final = (1, 2, 2, 3, 4, 6, 8)
_SECONDS: Final = {
    EventKind.CROSS: (1.2, 2.2),
    EventKind.OCCLUDE: (0.8, 1.6),
    EventKind.LEAVE: (1.2, 2.2),
    EventKind.SWIPE: (0.8, 1.4),
}


@dataclass(frozen=True, slots=True, eq=False)
class TrainingClip:
    """Frames of one clip and the truth about its hands.

    Args:
        images: (T, S, S, 3) uint8 RGB.
        masks: (T, N, S, S) uint8 alpha of each hand's visible part, distal of the wrist.
        landmarks: (T, N, 21, 2) float32, in pixels of the frame as rendered.
        shown: (T, N) float32 share of the hand that can be seen, 0 to 1.
        frame_size: (width, height) of the frame as rendered.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    shown: NDArray[np.float32]
    frame_size: tuple[int, int]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            width, height = (int(side) for side in stored["frame_size"])
            return cls(stored["images"], stored["masks"], stored["landmarks"], stored["shown"], (width, height))

    def save(self, path: Path) -> None:
        """Write under another name and rename, so that a reader never sees half a file."""
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.npz")
        np.savez(
            unfinished,
            images=self.images,
            masks=self.masks,
            landmarks=self.landmarks,
            shown=self.shown,
            frame_size=np.array(self.frame_size),
        )
        unfinished.replace(path)


def square_clip(frames: Sequence[SyntheticFrame]) -> TrainingClip:
    """Resize rendered frames and their masks to the model's square."""
    side = (IMAGE_SIZE, IMAGE_SIZE)
    pictures = [cv2.resize(f.frame.image, side, interpolation=cv2.INTER_AREA) for f in frames]
    masks = [[cv2.resize(h.hand_mask.full(), side, interpolation=cv2.INTER_AREA) for h in f.hands] for f in frames]
    return TrainingClip(
        np.stack(pictures).astype(np.uint8),
        np.array(masks, np.uint8),
        np.array([[hand.landmarks.points_xy_px for hand in f.hands] for f in frames], np.float32),
        np.array([[hand.shown for hand in f.hands] for f in frames], np.float32),
        (frames[0].frame.image.shape[1], frames[0].frame.image.shape[0]),
    )


def render_training_clip(index: int, frames: int = FRAMES) -> TrainingClip:
    """Training clip number `index`: hands, look, events and time lapse drawn from it alone."""
    rng = np.random.default_rng((_FIRST_SEED, index))
    hands = 2 if rng.random() < 0.8 else 1
    stride = int(rng.choice(_STRIDES))
    start = int(rng.integers(0, 120))
    middle_s = (start + frames * stride / 2) / _RATE
    config = ClipConfig(
        size=_SIZES[rng.integers(len(_SIZES))],
        frames=start + frames * stride,
        rate=_RATE,
        hands=hands,
        seed=_FIRST_SEED + index,
        events=_draw_events(rng, hands, middle_s),
        shutter=float(rng.uniform(0.1, 0.6)),
        noise=float(rng.uniform(0.0, 3.0)),
    )
    renderer = ClipRenderer(config)
    return square_clip([renderer.frame(start + k * stride) for k in range(frames)])


def _draw_events(rng: np.random.Generator, hands: int, middle_s: float) -> tuple[Event, ...]:
    """Nothing, one event or two, about the middle of what is rendered."""
    kinds = [kind for kind in EventKind if hands == 2 or kind is not EventKind.CROSS]
    count = int(rng.choice(3, p=(0.2, 0.65, 0.15)))
    weights = np.array([2.0 if kind is EventKind.CROSS else 1.0 for kind in kinds])
    chosen = rng.choice(len(kinds), count, replace=False, p=weights / weights.sum())
    events = []
    for kind in (kinds[k] for k in chosen):
        duration_s = float(rng.uniform(*_SECONDS[kind]))
        start_s = max(0.0, middle_s - duration_s * float(rng.uniform(0.2, 0.8)))
        events.append(Event(kind, start_s, duration_s, hand=int(rng.integers(hands))))
    return tuple(events)


def render_held_out(name: str, frames: int = HELD_OUT_FRAMES, stride: int = 2) -> TrainingClip:
    """Every second frame of a named preset, from just before its first event."""
    config = preset(name)
    start = max(0, round(config.events[0].start_s * config.rate) - 6) if config.events else 0
    renderer = ClipRenderer(config)
    return square_clip([renderer.frame(start + k * stride) for k in range(frames)])


def held_out_path(folder: Path, name: str) -> Path:
    """Where a held-out clip lies."""
    return folder / f"held_out_{name}.npz"


def training_paths(folder: Path) -> list[Path]:
    """The training clips that are there so far."""
    return sorted(folder.glob("clip_*.npz"))


def clip_motion(path: Path) -> float:
    """How far a hand of a stored clip gets from where it starts, in hand sizes, at most."""
    with np.load(path) as stored:
        landmarks = stored["landmarks"]
    middles = landmarks.mean(axis=2)
    return float(np.linalg.norm(middles - middles[0], axis=2).max() / np.ptp(landmarks[0], axis=1).max())


def _write_training_clip(index: int, folder: Path) -> None:
    path = folder / f"clip_{index:05d}.npz"
    if not path.exists():
        render_training_clip(index).save(path)


def _write_held_out(name: str, folder: Path) -> None:
    path = held_out_path(folder, name)
    if not path.exists():
        render_held_out(name).save(path)


def render_to_disk(folder: Path, clips: int, workers: int) -> None:
    """Render the held-out clips and the first `clips` training clips, each by one of some processes."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(10,)
    ) as pool:
        jobs = [pool.submit(_write_held_out, name, folder) for name in PRESETS]
        jobs += [pool.submit(_write_training_clip, index, folder) for index in range(clips)]
        for done, job in enumerate(jobs, 1):
            job.result()
            if done % 50 == 0:
                print(f"{done} of {len(jobs)} clips", flush=True)


def main() -> None:
    """Render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=default_folder() / "clips")
    args = parser.parse_args()
    render_to_disk(args.folder, args.clips, args.workers)


if __name__ == "__main__":
    main()
