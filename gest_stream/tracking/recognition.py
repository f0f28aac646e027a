"""Which hand is which region of a redetector's answer."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from gest_stream.tracking.agreement import agreement
from gest_stream.tracking.live_track import LiveTrack
from gest_stream.tracking.regions import HandRegion
from gest_stream.types import TrackState

_KNOWN_AGREEMENT = 0.3
_KNOWN_IOU = 0.15
_MAX_SIZE_RATIO = 3.0
_MOSTLY = 0.6
_PART_RATIO = 1.6
_PART_REACH = 2.0
_RESIZING = 1.0
"""Distance, in hand sizes, that a size differing by a factor of e counts as."""
_FAR = 1.25
_FURTHER = 1e-3
_LEFT_ALONE = 1.5
_NEVER = 1e6
"""Beyond `_FAR` hand sizes hardly anything is worse: one exact and one hopeless pair is better than two middling ones,
and one exact pair alone better than two bad ones."""
_SHARED = 1.0
"""Distance, in hand sizes, that a mask which covers the region exactly makes up for."""
_SETTLED_FRAMES = 10
"""After so many frames on which nothing saw it, a hand may as well have stopped where it was."""
_STRAYED = 1.0
"""Distance, in hand sizes, up to which a hand may be beside its mask: that stayed behind, or went over to another."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """What became of every region, by index into the regions and tracks.

    Args:
        known: Region -> the track on which it lies: one with landmarks there, or with a mask.
        returned: Region -> the track that it most likely is: one that is missing, or beside whose mask it lies.
        unknown: Regions that are neither, the largest first; not the small ones beside a much larger one or a hand with
            landmarks, which are parts of that hand with something before it, nor what lies in the mask of a known one.
    """

    known: dict[int, int]
    returned: dict[int, int]
    unknown: tuple[int, ...]


def recognise(regions: Sequence[HandRegion], tracks: Sequence[LiveTrack]) -> Recognition:
    """Give every region to a track, or to none.

    A region on a hand with landmarks is that hand's. The others go to the hands without, so that the sum of distances
    from where those are expected is least, less what masks and regions share: where hands crossed, a mask may have gone
    over to the other one, and only how they moved tells which is which. A hand that is missing may turn up anywhere,
    one with a mask near to it. None may have grown or shrunk out of all proportion, unless the frame's edge cuts it.

    Args:
        regions: Of one answer, moved to this frame.
        tracks: Every live hand, after `see` or `miss` on this frame.
    """
    overlaps = np.array([[_overlap(region, track) for track in tracks] for region in regions])
    overlaps = overlaps.reshape(len(regions), len(tracks))
    blind = [k for k, track in enumerate(tracks) if track.landmarks is None and not track.is_object]
    on = {row: int(np.argmax(overlaps[row])) for row in range(len(regions)) if overlaps[row].any()}
    open_to_blind = [row for row in range(len(regions)) if on.get(row) is None or on[row] in blind]
    owned = {on[row] for row in open_to_blind if row in on}
    given = _assigned(open_to_blind, blind, owned, regions, tracks, overlaps)
    known = {row: k for row, k in given.items() if overlaps[row, k] > 0.0}
    returned = {row: k for row, k in given.items() if row not in known}
    known |= {row: k for row, k in on.items() if row not in given and k not in returned.values()}
    free = [row for row in range(len(regions)) if row not in known]
    whole = [(other.size_px, other.center_xy_px) for other in regions]
    whole += [(track.size_px, track.place_xy_px) for track in tracks if track.landmarks is not None]
    masks = [track.last_mask for track in tracks if track.last_mask is not None]
    unknown = tuple(
        index
        for index in free
        if index not in returned
        and not _is_part(regions[index], whole)
        and not any(regions[index].mask.shared_px(mask) >= _MOSTLY * regions[index].mask.area_px for mask in masks)
    )
    return Recognition(known, returned, unknown)


def covered_by(region: HandRegion, tracks: Sequence[LiveTrack]) -> list[LiveTrack]:
    """The hands whose masks lie for the most part in the region; of several it is not one hand's outline."""
    found = []
    for track in tracks:
        if track.last_mask is None or track.is_object:
            continue
        if track.last_mask.shared_px(region.mask) >= _MOSTLY * max(track.last_mask.area_px, 1):
            found.append(track)
    return found


def _is_cut(region: HandRegion) -> bool:
    """It reaches the edge of the frame."""
    (left, top), (height, width) = region.mask.origin_xy_px, region.mask.crop.shape
    return (
        left == 0 or top == 0 or left + width == region.mask.frame_size[0] or top + height == region.mask.frame_size[1]
    )


def _is_part(region: HandRegion, hands: Sequence[tuple[float, NDArray[np.floating]]]) -> bool:
    """Whether a region lies at one of the hands, size and middle in pixels, and is much smaller."""
    return any(
        size_px >= _PART_RATIO * region.size_px
        and float(np.linalg.norm(center_xy_px - region.center_xy_px)) < _PART_REACH * size_px
        for size_px, center_xy_px in hands
    )


def _overlap(region: HandRegion, track: LiveTrack) -> float:
    """How surely the region lies on a hand that is in view, above 0 where it does."""
    if track.landmarks is not None:
        agreed = agreement(track.landmarks, region.mask) or 0.0
        if agreed >= _KNOWN_AGREEMENT:
            return 1.0 + agreed
    shared = track.last_mask.iou(region.mask) if track.last_mask is not None else 0.0
    return shared if shared >= _KNOWN_IOU else 0.0


def _assigned(
    rows: Sequence[int],
    columns: Sequence[int],
    owned: Set[int],
    regions: Sequence[HandRegion],
    tracks: Sequence[LiveTrack],
    overlaps: NDArray[np.float64],
) -> dict[int, int]:
    """Track by region, of hands without landmarks: those of least total cost; a region may be left alone."""
    if not rows or not columns:
        return {}
    costs = np.full((len(rows), len(columns) + len(rows)), _LEFT_ALONE)
    costs[:, : len(columns)] = _NEVER
    for column, k in enumerate(columns):
        track = tracks[k]
        # the mask of a lost hand on which nothing was seen is what it left behind
        anywhere = track.last_mask is None or (track.state is TrackState.LOST and k not in owned)
        settled = track.memory.unseen_frames >= _SETTLED_FRAMES
        ways = [track.expected_xy_px, *([track.place_xy_px] if settled else [])]
        for row, index in enumerate(rows):
            sizes = regions[index].size_px, max(track.size_px, 1.0)
            ratio = max(sizes) / max(min(sizes), 1.0)
            if sizes[0] < sizes[1] and _is_cut(regions[index]):
                ratio = 1.0  # more of it may lie outside the frame
            apart = min(float(np.linalg.norm(regions[index].center_xy_px - way)) for way in ways) / max(sizes)
            shared = float(overlaps[index, k])
            if shared > 0.0 or ((anywhere or apart <= _STRAYED) and ratio <= _MAX_SIZE_RATIO):
                away = apart + _RESIZING * float(np.log(ratio))
                costs[row, column] = min(away, _FAR) + _FURTHER * away - _SHARED * shared
    found = np.stack(linear_sum_assignment(costs), axis=1).tolist()
    return {rows[row]: columns[column] for row, column in found if column < len(columns)}
