"""Settings of the `builtin` segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require, take_members
from gest_stream.config.device import Precision


@dataclass(frozen=True, slots=True)
class RefinerConfig:
    """The `builtin` segmenter.

    Args:
        weights: A file that `gest-stream train builtin --preset refiner` wrote; None takes the package's own.
        precision: What it computes in; auto takes bfloat16 on a CPU that multiplies it by itself (AMX, AVX512-BF16).
        grid: Cells of a side of the crop that a hand is looked at in, a multiple of 32; 0 takes what it was trained on
            (160). Time grows with its square.
        wrist_cut: Cut the masks of hands with landmarks at the wrist's line, which the landmarks know better.
        carry_decay: Factor on the score of a mask for each frame on which neither landmarks nor redetector see the
            hand, above 0 to 1: a sure one is held for about 34 frames.
        min_score: Probability that the hand is there below which a mask without landmarks is not shown, 0 to 1.
        forget_after_frames: Frames without a mask after which a hand without landmarks is no longer looked for.
        threads: CPU threads it may use. 0 takes half of the processors: threads that wait for each other spin, and
            take from the landmarks what they need.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    weights: Path | None = None
    precision: Precision = Precision.AUTO
    grid: int = 160
    wrist_cut: bool = True
    carry_decay: float = 0.98
    min_score: float = 0.5
    forget_after_frames: int = 5
    threads: int = 0

    def __post_init__(self) -> None:
        take_members(self, precision=Precision)
        sound = self.grid == 0 or (64 <= self.grid <= 512 and self.grid % 32 == 0)
        require(sound, "refiner.grid", "0, or a multiple of 32 from 64 to 512", self.grid)
        require(0.0 < self.carry_decay <= 1.0, "refiner.carry_decay", "above 0, up to 1", self.carry_decay)
        require(0.0 <= self.min_score <= 1.0, "refiner.min_score", "0 to 1", self.min_score)
        require(0 <= self.threads <= 1024, "refiner.threads", "0 to 1024", self.threads)
        require(self.forget_after_frames >= 1, "refiner.forget_after_frames", "1 or more", self.forget_after_frames)
