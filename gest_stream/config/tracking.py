"""Settings of association, loss and prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require
from gest_stream.config.redetection import RedetectionConfig


@dataclass(frozen=True, slots=True)
class AssociationConfig:
    """Which detection belongs to which track. Distances are in palm widths, so that they hold near and far.

    Args:
        gate_hands: Mean landmark distance from the predicted hand beyond which a detection is not the same hand.
        gate_growth_hands: Added to the gate for every frame a hand has been missing.
        max_gate_hands: What the gate grows to at most.
        velocity_gain: Weight of the newest velocity in the smoothed one, above 0, up to 1.
        velocity_damping: Share of its velocity that a missing hand keeps from frame to frame, 0 to 1.
        handedness_hands: Distance that a surely contradicting handedness counts as: decides between hands on top of
            each other, not between hands further apart than this.
        sure_handedness: Detector's confidence from which a handedness may bar or restore a hand's id, 0 to 1.
        relocate_after_frames: Missing frames after which the only missing hand of a handedness is recognised wherever
            it turns up.
        duplicate_hands: Mean landmark distance below which two detections are one hand.
        clearance_hands: Distance of palm centres below which a detection beside a known hand opens no track.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    gate_hands: float = 1.5
    gate_growth_hands: float = 0.25
    max_gate_hands: float = 4.0
    velocity_gain: float = 0.5
    velocity_damping: float = 0.9
    handedness_hands: float = 0.3
    sure_handedness: float = 0.7
    relocate_after_frames: int = 2
    duplicate_hands: float = 0.25
    clearance_hands: float = 0.5

    def __post_init__(self) -> None:
        for name in ("gate_growth_hands", "handedness_hands", "duplicate_hands", "clearance_hands"):
            require(getattr(self, name) >= 0.0, f"association.{name}", "0 or more", getattr(self, name))
        for name in ("velocity_damping", "sure_handedness"):
            require(0.0 <= getattr(self, name) <= 1.0, f"association.{name}", "0 to 1", getattr(self, name))
        require(self.gate_hands > 0.0, "association.gate_hands", "above 0", self.gate_hands)
        require(
            self.max_gate_hands >= self.gate_hands,
            "association.max_gate_hands",
            f"at least gate_hands ({self.gate_hands})",
            self.max_gate_hands,
        )
        require(0.0 < self.velocity_gain <= 1.0, "association.velocity_gain", "above 0, up to 1", self.velocity_gain)
        require(
            self.relocate_after_frames >= 1,
            "association.relocate_after_frames",
            "1 or more",
            self.relocate_after_frames,
        )


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The loss machine: TENTATIVE -> TRACKED -> LOST -> removed.

    Args:
        confirm_after_frames: Frames with landmarks after which a new track is trusted.
        drop_tentative_after_frames: Consecutive frames without landmarks after which a track that was never trusted
            is removed. Until then it waits unseen: it is in no result, and has its id again where it was.
        lost_after_frames: Consecutive frames without landmarks after which a track is lost.
        lost_after_frames_unmasked: The same where the segmenter has no mask to trust either.
        remove_after_frames: Consecutive frames on which nothing saw it after which a track is removed and its id
            retired.
        hold_frames: The same after which a hand that the redetector found, and that only its mask holds, is lost.
        min_mask_score: Segmenter's confidence from which the mask of a hand without landmarks is kept, 0 to 1.
        min_mask_area_ratio: Smallest mask area that is kept without landmarks, relative to the last one with them.
        max_mask_area_ratio: Largest such area.
        min_sight_agreement: Overlap (IoU) of the mask with what the redetector saw on the same frame from which the
            mask is trusted, 0 to 1.
        min_agreement: Agreement of landmarks and mask below which they disagree, 0 to 1.
        reprompt_after_frames: Consecutive frames of disagreement after which the segmenter is prompted again.
        reprompt_interval_frames: Frames from one prompt to the next one that a disagreement may cause.
        reprompt_together: Where one hand is prompted again, prompt every hand with landmarks.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    confirm_after_frames: int = 3
    drop_tentative_after_frames: int = 10
    lost_after_frames: int = 5
    lost_after_frames_unmasked: int = 3
    remove_after_frames: int = 60
    hold_frames: int = 45
    min_mask_score: float = 0.5
    min_mask_area_ratio: float = 0.2
    max_mask_area_ratio: float = 3.0
    min_sight_agreement: float = 0.25
    min_agreement: float = 0.5
    reprompt_after_frames: int = 2
    reprompt_interval_frames: int = 15
    reprompt_together: bool = True

    def __post_init__(self) -> None:
        for name in (
            "confirm_after_frames",
            "drop_tentative_after_frames",
            "lost_after_frames",
            "lost_after_frames_unmasked",
            "hold_frames",
            "reprompt_after_frames",
            "reprompt_interval_frames",
        ):
            require(getattr(self, name) >= 1, f"loss.{name}", "1 or more", getattr(self, name))
        for name in ("min_mask_score", "min_sight_agreement", "min_agreement"):
            require(0.0 <= getattr(self, name) <= 1.0, f"loss.{name}", "0 to 1", getattr(self, name))
        require(
            self.remove_after_frames >= self.lost_after_frames,
            "loss.remove_after_frames",
            f"at least lost_after_frames ({self.lost_after_frames})",
            self.remove_after_frames,
        )
        require(
            0.0 <= self.min_mask_area_ratio < self.max_mask_area_ratio,
            "loss.min_mask_area_ratio",
            f"0 or more and below max_mask_area_ratio ({self.max_mask_area_ratio})",
            self.min_mask_area_ratio,
        )


@dataclass(frozen=True, slots=True)
class PromptConfig:
    """What a segmenter is told of a hand besides the points on it.

    Args:
        forearm_points: Points on the forearm that are not the hand, where the landmarks tell its direction.
        other_hand_points: Points on the other hands that are not this one.
        box: The box around the hand. It is given all the same where no point on the hand lies inside the frame.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    forearm_points: bool = True
    other_hand_points: bool = True
    box: bool = True


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Association, loss and prompts.

    Args:
        max_tracks: Hands followed at once, the lost ones among them; a new hand beyond that takes the place of the
            one lost longest, or is not followed.
        association: Which detection belongs to which track.
        loss: When a hand is trusted, lost and given up.
        prompts: What the segmenter is told where it starts anew.
        redetection: When the redetector is asked, and what becomes of its answers.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    max_tracks: int = 8
    association: AssociationConfig = field(default_factory=AssociationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    redetection: RedetectionConfig = field(default_factory=RedetectionConfig)

    def __post_init__(self) -> None:
        require(1 <= self.max_tracks <= 64, "tracker.max_tracks", "1 to 64", self.max_tracks)
