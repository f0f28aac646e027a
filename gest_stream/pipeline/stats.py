"""What is counted of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gest_stream.buffer import RingStats
from gest_stream.clock import now_ns
from gest_stream.types import FrameResult


@dataclass(frozen=True, slots=True)
class RunStats:
    """Counts of a run so far.

    Args:
        frames_read: Frames the source produced, with those it dropped itself.
        frames_dropped: Frames that were read but not processed because newer ones came.
        frames_done: Frames with a result.
        frames_with_hands: Of those, frames with at least one hand found by landmarks or held by a mask.
        hands_on_last: Hands on the newest result.
        track_ids: Number of ids given out.
        elapsed_s: Since the first frame was read, or the models were there where that was later, up to the newest
            result.
        fps: `frames_done` per second of `elapsed_s`.
        sink_drops: Results that a slow sink lost, by its name; those of an iterating caller as "iterator".
        input_ring: Counts of the ring between source and tracker.
        latency_ms: Distribution of every stage, see `metrics.LatencySummary`.
    """

    frames_read: int
    frames_dropped: int
    frames_done: int
    frames_with_hands: int
    hands_on_last: int
    track_ids: int
    elapsed_s: float
    fps: float
    sink_drops: Mapping[str, int]
    input_ring: RingStats
    latency_ms: Mapping[str, Mapping[str, float]]


class Counts:
    """What `RunStats` is made of; each number has one writing thread."""

    def __init__(self) -> None:
        self.read = self.skipped_by_source = self.done = self.with_hands = self.hands_on_last = 0
        self.first_ns = self.last_ns = self.last_id = 0

    def add(self, result: FrameResult) -> None:
        """Count a result."""
        hands = [track for track in result.tracks if track.landmarks is not None or track.mask is not None]
        self.done += 1
        self.with_hands += bool(hands)
        self.hands_on_last = len(hands)
        self.last_id = max([self.last_id, *(track.id for track in result.tracks)])
        self.last_ns = now_ns()
