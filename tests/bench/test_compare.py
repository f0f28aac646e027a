"""Two records: ratios with their spread, and what counts as worse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gest_stream.bench.compare import Comparison, Verdict, compare, differences
from gest_stream.bench.record import Record
from tests.bench.records import make_record


def row(before: Record, after: Record, name: str) -> Comparison:
    (found,) = [one for one in compare(before, after) if one.name == name]
    return found


def test_a_record_is_the_same_as_itself() -> None:
    rows = compare(make_record(), make_record())
    assert len(rows) > 60
    assert {one.verdict for one in rows} == {Verdict.SAME}
    assert {one.ratio for one in rows} <= {1.0, None}


def test_twice_the_time_is_worse_and_half_of_it_better() -> None:
    before, after = make_record(), make_record(scale=2.0)
    slower = row(before, after, "stages step p50")
    assert slower.ratio == pytest.approx(2.0, rel=1e-3) and slower.verdict is Verdict.WORSE
    assert slower.spread is not None and 1.5 < slower.spread[0] < 2.0 < slower.spread[1] < 2.5
    assert row(after, before, "stages step p50").verdict is Verdict.BETTER
    assert row(before, after, "live 720p glass to glass p99").verdict is Verdict.WORSE
    assert row(before, after, "throughput").verdict is Verdict.WORSE
    assert row(after, before, "throughput").verdict is Verdict.BETTER


def test_a_change_within_the_blocks_of_a_run_is_noise() -> None:
    found = row(make_record(), make_record(scale=1.005), "stages step p50")
    assert found.ratio == pytest.approx(1.005, rel=1e-3) and found.verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("dropped", "verdict"), [(0, Verdict.SAME), (3, Verdict.SAME), (9, Verdict.WORSE), (60, Verdict.WORSE)]
)
def test_a_few_drops_more_are_chance_and_many_are_not(dropped: int, verdict: Verdict) -> None:
    def with_drops(count: int) -> Record:
        record = make_record()
        assert record.live is not None
        changed = replace(record.live[0], frames_dropped=count)
        return replace(record, live=(changed, *record.live[1:]))

    assert row(with_drops(0), with_drops(dropped), "live 480p dropped").verdict is verdict


@pytest.mark.parametrize(("iou", "verdict"), [(0.897, Verdict.SAME), (0.88, Verdict.WORSE), (0.92, Verdict.BETTER)])
def test_a_score_has_a_tolerance(iou: float, verdict: Verdict) -> None:
    record = make_record()
    assert record.quality is not None
    after = replace(record, quality=(replace(record.quality[0], iou_mean=iou), *record.quality[1:]))
    assert row(record, after, "quality 480p IoU").verdict is verdict


def test_one_id_switch_more_is_worse() -> None:
    record = make_record()
    assert record.quality is not None
    after = replace(record, quality=(replace(record.quality[0], id_switches=1), *record.quality[1:]))
    found = row(record, after, "quality 480p id switches")
    assert found.verdict is Verdict.WORSE and found.ratio is None


def test_only_what_both_have_is_compared() -> None:
    rows = compare(make_record(), make_record(stages=None, memory=None))
    assert not [one for one in rows if one.name.startswith(("stages", "memory"))]
    told = differences(make_record(), make_record(stages=None, memory=None))
    assert len(told) == 1 and told[0].startswith("only the first has") and told[0].endswith("memory, stages")


def test_another_machine_and_other_settings_are_told() -> None:
    before = make_record()
    after = replace(
        before,
        machine=replace(before.machine, cores=64),
        settings=replace(before.settings, segmenter="sam2"),
        versions={**before.versions, "torch": "2.15"},
    )
    assert differences(before, after) == (
        "machine cores: 2 -> 64",
        "setting segmenter: light -> sam2",
        "version torch: None -> 2.15",
    )
    assert differences(before, before) == ()
