"""One of the processes that make clips for `wide_data`; `python -m gest_stream.training.wide_maker` by its hand."""

from __future__ import annotations

import os
from collections.abc import Callable

from gest_stream.training.clip_workers import serve
from gest_stream.training.wide_clips import ClipKind
from gest_stream.training.wide_data import ClipMaker, WideJob


def _prepare(job: WideJob) -> Callable[[str], None]:
    maker = ClipMaker(job)

    def make(key: str) -> None:
        kind, index = key.split()
        maker.write(ClipKind(kind), int(index))

    return make


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    serve(_prepare)
