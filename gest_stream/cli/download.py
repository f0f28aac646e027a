"""Download progress on the terminal, and the model files a run needs before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from gest_stream.config import PipelineConfig
    from gest_stream.models.registry import ModelFile
    from gest_stream.models.store import DownloadProgress


class _Bar:
    """One download's line; follows `models.store.DownloadProgress`."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task(name, total=None)
        self._total = 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value
        self._progress.update(self._task, total=value or None)

    def update(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def reset(self) -> None:
        self._progress.reset(self._task, total=self._total or None)

    def close(self) -> None:
        self._progress.stop_task(self._task)


@contextmanager
def download_progress(console: Console) -> Iterator[Callable[[ModelFile], DownloadProgress]]:
    """What `ModelStore(progress=…)` wants, drawn as bars that vanish at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield lambda file: _Bar(progress, file.name)


def fetch_needed(config: PipelineConfig, console: Console) -> None:
    """Fetch what `config` needs and the cache lacks.

    Raises:
        WeightsError: A file can neither be found nor fetched.
    """
    from gest_stream.models.registry import HAND_LANDMARKER
    from gest_stream.models.store import ModelStatus, ModelStore

    if config.hands.model_path is not None or ModelStore().status(HAND_LANDMARKER) is ModelStatus.OK:
        return
    console.print(f"fetching the model {HAND_LANDMARKER} (8 MB, once)", highlight=False)
    with download_progress(console) as progress:
        path = ModelStore(progress=progress).fetch(HAND_LANDMARKER)
    console.print(f"  {path}", highlight=False, soft_wrap=True)
