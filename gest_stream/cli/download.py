"""Download progress on the terminal, and the model files a run needs before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from gest_stream.config import PipelineConfig
    from gest_stream.models.registry import ModelFile
    from gest_stream.models.store import DownloadProgress


class _Bar:
    """One download's line; follows `models.store.DownloadProgress`."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task(name, total=None)
        self._total = self._done = 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value
        self._progress.update(self._task, total=value or None)

    def resume(self, done: int) -> None:
        # Not an advance: the speed is that of what comes now.
        self._done = done
        self._progress.reset(self._task, total=self._total or None, completed=done)

    def update(self, count: int) -> None:
        self._done += count
        self._progress.advance(self._task, count)

    def close(self) -> None:
        self._progress.stop_task(self._task)
        # One that broke off is continued in a new line.
        self._progress.update(self._task, visible=self._done >= self._total > 0)


@contextmanager
def download_progress(console: Console) -> Iterator[Callable[[ModelFile], DownloadProgress]]:
    """What `ModelStore(progress=…)` wants, drawn as bars that vanish at the end."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield lambda file: _Bar(progress, file.name)


def get_models_ready(config: PipelineConfig, console: Console) -> None:
    """Fetch what `config` needs and the cache lacks, and say which segmenter and redetector it gets.

    Raises:
        WeightsError: A file can neither be found nor fetched.
    """
    from gest_stream import build

    fetch_needed(config, console)
    console.print(f"segmenter {build.choose_segmenter(config)[1]}", highlight=False)
    console.print(f"redetector {build.choose_redetector(config)[1]}", highlight=False)


def fetch_needed(config: PipelineConfig, console: Console) -> None:
    """Fetch what `config` needs and the cache lacks.

    Raises:
        WeightsError: A file can neither be found nor fetched.
    """
    from gest_stream.config import RedetectorKind, SegmenterKind
    from gest_stream.models.registry import GEST_DETECTRON, HAND_LANDMARKER, sam2_weights_name

    if config.hands.model_path is None:
        fetch_missing(HAND_LANDMARKER, console)
    if config.segmenter is SegmenterKind.SAM2 and config.sam2.checkpoint is None and not config.sam2.size.bundled:
        fetch_missing(sam2_weights_name(config.sam2.size), console)
    if config.redetector.kind is RedetectorKind.DINO and config.redetector.checkpoint is None:
        fetch_missing(GEST_DETECTRON, console)


def fetch_missing(name: str, console: Console) -> None:
    """Fetch a model file that the cache lacks, and say so.

    Args:
        name: A name that `ModelStore` knows.
        console: Where it is said and progress is drawn.

    Raises:
        ConfigError: No file has that name.
        WeightsError: It cannot be fetched.
    """
    from gest_stream.models.registry import find_model_file
    from gest_stream.models.store import ModelStatus, ModelStore

    if ModelStore().status(name) is ModelStatus.OK:
        return
    size = find_model_file(name).official.size_bytes
    told = f"{size / 1e6:.0f} MB, once" if size is not None else "once"
    console.print(f"fetching the model {find_model_file(name).name} ({told})", highlight=False)
    with download_progress(console) as progress:
        path = ModelStore(progress=progress).fetch(name)
    console.print(f"  {path}", highlight=False, soft_wrap=True)
