"""How many CPU threads torch takes for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use that many CPU threads meanwhile; 0 leaves it as it is.

    With OpenMP the setting is the calling thread's own, but what it was last set to is what threads start with that
    use torch for the first time: so it is put back after each frame.
    """
    before = torch.get_num_threads()
    if count in (0, before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
