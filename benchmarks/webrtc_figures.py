"""What a recording of the loop says: delay, rates, and whether results and overlay lie on the true hands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.webrtc_recording import Recording
from gest_stream.config import EffectConfig
from gest_stream.overlay.palette import track_colour
from gest_stream.synthetic import HandTruth
from tests.browser.clip import BAND_HEIGHT, CameraClip, Picture, number_of, read

_OFFSETS: Final = range(-4, 5)
_BIN_MS: Final = 5
_PANEL_WINDOW_MS: Final = 5_000
_INNER_PX, _OUTER_PX = 4, 12
"""How far from a hand's edge a pixel has to lie to be counted as hand, or as background."""
_LABEL_PX: Final = 48
"""Above a hand's box there may be its label."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One returned picture whose number was read, and the camera's picture of that number.

    Args:
        number: The frame's.
        rtp_timestamp: Of the returned picture.
        at_ms: When it was shown.
        sent: When its frame was shown on the sending side.
        captured: When its frame was captured; None where the browser does not tell.
    """

    number: int
    rtp_timestamp: int | None
    at_ms: float
    sent_ms: float
    captured_ms: float | None


def shown_frames(recording: Recording) -> list[Shown]:
    """The returned pictures within the measured time, paired with what was sent."""
    returned = measured(recording)
    sent = [(number, one) for one in recording.sent if (number := number_of(one["levels"])) is not None]
    pairs, newest, place = [], dict[int, dict[str, Any]](), 0
    for one in returned:
        # the clip may have begun anew: the number means the newest frame that had it
        while place < len(sent) and sent[place][1]["now"] <= one["now"]:
            newest[sent[place][0]] = sent[place][1]
            place += 1
        number = number_of(one["levels"])
        if number is not None and number in newest:
            source = newest[number]
            pairs.append(Shown(number, one["rtp"], one["shown"], source["shown"], source["captured"]))
    return pairs


def measured(recording: Recording) -> list[dict[str, Any]]:
    """What the returned picture showed within the measured time."""
    first = recording.returned[0]["now"] if recording.returned else 0.0
    return [one for one in recording.returned if one["now"] - first <= recording.settings.seconds * 1000]


def figures_of(recording: Recording, clip: CameraClip) -> dict[str, Any]:
    """All figures of one recording, units in the names."""
    shown, returned = shown_frames(recording), measured(recording)
    seconds = recording.settings.seconds
    first = returned[0]["now"]
    sent = [one for one in recording.sent if 0 <= one["now"] - first <= seconds * 1000]
    delays = [one.at_ms - one.captured_ms for one in shown if one.captured_ms is not None]
    return {
        "codec": recording.settings.codec,
        "link": recording.facts["link-facts"],
        "seconds": seconds,
        "size": [returned[-1]["width"], returned[-1]["height"]],
        "sizes_seen": sorted({f"{one['width']}x{one['height']}" for one in returned}),
        "fps_sent": round(len(sent) / seconds, 2),
        "fps_returned": round(len(returned) / seconds, 2),
        "unreadable": {
            "sent": sum(number_of(one["levels"]) is None for one in sent),
            "returned": sum(number_of(one["levels"]) is None for one in returned),
        },
        "glass_to_glass_ms": summary(delays),
        "screen_to_screen_ms": summary([one.at_ms - one.sent_ms for one in shown]),
        "panel": panel_figures(recording, shown),
        "results": result_figures(recording, shown, clip),
        "overlay": overlay_figures(recording, clip),
        "stages_ms": _stages(recording),
        "browser_ms_a_frame": recording.browser_ms,
        "glass_to_glass_by_second_ms": _by_second(shown),
        "glass_to_glass_histogram": _histogram(delays),
    }


def summary(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, largest and count."""
    if not len(values):
        return {"count": 0}
    p50, p95, p99 = (round(float(one), 1) for one in np.percentile(values, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(max(values), 1), "count": len(values)}


def panel_figures(recording: Recording, shown: Sequence[Shown]) -> dict[str, Any]:
    """What the page's panel said, beside what the numbers say of the same seconds."""
    first = shown[0].at_ms if shown else 0.0
    differences: list[tuple[float, float]] = []
    for at_ms, *said in recording.panel:
        same = [
            one.at_ms - one.captured_ms
            for one in shown
            if one.captured_ms is not None and at_ms - _PANEL_WINDOW_MS <= one.at_ms <= at_ms
        ]
        if at_ms - _PANEL_WINDOW_MS >= first and same:
            p50, p95 = np.percentile(same, (50, 95)).tolist()
            differences.append((said[0] - p50, said[1] - p95))
    if not differences:
        return {"times_read": 0}
    p50_ms, p95_ms = (round(float(np.median(one)), 1) for one in list(zip(*recording.panel, strict=True))[1:])
    furthest = [round(float(column[np.abs(column).argmax()]), 1) for column in np.array(differences).T]
    return {
        "times_read": len(differences),
        "p50_ms": p50_ms,
        "p95_ms": p95_ms,
        "p50_furthest_from_barcode_ms": furthest[0],
        "p95_furthest_from_barcode_ms": furthest[1],
    }


def _stages(recording: Recording) -> dict[str, float]:
    timings = [one["timings_ms"] for one in recording.results.values()]
    names = dict.fromkeys(name for one in timings for name in one)
    return {name: round(float(np.median([one[name] for one in timings if name in one])), 2) for name in names}


def _by_second(shown: Sequence[Shown]) -> list[float | None]:
    """Median delay of every second; None where nothing was shown."""
    first = shown[0].at_ms if shown else 0.0
    seconds: dict[int, list[float]] = {}
    for one in shown:
        if one.captured_ms is not None:
            seconds.setdefault(int((one.at_ms - first) // 1000), []).append(one.at_ms - one.captured_ms)
    last = max(seconds, default=-1)
    return [round(float(np.median(seconds[one])), 1) if one in seconds else None for one in range(last + 1)]


def _histogram(delays: Sequence[float]) -> dict[str, Any]:
    counts = Counter(int(one // _BIN_MS) * _BIN_MS for one in delays)
    return {"bin_ms": _BIN_MS, "frames": {str(start): counts[start] for start in sorted(counts)}}


def result_figures(recording: Recording, shown: Sequence[Shown], clip: CameraClip) -> dict[str, Any]:
    """How well results fit the frame that is shown with them, and the frames before and after it.

    `landmark_error` is the mean distance of the 21 landmarks to the nearest hand's true ones, in sizes of that hand.
    """
    errors: dict[int, list[float]] = {offset: [] for offset in _OFFSETS}
    boxes, with_result, with_hand, detected = [], 0, 0, 0
    for one in shown:
        result = recording.results.get(one.rtp_timestamp) if one.rtp_timestamp is not None else None
        with_result += result is not None
        tracks = [track for track in result["tracks"] if track["landmarks_px"]] if result else []
        present = any(hand.unoccluded and hand.inside_frame for hand in clip.truth(one.number).hands)
        if result is not None and present:
            with_hand += 1
            detected += bool(tracks)
        for track in tracks:
            points = np.array(track["landmarks_px"])[:, :2]
            for offset in _OFFSETS:
                errors[offset].append(nearest(points, clip.truth(one.number + offset).hands)[1])
            hand, _ = nearest(points, clip.truth(one.number).hands)
            if hand.unoccluded and hand.inside_frame and track["mask_score"] is not None:
                boxes.append(_box_iou(track["box_xyxy_px"], hand.hand_mask.box_xyxy_px))
    mean = {offset: round(float(np.mean(values)), 4) for offset, values in errors.items() if values}
    return {
        "frames_shown": len(shown),
        "share_with_result": round(with_result / max(1, len(shown)), 4),
        "share_with_hand_found": round(detected / max(1, with_hand), 4),
        "landmark_error_median": round(float(np.median(errors[0])), 4) if errors[0] else None,
        "landmark_error_mean_by_frame_offset": {str(offset): value for offset, value in mean.items()},
        "best_frame_offset": min(mean, key=lambda offset: mean[offset]) if mean else None,
        "box_iou_median": round(float(np.median(boxes)), 4) if boxes else None,
    }


def nearest(points_xy_px: NDArray[Any], hands: Sequence[HandTruth]) -> tuple[HandTruth, float]:
    """The hand whose true landmarks are nearest, and how near, in its sizes."""
    found = [
        (hand, float(np.linalg.norm(hand.landmarks.points_xy_px - points_xy_px, axis=1).mean()) / hand.size_px)
        for hand in hands
    ]
    return min(found, key=lambda one: one[1])


def _box_iou(a: Sequence[float], b: Sequence[float] | None) -> float:
    if b is None:
        return 0.0
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(shared / (areas - shared))


def overlay_figures(recording: Recording, clip: CameraClip) -> dict[str, Any]:
    """Which share of the pixels looks overlaid, on the true hands and on the background, by the grabbed pictures."""
    hands, ground = [], []
    for grab in recording.grabs:
        number, result = read(grab.image), recording.results.get(grab.rtp_timestamp)
        if number is None or result is None:
            continue
        frame = clip.truth(number)
        plain = frame.image()
        if grab.image.shape != plain.shape:
            continue
        tracks = [track for track in result["tracks"] if track["landmarks_px"] and track["mask_score"] is not None]
        for track in tracks:
            hand, error = nearest(np.array(track["landmarks_px"])[:, :2], frame.hands)
            if hand.unoccluded and hand.inside_frame and error < 0.2:
                inner = cv2.erode(hand.hand_mask.full(), np.ones((_INNER_PX * 2 + 1,) * 2, np.uint8)) >= 128
                hands.append(float(_overlaid(grab.image, plain, track["id"])[inner].mean()))
        clear = _background(frame.hands, result, plain)
        looks = [_overlaid(grab.image, plain, track_id)[clear].mean() for track_id in (1, 2)]
        ground.append(float(max(looks)))
    return {
        "hands_looked_at": len(hands),
        "share_of_hand_median": round(float(np.median(hands)), 4) if hands else None,
        "share_of_hand_min": round(min(hands), 4) if hands else None,
        "share_of_background_max": round(max(ground), 4) if ground else None,
    }


def _overlaid(image: Picture, plain: Picture, track_id: int) -> NDArray[np.bool_]:
    """(H, W) True where a pixel is nearer to the overlaid colour than to the camera's."""
    opacity = EffectConfig().opacity
    wanted = plain * (1 - opacity) + np.array(track_colour(track_id)) * opacity
    to_plain, to_wanted = (np.abs(image - one.astype(float)).sum(axis=2) for one in (plain, wanted))
    return np.asarray(to_wanted < to_plain)


def _background(hands: Sequence[HandTruth], result: dict[str, Any], plain: Picture) -> NDArray[np.bool_]:
    """(H, W) True where neither hand, arm, track, label nor number is."""
    taken = np.zeros(plain.shape[:2], np.uint8)
    taken[: round(plain.shape[0] * BAND_HEIGHT)] = 255
    for hand in hands:
        taken |= hand.hand_mask.full() | hand.arm_mask.full()
    for left, top, right, bottom in _boxes(result):
        taken[max(0, top - _LABEL_PX) : bottom, max(0, left) : right + _LABEL_PX] = 255
    return np.asarray(cv2.dilate(taken, np.ones((_OUTER_PX * 2 + 1,) * 2, np.uint8)) == 0)


def _boxes(result: dict[str, Any]) -> Iterator[tuple[int, int, int, int]]:
    for track in result["tracks"]:
        if track["box_xyxy_px"] is not None:
            left, top, right, bottom = (round(value) for value in track["box_xyxy_px"])
            yield left, top, right, bottom
