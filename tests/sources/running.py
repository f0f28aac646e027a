"""What the tests of sources share: running one to its end, and a clock that only moves when it is waited on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gest_stream.errors import SourceError
from gest_stream.interfaces import Source
from gest_stream.types import Frame

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"


def needed_clip(name: str) -> Path:
    """A clip of ../shared/clips; the test is skipped where it is absent."""
    path = CLIPS / name
    if not path.exists():
        pytest.skip(f"../shared/clips/{name} is not here")
    return path


def read_all(source: Source) -> list[Frame]:
    """Every frame of a source."""

    async def run() -> list[Frame]:
        async with source:
            return [frame async for frame in source]

    return asyncio.run(run())


def open_error(source: Source) -> str:
    """What a source says when it cannot be opened."""

    async def run() -> None:
        async with source:
            pass

    with pytest.raises(SourceError) as caught:
        asyncio.run(run())
    return str(caught.value)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until `condition` holds; for what another thread brings about without telling the loop."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class FakeTime:
    """Monotonic time that stands still until somebody waits."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self.ns = start_ns
        self.waits_s: list[float] = []

    def clock(self) -> int:
        """Now, nanoseconds."""
        return self.ns

    def wait(self, seconds: float) -> None:
        """Be `seconds` later at once."""
        self.waits_s.append(seconds)
        self.ns += round(seconds * 1e9)
