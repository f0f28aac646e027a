"""Settings of when the redetector is asked and what its answer says to the segmenter."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require, take_members


class PointPolicy(StrEnum):
    """How points on a hand are picked from its mask."""

    PEAKS = "peaks"
    """Middles of the largest circles that fit into what is left of the mask; the same for the same mask."""
    RANDOM = "random"
    """Pixels of high probability drawn by chance from a seed, as gest_detectron does."""


@dataclass(frozen=True, slots=True)
class RegionConfig:
    """From a probability map to hands and prompts.

    Args:
        mask_threshold: Probability from which a cell is hand, 0 to 1.
        point_threshold: Probability that a point on the hand must have, 0 to 1; where no cell has it, the best do.
        min_area_share: Smallest hand that counts, as a share of the frame.
        min_score: Mean probability below which a component is no hand, 0 to 1.
        max_regions: Hands taken from one map, the largest first.
        points: Points on each hand.
        point_policy: How they are picked.
        seed: Of the policy `random`.
        forearm_points: Points on the forearm beside the hand, which are not the hand.
        other_hand_points: Points on each other hand, which are not this one.
        box: Give the box around the hand as well.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    mask_threshold: float = 0.5
    point_threshold: float = 0.8
    min_area_share: float = 0.001
    min_score: float = 0.6
    max_regions: int = 4
    points: int = 5
    point_policy: PointPolicy = PointPolicy.PEAKS
    seed: int = 0
    forearm_points: int = 2
    other_hand_points: int = 2
    box: bool = True

    def __post_init__(self) -> None:
        take_members(self, point_policy=PointPolicy)
        for name in ("mask_threshold", "point_threshold", "min_area_share", "min_score"):
            require(0.0 <= getattr(self, name) <= 1.0, f"regions.{name}", "0 to 1", getattr(self, name))
        require(self.mask_threshold > 0.0, "regions.mask_threshold", "above 0", self.mask_threshold)
        require(1 <= self.max_regions <= 64, "regions.max_regions", "1 to 64", self.max_regions)
        require(1 <= self.points <= 64, "regions.points", "1 to 64", self.points)
        for name in ("forearm_points", "other_hand_points"):
            require(0 <= getattr(self, name) <= 64, f"regions.{name}", "0 to 64", getattr(self, name))
        require(0 <= self.seed < 2**32, "regions.seed", "0 to 4294967295", self.seed)


class RedetectionMode(StrEnum):
    """Whether frames wait for the redetector."""

    AUTO = "auto"
    """`background` for live sources, `wait` for files, whose results then do not hang on the machine's speed."""
    BACKGROUND = "background"
    """It works on a thread of its own; its answer is carried forward to the frame on which it is used."""
    WAIT = "wait"
    """The frame waits for the answer."""


@dataclass(frozen=True, slots=True)
class RedetectionConfig:
    """When the redetector is asked.

    Args:
        interval_frames: Frames from one question to the next, at least.
        backoff_after: So many answers in a row that help nothing leave the interval as it is; hands often come back
            within a second or two.
        backoff: With every further one it grows by this factor, 1 or more.
        max_interval_frames: What it grows to at most.
        verify_after_frames: A hand that only its mask holds is looked for after so many frames without a sight of
            it; 0 never does.
        seek_interval_frames: Frames from one question to the next, at least, while a hand is in view but fewer than the
            landmarks' detector looks for (`hands.max_hands`), which may have missed one; 0 never asks then.
        open_tracks: Hands that no track knows become tracks, up to as many as the landmarks' detector looks for.
        open_score: Mean probability that such a hand must have, 0 to 1; and one that is missing where it turns up far
            from where it was, or beside its mask. Near to where a missing one was less (`regions.min_score`) is enough.
        seek_score: The same of a hand that is found beside landmarks, which say that there is none; where it is more.
        mode: Whether frames wait for it.
        regions: From its answer to hands and prompts.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    interval_frames: int = 3
    backoff_after: int = 20
    backoff: float = 1.5
    max_interval_frames: int = 60
    verify_after_frames: int = 15
    seek_interval_frames: int = 15
    open_tracks: bool = True
    open_score: float = 0.75
    seek_score: float = 0.85
    mode: RedetectionMode = RedetectionMode.AUTO
    regions: RegionConfig = field(default_factory=RegionConfig)

    def __post_init__(self) -> None:
        take_members(self, mode=RedetectionMode)
        require(self.interval_frames >= 1, "redetection.interval_frames", "1 or more", self.interval_frames)
        require(1.0 <= self.backoff <= 10.0, "redetection.backoff", "1 to 10", self.backoff)
        expected = f"at least interval_frames ({self.interval_frames})"
        sound = self.max_interval_frames >= self.interval_frames
        require(sound, "redetection.max_interval_frames", expected, self.max_interval_frames)
        require(self.verify_after_frames >= 0, "redetection.verify_after_frames", "0 or more", self.verify_after_frames)
        sound = self.seek_interval_frames >= 0
        require(sound, "redetection.seek_interval_frames", "0 or more", self.seek_interval_frames)
        for name in ("open_score", "seek_score"):
            require(0.0 <= getattr(self, name) <= 1.0, f"redetection.{name}", "0 to 1", getattr(self, name))
        require(self.backoff_after >= 0, "redetection.backoff_after", "0 or more", self.backoff_after)
