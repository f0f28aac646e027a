"""Settings of the `light` segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require


@dataclass(frozen=True, slots=True)
class LightConfig:
    """The `light` segmenter.

    Args:
        working_px: Longer side of the grid a hand is looked at on; time grows with its square.
        colour_keep: Share of the earlier frames in what is known of a hand's colours, 0 to below 1.
        carry_decay: Factor on the score of a mask for each frame without landmarks, above 0 to 1.
        region_decay: The same for a mask that was started from what the redetector saw, above 0 to 1: of a sure one it
            leaves 0.5 after 20 frames, so that the redetector has looked again before.
        min_score: Score below which a mask without landmarks is dropped, 0 to 1.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    working_px: int = 144
    colour_keep: float = 0.6
    carry_decay: float = 0.95
    region_decay: float = 0.97
    min_score: float = 0.3

    def __post_init__(self) -> None:
        require(32 <= self.working_px <= 512, "light.working_px", "32 to 512", self.working_px)
        require(0.0 <= self.colour_keep < 1.0, "light.colour_keep", "0 to below 1", self.colour_keep)
        require(0.0 < self.carry_decay <= 1.0, "light.carry_decay", "above 0, up to 1", self.carry_decay)
        require(0.0 < self.region_decay <= 1.0, "light.region_decay", "above 0, up to 1", self.region_decay)
        require(0.0 <= self.min_score <= 1.0, "light.min_score", "0 to 1", self.min_score)
