"""`gest-stream run` from and to WebRTC servers."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner, Result

from gest_stream import build
from gest_stream.cli import download
from gest_stream.cli.exit_codes import ExitCode, exit_code_of
from gest_stream.cli.main import app
from gest_stream.errors import ConfigError, GestStreamError, SinkError, SourceLostError, SourceOpenError
from gest_stream.testing import ScriptedDetector, make_landmarks
from tests.media import Clip, make_clip
from tests.rtc.peers import BarTrack
from tests.rtc.standin import StandIn, standing_in_thread

FRAMES = 12
TOKEN = "not-for-your-eyes"
NOWHERE = "http://127.0.0.1:1/x"

Run = Callable[..., Result]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path: Path = make_clip(tmp_path / "clip.mp4", Clip(size=(160, 120), frames=FRAMES))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("clip.mp4", …)` with a scripted detector, no segmenter and no model file."""
    detector = ScriptedDetector(lambda seq: [make_landmarks((80, 60), 70)])
    monkeypatch.setattr(build, "make_detector", lambda config: detector)
    monkeypatch.setattr(download, "fetch_needed", lambda config, console: None)

    def invoke(*args: object, token: str | None = None) -> Result:
        told = ["run", *map(str, args), "--segmenter", "none"]
        return CliRunner(env={"GEST_STREAM_TOKEN": token}).invoke(app, told)

    return invoke


def error_of(result: Result) -> GestStreamError:
    assert isinstance(result.exception, GestStreamError), result.exception
    return result.exception


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_out_pushes_to_a_server_and_writes_files_at_once(run: Run, clip: Path, tmp_path: Path) -> None:
    with standing_in_thread(StandIn(token=TOKEN)) as server:
        outputs = ["--out", f"whip:{server.base}/whip/cam?key=secret", "--out", tmp_path / "a.mp4"]
        result = run(clip, *outputs, "--out", tmp_path / "b.mkv", token=TOKEN)
    assert result.exit_code == 0, result.stderr
    assert server.requests == [
        ("POST", "/whip/cam", f"Bearer {TOKEN}"),
        ("DELETE", "/session/1", f"Bearer {TOKEN}"),
    ]
    assert 0 < len(server.frames) <= FRAMES
    assert (server.frames[0].width, server.frames[0].height) == (160, 120)
    assert frames_of(tmp_path / "a.mp4") == frames_of(tmp_path / "b.mkv") == FRAMES
    assert f"whip:{server.base}/whip/cam?key=***" in result.stderr
    assert TOKEN not in result.output and "secret" not in result.output


def test_whep_pulls_from_a_server_until_it_ends(run: Run, tmp_path: Path) -> None:
    lines = tmp_path / "hands.jsonl"
    limits = ["--set", "source.read_timeout_s=0.5", "--set", "source.reconnect.give_up_after_s=0"]
    with standing_in_thread(StandIn(token=TOKEN, make_track=lambda: BarTrack(count=30))) as server:
        result = run(f"webrtc:whep:{server.base}/whep/cam", "--save-json", lines, "--token", TOKEN, *limits)
    error = error_of(result)
    assert isinstance(error, SourceLostError) and "no picture came for 0.5 s" in str(error)
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(records) >= 2
    assert {(*record["size"], record["time_base"]) for record in records} == {(320, 240, "1/90000")}
    assert [token for _, _, token in server.requests] == [f"Bearer {TOKEN}"] * 2


def test_a_server_that_is_not_there_is_a_source_error(run: Run) -> None:
    error = error_of(run(f"whep:{NOWHERE}"))
    assert isinstance(error, SourceOpenError) and exit_code_of(error) == ExitCode.SOURCE
    assert "whep:http://127.0.0.1:1/x: connection refused; start the server, or check host and port" in str(error)


def test_a_server_that_is_not_there_is_an_output_error(run: Run, clip: Path, tmp_path: Path) -> None:
    error = error_of(run(clip, "--out", f"whip:{NOWHERE}", "--save-json", tmp_path / "hands.jsonl"))
    assert isinstance(error, SinkError) and exit_code_of(error) == ExitCode.SINK
    assert "whip:http://127.0.0.1:1/x: connection refused" in str(error)


@pytest.mark.parametrize("output", ["rtmp://host/app/key", "whep:https://host/x"])
def test_an_unknown_kind_of_output_is_refused(run: Run, clip: Path, output: str) -> None:
    error = error_of(run(clip, "--out", output))
    assert isinstance(error, SinkError) and "unknown kind of output; known are whip:URL" in str(error)


def test_what_follows_whip_must_be_an_address(run: Run, clip: Path) -> None:
    error = error_of(run(clip, "--out", "whip:stream"))
    assert isinstance(error, ConfigError) and exit_code_of(error) == ExitCode.USAGE
    assert "expected an http:// or https:// address, as in whip:https://" in str(error)


def test_out_shares_no_file_with_another_output(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    error = error_of(run(clip, "--out", out, "--save-masked", out))
    assert isinstance(error, SinkError) and "two outputs would write this file" in str(error)
    assert "this is the input" in str(error_of(run(clip, "--out", clip)))


def test_a_token_that_could_be_for_either_server_goes_to_none(run: Run) -> None:
    error = error_of(run("whep:http://a.example/x", "--out", "whip:http://b.example/x", "--token", TOKEN))
    assert isinstance(error, ConfigError) and "talks to a.example and b.example" in str(error)
    assert TOKEN not in str(error)


def test_a_token_in_the_environment_troubles_no_other_run(run: Run, clip: Path) -> None:
    assert run(clip, token=TOKEN).exit_code == 0
