"""Rendered clips, kept once they are rendered, and what MediaPipe finds on them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

from gest_stream.bench.clips import cache_folder, cached
from gest_stream.build import make_detector
from gest_stream.config import PipelineConfig
from gest_stream.synthetic import ClipConfig, SyntheticFrame
from gest_stream.synthetic.workers import render_in_processes
from gest_stream.types import Frame, HandLandmarks

_FRAMES = "frames.pkl"


def rendered_clip(config: ClipConfig, workers: int, cache: Path | None = None) -> list[SyntheticFrame]:
    """The clip's frames, rendered by so many processes where the same renderer has not rendered them before.

    Args:
        config: What to render.
        workers: Processes.
        cache: Where clips are kept, and nothing else; None is the cache of `gest-stream bench`.

    Raises:
        SourceError: A rendering process was lost, or the cache cannot be written.
    """

    def make(folder: Path) -> None:
        with (folder / _FRAMES).open("wb") as file:
            pickle.dump(list(render_in_processes(config, workers)), file)

    with (cached(cache or cache_folder(), ("frames", config), make) / _FRAMES).open("rb") as file:
        frames: list[SyntheticFrame] = pickle.load(file)
    return frames


def detected(frames: Iterable[Frame]) -> list[tuple[HandLandmarks, ...]]:
    """MediaPipe's landmarks of every frame."""
    detector = make_detector(PipelineConfig())
    try:
        return [detector.detect(frame) for frame in frames]
    finally:
        detector.close()
