"""Which detection is which hand.

Four passes, each on what the earlier ones left:

1. Detections that lie on each other are one hand; the surer one stays. One that lies at a surer one is mostly the same
   hand seen twice: it is a missing hand only where that is expected right there.
2. Geometry: the assignment of least total cost (Kuhn 1955, "The Hungarian method") between detections and predicted
   hands, within a gate. Handedness only adds what `handedness_hands` allows, so it decides between hands that lie on
   each other and nowhere else. A lost hand, which geometry says little about, is never given to a detection that is
   surely the other hand. Of a missing hand whose mask is carried the mask says where it is: a detection outside of it
   goes to another missing hand first; where the redetector saw the hand there lately, never to this one, here or in
   the next pass.
3. Return: the only missing hand of a handedness takes the only free detection that is surely of that handedness,
   wherever it is. It may take it from a tentative track, which is then the same hand seen before it was recognised.
   Two missing hands of one handedness, or two candidates, are left alone: a new id is better than a stolen one.
4. Count: where as many hands are known as the detector can find, the only missing one takes the only free detection,
   of whatever handedness: for a third hand there is no room. A hand whose mask is carried elsewhere is not missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from gest_stream.config import AssociationConfig
from gest_stream.tracking.agreement import agreement
from gest_stream.tracking.motion import palm_center_px
from gest_stream.types import Handedness, HandLandmarks, HandMask

_MAX_SIZE_RATIO = 2.5
_MISSED_HANDS = 0.02
_SETTLED = 0.5
_UNMATCHED = 1.0
_ELSEWHERE_AGREEMENT = 0.1
"""Landmarks that agree less with a carried mask are not of the hand that it shows."""
_DOUBT_HANDS = 1.0
"""Distance that counts as: such a mask, and the surely other handedness of a hand that went missing. Masks go astray
and handedness errs, so neither bars anything alone, unless the mask is confirmed."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What association needs to know of one track.

    Args:
        hypotheses_px: (2, 21, 2) float32 pixels: where the hand is expected, and a second place it may be: where a lost
            one was last, or whither its mask moved (the same where there is none).
        palm_width_px: Its size when last seen.
        handedness: Voted over its life.
        handedness_certainty: Of that vote, 0 to 1.
        tentative: It is not trusted yet.
        lost: It has been missing for long, so that its place is a guess.
        missed_frames: Frames it has been missing.
        anywhere: It may be recognised by handedness or count alone.
        carried: Its mask, where it is missing and the mask is trusted.
        confirmed: A redetector or the user saw the hand lately, where that mask is.
        missing: No landmarks showed it on the frame before.
    """

    hypotheses_px: NDArray[np.float32]
    palm_width_px: float
    handedness: Handedness
    handedness_certainty: float
    tentative: bool
    lost: bool
    missed_frames: int
    anywhere: bool
    carried: HandMask | None = None
    confirmed: bool = False
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """One detection and its track, as indices; `relocated` where handedness or count alone recognised it."""

    detection: int
    track: int
    relocated: bool = False


@dataclass(frozen=True, slots=True)
class Association:
    """What became of every detection and track, as indices.

    Args:
        matches: Ordered by track.
        new: Detections that open a track, the surest first.
        missed: Tracks without a detection, ascending.
        ignored: Detections that repeat a hand, ascending.
        absorbed: Those of `missed` that were never trusted and whose detection is another track's hand.
    """

    matches: tuple[Match, ...]
    new: tuple[int, ...]
    missed: tuple[int, ...]
    ignored: tuple[int, ...]
    absorbed: tuple[int, ...] = ()


def associate(
    detections: Sequence[HandLandmarks],
    candidates: Sequence[Candidate],
    config: AssociationConfig,
    most_hands: int | None = None,
) -> Association:
    """Give every detection to a track, to a new track, or to none.

    Args:
        detections: The hands of this frame, any order and number.
        candidates: The live tracks.
        config: Gates and weights.
        most_hands: As many hands as the detector can find on a frame; None where that is not known.
    """
    kept = _without_duplicates(detections, config)
    ghosts = _ghosts(detections, kept, config)
    owner = _by_geometry(detections, kept, candidates, ghosts, config)
    apart = [index for index in kept if index not in ghosts]
    relocated = _by_handedness(detections, apart, candidates, owner, config)
    if not relocated and most_hands is not None:
        relocated = _by_count(detections, apart, candidates, owner, most_hands)
    absorbed = tuple(sorted(owner[index] for index in relocated if index in owner))
    owner.update(relocated)
    matches = tuple(sorted((Match(d, t, d in relocated) for d, t in owner.items()), key=lambda match: match.track))
    new: list[int] = []
    for index in sorted((i for i in kept if i not in owner), key=lambda i: (-_sureness(detections[i]), i)):
        if not _crowded(detections[index], [detections[i] for i in (*owner, *new)], config):
            new.append(index)
    taken = set(owner.values())
    return Association(
        matches,
        tuple(new),
        tuple(t for t in range(len(candidates)) if t not in taken),
        tuple(i for i in range(len(detections)) if i not in owner and i not in new),
        absorbed,
    )


def _sureness(detection: HandLandmarks) -> float:
    return detection.presence if detection.presence is not None else detection.handedness_score


def _scale_px(a: float, b: float) -> float:
    return max(a, b, 1.0)


def _without_duplicates(detections: Sequence[HandLandmarks], config: AssociationConfig) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(detections)), key=lambda i: (-_sureness(detections[i]), i)):
        this = detections[index]
        for other in (detections[i] for i in kept):
            apart = np.linalg.norm(this.points_xy_px - other.points_xy_px, axis=1).mean()
            if apart < config.duplicate_hands * _scale_px(this.palm_width_px, other.palm_width_px):
                break
        else:
            kept.append(index)
    return sorted(kept)


def _ghosts(detections: Sequence[HandLandmarks], kept: Sequence[int], config: AssociationConfig) -> set[int]:
    """Detections at surer ones: mostly the same hand seen twice, now and then two hands that cross."""
    ghosts: set[int] = set()
    whole: list[HandLandmarks] = []
    for index in sorted(kept, key=lambda i: (-_sureness(detections[i]), i)):
        if _crowded(detections[index], whole, config):
            ghosts.add(index)
        else:
            whole.append(detections[index])
    return ghosts


def _crowded(detection: HandLandmarks, others: Sequence[HandLandmarks], config: AssociationConfig) -> bool:
    center = palm_center_px(detection.points_xy_px)
    return any(
        np.linalg.norm(center - palm_center_px(other.points_xy_px))
        < config.clearance_hands * _scale_px(detection.palm_width_px, other.palm_width_px)
        for other in others
    )


def _surely_other(detection: HandLandmarks, candidate: Candidate, config: AssociationConfig) -> bool:
    return (
        _opposed(detection, candidate)
        and candidate.handedness_certainty >= _SETTLED
        and detection.handedness_score >= config.sure_handedness
    )


def _opposed(detection: HandLandmarks, candidate: Candidate) -> bool:
    labels = {detection.handedness, candidate.handedness}
    return labels == {Handedness.LEFT, Handedness.RIGHT}


def _by_geometry(
    detections: Sequence[HandLandmarks],
    kept: Sequence[int],
    candidates: Sequence[Candidate],
    ghosts: set[int],
    config: AssociationConfig,
) -> dict[int, int]:
    """Track index by detection index, of least total cost within the gates."""
    if not kept or not candidates:
        return {}
    distance = _distance_hands([detections[i] for i in kept], candidates)
    costs = np.full(distance.shape, _UNMATCHED)
    for row, candidate in enumerate(candidates):
        gate = min(config.gate_hands + config.gate_growth_hands * candidate.missed_frames, config.max_gate_hands)
        for column, index in enumerate(kept):
            detection, apart = detections[index], float(distance[row, column])
            if index in ghosts and candidate.missing and apart > config.clearance_hands:
                continue
            if apart > gate or (candidate.lost and _surely_other(detection, candidate, config)):
                continue
            if _opposed(detection, candidate):
                apart += config.handedness_hands * detection.handedness_score * candidate.handedness_certainty
            apart += _MISSED_HANDS * candidate.missed_frames
            if _lies_elsewhere(candidate, detection):
                if candidate.confirmed:
                    continue
                apart += _DOUBT_HANDS
            if candidate.anywhere and _surely_other(detection, candidate, config):
                apart += _DOUBT_HANDS
            # Concave and below 1, the cost of leaving both alone: one exact and one hopeless pair is better than two
            # middling ones, so a hand that stays does not move over to make room for one that appeared.
            costs[row, column] = apart / (1.0 + apart)
    found = _cheapest(costs)
    far = any(candidates[row].missing and distance[row, k] > config.clearance_hands for row, k in found.items())
    if far and any(kept[column] in ghosts and not candidates[row].missing for row, column in found.items()):
        # a ghost took the hand at which it lies, so that the surer report of that hand became another one
        costs[:, [column for column, index in enumerate(kept) if index in ghosts]] = _UNMATCHED
        found = _cheapest(costs)
    return {kept[column]: row for row, column in found.items()}


def _cheapest(costs: NDArray[np.float64]) -> dict[int, int]:
    """Column by row, of least total cost; what costs as much as leaving both alone is left."""
    pairs = np.stack(linear_sum_assignment(costs), axis=1).tolist()
    return {row: column for row, column in pairs if costs[row, column] < _UNMATCHED}


def _lies_elsewhere(candidate: Candidate, detection: HandLandmarks) -> bool:
    agreed = agreement(detection, candidate.carried) if candidate.carried is not None else None
    return agreed is not None and agreed < _ELSEWHERE_AGREEMENT


def _distance_hands(detections: Sequence[HandLandmarks], candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """(T, D) mean distance of the 21 landmarks from the nearer hypothesis, in widths of the larger palm."""
    seen = np.stack([d.points_xy_px for d in detections])[None, None]
    expected = np.stack([c.hypotheses_px for c in candidates])[:, :, None]
    apart = np.linalg.norm(expected - seen, axis=-1).mean(axis=-1).min(axis=1)
    widths = np.maximum.outer([c.palm_width_px for c in candidates], [d.palm_width_px for d in detections])
    return np.asarray(apart / np.maximum(widths, 1.0), np.float64)


def _by_handedness(
    detections: Sequence[HandLandmarks],
    kept: Sequence[int],
    candidates: Sequence[Candidate],
    owner: dict[int, int],
    config: AssociationConfig,
) -> dict[int, int]:
    """Track index by detection index, of hands that are recognised wherever they turned up."""
    found: dict[int, int] = {}
    taken = set(owner.values())
    for side in (Handedness.LEFT, Handedness.RIGHT):
        free = [
            i for i in kept if detections[i].handedness is side and (i not in owner or candidates[owner[i]].tentative)
        ]
        sure = [i for i in free if detections[i].handedness_score >= config.sure_handedness]
        missing = [
            t
            for t, c in enumerate(candidates)
            if t not in taken and not c.tentative and c.handedness is side and c.handedness_certainty >= _SETTLED
        ]
        if len(sure) != 1 or len(free) != 1 or len(missing) != 1 or not candidates[missing[0]].anywhere:
            continue
        candidate, detection = candidates[missing[0]], detections[sure[0]]
        if candidate.confirmed and _lies_elsewhere(candidate, detection):
            continue
        if _of_like_size(detection, candidate):
            found[sure[0]] = missing[0]
    return found


def _by_count(
    detections: Sequence[HandLandmarks],
    kept: Sequence[int],
    candidates: Sequence[Candidate],
    owner: dict[int, int],
    most_hands: int,
) -> dict[int, int]:
    """Track index by detection index, of the hand that is recognised because there is no room for another one."""
    free = [i for i in kept if i not in owner or candidates[owner[i]].tentative]
    trusted = [t for t, candidate in enumerate(candidates) if not candidate.tentative]
    taken = set(owner.values())
    missing = [t for t in trusted if t not in taken]
    if len(trusted) != most_hands or len(missing) != 1 or len(free) != 1:
        return {}
    candidate, detection = candidates[missing[0]], detections[free[0]]
    is_it = candidate.anywhere and candidate.carried is None and _of_like_size(detection, candidate)
    return {free[0]: missing[0]} if is_it else {}


def _of_like_size(detection: HandLandmarks, candidate: Candidate) -> bool:
    small, large = sorted((detection.palm_width_px, candidate.palm_width_px))
    return large <= _MAX_SIZE_RATIO * max(small, 1.0)
