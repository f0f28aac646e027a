"""Makes the clips that the built-in models are trained on, in several processes, and keeps them.

`python -m gest_stream.training.wide_data --folder … --rendered 2500 --composited 2500 --real SET …` makes what is not
there yet: clips of all kinds in turn, so that a training can begin with the first of them. Clip number N of a seed is
always the same, whoever makes it and in whatever order.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.errors import GestStreamError, InvalidInputError
from gest_stream.training.wide_backdrop import folder_pictures
from gest_stream.training.wide_camera import draw_camera
from gest_stream.training.wide_clips import HELD_OUT_FROM, ClipKind, WideClip, clip_path
from gest_stream.training.wide_composited import CompositedScene
from gest_stream.training.wide_empty import EmptyScene
from gest_stream.training.wide_foregrounds import ManifestRow, keyed_rows
from gest_stream.training.wide_real import real_clip, real_rows
from gest_stream.training.wide_rendered import Plan, RenderedScene
from gest_stream.training.wide_scene import as_clip, check_side, draw_size, draw_times

_QUALITIES: Final = (60, 96)
_MODULE: Final = "gest_stream.training.wide_maker"
_STREAMS: Final = {ClipKind.RENDERED: 1, ClipKind.COMPOSITED: 2, ClipKind.REAL: 3, ClipKind.EMPTY: 4}


@dataclass(frozen=True, slots=True)
class WideJob:
    """What to make clips of.

    Args:
        folder: Where they lie, each kind in a folder of its own.
        seed: Of all clips.
        frames: Of each clip but the real ones.
        longer_side: Of the pictures, pixels.
        backgrounds: Photographs without hands; may be none.
        nobody: Which of them show nobody, so that there is no hand in them at all: a pattern of their names.
        sets: Folders of photographed hands, each with a manifest.jsonl; may be none.
        device: Where torch renders.

    Raises:
        InvalidInputError: Pictures would be too small to show a hand.
    """

    folder: Path
    seed: int = 0
    frames: int = 6
    longer_side: int = 320
    backgrounds: tuple[Path, ...] = ()
    nobody: str = "*"
    sets: tuple[Path, ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_side(self.longer_side)


class ClipMaker:
    """Makes any clip of a job.

    Args:
        job: Which.

    Raises:
        InvalidInputError: A manifest cannot be read.
    """

    def __init__(self, job: WideJob) -> None:
        self._job = job
        self._keyed = keyed_rows(job.sets)
        self._real = dict(real_rows(job.sets))

    def write(self, kind: ClipKind, index: int) -> None:
        """Make a clip and put it where it belongs."""
        clip, quality = self.make(kind, index)
        clip.save(clip_path(self._job.folder, kind, index), quality)

    def make(self, kind: ClipKind, index: int) -> tuple[WideClip, int]:
        """A clip and the JPEG quality to store it with.

        Raises:
            InvalidInputError: A photograph cannot be read, or there is none of the kind.
        """
        job = self._job
        rng = np.random.default_rng((job.seed, _STREAMS[kind], index))
        quality = int(rng.integers(*_QUALITIES))
        if kind is ClipKind.REAL:
            return real_clip(self._real[index], job.longer_side, rng), 95
        size, times = draw_size(rng, job.longer_side), draw_times(rng, job.frames)
        camera = draw_camera(rng)
        scene: RenderedScene | CompositedScene | EmptyScene
        if kind is ClipKind.EMPTY:
            scene = EmptyScene(size, rng, [one for one in self._backgrounds(index) if one.match(job.nobody)])
        elif kind is ClipKind.RENDERED:
            scene = RenderedScene(Plan(size, times[-1]), rng, self._backgrounds(index), job.device)
        else:
            scene = CompositedScene(size, times[-1], rng, self._foregrounds(index), self._backgrounds(index))
        return as_clip([scene.at(time_s) for time_s in times], camera, kind, rng), quality

    def _backgrounds(self, index: int) -> Sequence[Path]:
        return split_pictures(self._job.backgrounds, index >= HELD_OUT_FROM)

    def _foregrounds(self, index: int) -> list[ManifestRow]:
        return [row for row in self._keyed if row.held_out == (index >= HELD_OUT_FROM)]


def split_pictures(pictures: Sequence[Path], held_out: bool) -> Sequence[Path]:
    """Every eighth source for measuring, the others for training; all for both where there are fewer sources.

    Pictures whose names differ in their last number only are of one source: frames of a video, views of a place.
    """
    sources = sorted({_source(path) for path in pictures})
    if len(sources) < 8:
        return pictures
    measured = set(sources[7::8])
    return [path for path in pictures if (_source(path) in measured) == held_out]


def _source(picture: Path) -> str:
    return picture.stem.rstrip("0123456789").rstrip("_-") or picture.stem


def plan_clips(
    job: WideJob, rendered: int, composited: int, real: int | None, held_out: int, empty: int = 0
) -> list[tuple[ClipKind, int]]:
    """All clips in the order in which they are made: the held-out ones first, then the kinds in turn.

    Args:
        job: Of what.
        rendered: How many rendered clips.
        composited: How many composited clips; they need keyed pictures.
        real: How many real pictures; None is all there are.
        held_out: How many rendered, composited and empty clips to measure with.
        empty: How many clips without a hand.
    """
    indices = [index for index, _ in real_rows(job.sets)]
    to_train = [index for index in indices if index < HELD_OUT_FROM]
    numbers = {
        ClipKind.RENDERED: list(range(rendered)),
        ClipKind.COMPOSITED: list(range(composited)),
        ClipKind.REAL: to_train if real is None else to_train[:real],
        ClipKind.EMPTY: list(range(empty)),
    }
    first = [(ClipKind.RENDERED, HELD_OUT_FROM + k) for k in range(held_out)]
    for kind in (ClipKind.COMPOSITED, ClipKind.EMPTY):
        first += [(kind, HELD_OUT_FROM + k) for k in range(held_out) if numbers[kind]]
    if real is None or real:
        first += [(ClipKind.REAL, index) for index in indices if index >= HELD_OUT_FROM]
    in_turn = [((k + 0.5) / len(n), kind, index) for kind, n in numbers.items() for k, index in enumerate(n)]
    return first + [(kind, index) for _, kind, index in sorted(in_turn)]


def make_clips(
    job: WideJob, clips: Sequence[tuple[ClipKind, int]], workers: int, on_done: Callable[[int, int], None] | None = None
) -> None:
    """Make those of `clips` that are not there yet.

    Args:
        job: Of what.
        clips: Which, in the order to make them.
        workers: Number of processes.
        on_done: Is told how many of how many are there.

    Raises:
        InvalidInputError: A clip could not be made, or a process ended early.
        OSError: The folder cannot be written.
    """
    from gest_stream.training.clip_workers import make_in_processes

    for kind in ClipKind:
        (job.folder / kind).mkdir(parents=True, exist_ok=True)
    missing = [f"{kind} {index}" for kind, index in clips if not clip_path(job.folder, kind, index).exists()]
    there = len(clips) - len(missing)
    if not missing:
        return
    with closing(make_in_processes(_MODULE, job, missing, min(workers, len(missing)))) as made:
        for number, _ in enumerate(made, there + 1):
            if on_done is not None:
                on_done(number, len(clips))


def shard_root() -> Path:
    """$GEST_SHARDS, or ~/.cache/gest_stream/training/wide."""
    given = os.environ.get("GEST_SHARDS")
    return Path(given) if given else Path.home() / ".cache" / "gest_stream" / "training" / "wide"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gest_stream.training.wide_data", description=__doc__)
    parser.add_argument("--folder", type=Path, default=shard_root(), help="where the clips are kept")
    parser.add_argument("--rendered", type=int, default=2500, help="clips of rendered hands")
    parser.add_argument(
        "--composited", type=int, default=2500, help="clips of cut-out hands; needs keyed sets in --real"
    )
    parser.add_argument("--empty", type=int, default=600, help="clips without a hand")
    parser.add_argument("--frames", type=int, default=6, help="of each clip; fewer show more scenes in the same time")
    parser.add_argument("--longer-side", type=int, default=320, help="of the pictures, pixels; 64 or more")
    parser.add_argument("--held-out", type=int, default=60, help="clips of each of these kinds for measuring only")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of sets, each with a manifest.jsonl")
    parser.add_argument("--real-pictures", type=int, help="how many real pictures to take; all where not told")
    parser.add_argument("--backgrounds", type=Path, help="a folder of photographs without hands")
    parser.add_argument("--nobody", default="*", help="which of them show nobody at all: a pattern, like 'room_*'")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: cuda where there is one")
    return parser.parse_args(argv)


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def set_folders(given: Sequence[Path]) -> tuple[Path, ...]:
    """The sets among `given`, or inside them: every folder with a manifest.jsonl.

    Raises:
        InvalidInputError: One is neither a set nor holds any.
    """
    found: list[Path] = []
    for folder in given:
        inside = (
            [folder]
            if (folder / "manifest.jsonl").exists()
            else sorted(p.parent for p in folder.glob("*/manifest.jsonl"))
        )
        if not inside:
            raise InvalidInputError(f"{folder}: holds no set of pictures; a set has images/, masks/ and manifest.jsonl")
        found += inside
    return tuple(found)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    import typer

    given = _arguments(argv)
    begun = time.monotonic()

    def report(done: int, of: int) -> None:
        if done % 50 == 0 or done == of:
            minutes = (time.monotonic() - begun) / 60
            typer.echo(f"{done} of {of} clips after {minutes:.1f} min")

    try:
        job = WideJob(
            given.folder,
            given.seed,
            given.frames,
            given.longer_side,
            backgrounds=folder_pictures(given.backgrounds),
            nobody=given.nobody,
            sets=set_folders(given.real),
            device=_device(given.device),
        )
        clips = plan_clips(job, given.rendered, given.composited, given.real_pictures, given.held_out, given.empty)
        make_clips(job, clips, given.workers, report)
    except (GestStreamError, OSError) as exc:
        typer.echo(f"wide_data: {exc}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
