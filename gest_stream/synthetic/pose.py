"""The joint angles of one hand, kept within what a human hand can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError

FINGERS: Final = ("index", "middle", "ring", "pinky")

ANGLE_NAMES: Final = (
    *(f"{finger}_{joint}_flexion" for finger in FINGERS for joint in ("mcp", "pip", "dip")),
    *(f"{finger}_spread" for finger in FINGERS),
    *("thumb_opposition", "thumb_adduction", "thumb_mcp_flexion", "thumb_ip_flexion"),
    *("wrist_flexion", "wrist_deviation"),
)
"""What each entry of `HandPose.angles_deg` turns."""

LOWER_DEG: Final = np.array([-15, 0, 0] * 4 + [-15] * 4 + [-10, -15, -5, -10] + [-60, -20], np.float32)
UPPER_DEG: Final = np.array([90, 105, 75] * 4 + [15] * 4 + [60, 40, 50, 75] + [60, 30], np.float32)
"""Limits of each angle, degrees.

Source: fingers after Lin, Wu and Huang, "Modeling the constraints of human hand motion" (Workshop on Human Motion,
2000), section 3.1: MCP 0 to 90, PIP 0 to 110, DIP 0 to 90, spread -15 to 15; here within them, with the 15 degrees by
which an MCP joint passes straight. Thumb and wrist within the normal ranges of motion of the American Academy of
Orthopaedic Surgeons ("Joint Motion", 1965): thumb MCP 50, IP 80, wrist flexion 80, extension 70, radial 20 and ulnar
deviation 30.
"""

_DIP_PER_PIP = 2 / 3  # Lin, Wu and Huang 2000, equation 4: the distal joint follows the middle one


@dataclass(frozen=True, slots=True, eq=False)
class HandPose:
    """Every joint angle of a hand.

    Args:
        angles_deg: (22,) float32 degrees in the order of `ANGLE_NAMES`. Flexion bends toward the palm; spread and
            radial deviation lean toward the thumb; adduction brings the thumb to the index finger. Values beyond a
            limit are clamped to it.

    Raises:
        InvalidInputError: The array has another shape or holds nan or inf.
    """

    angles_deg: NDArray[np.float32]

    def __post_init__(self) -> None:
        angles = np.asarray(self.angles_deg, np.float32)
        if angles.shape != LOWER_DEG.shape or not np.isfinite(angles).all():
            raise InvalidInputError(f"pose: expected {LOWER_DEG.shape} finite degrees, got {self.angles_deg!r}")
        object.__setattr__(self, "angles_deg", np.clip(angles, LOWER_DEG, UPPER_DEG))

    @classmethod
    def of(
        cls,
        curl: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
        spread: float = 0.0,
        opposition: float = 0.0,
        thumb_curl: float = 0.0,
        adduction: float = 0.0,
        wrist_deg: tuple[float, float] = (0.0, 0.0),
    ) -> HandPose:
        """A pose from a few plain numbers.

        Args:
            curl: Index, middle, ring, pinky; 0 is straight, 1 is a fist.
            spread: 0 is the relaxed fan, 1 is wide open, -1 is closed.
            opposition: 0 has the thumb beside the palm, 1 in front of it.
            thumb_curl: 0 is straight, 1 is bent.
            adduction: 0 has the thumb away from the index finger, 1 beside it.
            wrist_deg: Flexion and deviation, degrees.
        """
        angles = np.zeros(22, np.float32)
        for finger, amount in enumerate(curl):
            pip = 100.0 * amount
            angles[3 * finger : 3 * finger + 3] = 82.0 * amount, pip, _DIP_PER_PIP * pip
            # a bent finger cannot lean sideways: its collateral ligaments are taut
            angles[12 + finger] = spread * (12.0, 2.0, -8.0, -14.0)[finger] * max(0.0, 1.0 - amount)
        angles[16:20] = 60.0 * opposition, 40.0 * adduction, 45.0 * thumb_curl, 60.0 * thumb_curl
        angles[20:22] = wrist_deg
        return cls(angles)

    def toward(self, other: HandPose, share: float) -> HandPose:
        """The pose `share` (0 to 1) of the way to `other`."""
        return HandPose(self.angles_deg + np.float32(share) * (other.angles_deg - self.angles_deg))

    def jittered(self, offsets_deg: NDArray[np.float32]) -> HandPose:
        """The pose with (22,) degrees added."""
        return HandPose(self.angles_deg + offsets_deg)


GESTURES: Final = {
    "open": HandPose.of(curl=(0.04, 0.03, 0.05, 0.07), spread=0.5),
    "wide": HandPose.of(spread=1.0),
    "relaxed": HandPose.of(curl=(0.16, 0.2, 0.24, 0.28), opposition=0.25, thumb_curl=0.15),
    "flat": HandPose.of(spread=-0.6, adduction=0.7),
    "cup": HandPose.of(curl=(0.32, 0.34, 0.36, 0.38), opposition=0.55, thumb_curl=0.2),
    "point": HandPose.of(curl=(0.03, 0.85, 0.9, 0.9), opposition=0.6, thumb_curl=0.6, adduction=0.3),
    "two": HandPose.of(curl=(0.02, 0.03, 0.85, 0.9), spread=0.9, opposition=0.8, thumb_curl=0.6),
    "three": HandPose.of(curl=(0.03, 0.03, 0.05, 0.85), spread=0.7, opposition=0.8, thumb_curl=0.5),
    "pinch": HandPose.of(curl=(0.5, 0.3, 0.25, 0.22), opposition=0.75, thumb_curl=0.3, spread=0.3),
    "fist": HandPose.of(curl=(0.92, 0.94, 0.95, 0.95), opposition=0.75, thumb_curl=0.6, adduction=0.4),
    "thumb_up": HandPose.of(curl=(0.9, 0.93, 0.95, 0.95), thumb_curl=0.0, adduction=0.1),
}
"""Named poses that motion goes through."""
