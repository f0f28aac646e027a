"""What one `gest-stream bench` leaves behind. `schema.json` beside this file is made from these classes.

Every part is null where it was not measured: left out by `--part`, cut off by Ctrl-C, or without a meaning for the
source. Times are milliseconds unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal

from gest_stream.config.check import STRICT

BENCHMARK: Final = "gest-stream bench"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Distribution:
    """Percentiles of samples, warm-up left out.

    Args:
        count: Number of samples.
        mean: Their mean.
        p50: Median.
        p95: 95th percentile.
        p99: 99th percentile.
        max: The largest.
        block_p50: Medians of up to five blocks of samples in a row: how much the figure wanders within one run.
        block_p95: The same of the 95th percentile.
        block_p99: The same of the 99th percentile.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float
    block_p50: tuple[float, ...]
    block_p95: tuple[float, ...]
    block_p99: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of samples between edges; the last bin takes everything above its lower edge."""

    __pydantic_config__: ClassVar[Any] = STRICT
    edges_ms: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StageTimes:
    """One stage, measured alone, one frame after the other; decoder and encoder without threads of their own.

    Args:
        stage: decode, landmarks, encode, step, redetect, postprocess, draw or encode_video.
        wall_ms: By the clock, with the GPU waited for; null where the stage does not exist in this set-up.
        cpu_ms: Processor time of all threads of the process meanwhile; above wall_ms where several work.
        gpu_ms: Between CUDA events; null without CUDA.
        warm_up_wall_ms: The first frames, which no distribution holds.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    stage: str
    wall_ms: Distribution | None
    cpu_ms: Distribution | None
    gpu_ms: Distribution | None
    warm_up_wall_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stages:
    """Every stage on its own, on frames of one size."""

    __pydantic_config__: ClassVar[Any] = STRICT
    size: tuple[int, int]
    frames: int
    stages: tuple[StageTimes, ...]


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A source at its own pace through the pipeline, drawn by one sink.

    Args:
        name: "480p", "720p", "1080p", or "source".
        size: (width, height) of its frames, pixels.
        rate: Frames a second that the source gives; null where unknown.
        seconds: Measured, warm-up left out.
        frames_shown: Frames handed to the sink.
        frames_dropped: Frames that the source gave and no sink saw, wherever they were dropped.
        fps: Frames shown a second.
        glass_to_glass_ms: From the moment a frame is due to its hand-over to the sink.
        drawn_ms: From then until its picture is drawn.
        mask_age_ms: Age of the mask on screen, looked at 240 times a second; it grows until the next frame is shown.
        carried_share: Of the masks shown, those that the segmenter says it carried from an earlier frame, 0 to 1.
        cpu_cores: Processor time of the process for each second.
        warm_up_ms: Glass to glass of the first frames, which no distribution holds.
        pipeline_ms: The pipeline's own stage timings, warm-up included.
        histogram: Of glass to glass.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    name: str
    size: tuple[int, int]
    rate: float | None
    seconds: float
    frames_shown: int
    frames_dropped: int
    fps: float
    glass_to_glass_ms: Distribution
    drawn_ms: Distribution
    mask_age_ms: Distribution
    carried_share: float
    cpu_cores: float
    warm_up_ms: tuple[float, ...]
    pipeline_ms: dict[str, dict[str, float]]
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class Throughput:
    """File to segmented video, every frame, as fast as it goes.

    Args:
        size: (width, height), pixels.
        frames: In each run.
        fps: Frames a second of each run, from the first frame read to the finished file.
        fps_median: Of those.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    size: tuple[int, int]
    frames: int
    fps: tuple[float, ...]
    fps_median: float


@dataclass(frozen=True, slots=True)
class HandsRun:
    """So many hands on a picture of the same size.

    Args:
        hands: On the picture.
        hands_found_mean: With a mask or landmarks; less than `hands` where the detector misses some.
        frame_ms: From frame to result (landmarks and masks), one frame at a time.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    hands: int
    hands_found_mean: float
    frame_ms: Distribution


@dataclass(frozen=True, slots=True)
class SourcesRun:
    """So many live sources at once in one process, each with a tracker of its own.

    Args:
        sources: How many.
        size: (width, height) of each, pixels.
        rate: Frames a second that each gives.
        fps: Frames shown a second, by source.
        fps_total: Of all together.
        dropped_share: Of the frames that the sources gave, 0 to 1.
        glass_to_glass_ms: Of all together.
        cpu_cores: Processor time of the process for each second.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    sources: int
    size: tuple[int, int]
    rate: float
    fps: tuple[float, ...]
    fps_total: float
    dropped_share: float
    glass_to_glass_ms: Distribution
    cpu_cores: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory while one clip is tracked over and over.

    Args:
        seconds: How long.
        frames: Processed meanwhile.
        interval_s: Between samples.
        rss_mb: The samples, mebibytes; null where the system does not tell.
        slope_mb_per_min: Of a line through the later two thirds (the first is warm-up).
        slope_error_mb_per_min: Its standard error.
        peak_mb: The largest sample.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    seconds: float
    frames: int
    interval_s: float
    rss_mb: tuple[float, ...] | None
    slope_mb_per_min: float | None
    slope_error_mb_per_min: float | None
    peak_mb: float | None


@dataclass(frozen=True, slots=True)
class QualityPoint:
    """Masks against the truth of the rendered clip, beside their speed.

    Args:
        name: "480p", "720p" or "1080p".
        size: (width, height), pixels.
        frames: Tracked, each of them.
        hands: Sights of hands of which a mask could be asked.
        iou_mean: A missing mask counts as 0.
        iou_p10: A tenth of the sights is worse.
        boundary_f_mean: Boundary F (DAVIS), a missing mask counting as 0.
        masks_missing: Sights without a mask.
        returns: Times a hand came back into view.
        found_again: Of those, followed by a mask that overlaps the hand by half.
        reacquisition_ms_median: Media time from the return to that mask; null where nothing was found again.
        reacquisition_ms_max: The longest.
        id_switches: Times a hand's id changed.
        frame_ms: From frame to result, one frame at a time.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    name: str
    size: tuple[int, int]
    frames: int
    hands: int
    iou_mean: float
    iou_p10: float
    boundary_f_mean: float
    masks_missing: int
    returns: int
    found_again: int
    reacquisition_ms_median: float | None
    reacquisition_ms_max: float | None
    id_switches: int
    frame_ms: Distribution


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    __pydantic_config__: ClassVar[Any] = STRICT
    cpu: str
    cores: int | None
    gpu: str | None
    load_before: float | None
    system: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What was measured.

    Args:
        quick: Shorter parts.
        parts: Those asked for.
        source: "synthetic" (the clip that comes with the package), or what the user named, without passwords.
        clip_frames: Frames of the clip that is played back and forth.
        segmenter: Which one, as chosen.
        segmenter_reason: Why.
        redetector: Which one, as chosen.
        sam2_size: Of the model, where the segmenter is sam2.
        sam2_image_size: Side of its input, likewise.
        device: Where the segmenter runs.
        max_hands: Hands that the detector looks for.
        effect: What is drawn.
        deadline_ms: Time after which a frame goes on with a carried mask; null where none is set.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    quick: bool
    parts: tuple[str, ...]
    source: str
    clip_frames: int
    segmenter: str
    segmenter_reason: str
    redetector: str
    sam2_size: str | None
    sam2_image_size: int | None
    device: str
    max_hands: int
    effect: str
    deadline_ms: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """One run of the benchmark.

    Args:
        benchmark: Names the format.
        v: Of the format; a reader refuses another one.
        date: ISO 8601, UTC.
        commit: Of the checkout; "unknown" for an installed package.
        machine: Where.
        versions: Of Python and the packages that matter.
        settings: What.
        complete: False where it was interrupted.
        elapsed_s: All of it, rendering and loading included.
        stages: Where each millisecond goes.
        live: End to end at a source's own pace.
        throughput: Lossless.
        hands: By number of hands.
        sources: By number of concurrent sources.
        memory: Over time.
        quality: Beside speed; null where no truth is known.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    benchmark: Literal["gest-stream bench"]
    v: Literal[1]
    date: str
    commit: str
    machine: Machine
    versions: dict[str, str]
    settings: Settings
    complete: bool
    elapsed_s: float
    stages: Stages | None
    live: tuple[LiveRun, ...] | None
    throughput: Throughput | None
    hands: tuple[HandsRun, ...] | None
    sources: tuple[SourcesRun, ...] | None
    memory: Memory | None
    quality: tuple[QualityPoint, ...] | None


PARTS: Final = ("stages", "live", "throughput", "hands", "sources", "memory", "quality")
"""The parts of a record, in the order in which they are measured."""
assert set(PARTS) < {field.name for field in fields(Record)}
