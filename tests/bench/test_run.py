"""Whole benchmarks on small clips with scripted hands: every part, broken off, and on a user's own file."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from gest_stream.bench import live
from gest_stream.bench import run as run_module
from gest_stream.bench.looped import PlayFile
from gest_stream.bench.plan import BenchPlan, BenchProgress, Limit, quick_plan
from gest_stream.bench.record import PARTS, Record
from gest_stream.bench.record_file import SCHEMA_PATH, as_json
from gest_stream.bench.run import Bench
from gest_stream.bench.stages import STAGES, enough, warm_up_of
from gest_stream.build import models
from gest_stream.errors import ConfigError, ModelError, SourceOpenError
from gest_stream.testing import ScriptedDetector
from gest_stream.types import HandLandmarks
from tests.bench.conftest import LIGHT, RATE

pytestmark = pytest.mark.usefixtures("small_clips")


def tiny_plan(*parts: str) -> BenchPlan:
    """Every part, as short as it has figures."""
    return BenchPlan(
        quick=True,
        parts=parts or PARTS,
        warm_up_s=0.1,
        stages=Limit(12, 60.0),
        live_s={"480p": 1.0, "720p": 1.0, "1080p": 1.0},
        throughput_runs=2,
        throughput_s=30.0,
        hands=Limit(8, 30.0),
        sources=(1, 2),
        sources_s=1.0,
        memory_s=0.6,
        quality={"480p": Limit(100, 60.0), "720p": Limit(100, 60.0)},
        recorded_s=0.5,
    )


def measured(plan: BenchPlan, cache: Path, source: str | None = None) -> Record:
    with Bench(plan, LIGHT, source, cache=cache) as bench:
        bench.run()
        return bench.record(complete=True)


def test_a_whole_benchmark_measures_every_part_and_fits_the_schema(tmp_path: Path) -> None:
    told: list[BenchProgress] = []
    with Bench(tiny_plan(), LIGHT, None, told.append, tmp_path) as bench:
        bench.run()
        record = bench.record(complete=True)
    jsonschema_rs.validate(json.loads(SCHEMA_PATH.read_text()), json.loads(as_json(record)))
    assert list(dict.fromkeys(one.part for one in told)) == ["clip", "models", *PARTS]

    assert record.stages is not None and [stage.stage for stage in record.stages.stages] == list(STAGES)
    times = {stage.stage: stage for stage in record.stages.stages}
    assert times["redetect"].wall_ms is None and times["redetect"].warm_up_wall_ms == ()
    for name in set(STAGES) - {"redetect"}:
        found = times[name]
        assert found.wall_ms is not None and found.cpu_ms is not None and found.gpu_ms is None
        assert (found.wall_ms.count, len(found.warm_up_wall_ms)) == (10, 2)

    assert record.live is not None and [one.name for one in record.live] == ["480p", "720p", "1080p"]
    for one in record.live:
        assert one.frames_shown == one.glass_to_glass_ms.count == sum(one.histogram.counts)
        assert one.rate == RATE and one.mask_age_ms.p50 > 0 and one.glass_to_glass_ms.p50 > 0
        assert "landmarks" in one.pipeline_ms

    assert record.throughput is not None
    assert (record.throughput.frames, len(record.throughput.fps)) == (34, 2)
    assert record.hands is not None
    assert [(one.hands, one.hands_found_mean) for one in record.hands] == [(1, 1.0), (2, 2.0), (4, 2.0)]
    assert record.sources is not None and [len(one.fps) for one in record.sources] == [1, 2]
    assert record.memory is not None and record.memory.frames > 0
    assert record.quality is not None
    (point, larger) = record.quality
    assert (point.frames, point.hands, point.returns, point.found_again) == (18, 30, 1, 1)
    assert point.iou_mean > 0.5 and point.masks_missing == 0 and point.id_switches == 0
    assert larger.size == (240, 180)


def test_parts_that_were_not_asked_for_are_null(tmp_path: Path) -> None:
    record = measured(tiny_plan("memory"), tmp_path)
    assert [part for part in PARTS if getattr(record, part) is not None] == ["memory"]
    assert record.settings.parts == ("memory",)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ModelError("gone")])
def test_what_was_measured_before_the_end_stays(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def second_one_fails(*args: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise failure
        return original(*args)  # type: ignore[arg-type]

    original = live.run_live
    monkeypatch.setattr(run_module, "run_live", second_one_fails)
    with Bench(tiny_plan("stages", "live", "quality"), LIGHT, cache=tmp_path) as bench:
        with pytest.raises(type(failure)):
            bench.run()
        record = bench.record(complete=False)
    assert record.stages is not None and record.live is not None and record.quality is None
    assert [one.name for one in record.live] == ["480p"] and not record.complete


def test_a_users_file_is_played_and_has_no_quality(play_file: PlayFile, tmp_path: Path) -> None:
    plan = tiny_plan("stages", "live", "throughput", "quality")
    record = measured(plan, tmp_path / "cache", str(play_file.path))
    assert record.settings.source == str(play_file.path) and record.quality is None
    assert record.stages is not None and record.stages.size == play_file.size
    assert record.live is not None and [one.name for one in record.live] == ["source"]
    assert record.throughput is not None and record.throughput.frames == 12


def test_pictures_in_a_folder_are_recorded_first(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(6):
        cv2.imwrite(str(folder / f"{k}.png"), np.full((120, 160, 3), 20 * k, np.uint8))
    record = measured(tiny_plan("throughput"), tmp_path / "cache", str(folder))
    assert record.throughput is not None and record.throughput.frames == 6


def test_a_synthetic_source_has_a_truth(tmp_path: Path) -> None:
    record = measured(tiny_plan("quality"), tmp_path, "synthetic:demo,size=160x120,frames=10")
    assert record.settings.source == "synthetic:demo,size=160x120,frames=10"
    assert record.quality is not None and record.quality[0].frames == 10


def test_a_source_that_is_absent_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceOpenError, match="absent.mp4"):
        measured(tiny_plan("live"), tmp_path, str(tmp_path / "absent.mp4"))


def test_a_failing_detector_ends_it_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seq: int) -> list[HandLandmarks]:
        raise ModelError("the detector broke")

    monkeypatch.setattr(models, "make_detector", lambda config: ScriptedDetector(fail))
    for part in ("stages", "live", "throughput", "sources", "memory"):
        with pytest.raises(ModelError, match="the detector broke"):
            measured(tiny_plan(part), tmp_path)


def test_an_unknown_part_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'stages'"):
        quick_plan(("stage",))


@pytest.mark.parametrize(("frames", "warm_up"), [(0, 0), (1, 0), (2, 1), (5, 1), (40, 8), (1000, 10)])
def test_warm_up_is_a_fifth_and_at_most_ten(frames: int, warm_up: int) -> None:
    assert warm_up_of(frames) == warm_up


@pytest.mark.parametrize(
    ("frames", "seconds", "is_enough"), [(9, 1.0, False), (10, 1.0, True), (4, 99.0, False), (5, 99.0, True)]
)
def test_a_measurement_ends_by_frames_or_by_time_with_a_handful_of_frames(
    frames: int, seconds: float, is_enough: bool
) -> None:
    assert enough(Limit(10, 30.0), frames, 0, lambda: round(seconds * 1e9)) is is_enough
