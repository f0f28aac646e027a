"""`gest-stream bench` as a user types it, on small clips with scripted hands."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gest_stream.bench import run as run_module
from gest_stream.bench.plots import draw_record
from gest_stream.bench.record_file import as_json, load_record
from gest_stream.cli import bench as bench_command
from gest_stream.cli.exit_codes import ExitCode, exit_code_of
from gest_stream.cli.main import app
from gest_stream.errors import ConfigError, GestStreamError, MissingDependencyError, ModelError, SinkError
from tests.bench.conftest import small_clips  # noqa: F401
from tests.bench.records import EXAMPLE, make_record

Run = Callable[..., Result]


@pytest.fixture
def run(small_clips: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: F811
    """`run("--quick", …)` with an empty cache and nothing to fetch."""
    monkeypatch.setattr(bench_command, "get_models_ready", lambda config, console: None)
    monkeypatch.setattr(run_module, "cache_folder", lambda: tmp_path / "cache")

    def invoke(*args: object) -> Result:
        return CliRunner().invoke(app, ["bench", *map(str, args)])

    return invoke


def error_of(result: Result) -> GestStreamError:
    """The error that `main` would print."""
    assert isinstance(result.exception, GestStreamError), result.output
    return result.exception


def test_quick_parts_are_written_drawn_and_shown(run: Run, tmp_path: Path) -> None:
    path, plot = tmp_path / "out.json", tmp_path / "out.png"
    options = ("--quick", "--segmenter", "light", "--part", "stages", "--part", "quality")
    result = run(*options, "--json", path, "--plot", plot)
    assert result.exit_code == 0, result.output
    record = load_record(path)
    assert record.complete and record.stages is not None and record.quality is not None and record.live is None
    assert record.settings.parts == ("stages", "quality") and record.settings.segmenter == "light"
    assert plot.read_bytes().startswith(b"\x89PNG")
    for text in ("encode video", "quality beside speed", "segmenter light: asked for"):
        assert text in result.stdout
    assert result.stderr.splitlines() == ["clip", "models", "stages", "quality 480p", "quality 720p"]


def test_quiet_prints_nothing(run: Run, tmp_path: Path) -> None:
    result = run("--quick", "--quiet", "--segmenter", "none", "--part", "stages", "--json", tmp_path / "out.json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    stages = load_record(tmp_path / "out.json").stages
    assert stages is not None
    assert [stage.stage for stage in stages.stages if stage.wall_ms is None] == ["step", "redetect"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_what_was_measured(
    number: signal.Signals, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(run_module, "measure_quality", interrupted)
    path = tmp_path / "out.json"
    result = run("--quick", "--segmenter", "light", "--part", "stages", "--part", "quality", "--json", path)
    assert result.exit_code == ExitCode.INTERRUPTED
    record = load_record(path)
    assert not record.complete and record.stages is not None and record.quality is None
    assert "not complete" in result.stdout


def test_a_termination_is_heard_where_interrupts_are_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), bench_command._interrupting():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_leaves_what_was_measured_and_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise ModelError("out of memory")

    monkeypatch.setattr(run_module, "measure_quality", fail)
    path = tmp_path / "out.json"
    error = error_of(run("--quick", "--part", "stages", "--part", "quality", "--json", path))
    assert exit_code_of(error) == ExitCode.MODEL
    assert load_record(path).stages is not None


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(
    option: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(run_module, "Bench")
    error = error_of(run("--quick", option, tmp_path / "absent" / "out"))
    assert isinstance(error, SinkError) and "does not exist" in str(error)


def test_plots_without_matplotlib_name_the_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.delattr(run_module, "Bench")
    error = error_of(run("--quick", "--plot", tmp_path / "out.png"))
    assert isinstance(error, MissingDependencyError) and "pip install 'gest-stream[bench]'" in str(error)


def test_a_plot_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"name a \.png, \.svg or \.pdf file"):
        draw_record(make_record(), tmp_path / "out.mp4")


@pytest.mark.parametrize("part", ["stages", "live", "quality", "sources"])
def test_a_record_without_a_part_is_drawn_all_the_same(part: str, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {part: None}
    draw_record(make_record(**nothing), tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 10_000


def test_an_unknown_part_is_a_usage_error(run: Run) -> None:
    error = error_of(run("--part", "stage"))
    assert "did you mean 'stages'" in str(error) and exit_code_of(error) == ExitCode.USAGE


def test_two_records_are_compared(run: Run, tmp_path: Path) -> None:
    slower = tmp_path / "slower.json"
    slower.write_text(as_json(make_record(scale=2.0)))
    result = run("--compare", EXAMPLE, slower)
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("stages step p50")]
    assert "2.00" in line and line.rstrip().endswith("worse")
    assert " worse, 0 better" in result.stdout


def test_what_differs_beside_the_figures_is_told(run: Run, tmp_path: Path) -> None:
    values = json.loads(EXAMPLE.read_text())
    values["machine"]["cores"] = 64
    other = tmp_path / "other.json"
    other.write_text(json.dumps(values))
    assert "differs: machine cores: 2 -> 64" in run("--compare", EXAMPLE, other).stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read"), ("{", "not JSON"), ('{"benchmark": "soak"}', "not a record"), ("3", "no JSON object")],
)
def test_a_file_that_cannot_be_compared_is_named(text: str | None, message: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    if text is not None:
        path.write_text(text)
    error = error_of(run("--compare", EXAMPLE, path))
    assert isinstance(error, ConfigError) and message in str(error) and str(path) in str(error)
    assert exit_code_of(error) == ExitCode.USAGE


def test_another_version_cannot_be_compared(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps(json.loads(EXAMPLE.read_text()) | {"v": 9}))
    assert "version 9" in str(error_of(run("--compare", EXAMPLE, path)))


def test_compare_takes_two_files(run: Run) -> None:
    assert run("--compare", EXAMPLE).exit_code == ExitCode.USAGE
