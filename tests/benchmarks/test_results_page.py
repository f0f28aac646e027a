import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import portable, write_result
from benchmarks.results_page.page import PAGE, SECTIONS, anchor, committed, page, read_costs
from benchmarks.results_page.tables import Each, Figures, cell
from tests.bench.records import EXAMPLE

CONDITIONS = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "abc1234",
    "machine": {"cpu": "Some CPU", "cores": 2, "gpu": None, "load_before": 0.5, "system": "Linux"},
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
}
COST = {"cost": "landmarks", "share_ms": 30.0, "evidence": "x.json", "remedy": "a GPU"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A `benchmarks` folder without git around it."""
    (tmp_path / "results").mkdir()
    (tmp_path / "pictures").mkdir()
    return tmp_path


def put(folder: Path, name: str, record: Any) -> None:
    (folder / "results" / name).write_text(json.dumps(record))


def section(text: str, title: str) -> str:
    """From a heading to the next."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_committed_page_is_what_the_committed_figures_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(PAGE.parent), "run `make results` and commit benchmarks/RESULTS.md"


def test_every_committed_json_and_picture_is_in_it() -> None:
    text = page(PAGE.parent)
    results = committed(PAGE.parent / "results")
    for path in results:
        if path.suffix == ".json" and path.name != "costs.json":
            assert f"(results/{path.name})" in text
    for path in (*results, *committed(PAGE.parent / "pictures")):
        if path.suffix in (".png", ".jpg"):
            assert f"]({path.relative_to(PAGE.parent).as_posix()})" in text


def test_every_row_of_every_table_has_as_many_cells_as_its_header() -> None:
    lines = page(PAGE.parent).splitlines()
    width = 0
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            bars = len(re.findall(r"(?<!\\)\|", line))
            width = width if before.startswith("|") else bars
            assert bars == width, line


def test_every_entry_of_the_contents_leads_to_a_heading() -> None:
    text = page(PAGE.parent)
    wanted = re.findall(r"^- \[.*\]\(#(.*)\)$", text, re.M)
    headings = [anchor(line.removeprefix("## ")) for line in text.splitlines() if line.startswith("## ")]
    assert wanted == headings and len(set(wanted)) == len(wanted) > 10


@pytest.mark.parametrize("name", list(SECTIONS))
def test_a_section_shows_something_of_the_figures_it_was_written_for(name: str) -> None:
    found = [
        path for path in committed(PAGE.parent / "results") if path.suffix == ".json" and path.name != "costs.json"
    ]
    records = [(path, json.loads(path.read_text())) for path in found]
    own = [record for path, record in records if record.get("benchmark", path.stem) == name]
    if not own:
        pytest.skip(f"no result of {name} is committed yet")
    for record in own:
        assert any(spec.table(record) is not None for spec in SECTIONS[name].tables)


def test_every_part_of_gest_stream_benchs_record_has_a_table(folder: Path) -> None:
    record = json.loads(EXAMPLE.read_text())
    tables = [spec.table(record) for spec in SECTIONS["gest-stream bench"].tables]
    assert [table.columns[0] for table in tables if table] == [
        *("what", "stage", "live source", "hands", "sources at once", "masks at")
    ]
    stages = tables[1]
    assert stages is not None and {"p50 ms", "p99 ms", "CPU p50 ms"} <= set(stages.columns)
    assert [row[0] for row in stages.rows][:2] == [one["stage"] for one in record["stages"]["stages"]][:2]


def test_every_policy_of_a_late_segmenter_has_a_row_and_what_is_no_policy_none() -> None:
    scores = {"hands": 3, "iou_mean": 0.5}
    steps = {"demo": {"frames": 9, "slow_truth": {"carried": scores, "stale": scores, "cpu_ms": {"p50": 1.0}}}}
    table = SECTIONS["deadline"].tables[0].table({"steps": steps})
    assert table is not None and table.columns == ("clip", "segmenter", "masks", "hands", "mean IoU")
    assert [row[2] for row in table.rows] == ["carried", "stale"]


def test_live_runs_tell_processor_time_by_work_and_copies() -> None:
    record = {
        "runs": {"live": {"fps": 30.0, "handover_ms": {"p99": 40.0}, "cpu_ms_per_frame_by_work": {"landmarks": 20.5}}},
        "copies": {"mediapipe_copies": True},
    }
    markdown = [table.markdown() for spec in SECTIONS["live_cpu"].tables if (table := spec.table(record))]
    assert "| live | 30 | 40 |" in markdown[0]
    assert "| live | landmarks | 20.5 |" in markdown[1] and "| mediapipe_copies | yes |" in markdown[2]


def test_a_json_without_a_section_is_shown_in_full(folder: Path) -> None:
    put(
        folder, "brand_new.json", {"benchmark": "brand_new", **CONDITIONS, "speed": {"fps": 12.5}, "runs": [1, 2, 3, 9]}
    )
    text = section(page(folder), "brand_new")
    assert "| speed/fps | 12.5 |" in text
    assert "| runs | 1 to 9 (4 values) |" in text
    assert "(results/brand_new.json)" in text


def test_a_section_says_where_with_what_when_and_how_it_was_made(folder: Path) -> None:
    put(
        folder,
        "soak.json",
        {"benchmark": "soak", "command": "python -m benchmarks.soak --frames 9", **CONDITIONS, "frames": 9},
    )
    text = section(page(folder), "Memory over an hour")
    assert "- where: 2 cores of Some CPU; load 0.5 before" in text
    assert "- versions: python 3.11.7, torch 2.15.0" in text
    assert "- date: 2026-01-02 03:04:05 UTC; commit: `abc1234`" in text
    assert "- made by: `python -m benchmarks.soak --frames 9`" in text


def test_what_a_json_does_not_say_of_its_making_is_not_made_up(folder: Path) -> None:
    put(folder, "soak.json", {"benchmark": "soak", "frames": 9, "complete": False})
    text = section(page(folder), "Memory over an hour")
    assert "machine: not recorded" in text and "date: not recorded; commit: not recorded" in text
    assert "`python -m benchmarks.soak`, options not recorded" in text
    assert "**incomplete**" in text


def test_two_files_of_one_benchmark_have_titles_of_their_own(folder: Path) -> None:
    for name in ("soak.json", "soak_gpu.json"):
        put(folder, name, {"benchmark": "soak", "frames": 9})
    text = page(folder)
    assert "## Memory over an hour (`soak`)\n" in text and "## Memory over an hour (`soak_gpu`)\n" in text


def test_a_picture_stands_with_the_json_whose_name_it_begins_with_and_none_is_left_out(folder: Path) -> None:
    for name in ("soak.json", "soak_gpu.json"):
        put(folder, name, {"benchmark": name, "frames": 9})
    for name in ("soak_gpu_waterfall.png", "stray.jpg"):
        (folder / "pictures" / name).write_bytes(b"")
    text = page(folder)
    assert "](pictures/soak_gpu_waterfall.png)" in section(text, "soak_gpu")
    assert "](pictures/stray.jpg)" in section(text, "Other pictures")


def test_the_three_largest_costs_come_first_in_order(folder: Path) -> None:
    put(folder, "costs.json", [{**COST, "cost": f"cost {ms}", "share_ms": ms} for ms in (1.5, 30, 7.25, 12)])
    text = section(page(folder), "The three largest remaining costs, and what would remove each")
    assert re.findall(r"\| \d \| (cost [\d.]+) \|", text) == ["cost 30", "cost 12", "cost 7.25"]
    assert "| [x.json](results/x.json) | a GPU |" in text


def test_every_committed_cost_names_a_committed_json_as_its_evidence() -> None:
    names = {path.name for path in committed(PAGE.parent / "results")}
    for cost in read_costs(PAGE.parent / "results" / "costs.json"):
        found = re.findall(r"\b\w+\.json\b", cost["evidence"])
        assert found and set(found) <= names, cost["cost"]


@pytest.mark.parametrize(
    "costs",
    [{"cost": "landmarks"}, [{"cost": "landmarks"}], [{**COST, "share_ms": "30"}], [{**COST, "more": 1}], ["x"]],
)
def test_costs_of_another_shape_are_refused_by_name(folder: Path, costs: Any) -> None:
    put(folder, "costs.json", costs)
    with pytest.raises(ValueError, match=r"costs\.json: .*expected"):
        read_costs(folder / "results" / "costs.json")


def test_a_file_that_is_no_json_object_is_named(folder: Path) -> None:
    put(folder, "list.json", [1, 2])
    with pytest.raises(ValueError, match=r"list\.json: expected a JSON object"):
        page(folder)
    (folder / "results" / "list.json").write_text("{")
    with pytest.raises(ValueError, match=r"list\.json: not JSON"):
        page(folder)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1234567, "1,234,567"),
        (12.3456, "12.35"),
        (0.00012345, "0.000123"),
        (-0.0, "0"),
        (1234.5, "1,234"),
        (True, "yes"),
        (None, "–"),
        ([1.0, 2.0], "1, 2"),
        ([4, 1, 3, 2], "1 to 4 (4 values)"),
        ({"median": 1.5, "min": 1.0, "max": 2.0, "by_round": [1.0, 2.0]}, "1.5 (1 to 2)"),
        ({"median": 1.5, "min": 1.5, "max": 1.5, "by_round": [1.5]}, "1.5 (one round)"),
        ({"upstream": 1.5, "other": 2}, "upstream 1.5, other 2"),
    ],
)
def test_values_are_written_for_readers(value: Any, expected: str) -> None:
    assert cell(value) == expected


def test_stars_go_over_mappings_and_lists_and_leave_out_columns_without_any_value() -> None:
    record = {"cases": [{"name": "a", "by": {"x": {"ms": 1}, "y": {"ms": 2}}}, {"name": "b", "by": {"x": {"fps": 3}}}]}
    table = Each("cases/*/by/*", ("", "side"), (("ms", "ms"), ("gone", "gone")), (("case", "name"),)).table(record)
    assert table is not None
    assert table.columns == ("case", "side", "ms")
    assert table.rows == (("a", "x", "1"), ("a", "y", "2"))
    assert Each("absent/*", ("",), (("ms", "ms"),)).table(record) is None
    assert Figures((("first", "cases/0/name"), ("gone", "cases/9/name"))).table(record) is not None
    assert Figures((("gone", "cases/9/name"),)).table(record) is None


def test_a_result_says_what_was_typed_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["ignored", "--rounds", "2", "a b"])
    write_result(tmp_path / "x.json", "x", {}, {})
    command = json.loads((tmp_path / "x.json").read_text())["command"]
    assert command.startswith("python -m ") and command.endswith("--rounds 2 'a b'")


def test_paths_that_only_one_machine_has_are_not_shown() -> None:
    typed = "python -m benchmarks.x --data /root/clips --json benchmarks/results/x.json"
    assert portable(typed) == "python -m benchmarks.x --data DIR/clips --json benchmarks/results/x.json"
