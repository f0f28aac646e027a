"""Settings of encoder passes that several sessions share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require, take_members


class BatchingMode(StrEnum):
    """Whether sessions' pictures are encoded together."""

    AUTO = "auto"
    """On CUDA."""
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class BatchingConfig:
    """How encoder passes of sessions over the same weights are joined.

    A session that is alone never waits, whatever is set here.

    Args:
        mode: Whether they are joined.
        window_ms: How long a picture waits for those of other sessions, milliseconds; 0 joins only what waits already.
        max_batch: Pictures in one pass, at most. On CUDA each number of pictures is a graph of its own, and the memory
            that they share is the largest one's.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    mode: BatchingMode = BatchingMode.AUTO
    window_ms: float = 3.0
    max_batch: int = 4

    def __post_init__(self) -> None:
        take_members(self, mode=BatchingMode)
        require(0.0 <= self.window_ms <= 1000.0, "batching.window_ms", "0 to 1000", self.window_ms)
        require(1 <= self.max_batch <= 32, "batching.max_batch", "1 to 32", self.max_batch)
