"""What the steps after a segmenter are worth, against the truth of rendered hands: the cut at the wrist, filled holes.

    python -m benchmarks.mask_steps [--json out.json] [--sheet out.png]

The cut is given hand and forearm (sleeve included) as one mask, and must give back the hand. It is also given the hand
alone, which it must leave alone. Landmarks are the true ones, or MediaPipe's in its video mode where it found the hand.
`varied` are single hands in all gestures, turned, tilted up to 75 degrees and bent at the wrist far beyond what the
clips show; MediaPipe looks at each as at a picture of its own.

Holes are punched into the true masks by seed, each of 0.02 to 0.25 % of the hand. The same step is given the untouched
truth, whose own holes (rings of two fingers, gaps between them) it must leave alone; `ok_signs` are hands whose thumb
and index finger about meet.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pictures import outlined, write_sheet
from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.synthetic_recognition import pair
from gest_stream.bench.quality import seen
from gest_stream.clock import now_ns
from gest_stream.config import HandsConfig
from gest_stream.models.hands import MediaPipeHands
from gest_stream.models.mask_holes import MAX_HOLE_SHARE, fill_holes
from gest_stream.models.store import ModelStore
from gest_stream.models.wrist_cut import WristModel, cut_at_wrist
from gest_stream.synthetic import HandTruth, preset
from gest_stream.synthetic.appearance import make_light, make_look
from gest_stream.synthetic.layer import compose
from gest_stream.synthetic.motion import HandState
from gest_stream.synthetic.pose import GESTURES, HandPose
from gest_stream.synthetic.render import ARM, HAND, HandRenderer
from gest_stream.synthetic.skeleton import make_shape
from gest_stream.synthetic.workers import render_in_processes
from gest_stream.types import Frame, Handedness, HandLandmarks, HandMask, MaskSource

PRESETS = ("demo", "easy", "crossing")
VARIED, OK_SIGNS = 160, 120
SIZE = (640, 480)
TIMED_SIDE_PX = 300
CUTS_CM = (0.0, 0.25, 0.5, 1.1)
SHARES = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One hand: where it is named, its picture, its true masks, its landmarks from either source."""

    name: str
    image: NDArray[np.uint8]
    hand: HandMask
    with_arm: HandMask
    landmarks: dict[str, HandLandmarks]


def as_one(hand: HandMask, arm: HandMask) -> HandMask:
    """Both masks together."""
    return HandMask.from_full(cv2.add(hand.full(), arm.full()), 1.0, MaskSource.SCRIPTED)


def clip_cases(name: str, model: Path) -> Iterator[Case]:
    """Every hand of a clip that can be seen."""
    with MediaPipeHands(HandsConfig(), model) as detector:
        for rendered in render_in_processes(preset(name), os.cpu_count() or 1):
            frame = rendered.frame
            present: list[HandTruth] = [hand for hand in rendered.hands if hand.present]
            found = pair(present, detector.detect(frame))
            for hand in filter(seen, rendered.hands):
                landmarks = {"true": hand.landmarks}
                if hand.index in found:
                    landmarks["mediapipe"] = found[hand.index]
                whole = as_one(hand.hand_mask, hand.arm_mask)
                yield Case(f"{name} frame {frame.seq} hand {hand.index}", frame.image, hand.hand_mask, whole, landmarks)


def _turn(degrees: tuple[float, float, float]) -> NDArray[np.float32]:
    """Rotation by roll, yaw and pitch: pitch first."""
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    roll, yaw, pitch = (cv2.Rodrigues(np.radians(d) * np.array(a))[0] for d, a in zip(degrees, axes, strict=True))
    return np.asarray(roll @ yaw @ pitch, np.float32)


def varied_pose(rng: np.random.Generator, number: int) -> HandPose:
    """A gesture with every joint a little off and the wrist bent."""
    bend = [*rng.normal(0, 5, 20), rng.uniform(-45, 45), rng.uniform(-18, 25)]
    return list(GESTURES.values())[number % len(GESTURES)].jittered(np.array(bend, np.float32))


def ok_sign(rng: np.random.Generator, _: int) -> HandPose:
    """Thumb and index finger about meet."""
    return HandPose.of(
        curl=(rng.uniform(0.3, 0.7), 0.15, 0.1, 0.08),
        opposition=rng.uniform(0.6, 1.0),
        thumb_curl=rng.uniform(0.1, 0.6),
        spread=0.3,
        adduction=rng.uniform(0.0, 0.4),
    )


def single_hands(
    name: str, count: int, pose: Callable[[np.random.Generator, int], HandPose], model: Path | None
) -> Iterator[Case]:
    """Hands on grey, each of another shape, look and turn; MediaPipe's landmarks where a model is given."""
    for number in range(count):
        rng = np.random.default_rng((count, number))
        tone = float(rng.uniform(2, 8))
        light, look, shape = make_light(rng, (tone,)), make_look(rng, tone), make_shape(rng)
        side = (Handedness.RIGHT, Handedness.LEFT)[number % 2]
        palm = np.array([320.0, 240.0]) + rng.uniform(-60, 60, 2)
        back = 180.0 if rng.random() < 0.3 else 0.0
        turn = _turn((rng.uniform(-180, 180), rng.uniform(-60, 60) + back, rng.uniform(-75, 75)))
        state = HandState(pose(rng, number), turn, palm.astype(np.float32), float(rng.uniform(11, 17)))
        drawn = HandRenderer(shape, look, side, light, SIZE, "cpu").render(state)
        points = drawn.landmarks_px.copy()
        points[:, 2] -= points[0, 2]
        truth = HandLandmarks(points, None, side, 1.0, 1.0)
        masks = []
        for part in (HAND, ARM):
            full = np.zeros((SIZE[1], SIZE[0]), np.uint8)
            full[drawn.layer.slices] = (255.0 * drawn.layer.parts[part]).round()
            masks.append(HandMask.from_full(full, 1.0, MaskSource.SCRIPTED))
        picture = compose(np.full((SIZE[1], SIZE[0], 3), 90, np.float32), [drawn.layer])
        image = np.clip(picture, 0, 255).astype(np.uint8)
        landmarks = {"true": truth}
        if model is not None and (found := detect_alone(image, truth, model)) is not None:
            landmarks["mediapipe"] = found
        yield Case(f"{name} {number}", image, masks[0], as_one(*masks), landmarks)


def detect_alone(image: NDArray[np.uint8], truth: HandLandmarks, model: Path) -> HandLandmarks | None:
    """MediaPipe's landmarks that lie within a quarter of a hand of the truth, in the mean."""
    with MediaPipeHands(HandsConfig(), model) as detector:
        found = detector.detect(Frame(image, 0, Fraction(1, 30), now_ns()))
    left, top, right, bottom = truth.box_xyxy_px
    limit = 0.25 * max(right - left, bottom - top)
    apart = [float(np.linalg.norm(f.points_xy_px - truth.points_xy_px, axis=1).mean()) for f in found]
    return found[int(np.argmin(apart))] if apart and min(apart) < limit else None


def cut_figures(cases: Sequence[Case], source: str, model: WristModel) -> dict[str, Any]:
    """IoU of hand and forearm with the hand before and after the cut; what the hand alone loses."""
    told = [(case, case.landmarks[source]) for case in cases if source in case.landmarks]
    before = np.array([case.with_arm.iou(case.hand) for case, _ in told])
    after = np.array([cut_at_wrist(case.with_arm, points, model).iou(case.hand) for case, points in told])
    lost = [1.0 - cut_at_wrist(case.hand, points, model).area_px / case.hand.area_px for case, points in told]
    worst_cut, worst_loss = int(after.argmin()), int(np.argmax(lost))
    return {
        "hands": len(told),
        "iou_before_mean": round(float(before.mean()), 4),
        "iou_after_mean": round(float(after.mean()), 4),
        "iou_after_p5": round(float(np.percentile(after, 5)), 4),
        "iou_after_worst": [round(float(after[worst_cut]), 4), told[worst_cut][0].name],
        "hand_alone_lost_mean": round(float(np.mean(lost)), 4),
        "hand_alone_lost_p95": round(float(np.percentile(lost, 95)), 4),
        "hand_alone_lost_worst": [round(float(lost[worst_loss]), 4), told[worst_loss][0].name],
    }


def cut_sweep(cases: Sequence[Case], source: str) -> dict[str, Any]:
    """Mean IoU after the cut, by how far beyond the wrist's landmark the hand ends."""
    figures = {f"{cm:g}": cut_figures(cases, source, WristModel(cut_cm=cm)) for cm in CUTS_CM}
    return {cm: {key: f[key] for key in ("iou_after_mean", "hand_alone_lost_mean")} for cm, f in figures.items()}


def timed(cases: Sequence[Case]) -> dict[str, float]:
    """Processor milliseconds a call on one core, on crops whose longer side is `TIMED_SIDE_PX`.

    Processor time, because waiting for a core that others use too would be most of the upper percentiles.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    spent: dict[str, list[int]] = {"cut_at_wrist": [], "fill_holes": []}
    for number, case in enumerate(cases):
        crop, points = case.with_arm.crop, case.landmarks["true"].points_px.copy()
        zoom = TIMED_SIDE_PX / max(crop.shape)
        points[:, :2] -= case.with_arm.origin_xy_px
        crop = np.asarray(cv2.resize(crop, None, fx=zoom, fy=zoom), np.uint8)
        mask = HandMask(crop, (0, 0), (crop.shape[1], crop.shape[0]), 1.0, MaskSource.SCRIPTED)
        landmarks = HandLandmarks((points * zoom).astype(np.float32))
        holed = punched(mask, number)
        start = time.thread_time_ns()
        cut_at_wrist(mask, landmarks)
        between = time.thread_time_ns()
        fill_holes(holed)
        spent["cut_at_wrist"].append(between - start)
        spent["fill_holes"].append(time.thread_time_ns() - between)
    cv2.setNumThreads(threads)
    figures: dict[str, float] = {}
    for name, values in spent.items():
        for q in (50, 95, 99):
            figures[f"{name}_cpu_ms_p{q}"] = round(float(np.percentile(values[10:], q)) / 1e6, 3)
    return figures


def punched(mask: HandMask, seed: int) -> HandMask:
    """The mask with one to four soft-edged elliptic holes."""
    rng = np.random.default_rng((7, seed))
    alpha, inside = mask.crop.astype(np.float32), mask.inside.astype(np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        area = mask.area_px * rng.uniform(0.0002, 0.0025)
        flat = rng.uniform(0.5, 1.0)
        long = float(np.sqrt(area / np.pi / flat))
        # so far inside that the hole leaves a wall
        deep = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 5)[1:-1, 1:-1] > long + 2.0
        if not deep.any():
            continue
        row, column = rng.choice(np.argwhere(deep))
        hole = np.zeros(alpha.shape, np.float32)
        center, axes = (int(column) * 16, int(row) * 16), (int(long * 16), int(long * flat * 16))
        cv2.ellipse(hole, center, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_8, 4)
        alpha *= 1.0 - cv2.GaussianBlur(hole, (0, 0), 0.7)
    crop = alpha.round().astype(np.uint8)
    return HandMask(crop, mask.origin_xy_px, mask.frame_size, mask.score, mask.source)


def hole_shares(mask: HandMask) -> list[float]:
    """Sizes of the background that the hand encloses, as shares of the hand."""
    background = np.pad(mask.crop < 128, 1, constant_values=True).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    outside = labels[0, 0]
    return [s[4] / mask.area_px for k, s in enumerate(stats) if k not in (0, outside)]


def hole_figures(cases: Sequence[Case]) -> dict[str, Any]:
    """IoU with the truth after punching and after filling, and what happens to the untouched truth."""
    holed = [punched(case.hand, number) for number, case in enumerate(cases)]
    before = [mask.iou(case.hand) for mask, case in zip(holed, cases, strict=True)]
    shares = {}
    for share in SHARES:
        after = [fill_holes(mask, share).iou(case.hand) for mask, case in zip(holed, cases, strict=True)]
        added = [fill_holes(case.hand, share).area_px / case.hand.area_px - 1.0 for case in cases]
        shares[f"{share:g}"] = {
            "iou_after_mean": round(float(np.mean(after)), 5),
            "iou_after_worst": round(min(after), 4),
            "truth_masks_changed_share": round(float(np.mean(np.array(added) > 0)), 4),
            "truth_area_added_mean": round(float(np.mean(added)), 6),
            "truth_area_added_worst": round(max(added), 5),
        }
    return {"hands": len(cases), "iou_punched_mean": round(float(np.mean(before)), 5), "by_max_share": shares}


def ring_figures(cases: Sequence[Case]) -> dict[str, Any]:
    """The holes of the truth that are larger than a speck of rendering, and how many each limit would fill."""
    sizes = np.array(sorted(s for case in cases for s in hole_shares(case.hand) if s * case.hand.area_px > 15))
    quantiles = {f"p{q}": round(float(np.percentile(sizes, q)), 5) for q in (0, 25, 50, 75, 90, 100)}
    filled = {f"{share:g}": round(float((sizes <= share).mean()), 4) for share in SHARES}
    return {"hands": len(cases), "holes_over_15_px": int(sizes.size), "share_of_hand": quantiles, "filled": filled}


def contact_sheet(cases: Sequence[Case], path: Path) -> None:
    """Red is what the cut takes, green what it leaves, white the true outline of the hand, the blue dot the wrist."""
    tiles = []
    for case in cases:
        source = "mediapipe" if "mediapipe" in case.landmarks else "true"
        points = case.landmarks[source]
        cut = cut_at_wrist(case.with_arm, points)
        left, taken = cut.full() >= 128, (case.with_arm.full() >= 128) & (cut.full() < 128)
        tile = case.image.copy()
        tile[taken] = tile[taken] // 2 + np.array([110, 0, 0], np.uint8)
        tile[left] = tile[left] // 2 + np.array([0, 90, 0], np.uint8)
        tile = outlined(tile, [case.hand])
        cv2.circle(tile, points.points_xy_px[0].round().astype(int).tolist(), 5, (0, 0, 255), -1)
        label = f"{case.name}, {source}: {cut.iou(case.hand):.3f}"
        cv2.putText(tile, label, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 0), 2)
        tiles.append(tile)
    write_sheet(path, tiles, 4)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS / "mask_steps.json")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG) to look at")
    args = parser.parse_args()
    head = conditions()
    model = ModelStore().fetch("hand_landmarker.task")
    sets = {name: list(clip_cases(name, model)) for name in PRESETS}
    clips = [case for cases in sets.values() for case in cases]
    sets["varied"] = list(single_hands("varied", VARIED, varied_pose, model))
    signs = list(single_hands("ok sign", OK_SIGNS, ok_sign, None))
    default, sources = WristModel(), ("true", "mediapipe")
    figures = {
        "wrist_cut": {
            "default_cut_cm": default.cut_cm,
            **{name: {s: cut_figures(cases, s, default) for s in sources} for name, cases in sets.items()},
            "clips_by_cut_cm": {source: cut_sweep(clips, source) for source in sources},
        },
        "holes": {
            "default_max_share": MAX_HOLE_SHARE,
            "clips": hole_figures(clips),
            "rings": {"clips": ring_figures(clips), "ok_signs": ring_figures(signs)},
        },
        "time": {"crop_longer_side_px": TIMED_SIDE_PX, **timed(clips)},
    }
    write_result(args.json, "mask_steps", figures, head)
    if args.sheet is not None:
        picked = [clips[k] for k in np.linspace(0, len(clips) - 1, 8).astype(int)] + sets["varied"][:12]
        contact_sheet(picked, args.sheet)


if __name__ == "__main__":
    main()
