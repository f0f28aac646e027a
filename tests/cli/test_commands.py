"""Commands as a user types them, on a scripted detector."""

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest
from rich.console import Console
from rich.progress import Progress, TaskID
from typer.testing import CliRunner, Result

from gest_stream.build import models
from gest_stream.cli import download
from gest_stream.cli.download import download_progress
from gest_stream.cli.exit_codes import ExitCode, exit_code_of
from gest_stream.cli.main import app
from gest_stream.config import PipelineConfig
from gest_stream.errors import (
    ConfigError,
    GestStreamError,
    MissingDependencyError,
    SinkError,
    SourceLostError,
    SourceOpenError,
    WeightsError,
)
from gest_stream.interfaces import HandDetector
from gest_stream.models.registry import Fingerprint, find_model_file
from gest_stream.models.store import ModelStore
from gest_stream.testing import ScriptedDetector, make_landmarks
from gest_stream.types import HandLandmarks
from tests.media import Clip, make_clip
from tests.models.fileserver import Answer, FileServer, serving

FRAMES = 12
SIZE = (160, 120)

_LEAST_COMMANDS = """
import typer

app = typer.Typer()
app.command("one")(lambda: None)
app.command("two")(lambda: None)
app()
"""

Run = Callable[..., Result]


def script(seq: int) -> Sequence[HandLandmarks]:
    return [make_landmarks((80, 60), 70)] if seq >= 2 else []


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path: Path = make_clip(tmp_path / "clip.mp4", Clip(size=SIZE, frames=FRAMES))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("run", "clip.mp4", …)` with a scripted detector and no model file."""

    def detector(config: PipelineConfig) -> HandDetector:
        return ScriptedDetector(script)

    monkeypatch.setattr(models, "make_detector", detector)
    monkeypatch.setattr(download, "fetch_needed", lambda config, console: None)

    def invoke(*args: object) -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args])

    return invoke


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_run_writes_every_output_and_ends_with_a_summary(run: Run, clip: Path, tmp_path: Path) -> None:
    outputs = {
        "--save-masked": tmp_path / "masked.mp4",
        "--save-landmarks": tmp_path / "landmarks.mkv",
        "--save-json": tmp_path / "hands.jsonl",
        "--save-masks": tmp_path / "masks",
    }
    # there is no hand in the pictures: light takes the landmarks' word for it, the builtin network does not
    result = run("run", clip, "--segmenter", "light", *[part for pair in outputs.items() for part in pair])
    assert result.exit_code == 0, result.stderr
    assert frames_of(outputs["--save-masked"]) == frames_of(outputs["--save-landmarks"]) == FRAMES
    lines = [json.loads(line) for line in outputs["--save-json"].read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(FRAMES))
    assert lines[0]["tracks"] == [] and len(lines[-1]["tracks"]) == 1
    assert lines[-1]["tracks"][0]["mask_source"] == "light"
    assert len(list(outputs["--save-masks"].glob("*.png"))) == FRAMES
    assert f"{FRAMES} frames at" in result.stderr
    assert f"hands on {FRAMES - 2} of them (1 track ids)" in result.stderr
    assert "segmenter light" in result.stderr
    assert result.stdout == ""


def test_json_summary_is_one_object_on_stdout(run: Run, clip: Path) -> None:
    result = run("run", clip, "--json", "--segmenter", "none")
    summary = json.loads(result.stdout)
    assert (summary["v"], summary["frames_done"], summary["frames_with_hands"]) == (1, FRAMES, FRAMES - 2)
    assert summary["size"] == list(SIZE) and summary["interrupted"] is False
    assert summary["latency_ms"]["total"]["count"] == FRAMES
    assert result.stderr == ""


def test_quiet_prints_nothing(run: Run, clip: Path) -> None:
    result = run("run", clip, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_clip_without_hands_says_so(run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "make_detector", lambda config: ScriptedDetector(lambda seq: []))
    result = run("run", clip)
    assert result.exit_code == 0
    assert "no hand was found" in result.stderr


def error_of(run: Run, *args: object) -> GestStreamError:
    """The clear error that the command ended with; `main` prints it and maps it to an exit code."""
    exception = run(*args).exception
    assert isinstance(exception, GestStreamError), exception
    return exception


def test_a_missing_file_is_a_source_error(run: Run, tmp_path: Path) -> None:
    error = error_of(run, "run", tmp_path / "absent.mp4")
    assert exit_code_of(error) == ExitCode.SOURCE
    assert "absent.mp4" in str(error)


def test_an_output_that_cannot_be_opened_leaves_no_other_output_broken(run: Run, clip: Path, tmp_path: Path) -> None:
    good = tmp_path / "hands.jsonl"
    error = error_of(run, "run", clip, "--save-json", good, "--save-masked", tmp_path / "no" / "such" / "out.mp4")
    assert exit_code_of(error) == ExitCode.SINK
    assert f"{tmp_path / 'no' / 'such'}: the folder does not exist; create it: mkdir -p" in str(error)


def test_two_outputs_with_one_name_are_refused(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    error = error_of(run, "run", clip, "--save-masked", out, "--save-landmarks", out)
    assert isinstance(error, SinkError) and "two outputs would write this file" in str(error)


def test_the_input_is_never_overwritten(run: Run, clip: Path) -> None:
    before = clip.read_bytes()
    error = error_of(run, "run", clip, "--save-masked", clip)
    assert "this is the input" in str(error)
    assert clip.read_bytes() == before


def test_an_unknown_flag_value_suggests_the_nearest(run: Run, clip: Path) -> None:
    result = run("run", clip, "--effect", "gren")
    assert result.exit_code == ExitCode.USAGE
    assert "did you mean 'green'" in " ".join(result.stderr.split())


def test_a_size_and_a_rate_reach_the_camera(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def opened(text: str, **options: object) -> None:
        asked.update(options, text=text)
        raise SourceOpenError("enough")

    monkeypatch.setattr("gest_stream.sources.open.open_source", opened)
    error_of(run, "run", "0", "--camera-size", "640x480", "--rate", "30", "--set", "source.open_timeout_s=7")
    assert (asked["text"], asked["size"], asked["rate"]) == ("0", (640, 480), 30.0)
    assert asked["config"].open_timeout_s == 7.0
    result = run("run", "0", "--camera-size", "12")
    assert result.exit_code == ExitCode.USAGE and "for example 1280x720" in " ".join(
        result.stderr.replace("│", " ").split()
    )


def test_the_demo_leaves_files_alone_that_are_not_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "input.mp4").write_text("mine")
    error = error_of(run, "demo", "--out", tmp_path)
    assert isinstance(error, SinkError) and "input.mp4: this file is not the demo's" in str(error)
    assert (tmp_path / "input.mp4").read_text() == "mine"


def test_an_unknown_toml_key_names_the_file(run: Run, clip: Path, tmp_path: Path) -> None:
    settings = tmp_path / "s.toml"
    settings.write_text("[hands]\nmax_hnds = 1")
    error = error_of(run, "run", clip, "--config", settings)
    assert exit_code_of(error) == ExitCode.USAGE
    assert "s.toml: hands.max_hnds: unknown setting; did you mean 'max_hands'?" in str(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceLostError("x"), 3),
        (WeightsError("x"), 4),
        (SinkError("x"), 5),
        (MissingDependencyError("x"), 6),
        (ConfigError("x"), 2),
        (GestStreamError("x"), 1),
    ],
)
def test_exit_codes_are_pinned(error: GestStreamError, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_clear_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gest_stream", "run", str(tmp_path / "absent.mp4"), "--segmenter", "light"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == ExitCode.SOURCE
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"gest-stream: {tmp_path / 'absent.mp4'}: no such file")


def test_help_is_quick(tmp_path: Path) -> None:
    """Half a second, or where typer's own help takes over a quarter of one here, less than twice that."""
    least = tmp_path / "least.py"
    least.write_text(_LEAST_COMMANDS)

    def seconds(*command: str) -> float:
        # CPU time of the child: what the command costs, whatever else the machine is doing
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    ours, theirs = zip(*((seconds("-m", "gest_stream"), seconds(str(least))) for _ in range(7)), strict=True)
    assert min(ours) < max(0.5, 2 * min(theirs))


def test_doctor_reports_every_section(run: Run) -> None:
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    assert list(report) == ["Packages", "Devices", "Models", "Cameras", "Encoders"]
    packages = {check["topic"]: check for check in report["Packages"]}
    assert packages["mediapipe"]["verdict"] == "ok"
    assert "cv2" not in packages, "a second cv2 wheel is installed"
    assert {check["topic"]: check["verdict"] for check in report["Encoders"]}["libx264"] == "ok"
    for checks in report.values():
        assert all(check["verdict"] != "broken" for check in checks), checks
    assert "Devices" in run("doctor").stdout


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, FileServer]]:
    """The commands' cache folder, and a server that breaks off once and then gives the rest of a SAM 2.1 tiny."""
    content = bytes(range(256)) * 1024
    folder = tmp_path / "cache"
    official = find_model_file("sam2.1-tiny")
    file = replace(official, official=Fingerprint(hashlib.sha256(content).hexdigest(), len(content)))
    whole = Answer(content, etag='"v1"', ranged=True)
    with serving([replace(whole, sent=65_536), whole]) as server:
        store = partial(ModelStore, folder, urls={"sam2.1-tiny": server.url}, files=(file,))
        monkeypatch.setattr("gest_stream.models.store.ModelStore", store)
        yield folder, server


def test_models_fetch_brings_a_file_by_its_short_name_and_goes_on_when_broken_off(
    run: Run, tiny: tuple[Path, FileServer]
) -> None:
    folder, server = tiny
    result = run("models", "fetch", "sam2.1-tiny")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{folder / 'sam2.1_hiera_tiny.pt'}\n"
    assert (folder / "sam2.1_hiera_tiny.pt").read_bytes() == bytes(range(256)) * 1024
    assert server.ranges == [None, "bytes=65536-"]
    assert "broke off after 65536 bytes" in " ".join(result.stderr.split())


def test_models_verify_reads_the_files_also_where_they_seem_unchanged(run: Run, tiny: tuple[Path, FileServer]) -> None:
    run("models", "fetch", "sam2.1-tiny")
    path = tiny[0] / "sam2.1_hiera_tiny.pt"
    assert run("models", "verify").stdout == f"sam2.1_hiera_tiny.pt: ok  {path}\n"
    seen = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    damaged = run("models", "verify")
    assert (damaged.exit_code, damaged.stdout) == (ExitCode.MODEL, f"sam2.1_hiera_tiny.pt: damaged  {path}\n")
    assert "is damaged" in str(error_of(run, "models", "verify", "sam2.1-tiny"))


def test_the_bar_of_a_continued_download_starts_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[Any] = []
    stop_task = Progress.stop_task

    def stopped(progress: Progress, task: TaskID) -> None:
        tasks.append(progress.tasks[0])
        stop_task(progress, task)

    monkeypatch.setattr(Progress, "stop_task", stopped)
    with download_progress(Console(quiet=True)) as begin:
        bar = begin(find_model_file("sam2.1-tiny"))
        bar.total = 1000
        bar.resume(600)
        bar.update(100)
        bar.close()
    (task,) = tasks
    assert (task.total, task.completed) == (1000, 700)
    assert sum(sample.completed for sample in task._progress) == 100, "the speed counts what was there before"


def test_models_list_shows_every_file(run: Run) -> None:
    names = {record["short_name"]: record["name"] for record in json.loads(run("models", "list", "--json").stdout)}
    assert names["sam2.1-tiny"] == "sam2.1_hiera_tiny.pt" and names["hand_landmarker"] == "hand_landmarker.task"
    rows = [line.split("│") for line in run("models", "list").stdout.splitlines() if "│" in line]
    shorts, files = ("".join(row[column].strip() for row in rows) for column in (1, 2))  # rich folds long names
    assert shorts == "".join(names)
    assert files == "".join(names.values())


def test_models_fetch_of_an_unknown_name_suggests_the_nearest(run: Run) -> None:
    assert "did you mean 'hand_landmarker.task'" in str(error_of(run, "models", "fetch", "hand_landmark.task"))
