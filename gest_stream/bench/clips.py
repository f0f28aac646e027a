"""What is played: clips of rendered hands, rendered once into the user's cache, with the truth about every frame.

A file holds its clip forwards and then backwards, so that it can be played in a loop without a jump. The sizes are one
rendering scaled up or down: what is measured is the pipeline, not the renderer.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from gest_stream import synthetic
from gest_stream.bench.looped import PlayFile, decoded
from gest_stream.bench.truth_file import Truth, load_truth, save_truth
from gest_stream.clock import now_ns
from gest_stream.config import VideoConfig
from gest_stream.errors import SourceError
from gest_stream.interfaces import SourceInfo
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, HandTruth, preset
from gest_stream.synthetic.workers import render_in_processes
from gest_stream.types import Frame, FrameResult

ItemT = TypeVar("ItemT")
Picture = NDArray[np.uint8]
Tell = Callable[[int, int], None]
"""Is told how many frames of how many are done."""

SIZES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
)
HANDS: Final = (1, 2, 4)
_TRUTH: Final = "truth.npz"
_KEPT_S: Final = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class BenchClip:
    """A clip in several sizes.

    Args:
        files: By name ("720p"; "source" for a user's own).
        truth: About the frames of the first half of each file, in the size in which they were rendered; None where
            nothing is known.
        frames: Frames of the clip itself, before it is played back.
    """

    files: Mapping[str, PlayFile]
    truth: Sequence[Truth] | None
    frames: int


def main_config(quick: bool) -> ClipConfig:
    """Two hands, one of which something passes over; the long one also has them cross, leave and blur."""
    if quick:
        covered = Event(EventKind.OCCLUDE, 0.1, 1.1, hand=1)
        return ClipConfig(SIZES["480p"], frames=42, seed=13, events=(covered,), tones=(4.4, 6.8))
    return replace(preset("demo"), size=SIZES["480p"])


def synthetic_clip(config: ClipConfig, cache: Path, tell: Tell) -> BenchClip:
    """The clip of `config` in 480p, 720p and 1080p.

    Raises:
        SourceError: A rendering process was lost, or the cache cannot be written.
    """
    sizes = {name: _fitted(size, config.size) for name, size in SIZES.items()}

    def make(folder: Path) -> None:
        rendered = []
        for frame in render_in_processes(config, min(os.cpu_count() or 1, 4)):
            rendered.append(frame)
            tell(len(rendered), config.frames)
        save_truth(folder / _TRUTH, [one.hands for one in rendered])
        pictures = [one.frame.image for one in rendered]
        for name, size in sizes.items():
            write_video(folder / f"{name}.mp4", (_resized(p, size) for p in there_and_back(pictures)), config.rate)

    folder = cached(cache, config, make)
    rate, count = Fraction(config.rate), len(there_and_back(range(config.frames)))
    files = {name: PlayFile(folder / f"{name}.mp4", size, rate, count) for name, size in sizes.items()}
    return BenchClip(files, load_truth(folder / _TRUTH), config.frames)


def hands_clips(quick: bool, cache: Path, tell: Tell) -> dict[int, PlayFile]:
    """Pictures of one size with 1, 2 and 4 hands, made of the main clip where both hands are in plain view.

    Two tiles side by side: the second is empty, or the first one's mirror image. Of the first tile of one hand the
    second hand is painted over with what lies behind it, which is known.

    Raises:
        SourceError: As for `synthetic_clip`.
    """
    config = main_config(quick)
    base = synthetic_clip(config, cache, tell)
    assert base.truth is not None
    clear = in_plain_view(base.truth)
    count, size = len(there_and_back(clear)), (2 * config.size[0], config.size[1])

    def make(folder: Path) -> None:
        empty = ClipRenderer(config).background()
        truths = list(base.truth or ())
        with closing(decoded(base.files["480p"])) as frames:
            pictures = [frame.image for frame in islice(frames, len(truths))]
        both = [pictures[k] for k in clear]
        one = [_without(pictures[k], truths[k][1], empty) for k in clear]
        tiles = {
            1: [np.hstack([left, empty]) for left in one],
            2: [np.hstack([left, empty]) for left in both],
            4: [np.hstack([left, left[:, ::-1]]) for left in both],
        }
        for hands, wide in tiles.items():
            write_video(folder / f"hands{hands}.mp4", there_and_back(wide), config.rate)

    folder = cached(cache, ("hands", config), make)
    return {hands: PlayFile(folder / f"hands{hands}.mp4", size, Fraction(config.rate), count) for hands in HANDS}


def in_plain_view(truths: Sequence[Truth]) -> list[int]:
    """The longest run of frames on which nothing hides any hand."""
    best, run = list[int](), list[int]()
    for k, truth in enumerate(truths):
        run = [*run, k] if all(hand.unoccluded for hand in truth) else []
        best = max(best, run, key=len)
    return best


def _without(picture: Picture, hand: HandTruth, behind: Picture) -> Picture:
    """The picture with a hand and its arm painted over."""
    import cv2

    covered = np.maximum(hand.hand_mask.full(), hand.arm_mask.full()) > 0
    wide = cv2.dilate(covered.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)  # compression smears edges
    return np.where(wide[..., None], behind, picture)


def there_and_back(items: Sequence[ItemT]) -> list[ItemT]:
    """The items and then all but the last and the first backwards: played in a loop, none comes twice in a row."""
    return [*items, *reversed(items[1:-1])]


def write_video(path: Path, pictures: Iterable[Picture], rate: int) -> None:
    """Write RGB pictures of one size, at a quality at which compression does not matter.

    Raises:
        SinkError: The file cannot be written.
    """
    from gest_stream.sinks.video import VideoSink

    async def write() -> None:
        sink = VideoSink(path, options=VideoConfig(crf=18, preset="veryfast"))
        opened = False
        try:
            for seq, picture in enumerate(pictures):
                frame = Frame(picture, seq, Fraction(1, rate), now_ns(), seq)
                if not opened:
                    opened = True
                    await sink.open(SourceInfo(path.name, False, frame.size, frame.time_base, Fraction(rate)), None)
                await sink.write(FrameResult(frame))
        finally:
            await sink.close()

    asyncio.run(write())


def cache_folder() -> Path:
    """Where clips are kept, beside the weights."""
    from gest_stream.models.store import ModelStore

    return ModelStore().cache_dir / "bench"


def cached(cache: Path, content: object, make: Callable[[Path], None]) -> Path:
    """The folder in `cache` that `make` fills, once for every content and version of the renderer.

    Raises:
        SourceError: It cannot be written.
    """
    digest = hashlib.sha256(repr(content).encode())
    for file in sorted(Path(synthetic.__file__).parent.glob("*.py")) + [Path(__file__)]:
        digest.update(file.read_bytes())
    folder = cache / digest.hexdigest()[:20]
    if folder.is_dir():
        os.utime(folder)  # it is in use, see `_sweep`
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=cache))
        try:
            make(draft)
            if not folder.is_dir():  # another process may have been faster
                draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as exc:
        raise SourceError(
            f"{cache}: the clip cannot be kept there: {exc}; free some space or set XDG_CACHE_HOME"
        ) from exc
    return folder


def _sweep(cache: Path) -> None:
    """Remove what was not used for a month: clips of earlier versions, and drafts of processes that were killed."""
    for folder in cache.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > _KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def _fitted(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """`size`, its width changed to the proportions of `shape` where they differ by more than a pixel or two."""
    width = 2 * round(size[1] * shape[0] / shape[1] / 2)
    return size if abs(width - size[0]) <= 2 else (width, size[1])


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    import cv2

    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    smaller = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)
