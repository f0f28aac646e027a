"""Renders short clips of hands for SAM2's training, once, to disk.

`python -m gest_stream.training.sam2_rendering` is one of the processes that do it. A clip is one .npz of a few frames,
already resized to a square, with the visible part of either hand and its true landmarks. Clip number N is always the
same. Clips that are there already are kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.errors import SourceLostError
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame
from gest_stream.training.events import draw_event, kinds_for
from gest_stream.training.sam2_clip import TrainingClip

_FIRST_SEED: Final = 100_000
"""The seeds of the named presets are below; those clips are never trained on."""

_RATE: Final = 30
_SIZES: Final = ((320, 240), (320, 240), (384, 216))
"""Half of a webcam's sizes: rendering costs a third, and for small squares that is enough."""

_SMALL_SIDE: Final = 256
"""Up to this side of the square."""

_STRIDES: Final = (1, 2, 2, 3, 4, 6, 8)


@dataclass(frozen=True, slots=True)
class ClipShape:
    """What all clips of a folder have in common.

    Args:
        side: Of the square, pixels.
        frames: Of each clip.
    """

    side: int
    frames: int


def square_clip(frames: Sequence[SyntheticFrame], side: int) -> TrainingClip:
    """Resize rendered frames and their masks to a square of `side` pixels."""
    import cv2

    size = (side, side)
    pictures = [cv2.resize(f.frame.image, size, interpolation=cv2.INTER_AREA) for f in frames]
    masks = [[cv2.resize(h.hand_mask.full(), size, interpolation=cv2.INTER_AREA) for h in f.hands] for f in frames]
    return TrainingClip(
        np.stack(pictures).astype(np.uint8),
        np.array(masks, np.uint8),
        np.array([[hand.landmarks.points_xy_px for hand in f.hands] for f in frames], np.float32),
        np.array([[hand.shown for hand in f.hands] for f in frames], np.float32),
        (frames[0].frame.image.shape[1], frames[0].frame.image.shape[0]),
    )


def render_training_clip(index: int, shape: ClipShape) -> TrainingClip:
    """Training clip number `index`: hands, look, events and time lapse drawn from it alone."""
    rng = np.random.default_rng((_FIRST_SEED, index))
    frames = shape.frames
    hands = 2 if rng.random() < 0.8 else 1
    stride = int(rng.choice(_STRIDES))
    start = int(rng.integers(0, 120))
    middle_s = (start + frames * stride / 2) / _RATE
    width, height = _SIZES[rng.integers(len(_SIZES))]
    scale = 1 if shape.side <= _SMALL_SIDE else 2
    config = ClipConfig(
        size=(scale * width, scale * height),
        frames=start + frames * stride,
        rate=_RATE,
        hands=hands,
        seed=_FIRST_SEED + index,
        events=_draw_events(rng, hands, middle_s),
        shutter=float(rng.uniform(0.1, 0.6)),
        noise=float(rng.uniform(0.0, 3.0)),
    )
    renderer = ClipRenderer(config)
    return square_clip([renderer.frame(start + k * stride) for k in range(frames)], shape.side)


def _draw_events(rng: np.random.Generator, hands: int, middle_s: float) -> tuple[Event, ...]:
    """Nothing, one event or two, about the middle of what is rendered."""
    kinds = kinds_for(hands)
    count = int(rng.choice(3, p=(0.2, 0.65, 0.15)))
    weights = np.array([2.0 if kind is EventKind.CROSS else 1.0 for kind in kinds])
    chosen = rng.choice(len(kinds), count, replace=False, p=weights / weights.sum())
    return tuple(draw_event(kinds[k], hands, middle_s, rng) for k in chosen)


def clip_path(folder: Path, index: int) -> Path:
    """Where clip number `index` lies."""
    return folder / f"clip_{index:05d}.npz"


def rendered_paths(folder: Path) -> list[Path]:
    """The clips that are there so far."""
    return sorted(folder.glob("clip_*.npz"))


def render_to_disk(
    folder: Path, shape: ClipShape, clips: int, workers: int, on_done: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Render the first `clips` clips, each by one of some processes of low priority.

    Args:
        folder: Where they lie; made where it is absent.
        shape: Of every clip there.
        clips: How many.
        workers: Processes.
        on_done: Is told how many of how many are there.

    Returns:
        Their paths.

    Raises:
        SourceLostError: A process ended early.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(clips) if not clip_path(folder, index).exists()]
    with ExitStack() as stack:
        crew = [_process(stack, folder, shape, missing[k::workers]) for k in range(min(workers, len(missing)))]
        for done, _ in enumerate(_answers(crew), clips - len(missing) + 1):
            if on_done is not None:
                on_done(done, clips)
    lost = [index for index in missing if not clip_path(folder, index).exists()]
    if lost:
        raise SourceLostError(
            f"{folder}: a rendering process ended early, {len(lost)} of {clips} clips are missing; is memory or the "
            "disk short? started again it goes on where it ended"
        )
    return [clip_path(folder, index) for index in range(clips)]


def _process(stack: ExitStack, folder: Path, shape: ClipShape, indices: Sequence[int]) -> subprocess.Popen[str]:
    """A process that prints a line for every clip it rendered; it ends with the stack."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "gest_stream.training.sam2_rendering", str(folder)]
    command += [str(shape.side), str(shape.frames)]
    process = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    )
    stack.callback(process.kill)
    assert process.stdin is not None
    with suppress(OSError):  # it is gone already, and its clips will be found missing
        process.stdin.write("\n".join(map(str, indices)))
        process.stdin.close()
    return process


def _answers(crew: Sequence[subprocess.Popen[str]]) -> Iterator[str]:
    """Every line that a process printed, from one after the other, until all have ended."""
    left = list(crew)
    while left:
        for process in list(left):
            assert process.stdout is not None
            if line := process.stdout.readline():
                yield line
            else:
                left.remove(process)


def main() -> None:
    """Render the clips whose numbers come line by line to a folder."""
    folder, shape = Path(sys.argv[1]), ClipShape(int(sys.argv[2]), int(sys.argv[3]))
    if hasattr(os, "nice"):
        os.nice(10)
    # what a library prints must not be taken for a clip that is done
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for index in [int(line) for line in sys.stdin]:
        path = clip_path(folder, index)
        if not path.exists():
            render_training_clip(index, shape).save(path)
        print(path.name, file=answers, flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
