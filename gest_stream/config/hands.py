"""Settings of the landmark detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require


@dataclass(frozen=True, slots=True)
class HandsConfig:
    """The landmark detector.

    Args:
        max_hands: Hands looked for on a frame, 1 to 8.
        min_detection_confidence: Palm detector's threshold, 0 to 1.
        min_presence_confidence: Below this a followed hand is looked for anew, 0 to 1.
        min_tracking_confidence: Overlap below which a followed hand is looked for anew, 0 to 1.
        model_path: A hand_landmarker.task file to use instead of the official one.
        mirrored: True where the picture is mirrored (a selfie view): left and right are swapped back.
        detectors: Detectors of a run that take its frames in turn, 1 to 4: each computes on one core. 0 takes two
            where there is more than one.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    max_hands: int = 2
    min_detection_confidence: float = 0.5
    min_presence_confidence: float = 0.5
    min_tracking_confidence: float = 0.5
    model_path: Path | None = None
    mirrored: bool = False
    detectors: int = 0

    def __post_init__(self) -> None:
        require(1 <= self.max_hands <= 8, "hands.max_hands", "1 to 8", self.max_hands)
        require(0 <= self.detectors <= 4, "hands.detectors", "0 to 4", self.detectors)
        for name in ("min_detection_confidence", "min_presence_confidence", "min_tracking_confidence"):
            value = getattr(self, name)
            require(0.0 <= value <= 1.0, f"hands.{name}", "0 to 1", value)
