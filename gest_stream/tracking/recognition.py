"""Which hand is which region of a redetector's answer."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Recognition:
    """What became of every region, by index into the regions and tracks.

    Args:
        known: Region -> the track on which it lies: one with landmarks there, or with a mask.
        returned: Region -> the missing track that it most likely is.
        unknown: Regions that are neither, the largest first; not the small ones beside a much larger one or a hand with
            landmarks, which are parts of that hand with something before it, nor what lies in the mask of a known one.
    """

    known: dict[int, int]
    returned: dict[int, int]
    unknown: tuple[int, ...]


def recognise(regions: Sequence[HandRegion], tracks: Sequence[LiveTrack]) -> Recognition:
    """Give every region to a track, or to none.

    A region on a hand that is known is that hand's. The others go to the hands that are missing, wherever they turn
    up, so that the sum of distances is least; they may not have grown or shrunk out of all proportion, unless the
    frame's edge cuts them.

    Args:
        regions: Of one answer, moved to this frame.
        tracks: Every live hand, after `see` or `miss` on this frame.
    """
    known: dict[int, int] = {}
    for index, region in enumerate(regions):
        overlaps = [_overlap(region, track) for track in tracks]
        best = int(np.argmax(overlaps)) if overlaps else 0
        if overlaps and overlaps[best] > 0.0:
            known[index] = best
    # the mask of a lost hand on which nothing was seen is what it left behind
    missing = [
        k
        for k, track in enumerate(tracks)
        if track.landmarks is None
        and not track.is_object
        and (track.last_mask is None or (track.state is TrackState.LOST and k not in known.values()))
    ]
    free = [index for index in range(len(regions)) if index not in known]
    returned = _nearest(free, missing, regions, tracks)
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


def _nearest(
    free: Sequence[int], missing: Sequence[int], regions: Sequence[HandRegion], tracks: Sequence[LiveTrack]
) -> dict[int, int]:
    if not free or not missing:
        return {}
    never = 1e6
    costs = np.full((len(free), len(missing)), never)
    for row, index in enumerate(free):
        for column, k in enumerate(missing):
            sizes = regions[index].size_px, max(tracks[k].size_px, 1.0)
            ratio = max(sizes) / max(min(sizes), 1.0)
            if sizes[0] < sizes[1] and _is_cut(regions[index]):
                ratio = 1.0  # more of it may lie outside the frame
            if ratio <= _MAX_SIZE_RATIO:
                apart = float(np.linalg.norm(regions[index].center_xy_px - tracks[k].place_xy_px)) / max(sizes)
                costs[row, column] = apart + _RESIZING * float(np.log(ratio))
    rows, columns = linear_sum_assignment(costs)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {free[row]: missing[column] for row, column in pairs if costs[row, column] < never}
