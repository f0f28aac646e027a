"""Rendered hands as a set of labelled pictures, made ahead of the training by several processes and kept.

Rendering takes about 0.1 s a picture on one core; drawn on the fly it would keep the network waiting.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from gest_stream.errors import InvalidInputError, SinkError
from gest_stream.sinks.output_path import explain_os_error
from gest_stream.sources.images import IMAGE_SUFFIXES
from gest_stream.training.clip_workers import make_in_processes
from gest_stream.training.config import RenderConfig
from gest_stream.training.labels import LabelledImage
from gest_stream.training.render_clips import ShardSpec, read_shard_picture, shard_path

_log = logging.getLogger(__name__)

_RECIPE: Final = 1
"""Counts the changes of what a number renders; shards of another recipe are not used."""


class RenderedHands:
    """Pictures out of shards that lie in a folder.

    Args:
        folder: From `render_ahead`.
        config: What was rendered.
    """

    def __init__(self, folder: Path, config: RenderConfig) -> None:
        self._folder = folder
        self._config = config

    @property
    def title(self) -> str:
        """What the user calls it."""
        return "synthetic"

    def __len__(self) -> int:
        return self._config.frames

    def group(self, index: int) -> str:
        """The clip."""
        return f"clip {index // self._config.frames_per_clip}"

    def load(self, index: int) -> LabelledImage:
        """The picture of that number.

        Raises:
            InvalidInputError: Its shard is damaged.
        """
        clip, number = divmod(index, self._config.frames_per_clip)
        return read_shard_picture(shard_path(self._folder, clip), number)


def render_ahead(
    config: RenderConfig, root: Path, on_progress: Callable[[int, int], None] | None = None
) -> RenderedHands:
    """The rendered set, its shards rendered first where they are not there yet.

    What is there is used again, be it from a run that asked for less or from one that was broken off. Other settings
    have a folder of their own under `root`.

    Args:
        config: What to render, and in how many processes.
        root: Where shards are kept.
        on_progress: Is told how many pictures of how many are there.

    Raises:
        InvalidInputError: There is no background, one cannot be read, or a process ended early.
        SinkError: The folder cannot be written.
    """
    spec = ShardSpec(config.seed, config.frames_per_clip, config.longer_side, _backgrounds(config.backgrounds))
    folder = root / f"rendered-{_fingerprint(spec)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SinkError(explain_os_error(folder, exc)) from exc
    clips = -(-config.frames // config.frames_per_clip)
    missing = [index for index in range(clips) if not shard_path(folder, index).exists()]
    if missing:
        _render(spec, folder, missing, config, on_progress)
    return RenderedHands(folder, config)


def _render(
    spec: ShardSpec,
    folder: Path,
    missing: Sequence[int],
    config: RenderConfig,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    workers = min(config.workers or os.cpu_count() or 1, len(missing))
    _log.info("rendering %d clips in %d processes to %s", len(missing), workers, folder)
    there = -(-config.frames // config.frames_per_clip) - len(missing)
    keys = [str(index) for index in missing]
    with closing(make_in_processes("gest_stream.training.render_clips", (folder, spec), keys, workers)) as made:
        for number, _ in enumerate(made, there + 1):
            if on_progress is not None:
                on_progress(min(config.frames, number * config.frames_per_clip), config.frames)


def _backgrounds(folder: Path | None) -> tuple[Path, ...]:
    if folder is None:
        return ()
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: is not a folder of backgrounds; check the path")
    paths = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES))
    if not paths:
        raise InvalidInputError(
            f"{folder}: holds no pictures for backgrounds; known are {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return paths


def _fingerprint(spec: ShardSpec) -> str:
    """Eight hex digits that differ where the pictures would."""
    backgrounds = [(path.name, path.stat().st_size) for path in spec.backgrounds]
    content = json.dumps([_RECIPE, spec.seed, spec.frames_per_clip, spec.longer_side, backgrounds])
    return hashlib.sha256(content.encode()).hexdigest()[:8]
