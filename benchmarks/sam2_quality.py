"""What each quality switch around SAM2 is worth, on rendered clips with exact truth, with the real engine and tracker.

    python -m benchmarks.sam2_quality [--presets crossing …] [--weights FILE] [--sheets folder] [--json out.json]

The model is the size nano with the package's weights: absolute figures say nothing about the official weights,
differences between variants say what a switch does around a SAM2 that works. A clip is rendered once and kept
in a cache, detected once and encoded once; every variant gets the same landmarks and features, so all that differs is
the one switch. Where a difference's interval holds 0, nothing was shown. Pictures in a row are wrong together, so the
bootstrap draws half seconds, not hand-frames.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.quality import contact_sheet
from benchmarks.rendered import detected, rendered_clip
from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.sam2_quality_scores import Scores, compared, score_clip, summary
from gest_stream.build import HandTracker
from gest_stream.config import (
    ConditioningKeep,
    LightConfig,
    LossConfig,
    MemoryPolicy,
    PipelineConfig,
    Precision,
    PromptConfig,
    Sam2Config,
    Sam2Size,
    TrackerConfig,
)
from gest_stream.interfaces import Segmenter
from gest_stream.models.builtin import builtin_path
from gest_stream.models.light import LightSegmenter
from gest_stream.models.sam2 import Sam2Segmenter, load_engine
from gest_stream.models.sam2_engine import Sam2Encoded
from gest_stream.models.sam2_nano import NANO_NAME
from gest_stream.synthetic import PRESETS, ClipConfig, SyntheticFrame, preset
from gest_stream.testing import ScriptedDetector
from gest_stream.types import Frame, FrameResult, HandLandmarks, HandMask, Observation, PromptMode

ABOUT: Final = (
    "The model is the size nano, which was trained on renders of the same renderer: absolute figures say "
    "nothing of the official weights. Every variant differs from the default by its name alone; 'light' is another "
    "segmenter on the same frames and landmarks. A hand that can be seen but has no mask counts as IoU and boundary F "
    "0. Intervals: percentile bootstrap over blocks of 15 frames. 'keep' acts on several prompts of one hand, and the "
    "tracker starts a hand anew with each, so it is also compared where prompts are appended."
)
MAX_OBJECTS: Final = TrackerConfig().max_tracks
DEFAULT: Final = "default"
LIGHT: Final = "light"
APPEND: Final = "append"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the same SAM2.

    Args:
        changes: Settings of `Sam2Config` that differ from the default.
        tracker: Settings of the tracker.
        append: Prompts of known hands keep their memory, where the tracker would start it anew.
        against: The variant that it is compared to.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    append: bool = False
    against: str = DEFAULT


_NO_FOREARM: Final = TrackerConfig(prompts=PromptConfig(forearm_points=False))
_UPSTREAM: Final = {
    "non_overlap": False,
    "max_hole_share": 0.0,
    "memory": MemoryPolicy.EVERY,
    "keep": ConditioningKeep.RECENT,
    "wrist_cut": False,
}
VARIANTS: Final[Mapping[str, Variant]] = {
    DEFAULT: Variant(),
    "non_overlap off": Variant({"non_overlap": False}),
    "max_hole_share 0.003": Variant({"max_hole_share": 0.003}),
    "max_hole_share 0.0005": Variant({"max_hole_share": 0.0005}),
    "memory confident": Variant({"memory": MemoryPolicy.CONFIDENT}),
    "keep anchor": Variant({"keep": ConditioningKeep.ANCHOR}),
    "wrist_cut off": Variant({"wrist_cut": False}),
    "forearm_points off": Variant({}, _NO_FOREARM),
    "other_hand_points off": Variant({}, TrackerConfig(prompts=PromptConfig(other_hand_points=False))),
    "wrist_cut off, forearm_points off": Variant({"wrist_cut": False}, _NO_FOREARM, against="wrist_cut off"),
    "upstream-like": Variant(
        _UPSTREAM, TrackerConfig(prompts=PromptConfig(forearm_points=False, other_hand_points=False))
    ),
    "reprompt after 5": Variant({}, TrackerConfig(loss=LossConfig(reprompt_after_frames=5))),
    "reprompt alone": Variant({}, TrackerConfig(loss=LossConfig(reprompt_together=False))),
    "reprompt after 5, alone": Variant(
        {}, TrackerConfig(loss=LossConfig(reprompt_after_frames=5, reprompt_together=False))
    ),
    APPEND: Variant({}, append=True),
    "append, keep 2 recent": Variant({"conditioning_frames": 2}, append=True, against=APPEND),
    "append, keep 2 anchor": Variant(
        {"conditioning_frames": 2, "keep": ConditioningKeep.ANCHOR}, append=True, against="append, keep 2 recent"
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A rendered clip and what does not depend on the variant.

    Args:
        frames: With their truth.
        detections: MediaPipe's, of each frame.
        encoded: The model's features of each frame.
    """

    frames: Sequence[SyntheticFrame]
    detections: Sequence[tuple[HandLandmarks, ...]]
    encoded: Sequence[Sam2Encoded]


class EncodedSegmenter:
    """A `Sam2Segmenter` whose pictures were encoded before; counts its prompts.

    Args:
        inner: Does all else.
        encoded: Of the frame with that number.
        variant: What becomes of the tracker's prompts.
    """

    def __init__(self, inner: Sam2Segmenter, encoded: Sequence[Sam2Encoded], variant: Variant) -> None:
        self._inner, self._encoded, self._variant = inner, encoded, variant
        self._seq = 0
        self.prompted: list[tuple[int, int]] = []
        """(frame, object) of every prompt."""

    @property
    def takes_clicks(self) -> bool:
        """As the inner one."""
        return self._inner.takes_clicks

    def encode(self, frame: Frame) -> Sam2Encoded:
        """The frame's, found by its number."""
        self._seq = frame.seq
        return self._encoded[frame.seq]

    def step(self, encoded: Sam2Encoded, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """As the inner one's."""
        known = self._inner.engine.object_ids
        if self._variant.append:
            observations = [_appended(one) if one.object_id in known else one for one in observations]
        self.prompted += [(self._seq, one.object_id) for one in observations if one.prompt is not None]
        return self._inner.step(encoded, observations)

    def forget(self, object_id: int) -> None:
        """As the inner one's."""
        self._inner.forget(object_id)

    def reset(self) -> None:
        """As the inner one's."""
        self._inner.reset()

    def close(self) -> None:
        """As the inner one's."""
        self._inner.close()


def _appended(one: Observation) -> Observation:
    return one if one.prompt is None else replace(one, prompt=replace(one.prompt, mode=PromptMode.APPEND))


def prepare(config: ClipConfig, weights: Path, cache: Path | None) -> Clip:
    """Render, detect and encode a clip: all that no variant changes."""
    frames = rendered_clip(config, 1, cache)
    detections = detected(rendered.frame for rendered in frames)
    engine = load_engine(nano_config(), weights, MAX_OBJECTS)
    return Clip(frames, detections, [engine.encode(rendered.frame.image) for rendered in frames])


def nano_config(**changes: Any) -> Sam2Config:
    """The settings of the size nano on one thread, all else by default but for `changes`."""
    return Sam2Config(size=Sam2Size.NANO, device="cpu", precision=Precision.FLOAT32, threads=1, **changes)


def track_clip(clip: Clip, segmenter: Segmenter[Any], tracker: TrackerConfig) -> list[FrameResult]:
    """Run the real tracker over a prepared clip."""
    config = PipelineConfig(tracker=tracker)
    with HandTracker(config, detector=ScriptedDetector(clip.detections.__getitem__), segmenter=segmenter) as running:
        return [running.step(rendered.frame) for rendered in clip.frames]


def run_variant(clip: Clip, variant: Variant, weights: Path) -> tuple[list[FrameResult], list[tuple[int, int]]]:
    """What the tracker makes of a clip in one variant, and its prompts as (frame, track)."""
    engine = load_engine(nano_config(**variant.changes), weights, MAX_OBJECTS)
    segmenter = EncodedSegmenter(Sam2Segmenter(engine), clip.encoded, variant)
    return track_clip(clip, segmenter, variant.tracker), segmenter.prompted


@dataclass(frozen=True, slots=True)
class Job:
    """One clip's share of the measurement.

    Args:
        name: Of the clip.
        config: What to render.
        weights: Of the size nano.
        sheets: Where contact sheets go; None for none.
        cache: Where rendered clips are kept, as for `rendered_clip`.
    """

    name: str
    config: ClipConfig
    weights: Path
    sheets: Path | None = None
    cache: Path | None = None


def measure_clip(job: Job) -> dict[str, Scores]:
    """Every variant, and `light`, on one clip."""
    clip = prepare(job.config, job.weights, job.cache)
    scores: dict[str, Scores] = {}
    for name in (*VARIANTS, LIGHT):
        prompted: list[tuple[int, int]] = []
        if name == LIGHT:
            results = track_clip(clip, LightSegmenter(LightConfig()), TrackerConfig())
        else:
            results, prompted = run_variant(clip, VARIANTS[name], job.weights)
        scores[name] = score_clip(job.name, clip.frames, clip.detections, results, prompted)
        if job.sheets is not None:
            contact_sheet(clip.frames, results, job.sheets / f"{job.name}_{name.replace(' ', '_')}.png")
        print(f"{job.name}: {name}", file=sys.stderr, flush=True)
    return scores


def figures_of(by_clip: Mapping[str, Mapping[str, Scores]]) -> dict[str, Any]:
    """Figures of every variant, over all clips and each alone."""
    figures: dict[str, Any] = {}
    for name in (*VARIANTS, LIGHT):
        against = VARIANTS[name].against if name in VARIANTS else DEFAULT
        entry: dict[str, Any] = {"all": summary([by_clip[clip][name] for clip in by_clip])}
        for base in dict.fromkeys((DEFAULT, against)):
            if base != name:
                entry[f"minus {base}"] = _differences(by_clip, name, base)
        entry["by_preset"] = {clip: summary([by_clip[clip][name]]) for clip in by_clip}
        figures[name] = entry
    return figures


def _differences(by_clip: Mapping[str, Mapping[str, Scores]], name: str, base: str) -> dict[str, Any]:
    each = {clip: compared([scores[name]], [scores[base]]) for clip, scores in by_clip.items()}
    return {
        "all": compared([scores[name] for scores in by_clip.values()], [scores[base] for scores in by_clip.values()]),
        "iou_by_preset": {clip: figures["iou"] for clip, figures in each.items()},
        "boundary_f_by_preset": {clip: figures["boundary_f"] for clip, figures in each.items()},
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--frames", type=int, help="only the first of each clip")
    parser.add_argument("--weights", type=Path, default=builtin_path(NANO_NAME))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets (PNG) to look at")
    parser.add_argument("--json", type=Path, default=RESULTS / "sam2_quality.json")
    args = parser.parse_args()
    if not args.weights.exists():
        remedy = "make them by: gest-stream train builtin --preset sam2-nano"
        print(f"sam2_quality: skipped, no weights at {args.weights}; {remedy}")
        return
    head = conditions()
    frames = {} if args.frames is None else {"frames": args.frames}
    if args.sheets is not None:
        args.sheets.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        weights = Path(shutil.copy(args.weights, folder))  # a training that goes on would replace them meanwhile
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        jobs = [Job(name, replace(preset(name), **frames), weights, args.sheets) for name in args.presets]
        with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
            by_clip = dict(zip(args.presets, pool.map(measure_clip, jobs), strict=True))
    figures = {
        "weights": {"name": args.weights.name, "sha256": sha256},
        "about": ABOUT,
        "variants": figures_of(by_clip),
    }
    write_result(args.json, "sam2_quality", figures, head)


if __name__ == "__main__":
    main()
