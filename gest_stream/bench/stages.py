"""Every stage on its own: one frame after the other on one thread, so that no stage waits for another."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.bench.figures import distribution_or_none
from gest_stream.bench.looped import PlayFile, decoded
from gest_stream.bench.models import BenchModels
from gest_stream.bench.plan import Limit
from gest_stream.bench.record import Stages, StageTimes
from gest_stream.bench.stopwatch import Stopwatch
from gest_stream.clock import now_ns
from gest_stream.interfaces import SourceInfo
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult

STAGES: Final = ("decode", "landmarks", "encode", "step", "redetect", "postprocess", "draw", "encode_video")
MIN_FRAMES: Final = 5
_MAX_WARM_UP: Final = 10


def warm_up_of(frames: int) -> int:
    """How many of the first of so many frames are warm-up: a fifth, at most ten, at least one of two or more."""
    return min(_MAX_WARM_UP, max(frames // 5, 1)) if frames > 1 else 0


def enough(limit: Limit, frames: int, start_ns: int, clock: Callable[[], int] = now_ns) -> bool:
    """Whether so many frames since `start_ns` are enough."""
    late = clock() - start_ns > limit.seconds * 1e9
    return frames >= limit.frames or (late and frames >= MIN_FRAMES)


def measure_stages(file: PlayFile, models: BenchModels, limit: Limit) -> Stages:
    """Decode, track, draw and encode the frames of `file`, in a loop until the limit.

    The decoder and the encoder get no threads of their own, since what they do between two calls would be counted for
    other stages. `encode_video` is conversion, compression (x264) and muxing; `postprocess` is what the tracker does
    itself: association, the loss machine, prompts.

    Raises:
        GestStreamError: A stage failed.
    """
    from gest_stream.overlay import Renderer
    from gest_stream.sinks.video import VideoSink

    watch, renderer = Stopwatch(), Renderer(models.config.effect)

    def draw(result: FrameResult) -> NDArray[np.uint8]:
        with watch.stage("draw"):
            return renderer.render(result)

    with (
        tempfile.TemporaryDirectory() as folder,
        models.tracker(watch) as tracker,
        asyncio.Runner() as runner,
        closing(decoded(file, threads="SLICE")) as frames,
    ):
        tracker.set_live(False)
        sink = VideoSink(Path(folder) / "out.mp4", draw, options=replace(models.config.video, threads=1))
        count, start_ns = 0, now_ns()
        try:
            while not enough(limit, count, start_ns):
                with watch.stage("decode"):
                    frame = next(frames)
                result = _tracked(tracker, frame, watch)
                if count == 0:
                    info = SourceInfo(file.path.name, False, frame.size, frame.time_base, file.rate)
                    runner.run(sink.open(info, None))
                with watch.stage("encode_video"):
                    runner.run(sink.write(result))
                watch.subtract("encode_video", "draw")
                watch.end_frame()
                count += 1
        finally:
            runner.run(sink.close())
    return stages_of(watch, file.size, count)


def _tracked(tracker: TrackerCore, frame: Frame, watch: Stopwatch) -> FrameResult:
    with watch.stage("landmarks"):
        detections = tracker.detect(frame)
    with watch.stage("encode"):
        encoded = tracker.encode(frame)
    with watch.stage("postprocess"):
        result = tracker.advance(frame, detections, encoded)
    watch.subtract("postprocess", "step")
    watch.subtract("postprocess", "redetect")
    return result


def stages_of(watch: Stopwatch, size: tuple[int, int], frames: int) -> Stages:
    """What the stopwatch holds; a stage that ran seldom has a warm-up of its own."""
    times = []
    for stage in STAGES:
        wall, cpu, gpu = (kept.get(stage, []) for kept in (watch.wall_ms, watch.cpu_ms, watch.gpu_ms))
        warm_up = warm_up_of(len(wall))
        times.append(
            StageTimes(
                stage,
                distribution_or_none(wall[warm_up:]),
                distribution_or_none(cpu[warm_up:]),
                distribution_or_none(gpu[warm_up:]),
                tuple(round(value, 3) for value in wall[:warm_up]),
            )
        )
    return Stages(size, frames, tuple(times))
