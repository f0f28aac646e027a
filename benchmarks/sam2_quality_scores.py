"""Scores of tracked masks against rendered truth, hand by hand and frame by frame, so that two runs can be paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.synthetic_recognition import pair
from gest_stream.bench.quality import boundary_f, landmark_error, seen, track_of
from gest_stream.synthetic import HandTruth, SyntheticFrame
from gest_stream.types import FrameResult, HandLandmarks, HandMask, Track

BLOCK_FRAMES: Final = 15
"""What the bootstrap draws: frames in a row are wrong together."""

_RESAMPLES: Final = 4000
_LIES_ON_A_HAND: Final = 0.1
_NEAR_HANDS: Final = 0.5

HandKey = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class HandScore:
    """One hand that can be seen, on one frame.

    Args:
        key: (clip, frame, hand).
        detected: The detector found it on this frame, whatever the tracker made of that.
        track_id: Of the track that lies on it; None where none does.
        masked: The track has a mask.
        iou: With the truth; 0 without a mask.
        boundary: Boundary F; 0 without a mask.
        own_iou: IoU of the mask of the track whose landmarks lie on the hand, which may have its mask elsewhere; None
            where no track has landmarks here.
        arm_share: Share of the mask that is forearm or sleeve; None without a mask.
        other_share: Share of the mask that is the other hand; None without a mask.
        steadiness: IoU of the mask with the hand's mask on the frame before; None where there are not both.
        true_steadiness: The same of the truth, where the former is known.
    """

    key: HandKey
    detected: bool
    track_id: int | None
    masked: bool
    iou: float
    boundary: float
    own_iou: float | None
    arm_share: float | None
    other_share: float | None
    steadiness: float | None
    true_steadiness: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """One run over one clip.

    Args:
        hands: In the order of the frames.
        overlap_px: Pixels that lie in more than one mask, of each frame.
        stray: (frame, track) of every mask that lies on no hand.
        prompted: (frame, track) of every prompt.
    """

    hands: tuple[HandScore, ...]
    overlap_px: tuple[int, ...]
    stray: tuple[tuple[int, int], ...]
    prompted: tuple[tuple[int, int], ...]


def score_clip(
    name: str,
    clip: Sequence[SyntheticFrame],
    detections: Sequence[Sequence[HandLandmarks]],
    results: Sequence[FrameResult],
    prompted: Sequence[tuple[int, int]] = (),
) -> Scores:
    """Score one run.

    Args:
        name: Of the clip.
        clip: The truth.
        detections: What the detector saw on each frame.
        results: What the tracker made of each frame.
        prompted: (frame, track) of every prompt.
    """
    hands: list[HandScore] = []
    overlap, stray = [], []
    before: dict[int, tuple[HandMask, HandMask]] = {}
    for rendered, found, result in zip(clip, detections, results, strict=True):
        seq = rendered.frame.seq
        now: dict[int, tuple[HandMask, HandMask]] = {}
        visible = [hand for hand in rendered.hands if seen(hand)]
        detected = pair([hand for hand in rendered.hands if hand.present], found)
        for hand in visible:
            track = track_of(hand, result.tracks)
            mask = track.mask if track is not None else None
            others = [other.hand_mask for other in rendered.hands if other is not hand]
            steady = None
            if mask is not None:
                now[hand.index] = (mask, hand.hand_mask)
                if hand.index in before:
                    steady = tuple(a.iou(b) for a, b in zip(now[hand.index], before[hand.index], strict=True))
            hands.append(
                HandScore(
                    (name, seq, hand.index),
                    hand.index in detected,
                    track.id if track is not None else None,
                    mask is not None,
                    mask.iou(hand.hand_mask) if mask is not None else 0.0,
                    boundary_f(mask, hand.hand_mask) if mask is not None else 0.0,
                    _own_iou(hand, result.tracks),
                    _share_on(mask, [hand.arm_mask]),
                    _share_on(mask, others),
                    *(steady if steady is not None else (None, None)),
                )
            )
        before = now
        overlap.append(_overlap_px(result.tracks))
        stray += [(seq, track.id) for track in result.tracks if _is_stray(track, rendered)]
    return Scores(tuple(hands), tuple(overlap), tuple(stray), tuple(prompted))


def _own_iou(hand: HandTruth, tracks: Sequence[Track]) -> float | None:
    near = [(landmark_error(hand, track), k) for k, track in enumerate(tracks) if track.landmarks is not None]
    error, own = min(near, default=(1.0, -1))
    if error >= _NEAR_HANDS:
        return None
    mask = tracks[own].mask
    return mask.iou(hand.hand_mask) if mask is not None else 0.0


def _share_on(mask: HandMask | None, places: Sequence[HandMask]) -> float | None:
    """Share of the mask's pixels that lie on any of the places."""
    if mask is None or mask.area_px == 0:
        return None
    on = np.zeros(mask.crop.shape, bool)
    for place in places:
        on |= place.full()[mask.slices] >= 128
    return float(np.count_nonzero(on & mask.inside)) / mask.area_px


def _overlap_px(tracks: Sequence[Track]) -> int:
    masks = [track.mask for track in tracks if track.mask is not None]
    if len(masks) < 2:
        return 0
    times: NDArray[np.uint8] = np.zeros(masks[0].frame_size[::-1], np.uint8)
    for mask in masks:
        times[mask.slices] += mask.inside
    return int(np.count_nonzero(times > 1))


def _is_stray(track: Track, rendered: SyntheticFrame) -> bool:
    if track.mask is None or track.mask.area_px == 0:
        return False
    return all(track.mask.iou(hand.hand_mask) <= _LIES_ON_A_HAND for hand in rendered.hands)


def summary(runs: Sequence[Scores]) -> dict[str, Any]:
    """Figures over one clip or several."""
    hands = [hand for run in runs for hand in run.hands]
    carried = [hand for hand in hands if not hand.detected]
    overlap = np.array([px for run in runs for px in run.overlap_px])
    return {
        "hands": len(hands),
        "iou_mean": _mean([hand.iou for hand in hands]),
        "boundary_f_mean": _mean([hand.boundary for hand in hands]),
        "missing_share": _mean([not hand.masked for hand in hands]),
        "own_iou_mean": _mean([hand.own_iou for hand in hands]),
        "own_iou_below_0.1_share": _mean(
            [hand.own_iou < _LIES_ON_A_HAND for hand in hands if hand.own_iou is not None]
        ),
        "id_changes": sum(map(_id_changes, runs)),
        "without_landmarks": {
            "hands": len(carried),
            "iou_mean": _mean([hand.iou for hand in carried]),
            "missing_share": _mean([not hand.masked for hand in carried]),
        },
        "mask_on_forearm_share": _mean([hand.arm_share for hand in hands]),
        "mask_on_other_hand_share": _mean([hand.other_share for hand in hands]),
        "overlap_px_mean": round(float(overlap.mean()), 2),
        "overlap_px_most": int(overlap.max()),
        "successive_iou_mean": _mean([hand.steadiness for hand in hands]),
        "successive_iou_of_truth_mean": _mean([hand.true_steadiness for hand in hands]),
        "masks_on_no_hand": sum(len(run.stray) for run in runs),
        "prompts": sum(len(run.prompted) for run in runs),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _id_changes(run: Scores) -> int:
    ids: dict[int, list[int]] = {}
    for hand in run.hands:
        if hand.track_id is not None:
            ids.setdefault(hand.key[2], []).append(hand.track_id)
    return sum(int(np.count_nonzero(np.diff(of_hand))) for of_hand in ids.values())


_COMPARED: Final[Mapping[str, Callable[[HandScore], float | None]]] = {
    "iou": lambda hand: hand.iou,
    "boundary_f": lambda hand: hand.boundary,
    "own_iou": lambda hand: hand.own_iou,
    "iou_with_landmarks": lambda hand: hand.iou if hand.detected else None,
    "iou_without_landmarks": lambda hand: None if hand.detected else hand.iou,
    "mask_on_forearm_share": lambda hand: hand.arm_share,
    "successive_iou": lambda hand: hand.steadiness,
}


def compared(runs: Sequence[Scores], others: Sequence[Scores]) -> dict[str, Any]:
    """Mean difference of one run from another, hand by hand, with a bootstrap interval over half seconds.

    Args:
        runs: Of one variant, a clip each.
        others: Of the variant that it is compared to, on the same clips.

    Returns:
        For each figure the mean difference (above 0: `runs` has more) and its 95% interval; None where there is
        nothing to compare, an interval of None where there are too few half seconds. `changed_share` is the share of
        hands whose IoU differs at all.
    """
    pairs = [
        (mine, theirs)
        for run, other in zip(runs, others, strict=True)
        for mine, theirs in zip(run.hands, other.hands, strict=True)
    ]
    assert all(mine.key == theirs.key for mine, theirs in pairs)
    figures: dict[str, Any] = {"changed_share": _mean([mine.iou != theirs.iou for mine, theirs in pairs])}
    for name, value in _COMPARED.items():
        values = [(mine.key, value(mine), value(theirs)) for mine, theirs in pairs]
        differences = [(key, a - b) for key, a, b in values if a is not None and b is not None]
        figures[name] = _difference(differences) if differences else None
    return figures


def _difference(differences: Sequence[tuple[HandKey, float]]) -> dict[str, Any]:
    """Mean and interval of differences."""
    blocks: dict[tuple[str, int], list[float]] = {}
    for (clip, frame, _), difference in differences:
        blocks.setdefault((clip, frame // BLOCK_FRAMES), []).append(difference)
    mean = float(np.mean([difference for _, difference in differences]))
    sums = np.array([sum(block) for block in blocks.values()])
    counts = np.array([len(block) for block in blocks.values()], np.float64)
    interval: list[float] | None = None
    if not any(difference for _, difference in differences):
        interval = [0.0, 0.0]
    elif len(sums) > 2:
        drawn = stats.bootstrap(
            (sums, counts),
            lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
            paired=True,
            n_resamples=_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        interval = [round(float(drawn.low), 4), round(float(drawn.high), 4)]
    return {"mean": round(mean, 4), "interval_95": interval, "hands": len(differences)}
