"""Masks by a deadline from a segmenter of 2 frames a second, against what else could be shown.

    python -m benchmarks.deadline [--presets demo easy] [--json out.json] [--picture strip.jpg]

steps   Whole tracker, MediaPipe's landmarks, segmenters whose answer about a frame comes half a second of the clip
        later, whatever this machine does meanwhile: the truth, and `light`. IoU with the truth of the hands that can be
        seen, a missing mask counting as 0:
            carried  what the deadline mode shows           stale    the last answer, where it was
            dropped  answers on their own frames alone      light    the segmenter `light`, never late
quick   `light` itself, and `light` behind a deadline that it keeps, turn by turn over the same frames.
live    The pipeline at 30 frames a second with the truth, half a second late by the clock, and a deadline of 33 ms.

Times of `live` are this machine's with all that runs on it beside; `steps` counts the thread's processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.pictures import PICTURES, outlined, write_sheet
from benchmarks.rendered import detected, rendered_clip
from benchmarks.report import RESULTS, conditions, percentiles, write_result
from gest_stream.bench.quality import seen, track_of
from gest_stream.build import make_detector
from gest_stream.clock import now_ns
from gest_stream.config import DeadlineConfig, EffectConfig, LightConfig, PipelineConfig
from gest_stream.interfaces import Segmenter
from gest_stream.models.deadline import DeadlineEncoded, DeadlineSegmenter
from gest_stream.models.light import LightSegmenter
from gest_stream.overlay import Renderer
from gest_stream.pipeline import Pipeline
from gest_stream.synthetic import HandTruth, SyntheticFrame, preset
from gest_stream.testing import ListSource, RecordingSink, ScriptedDetector
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, HandLandmarks, HandMask, Observation

LATE_FRAMES = 15
LATE_S = 0.5
LIMIT_MS = 33.0
PATIENCE_S = 60.0
PASSED = 1 << 60  # what a clock shows where every deadline is over
STRIP_FRAMES = (16, 28, 40, 57, 72, 88)

Clip = Sequence[SyntheticFrame]


class Truth:
    """A segmenter that knows the masks of a clip; which hand an object is, its landmarks say."""

    takes_clicks = False

    def __init__(self, clip: Clip) -> None:
        self._clip, self._hands = clip, dict[int, int]()

    def encode(self, frame: Frame) -> Frame:
        """The frame itself."""
        return frame

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """The true masks of the hands that show at least a pixel."""
        hands = self._clip[encoded.seq].hands
        for one in observations:
            if one.landmarks is not None:
                self._hands[one.object_id] = min(hands, key=lambda hand: _apart(hand, one.landmarks)).index
        known = {one.object_id: self._hands[one.object_id] for one in observations if one.object_id in self._hands}
        return {object_id: hands[index].hand_mask for object_id, index in known.items() if hands[index].present}

    def forget(self, object_id: int) -> None:
        """Forget which hand it was."""
        self._hands.pop(object_id, None)

    def reset(self) -> None:
        """Forget which hands they were."""
        self._hands.clear()

    def close(self) -> None:
        """Nothing to let go of."""


def _apart(hand: HandTruth, landmarks: HandLandmarks | None) -> float:
    assert landmarks is not None
    return float(np.linalg.norm(hand.landmarks.points_xy_px - landmarks.points_xy_px, axis=1).mean())


class Held:
    """A segmenter whose step ends when it is let go; or `late_s` after it began, where that is given."""

    def __init__(self, inner: Segmenter[Any], late_s: float | None = None) -> None:
        self._inner, self._late_s = inner, late_s
        self.takes_clicks = inner.takes_clicks
        self.begun: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.go = threading.Semaphore(0)

    def encode(self, frame: Frame) -> tuple[Frame, Any]:
        """Of the segmenter."""
        return frame, self._inner.encode(frame)

    def step(self, encoded: tuple[Frame, Any], observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """Of the segmenter, later."""
        self.begun.put(encoded[0].seq)
        masks = self._inner.step(encoded[1], observations)
        if self._late_s is None:
            self.go.acquire()
        else:
            time.sleep(self._late_s)
        return masks

    def forget(self, object_id: int) -> None:
        """Of the segmenter."""
        self._inner.forget(object_id)

    def reset(self) -> None:
        """Of the segmenter."""
        self._inner.reset()

    def close(self) -> None:
        """Of the segmenter."""
        self._inner.close()


class Timed(DeadlineSegmenter):
    """Counts the calling thread's processor time of every step."""

    def __init__(self, inner: Segmenter[Any], config: DeadlineConfig, **more: Any) -> None:
        super().__init__(inner, config, **more)
        self.spent_ms: list[float] = []

    def step(self, encoded: DeadlineEncoded, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """As it is."""
        start = time.thread_time_ns()
        masks = super().step(encoded, observations)
        self.spent_ms.append((time.thread_time_ns() - start) / 1e6)
        return masks


@dataclass(slots=True, eq=False)
class Shown:
    """What a policy showed on every frame, and what a step of it cost."""

    results: list[FrameResult] = field(default_factory=list)
    spent_ms: list[float] = field(default_factory=list)


def late_run(clip: Clip, found: Sequence[tuple[HandLandmarks, ...]], slow: Segmenter[Any], fade: int) -> Shown:
    """The deadline mode around a segmenter whose answers come `LATE_FRAMES` later, always to the frame."""
    held = Held(slow)
    outer = Timed(held, DeadlineConfig(LIMIT_MS, fade), clock=lambda: PASSED)
    shown, due = Shown(), None
    with TrackerCore(ScriptedDetector(lambda seq: found[seq]), outer) as tracker:
        try:
            for number, rendered in enumerate(clip):
                if due is not None and number >= due:
                    held.go.release()
                    with outer.work.changed:
                        assert outer.work.changed.wait_for(lambda: outer.work.answered, PATIENCE_S)
                    held.begun.get(timeout=PATIENCE_S)
                    due = number + LATE_FRAMES
                shown.results.append(tracker.step(rendered.frame))
                if due is None:
                    held.begun.get(timeout=PATIENCE_S)
                    due = number + LATE_FRAMES
        finally:
            held.go.release(len(clip))  # closing the tracker joins the thread that waits for this
    shown.spent_ms = outer.spent_ms
    return shown


def plain_run(clip: Clip, found: Sequence[tuple[HandLandmarks, ...]], segmenter: Segmenter[Any]) -> Shown:
    """Every frame waits for its mask."""
    with TrackerCore(ScriptedDetector(lambda seq: found[seq]), segmenter) as tracker:
        return Shown([tracker.step(rendered.frame) for rendered in clip])


def answered_seqs(count: int) -> list[int]:
    """The frames that are worked on: the first, then the newest one that is there when the last answer comes."""
    return [0, *range(LATE_FRAMES - 1, count, LATE_FRAMES)]


def held_back(prompt_results: Shown, dropped: bool) -> Shown:
    """Without carrying: the last answer in its old place, or (`dropped`) the answers on their own frames alone."""
    results, seqs = [], answered_seqs(len(prompt_results.results))
    for number, result in enumerate(prompt_results.results):
        # the answer about frame k comes when LATE_FRAMES have passed since the work on it began
        ready = [seq for k, seq in enumerate(seqs) if (k + 1) * LATE_FRAMES <= number]
        source = (number if number in seqs else None) if dropped else (ready[-1] if ready else None)
        masks = {} if source is None else {t.id: t.mask for t in prompt_results.results[source].tracks}
        results.append(replace(result, tracks=tuple(replace(t, mask=masks.get(t.id)) for t in result.tracks)))
    return Shown(results)


def scored(clip: Clip, shown: Shown) -> dict[str, Any]:
    """IoU with the truth; masks that are missing; how old the shown ones are."""
    ious, with_landmarks, missing, unmasked, jumps = [], [], 0, 0, []
    last: dict[int, float] = {}
    for rendered, result in zip(clip, shown.results, strict=True):
        unmasked += sum(track.landmarks is not None and track.mask is None for track in result.tracks)
        for hand in filter(seen, rendered.hands):
            track = track_of(hand, result.tracks)
            mask = track.mask if track is not None else None
            missing += mask is None
            ious.append(mask.iou(hand.hand_mask) if mask is not None else 0.0)
            if track is not None and track.landmarks is not None:
                with_landmarks.append(ious[-1])
            jumps.append(abs(ious[-1] - last.get(hand.index, ious[-1])))
            last[hand.index] = ious[-1]
    masks = [track.mask for result in shown.results for track in result.tracks if track.mask is not None]
    counts = {str(source): sum(mask.source is source for mask in masks) for source in {mask.source for mask in masks}}
    return {
        "hands": len(ious),
        "iou_mean": round(float(np.mean(ious)), 4),
        "iou_p10": round(float(np.percentile(ious, 10)), 4),
        "iou_mean_with_landmarks": round(float(np.mean(with_landmarks)), 4),
        "masks_missing": missing,
        "tracks_with_landmarks_without_mask": unmasked,
        "iou_change_a_frame_mean": round(float(np.mean(jumps)), 4),
        "masks_by_source": dict(sorted(counts.items())),
        "mask_age_ms_mean": round(float(np.mean([mask.age_ms for mask in masks])), 1) if masks else None,
        "mask_age_ms_max": round(max((mask.age_ms for mask in masks), default=0.0), 1),
    }


def step_figures(clip: Clip, found: Sequence[tuple[HandLandmarks, ...]]) -> tuple[dict[str, Any], dict[str, Shown]]:
    """Every policy over one clip; also what the truth's were, to look at."""
    light = plain_run(clip, found, LightSegmenter(LightConfig()))
    figures: dict[str, Any] = {"frames": len(clip), "late_frames": LATE_FRAMES}
    looked_at: dict[str, Shown] = {}
    for name, in_time in (("truth", plain_run(clip, found, Truth(clip))), ("light", light)):
        shown = {
            "stale": held_back(in_time, dropped=False),
            "dropped": held_back(in_time, dropped=True),
            "carried_without_fade": late_run(clip, found, _new(name, clip), 0),
            "carried": late_run(clip, found, _new(name, clip), DeadlineConfig().fade_frames),
        }
        looked_at = looked_at or shown
        figures[f"slow_{name}"] = {policy: scored(clip, one) for policy, one in shown.items()}
        figures[f"slow_{name}"]["carry_cpu_ms_a_frame"] = percentiles(shown["carried"].spent_ms)
    figures["light_never_late"] = scored(clip, light)
    return figures, looked_at


def _new(name: str, clip: Clip) -> Segmenter[Any]:
    return Truth(clip) if name == "truth" else LightSegmenter(LightConfig())


def quick_figures(clip: Clip, found: Sequence[tuple[HandLandmarks, ...]]) -> dict[str, Any]:
    """What the deadline costs where it is kept: milliseconds of encode and step, and of the processors meanwhile."""
    direct = LightSegmenter(LightConfig())
    behind = DeadlineSegmenter(LightSegmenter(LightConfig()), DeadlineConfig(limit_ms=10_000))
    wall: dict[str, list[float]] = {"direct": [], "behind_a_deadline": []}
    busy: dict[str, list[float]] = {"direct": [], "behind_a_deadline": []}
    equal = 0
    for rendered, hands in zip(clip, found, strict=True):
        frame = replace(rendered.frame, captured_ns=now_ns())
        observations = [Observation(k + 1, landmarks) for k, landmarks in enumerate(hands)]
        given = {}
        for name, segmenter in (("direct", direct), ("behind_a_deadline", behind)):
            start, cpu = time.perf_counter_ns(), time.process_time_ns()
            given[name] = segmenter.step(segmenter.encode(frame), observations)  # type: ignore[arg-type]
            wall[name].append((time.perf_counter_ns() - start) / 1e6)
            busy[name].append((time.process_time_ns() - cpu) / 1e6)
        pairs = [(mask, given["behind_a_deadline"].get(object_id)) for object_id, mask in given["direct"].items()]
        equal += all(other is not None and np.array_equal(mask.crop, other.crop) for mask, other in pairs)
    behind.close()
    ratio = np.median(np.array(wall["behind_a_deadline"]) / np.array(wall["direct"]))
    return {
        "frames": len(clip),
        "frames_with_equal_masks": equal,
        "wall_ms": {name: percentiles(values) for name, values in wall.items()},
        "cpu_ms": {name: percentiles(values) for name, values in busy.items()},
        "wall_ratio_median": round(float(ratio), 3),
    }


class PacedClip(ListSource):
    """Plays rendered frames at their own pace, as a camera would."""

    def __init__(self, clip: Clip) -> None:
        super().__init__([rendered.frame for rendered in clip], live=True)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        start = now_ns()
        for frame in self._frames:
            due_ns = start + round(frame.time_s * 1e9)
            await asyncio.sleep(max((due_ns - now_ns()) / 1e9, 0.0))
            if self._stopped:
                return
            yield replace(frame, captured_ns=now_ns())


def live_figures(clip: Clip) -> dict[str, Any]:
    """The real pipeline and detector with the truth half a second late."""
    sink = RecordingSink()

    def make() -> TrackerCore:
        outer = DeadlineSegmenter(Held(Truth(clip), LATE_S), DeadlineConfig(LIMIT_MS))
        return TrackerCore(make_detector(PipelineConfig()), outer)

    async def run() -> Any:
        async with Pipeline(PacedClip(clip), make, [sink]) as pipeline:
            return await pipeline.run()

    stats = asyncio.run(run())
    shown = Shown(sink.results)
    done = [clip[result.frame.seq] for result in sink.results]
    return {
        "rate": float(1 / Fraction(clip[0].frame.time_base)),
        "limit_ms": LIMIT_MS,
        "frames_read": stats.frames_read,
        "frames_dropped": stats.frames_dropped,
        "total_ms": percentiles([result.timings_ms["total"] for result in sink.results]),
        "landmarks_ms": percentiles([result.timings_ms["landmarks"] for result in sink.results]),
        "segment_ms": percentiles([result.timings_ms["segment"] for result in sink.results]),
        **scored(done, shown),
    }


def strip(clip: Clip, shown: Mapping[str, Shown], path: Path) -> None:
    """Some frames, as each policy shows them; the white line is the truth."""
    renderer, tiles = Renderer(EffectConfig()), []
    seqs = [seq for seq in STRIP_FRAMES if seq < len(clip)]
    for policy in ("carried", "stale", "dropped"):
        for seq in seqs:
            truths = [hand.hand_mask for hand in filter(seen, clip[seq].hands)]
            picture = outlined(renderer.render(shown[policy].results[seq]), truths, width=2)
            small = np.asarray(cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA), np.uint8)
            cv2.putText(small, f"{policy}, frame {seq}", (6, 232), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)
            tiles.append(small)
    write_sheet(path, tiles, len(seqs))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["demo", "easy"])
    parser.add_argument("--frames", type=int, help="of each clip; all where not given")
    parser.add_argument("--json", type=Path, default=RESULTS / "deadline.json")
    parser.add_argument("--picture", type=Path, default=PICTURES / "deadline.jpg")
    args = parser.parse_args()
    head, steps, clip = conditions(), {}, list[SyntheticFrame]()
    for name in args.presets:
        config = preset(name)
        config = replace(config, frames=min(args.frames or config.frames, config.frames))
        clip = rendered_clip(config, os.cpu_count() or 1)
        found = detected(rendered.frame for rendered in clip)
        steps[name], looked_at = step_figures(clip, found)
        if name == args.presets[0]:
            strip(clip, looked_at, args.picture)
            quick, live = quick_figures(clip, found), live_figures(clip)
    write_result(args.json, "deadline", {"steps": steps, "quick_light": quick, "live": live}, head)


if __name__ == "__main__":
    main()
