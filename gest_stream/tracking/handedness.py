"""Which hand a track is, voted over its life."""

from __future__ import annotations

from gest_stream.types import Handedness, HandLandmarks

_LIMIT = 30.0
_SURE = 3.0


class HandednessVote:
    """Adds up the detector's opinions, each with its score.

    The sum is limited to 30 sure votes (a second at 30 fps), so that a run of wrong labels does not turn a settled
    hand, and a hand that was wrong from the start is put right within two seconds.
    """

    def __init__(self) -> None:
        self._balance = 0.0
        self.winner = Handedness.UNKNOWN

    def add(self, landmarks: HandLandmarks) -> None:
        """Take in one frame's opinion."""
        if landmarks.handedness is Handedness.UNKNOWN:
            return
        sign = 1.0 if landmarks.handedness is Handedness.RIGHT else -1.0
        self._balance = min(max(self._balance + sign * landmarks.handedness_score, -_LIMIT), _LIMIT)
        if self._balance != 0.0:
            self.winner = Handedness.RIGHT if self._balance > 0.0 else Handedness.LEFT

    @property
    def certainty(self) -> float:
        """How settled the vote is, 0 to 1; 1 from a lead of three sure votes on."""
        return min(abs(self._balance) / _SURE, 1.0)
