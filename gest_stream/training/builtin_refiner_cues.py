"""How wrong what a refiner is told may be: landmarks as a detector misses them, masks as they were a frame ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

_FINGERS: Final = 5
_ALONG: Final = np.array([0.25, 0.5, 0.75, 1.0], np.float32)


class Gross(StrEnum):
    """How landmarks can be wrong altogether."""

    NOTHING = "nothing"
    CURLED = "curled"
    """A finger is taken for bent that is not."""
    TWIN = "twin"
    """Two fingers' landmarks lie on the same finger."""
    JUMP = "jump"
    """The whole hand lies beside itself."""


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkNoise:
    """What is wrong with one hand's landmarks for some frames; lengths in palm widths.

    Args:
        shift: (2,) of the whole hand.
        turn: Complex factor that turns and grows it.
        fingers: (5, 2) of each fingertip; the joints before it have their part.
        wrist: Of the wrist along the palm, towards the fingers above 0.
        joints: Standard deviation of every joint on every frame.
        gross: What is wrong altogether.
        finger: The finger that this concerns.
    """

    shift: NDArray[np.float32]
    turn: complex
    fingers: NDArray[np.float32]
    wrist: float
    joints: float
    gross: Gross
    finger: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw one: of 209 hands, rendered and composited, MediaPipe's mean error was 0.045 palm widths in the median,
        0.12 at the 90th percentile and 0.24 at the 97th, and its wrist lay 0.03 nearer to the fingers.
        """
        wild = float(rng.choice([0.5, 1.0, 2.0, 4.0], p=[0.35, 0.4, 0.18, 0.07]))
        kinds = list(Gross)
        return cls(
            (rng.standard_normal(2) * 0.025 * wild).astype(np.float32),
            complex(np.exp(rng.normal(0.0, 0.03 * wild) + 1j * rng.normal(0.0, 0.04 * wild))),
            (rng.standard_normal((_FINGERS, 2)) * 0.045 * wild).astype(np.float32),
            float(rng.normal(0.03, 0.08)),
            0.012 * wild,
            kinds[int(rng.choice(len(kinds), p=[0.88, 0.05, 0.04, 0.03]))],
            int(rng.integers(_FINGERS)),
        )

    def applied(self, points_xy: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """The landmarks, (21, 2) of any scale, as the detector would have them."""
        palm = max(float(np.linalg.norm(points_xy[0] - points_xy[k])) for k in (5, 9, 17))
        center = points_xy.mean(axis=0)
        free = (points_xy - center) @ _matrix(self.turn)
        moved = free + center + self.shift * palm
        for finger in range(_FINGERS):
            moved[1 + 4 * finger : 5 + 4 * finger] += _ALONG[:, None] * self.fingers[finger] * palm
        moved[0] += np.float32(self.wrist) * (moved[9] - moved[0])
        moved += rng.standard_normal(moved.shape) * self.joints * palm
        joints = slice(1 + 4 * self.finger, 5 + 4 * self.finger)
        if self.gross is Gross.CURLED:
            moved[joints] = moved[joints][:1] + 0.25 * (moved[joints] - moved[joints][:1])
        elif self.gross is Gross.TWIN:
            other = 1 + 4 * (self.finger - 1 if self.finger else 1)
            moved[joints] = 0.3 * moved[joints] + 0.7 * moved[other : other + 4]
        elif self.gross is Gross.JUMP:
            moved += self.fingers[self.finger] * 8.0 * palm
        return np.asarray(moved, np.float32)


def worn_mask(
    mask: NDArray[np.float32], leaks: Sequence[NDArray[np.float32]], rng: np.random.Generator
) -> NDArray[np.float32]:
    """A mask as a tracker might have left it.

    Args:
        mask: (h, w) float32, 0 to 1.
        leaks: Masks of what it may have crept onto: forearms, other hands.
        rng: Of all that is drawn.
    """
    import cv2

    if not (mask > 0.5).any():
        return mask
    root = float(np.sqrt((mask > 0.5).sum()))
    worn = _moved(mask, root, rng)
    reach = int(rng.integers(-4, 5)) if rng.random() < 0.6 else 0
    if reach:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(reach) // 2 + 1,) * 2)
        worn = cv2.erode(worn, kernel) if reach < 0 else cv2.dilate(worn, kernel)
    for _ in range(int(rng.integers(1, 3)) if rng.random() < 0.35 else 0):
        worn = worn * (1.0 - _disc(worn, root, rng))
    for leak in leaks:
        if rng.random() < 0.35:
            worn = np.maximum(worn, leak * _disc(worn, 2.0 * root, rng))
    if rng.random() < 0.1:
        worn = np.maximum(worn, _disc(worn, root, rng))
    if rng.random() < 0.7:
        worn = cv2.GaussianBlur(worn, (0, 0), float(rng.uniform(0.4, 2.0)))
    return (worn * np.float32(rng.uniform(0.85, 1.0))).astype(np.float32)


def coarse_mask(mask: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A mask as a redetector sees it on a small picture of the whole frame: blocky, a little too large or small."""
    import cv2

    height, width = mask.shape
    cells = int(rng.integers(8, 40))
    small = cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.3, 1.0)))
    flags = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_LINEAR
    rough = cv2.resize(small, (width, height), interpolation=flags)
    return np.asarray(rough > rng.uniform(0.3, 0.65), np.float32)


def _moved(mask: NDArray[np.float32], root: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Shifted, turned and grown a little about its middle."""
    import cv2

    rows, columns = np.nonzero(mask > 0.5)
    turn = np.degrees(rng.normal(0.0, 0.06))
    matrix = cv2.getRotationMatrix2D((float(columns.mean()), float(rows.mean())), turn, float(rng.normal(1.0, 0.04)))
    matrix[:, 2] += rng.standard_normal(2) * 0.05 * root
    return np.asarray(cv2.warpAffine(mask, matrix, mask.shape[::-1]), np.float32)


def _disc(mask: NDArray[np.float32], root: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(h, w) float32, 1 on a disc somewhere about the mask's outline."""
    import cv2

    rows, columns = np.nonzero((mask > 0.3) & (mask < 0.7))
    if not rows.size:
        rows, columns = np.nonzero(mask > 0.3)
    plane = np.zeros_like(mask)
    if rows.size:
        k = int(rng.integers(rows.size))
        cv2.circle(plane, (int(columns[k]), int(rows[k])), max(1, round(root * rng.uniform(0.1, 0.35))), 1.0, -1)
    return plane


def _matrix(turn: complex) -> NDArray[np.float32]:
    """(2, 2) by which row vectors are turned and grown."""
    return np.array([[turn.real, turn.imag], [-turn.imag, turn.real]], np.float32)
