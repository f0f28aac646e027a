"""The main job on real input: the real MediaPipe, the real segmenter, real files."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import av
import pytest

import gest_stream as gs
from gest_stream.cli.exit_codes import ExitCode
from gest_stream.config import HandsConfig
from gest_stream.pipeline import RunStats

pytestmark = pytest.mark.weights


def video_pts(path: Path) -> list[int]:
    """The pts of every frame, in order."""
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0) if frame.pts is not None]


def run(source: Path, model: Path, sinks: list[gs.Sink]) -> RunStats:
    async def go() -> RunStats:
        config = gs.PipelineConfig(hands=HandsConfig(model_path=model), segmenter=gs.SegmenterKind.LIGHT)
        async with gs.Pipeline.open(source, config=config, sinks=sinks) as pipeline:
            return await pipeline.run()

    return asyncio.run(go())


@pytest.mark.clips
def test_a_clip_of_two_hands_keeps_every_pts_two_hands_and_two_ids(
    clips_folder: Path, hand_model: Path, tmp_path: Path
) -> None:
    source, masked, lines = clips_folder / "two_hands.mp4", tmp_path / "masked.mp4", tmp_path / "hands.jsonl"
    stats = run(source, hand_model, [gs.segmented_video(masked, gs.EffectConfig()), gs.JsonlSink(lines)])
    assert stats.frames_done == 210
    assert video_pts(masked) == video_pts(source)
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [record["pts"] for record in records] == video_pts(source)
    two = sum(sum(track["landmarks_px"] is not None for track in record["tracks"]) == 2 for record in records)
    assert two >= 0.95 * 210
    assert {track["id"] for record in records for track in record["tracks"]} == {1, 2}


@pytest.mark.clips
def test_a_portrait_clip_without_detectable_hands_runs_to_its_end(
    clips_folder: Path, hand_model: Path, tmp_path: Path
) -> None:
    source, out = clips_folder / "egocentric.mp4", tmp_path / "out.mp4"
    stats = run(source, hand_model, [gs.segmented_video(out, gs.EffectConfig())])
    assert (stats.frames_done, stats.frames_with_hands, stats.track_ids) == (241, 0, 0)
    with av.open(str(out)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (720, 1280)
        assert len(container.streams.audio) == 1


@pytest.mark.clips
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_finishes_the_files_and_exits_130(clips_folder: Path, hand_model: Path, tmp_path: Path) -> None:
    masked, lines = tmp_path / "masked.mp4", tmp_path / "hands.jsonl"
    command = [sys.executable, "-m", "gest_stream", "run", str(clips_folder / "two_hands.mp4"), "--realtime"]
    command += ["--save-masked", str(masked), "--save-json", str(lines), "--set", f"hands.model_path={hand_model}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    pause = threading.Event()
    for _ in range(600):  # until it is well under way, at most a minute
        if process.poll() is not None or (lines.exists() and lines.read_text().count("\n") >= 5):
            break
        pause.wait(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, stderr
    assert "interrupted: the files are finished" in stderr
    assert "Traceback" not in stderr
    assert len(video_pts(masked)) == lines.read_text().count("\n") >= 5


def test_the_demo_writes_its_three_outputs(hand_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "gest_stream", "demo", "--out", str(out), "--frames", "12"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    assert "12 frames at" in done.stderr and "hands on 12 of them" in done.stderr
    for name in ("masked.mp4", "landmarks.mp4"):
        assert str(out / name) in done.stderr.replace("\n", "")
        assert len(video_pts(out / name)) == 12
    records = [json.loads(line) for line in (out / "hands.jsonl").read_text().splitlines()]
    assert len(records) == 12
    assert all(track["mask_rle"] is not None for track in records[-1]["tracks"])
