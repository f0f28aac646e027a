"""The clips that a fine-tuning of SAM2 learns from and is measured with, and the batches drawn from them."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.errors import InvalidInputError
from gest_stream.training.ordered import in_order
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress
from gest_stream.training.sam2_batch import Batch, SampleRules, draw_batch
from gest_stream.training.sam2_clip import NamedClip
from gest_stream.training.sam2_config import ClipData, ClipKind, Sam2Training
from gest_stream.training.sam2_folder import open_folder
from gest_stream.training.sam2_prompting import draw_kind
from gest_stream.training.sam2_rendered import rendered_clips
from gest_stream.training.split import hash_share

_log = logging.getLogger(__name__)

_DRAWS: Final = 20
"""A warp may push all objects out of the picture."""

_AHEAD: Final = 2


@dataclass(frozen=True, slots=True)
class TrainingClips:
    """What is learnt from and what is measured with.

    Args:
        learnt: At least one clip.
        kept: Likewise; the same ones where there is but one clip.
    """

    learnt: tuple[NamedClip, ...]
    kept: tuple[NamedClip, ...]

    def fingerprint(self) -> str:
        """Sixteen hex digits that differ where other clips would be drawn."""
        told = repr([(clip.name, len(clip)) for clip in self.learnt]).encode()
        return hashlib.sha256(told).hexdigest()[:16]


def prepare_clips(config: Sam2Training, on_progress: OnProgress) -> TrainingClips:
    """Open, render where needed, read through and split what the settings name.

    Args:
        config: Settings.
        on_progress: Is told how far it is.

    Raises:
        InvalidInputError: A set has no clips, no masks, or is damaged.
        SourceError: A video cannot be read, or a rendering process ended early.
        SinkError: Rendered clips or a video's frames cannot be kept.
    """
    clips = [clip for source in config.data for clip in _opened(source, config, on_progress)]
    if config.val:
        kept = [clip for source in config.val for clip in _opened(source, config, on_progress)]
        return TrainingClips(tuple(clips), _limited(kept, config.val_limit))
    learnt, kept = split_clips(clips, config.val_share)
    if not kept:
        _log.warning("there is one clip only; it is measured with the one that it learns from")
        kept = learnt
    return TrainingClips(tuple(learnt), _limited(kept, config.val_limit))


def split_clips(clips: Sequence[NamedClip], share: float) -> tuple[list[NamedClip], list[NamedClip]]:
    """The clips to learn from, and those kept back, by the hashes of their names, so that a set may grow.

    One at least is on either side where there are two.
    """
    ordered = sorted(clips, key=lambda clip: hash_share(clip.name))
    wanted = sum(hash_share(clip.name) < share for clip in clips)
    number = min(max(wanted, 1), len(clips) - 1)
    kept = {id(clip) for clip in ordered[:number]}
    return [clip for clip in clips if id(clip) not in kept], [clip for clip in clips if id(clip) in kept]


def _limited(clips: Sequence[NamedClip], limit: int) -> tuple[NamedClip, ...]:
    if not limit or len(clips) <= limit:
        return tuple(clips)
    return tuple(clips[k * len(clips) // limit] for k in range(limit))


def _opened(source: ClipData, config: Sam2Training, on_progress: OnProgress) -> Sequence[NamedClip]:
    stage = Stage.RENDERING if source.kind is ClipKind.SYNTHETIC else Stage.READING

    def tell(done: int, total: int) -> None:
        on_progress(TrainingProgress(stage, done, total, title=str(source)))

    if source.kind is ClipKind.SYNTHETIC:
        workers = config.workers or os.cpu_count() or 1
        root = source.path or _cache_folder()
        return rendered_clips(root, config.image_size, config.frames, config.rendered, workers, tell)
    assert source.path is not None
    return open_folder(source.path, config.image_size, config.min_area, _cache_folder(), tell)


def _cache_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("gest_stream")) / "training"


def sample_rules(config: Sam2Training) -> SampleRules:
    """How stretches are drawn and prompted with these settings."""
    return SampleRules(
        max_stride=config.max_stride,
        max_objects=config.max_objects,
        min_started_px=max(1, int(0.5 * config.min_area * config.image_size**2)),
        corrected=config.corrected,
        max_clicks=config.max_clicks,
        outside_is_void=True,
    )


def batch_of_step(clips: Sequence[NamedClip], config: Sam2Training, step: int) -> Batch:
    """The batch of one step, which follows from seed and step alone.

    Raises:
        InvalidInputError: A picture cannot be read, or an object is smaller than it was.
    """
    rng = np.random.default_rng((config.seed, step))
    rules = sample_rules(config)
    for _ in range(_DRAWS):
        kind = draw_kind(config.frames, rng)
        chosen = [clips[k] for k in rng.integers(len(clips), size=config.batch)]
        batch = draw_batch(chosen, config.frames, kind, rng, rules=rules)
        if batch is not None:
            return batch
    raise InvalidInputError(
        f"step {step}: {_DRAWS} draws brought no object that can be followed; are the objects very small or at the "
        "edge? raise min_area, so that the smallest are left out"
    )


def batches(clips: Sequence[NamedClip], config: Sam2Training, step: int) -> Generator[Batch, None, None]:
    """The batches from a step on, for ever, made ahead by one thread."""
    return in_order(lambda number: batch_of_step(clips, config, number), count(step), threads=1, ahead=_AHEAD)
