"""The hands that are live: which detection is which of them, and where there is room for one more."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

from gest_stream.config import TrackerConfig
from gest_stream.tracking.agreement import agreement
from gest_stream.tracking.association import associate
from gest_stream.tracking.live_track import LiveTrack
from gest_stream.tracking.regions import HandRegion
from gest_stream.tracking.track_log import TrackLog
from gest_stream.types import HandLandmarks, TrackState

_log = logging.getLogger(__name__)


class LiveTracks:
    """All hands of a tracker, by id. Ids count from 1 and are never used twice.

    Args:
        config: Of the tracker.
        most_hands: As many hands as the detector can find on a frame; None where that is not known.
    """

    def __init__(self, config: TrackerConfig, most_hands: int | None) -> None:
        self._config, self._most_hands = config, most_hands
        self._tracks: list[LiveTrack] = []
        self._ids = itertools.count(1)

    def __iter__(self) -> Iterator[LiveTrack]:
        return iter(self._tracks)

    def __len__(self) -> int:
        return len(self._tracks)

    @property
    def shown(self) -> list[LiveTrack]:
        """Those that results have."""
        return [track for track in self._tracks if not track.is_waiting]

    def new_id(self) -> int:
        """The next id."""
        return next(self._ids)

    def find(self, track_id: int) -> LiveTrack | None:
        """The hand of that id; None where it is gone."""
        return next((track for track in self._tracks if track.id == track_id), None)

    def remove(self, track: LiveTrack) -> None:
        """Drop a hand."""
        self._tracks.remove(track)

    def clear(self) -> None:
        """Drop every hand; ids go on."""
        self._tracks.clear()

    def insert(self, track: LiveTrack) -> None:
        """Add one whose id was given out earlier, after `make_room`."""
        self._tracks.append(track)
        self._tracks.sort(key=lambda other: other.id)

    def associate(self, seq: int, steps: int, detections: Sequence[HandLandmarks]) -> None:
        """Give the detections of frame `seq`, `steps` source frames after the last one, to the hands or to new ones."""
        # what a user started may be anything: only landmarks that lie in its mask make it a hand
        objects = [track for track in self._tracks if track.is_object]
        hands = [track for track in self._tracks if track not in objects]
        live = [*hands, *objects]
        candidates = [track.candidate(steps) for track in hands]
        found = associate(detections, candidates, self._config.association, self._most_hands)
        missed = [*found.missed, *range(len(hands), len(live))]
        logs = {track.id: TrackLog(track) for track in live}
        young = [m.detection for m in found.matches if live[m.track].state is TrackState.TENTATIVE]
        open_to_all = {index: detections[index] for index in (*found.new, *young)}
        reclaimed = self._reclaimed([live[index] for index in missed], open_to_all)
        taken = set(reclaimed.values())
        for match in found.matches:
            if match.detection in taken:
                live[match.track].give_up()
            else:
                live[match.track].see(detections[match.detection], seq, steps, match.relocated)
        for index in missed:
            own = reclaimed.get(live[index].id)
            if own is None and index in found.absorbed:
                live[index].give_up()
            elif own is None:
                live[index].miss(steps)
            else:
                live[index].see(detections[own], seq, steps, relocated=False)
        for track in live:
            logs[track.id].tell()
            if track.state is TrackState.REMOVED:
                self._tracks.remove(track)
        for index in found.new:
            if index not in taken:
                self._open(detections[index], seq, steps)

    def _reclaimed(self, missed: Sequence[LiveTrack], detections: Mapping[int, HandLandmarks]) -> dict[int, int]:
        """Hands that were missing, by id, and which detection lies in the mask that was carried of them.

        A carried mask says more than a handedness, by which a returning hand that is cut off by the picture's edge may
        not have been matched. It may come a frame after the landmarks, so tracks that are not yet trusted give theirs.
        """
        found: dict[int, int] = {}
        for index, landmarks in detections.items():
            agreed = {
                track.id: agreement(landmarks, track.mask) or 0.0
                for track in missed
                if track.mask is not None and track.memory.missed_frames > 0 and track.id not in found
            }
            best = max(agreed, key=agreed.__getitem__, default=None)
            if best is not None and agreed[best] >= self._config.loss.min_agreement:
                found[best] = index
        return found

    def _open(self, landmarks: HandLandmarks, seq: int, steps: int) -> None:
        if not self.make_room():
            return
        track = LiveTrack.seen_first(self.new_id(), landmarks, self._config)
        log = TrackLog(track)
        track.see(landmarks, seq, steps, relocated=False)
        self._tracks.append(track)
        log.tell()

    def make_room(self) -> bool:
        """Whether there is a place for one more hand, that of the one lost longest if need be."""
        if len(self._tracks) < self._config.max_tracks:
            return True
        lost = [track for track in self._tracks if track.state is TrackState.LOST or track.is_waiting]
        if not lost:
            return False
        longest = max(lost, key=lambda track: track.memory.unseen_frames)
        _log.info("track %d removed to make room for a new hand", longest.id)
        self._tracks.remove(longest)
        return True

    def spotted(self, region: HandRegion) -> LiveTrack | None:
        """The hand that a region opens: one that waits there, else a new one; None where there is no room."""
        waiting = next((track for track in self._tracks if track.waits_at(region)), None)
        if waiting is not None or not self.make_room():
            return waiting
        track = LiveTrack.spotted_first(self.new_id(), region.center_xy_px, region.size_px, region.score, self._config)
        self._tracks.append(track)
        return track
