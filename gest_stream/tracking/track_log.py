"""What is said of a hand when its state changes: one line each."""

from __future__ import annotations

import logging

from gest_stream.tracking.live_track import LiveTrack
from gest_stream.types import ReinitialisedBy, TrackState

_log = logging.getLogger(__name__)


class TrackLog:
    """Compares a hand before and after a part of a frame's work.

    Args:
        track: The hand, before.
    """

    def __init__(self, track: LiveTrack) -> None:
        self._track = track
        self._state, self._missed = track.state, track.memory.missed_frames
        self._event = track.reinitialisation

    def tell(self) -> None:
        """One line for a change of state, and for whatever started the hand anew.

        Tentative tracks may flicker with the detector, so theirs are for debugging.
        """
        track, event = self._track, self._track.reinitialisation
        if event is not None and event is not self._event:
            if self._state is TrackState.LOST:
                _log.info(
                    "track %d found again by %s after %d frames, seen on frame %d with score %.2f",
                    *(
                        track.id,
                        event.by,
                        self._missed + (event.by is ReinitialisedBy.LANDMARKS),
                        event.seq,
                        event.score,
                    ),
                )
            else:
                _log.info(
                    "track %d started by %s, seen on frame %d with score %.2f",
                    *(track.id, event.by, event.seq, event.score),
                )
        elif track.state is self._state:
            return
        elif track.state is TrackState.TRACKED:
            _log.info("track %d tracked", track.id)
        elif track.state is TrackState.LOST:
            _log.info("track %d lost after %d frames", track.id, track.memory.missed_frames)
        elif self._state is TrackState.TENTATIVE:
            _log.debug("track %d dropped before it was trusted", track.id)
        else:
            _log.info("track %d removed after %d frames", track.id, track.memory.missed_frames)
