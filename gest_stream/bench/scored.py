"""Quality beside speed: the rendered clip tracked frame by frame, every mask held against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np

from gest_stream.bench.figures import distribution
from gest_stream.bench.looped import PlayFile, decoded
from gest_stream.bench.plan import Limit
from gest_stream.bench.quality import boundary_f, frames_until_found, id_switches, in_view, returns_of, seen, track_of
from gest_stream.bench.record import QualityPoint
from gest_stream.bench.stages import enough, warm_up_of
from gest_stream.bench.truth_file import Truth, scaled_truth
from gest_stream.clock import now_ns
from gest_stream.synthetic import HandTruth
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Track


class Tally:
    """What becomes of each hand of a clip, frame by frame; a hand that cannot be seen is left out."""

    def __init__(self) -> None:
        self.ious: list[float] = []
        self.edges: list[float] = []
        self.missing = 0
        self._ids: dict[int, list[int]] = {}
        self._in_view: dict[int, list[bool]] = {}
        self._best: dict[int, list[float]] = {}

    def add(self, truth: Truth, tracks: Sequence[Track]) -> None:
        """Take in one frame."""
        for hand in truth:
            self._in_view.setdefault(hand.index, []).append(in_view(hand))
            overlaps = [track.mask.iou(hand.hand_mask) for track in tracks if track.mask is not None]
            self._best.setdefault(hand.index, []).append(max(overlaps, default=0.0))
            if seen(hand):
                self._score(hand, tracks)

    def _score(self, hand: HandTruth, tracks: Sequence[Track]) -> None:
        track = track_of(hand, tracks)
        mask = track.mask if track is not None else None
        self.ious.append(mask.iou(hand.hand_mask) if mask is not None else 0.0)
        self.edges.append(boundary_f(mask, hand.hand_mask) if mask is not None else 0.0)
        self.missing += mask is None
        if track is not None:
            self._ids.setdefault(hand.index, []).append(track.id)

    def figures(self, rate: float) -> dict[str, Any]:
        """The fields of a `QualityPoint` that tell of quality; `rate` is the clip's, frames a second."""
        delays = [
            delay
            for hand, views in self._in_view.items()
            for delay in frames_until_found(returns_of(views), self._best[hand])
        ]
        found_ms = [1000.0 * delay / rate for delay in delays if delay is not None]
        return {
            "hands": len(self.ious),
            "iou_mean": round(float(np.mean(self.ious)), 4),
            "iou_p10": round(float(np.percentile(self.ious, 10)), 4),
            "boundary_f_mean": round(float(np.mean(self.edges)), 4),
            "masks_missing": self.missing,
            "returns": len(delays),
            "found_again": len(found_ms),
            "reacquisition_ms_median": round(float(np.median(found_ms)), 1) if found_ms else None,
            "reacquisition_ms_max": round(max(found_ms), 1) if found_ms else None,
            "id_switches": sum(id_switches(self._ids).values()),
        }


def measure_quality(
    name: str, file: PlayFile, truths: Sequence[Truth], tracker: TrackerCore, limit: Limit
) -> QualityPoint | None:
    """Track the clip once from its start.

    Returns:
        None where none of the frames shows a hand of which a mask could be asked.

    Raises:
        GestStreamError: A model failed.
    """
    tally, taken_ms = Tally(), list[float]()
    tracker.set_live(False)
    with closing(decoded(file)) as frames:
        start_ns = now_ns()
        for frame, truth in zip(islice(frames, len(truths)), truths, strict=True):
            if enough(limit, len(taken_ms), start_ns):
                break
            before_ns = now_ns()
            result = tracker.step(frame)
            taken_ms.append((now_ns() - before_ns) / 1e6)
            tally.add(scaled_truth(truth, frame.size), result.tracks)
    if not tally.ious:
        return None
    figures = tally.figures(float(file.rate))
    speed = distribution(taken_ms[warm_up_of(len(taken_ms)) :])
    return QualityPoint(name=name, size=file.size, frames=len(taken_ms), frame_ms=speed, **figures)
