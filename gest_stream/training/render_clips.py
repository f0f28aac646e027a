"""Renders clips to shards; `python -m gest_stream.training.render_clips` is one of the processes that do.

A shard is one .npz with the pictures of a clip as JPEG and their labels as PNG, each an array of bytes of its own, so
that a picture is read without the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame
from gest_stream.training.clip_workers import serve
from gest_stream.training.events import draw_event, kinds_for
from gest_stream.training.labels import BACKGROUND, LabelledImage, read_picture

JPEG_QUALITY: Final = 95
PICTURE_KEY: Final = "picture_{:03d}"
LABELS_KEY: Final = "labels_{:03d}"

_RATE: Final = 30
_EMPTY_SHARE: Final = 0.06
"""Of clips without a hand: a network that never sees one finds hands everywhere."""
_LAID_OVER_SHARE: Final = 0.75
"""Of clips over the user's backgrounds; the others keep objects that cover hands."""
_ASPECTS: Final = ((4, 3), (4, 3), (16, 9), (1, 1), (3, 4))
_STRIDES: Final = (2, 4, 8, 15)


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """What every clip of a folder of shards has in common.

    Args:
        seed: Clip number N of a seed is always the same.
        frames_per_clip: Pictures.
        longer_side: Of a picture, pixels.
        backgrounds: Pictures without hands, in the order of their names; may be none.
    """

    seed: int
    frames_per_clip: int
    longer_side: int
    backgrounds: tuple[Path, ...] = ()


def shard_path(folder: Path, index: int) -> Path:
    """Where clip number `index` lies."""
    return folder / f"clip_{index:06d}.npz"


def render_shard(spec: ShardSpec, index: int) -> list[LabelledImage]:
    """The pictures of one clip: hands, look, events and time lapse drawn from seed and number alone.

    Raises:
        InvalidInputError: A background cannot be read.
    """
    rng = np.random.default_rng((spec.seed, index))
    laid_over = bool(spec.backgrounds) and rng.random() < _LAID_OVER_SHARE
    empty = rng.random() < _EMPTY_SHARE
    config, start, stride = _draw_clip(spec, rng, index, covered=not laid_over)
    if empty:
        return [_without_hands(spec, config, k, rng if laid_over else None) for k in range(spec.frames_per_clip)]
    backdrop = _cut_backdrop(spec.backgrounds, config.size, rng) if laid_over else None
    renderer = ClipRenderer(config)
    frames = [renderer.frame(start + k * stride) for k in range(spec.frames_per_clip)]
    return [labelled_frame(frame, renderer.background(), backdrop) for frame in frames]


def labelled_frame(
    frame: SyntheticFrame, painted: NDArray[np.uint8], backdrop: NDArray[np.uint8] | None = None
) -> LabelledImage:
    """A rendered frame, on another background if wished, and what its pixels show most of.

    Args:
        frame: Without objects before the hands where it gets another background: their shares of the pixels are not
            told.
        painted: (H, W, 3) uint8, the background that it was rendered with.
        backdrop: (H, W, 3) uint8, what to show instead.
    """
    shares = np.zeros((3, *painted.shape[:2]), np.float32)
    for hand in frame.hands:
        shares[1][hand.hand_mask.slices] += hand.hand_mask.crop / np.float32(255.0)
        shares[2][hand.arm_mask.slices] += hand.arm_mask.crop / np.float32(255.0)
    shares[0] = 1.0 - shares[1] - shares[2]
    image = frame.frame.image
    if backdrop is not None:
        change = shares[0][..., None] * (backdrop.astype(np.float32) - painted)
        image = np.clip((image + change).round(), 0, 255).astype(np.uint8)
    return LabelledImage(image, shares.argmax(axis=0).astype(np.uint8))


def _without_hands(spec: ShardSpec, config: ClipConfig, number: int, rng: np.random.Generator | None) -> LabelledImage:
    """A background alone: a cut-out drawn from `rng`, or a painted one."""
    if rng is not None:
        image = _cut_backdrop(spec.backgrounds, config.size, rng)
    else:
        image = ClipRenderer(replace(config, seed=(config.seed + number) % 2**32)).background()
    return LabelledImage(image, np.full(image.shape[:2], BACKGROUND, np.uint8))


def _draw_clip(spec: ShardSpec, rng: np.random.Generator, index: int, covered: bool) -> tuple[ClipConfig, int, int]:
    """(what to render, first frame, frames from one picture to the next)."""
    hands = 2 if rng.random() < 0.7 else 1
    stride, start = int(rng.choice(_STRIDES)), int(rng.integers(0, 120))
    across, down = _ASPECTS[rng.integers(len(_ASPECTS))]
    scale = spec.longer_side / max(across, down)
    middle_s = (start + spec.frames_per_clip * stride / 2) / _RATE
    config = ClipConfig(
        size=(max(64, round(across * scale)), max(64, round(down * scale))),
        frames=start + spec.frames_per_clip * stride,
        rate=_RATE,
        hands=hands,
        seed=int(np.random.SeedSequence((spec.seed, index)).generate_state(1)[0]),
        events=_draw_events(rng, hands, middle_s, covered),
        shutter=float(rng.uniform(0.1, 0.6)),
        noise=float(rng.uniform(0.0, 3.0)),
    )
    return config, start, stride


def _draw_events(rng: np.random.Generator, hands: int, middle_s: float, covered: bool) -> tuple[Event, ...]:
    """Nothing, one event or two, about the middle of what is rendered."""
    kinds = kinds_for(hands)
    if not covered:
        kinds.remove(EventKind.OCCLUDE)
    chosen = rng.choice(len(kinds), int(rng.choice(3, p=(0.3, 0.55, 0.15))), replace=False)
    return tuple(draw_event(kinds[k], hands, middle_s, rng) for k in chosen)


def _cut_backdrop(paths: Sequence[Path], size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random cut-out of a random picture, resized to (width, height)."""
    import cv2

    picture = read_picture(paths[int(rng.integers(len(paths)))])
    height, width = picture.shape[:2]
    cover = min(width / size[0], height / size[1]) * float(rng.uniform(0.5, 1.0))
    across, down = max(1, int(size[0] * cover)), max(1, int(size[1] * cover))
    x, y = int(rng.integers(0, width - across + 1)), int(rng.integers(0, height - down + 1))
    cut = picture[y : y + down, x : x + across]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_shard(path: Path, pictures: Sequence[LabelledImage]) -> None:
    """Write under another name and rename, so that a reader never sees half a file."""
    import cv2

    members: dict[str, Any] = {}
    for k, picture in enumerate(pictures):
        bgr = cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR)
        members[PICTURE_KEY.format(k)] = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        members[LABELS_KEY.format(k)] = cv2.imencode(".png", picture.labels)[1]
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        np.savez(unfinished, **members)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_shard_picture(path: Path, number: int) -> LabelledImage:
    """One picture of a shard.

    Raises:
        InvalidInputError: The shard cannot be read.
    """
    import cv2

    try:
        # opened here, because NumPy leaves a file open that is no archive
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            encoded = members[PICTURE_KEY.format(number)], members[LABELS_KEY.format(number)]
        bgr, labels = cv2.imdecode(encoded[0], cv2.IMREAD_COLOR), cv2.imdecode(encoded[1], cv2.IMREAD_UNCHANGED)
        return LabelledImage(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), np.asarray(labels, np.uint8))
    except Exception as exc:  # zipfile, zlib, NumPy and OpenCV each have errors of their own
        raise InvalidInputError(f"{path}: is damaged ({exc}); remove it, and it is rendered again") from exc


def _prepare(job: tuple[Path, ShardSpec]) -> Callable[[str], None]:
    folder, spec = job

    def make(key: str) -> None:
        write_shard(shard_path(folder, int(key)), render_shard(spec, int(key)))

    return make


if __name__ == "__main__":
    serve(_prepare)
