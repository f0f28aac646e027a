"""The frei0r filter in FFmpeg, GStreamer and MLT."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tests.native.conftest import StartWorker
from tests.native.demo_clip import FRAMES, SIZE, DemoClip, iou, read_pictures, read_times
from tests.native.frei0r_programs import MASKS_OF, filtered, ious, left_of_green, run
from tests.native.worker_process import WorkerProcess

pytestmark = [pytest.mark.native, pytest.mark.timeout(300)]


@pytest.mark.parametrize("effect", ["overlay", "green"])
def test_ffmpeg_shows_the_hands_where_they_are(
    effect: str, demo_clip: DemoClip, frei0r_plugin: Path, scripted: StartWorker, runtime: Path
) -> None:
    with scripted("--segmenter", "light"):
        out, _ = filtered(demo_clip, f"{effect}|10", frei0r_plugin, runtime)
    pictures = read_pictures(out)
    assert len(pictures) == FRAMES
    assert read_times(out) == read_times(demo_clip.path)
    found = ious(MASKS_OF[effect](pictures, demo_clip), demo_clip)
    assert np.mean(found) >= 0.8, f"mean {np.mean(found):.3f}, least {min(found):.3f}"


def test_ffmpeg_with_the_real_worker(demo_clip: DemoClip, frei0r_plugin: Path, hand_model: Path, runtime: Path) -> None:
    arguments = [
        "-c",
        "import typer; from gest_stream.cli.worker import worker; typer.run(worker)",
        "--segmenter",
        "light",
        "--redetector",
        "none",
        "--effect",
        "green",
    ]
    arguments += ["--set", f"hands.model_path={hand_model}"]
    with WorkerProcess(arguments, runtime, ready="listening"):
        out, _ = filtered(demo_clip, "default|10", frei0r_plugin, runtime)
    pictures = read_pictures(out)
    assert len(pictures) == FRAMES
    found = ious(left_of_green(pictures, demo_clip), demo_clip)
    assert np.mean(found) >= 0.8, f"mean {np.mean(found):.3f}, least {min(found):.3f}"


def test_without_a_worker_ffmpeg_writes_what_it_read(demo_clip: DemoClip, frei0r_plugin: Path, runtime: Path) -> None:
    out, said = filtered(demo_clip, "green|10", frei0r_plugin, runtime)
    assert np.array_equal(read_pictures(out, 4), read_pictures(demo_clip.path, 4))
    assert read_times(out) == read_times(demo_clip.path)
    assert said.count("passes unchanged") == 1 and "gest-stream worker" in said


def test_ffmpeg_goes_on_when_the_worker_dies(
    demo_clip: DemoClip, frei0r_plugin: Path, scripted: StartWorker, runtime: Path
) -> None:
    dies_at = 25
    with scripted("--die-at", str(dies_at)):
        out, _ = filtered(demo_clip, "green|10", frei0r_plugin, runtime)
    pictures = read_pictures(out)
    assert read_times(out) == read_times(demo_clip.path)
    assert np.array_equal(pictures[dies_at:], demo_clip.pictures[dies_at:])
    masks = left_of_green(pictures[:dies_at], demo_clip)
    assert min(iou(mask, truth) for mask, truth in zip(masks, demo_clip.masks, strict=False)) > 0.9


def test_a_worker_that_hangs_delays_ffmpeg_by_four_deadlines(
    demo_clip: DemoClip, frei0r_plugin: Path, scripted: StartWorker, runtime: Path
) -> None:
    hangs_at, deadline_s = 25, 0.5
    start = time.monotonic()
    filtered(demo_clip, f"green|{deadline_s}", frei0r_plugin, runtime)
    alone_s = time.monotonic() - start
    with scripted("--hang-at", str(hangs_at)):
        start = time.monotonic()
        out, _ = filtered(demo_clip, f"green|{deadline_s}", frei0r_plugin, runtime)
        took_s = time.monotonic() - start
    assert took_s < alone_s + 4 * deadline_s + 8.0  # of 35 deadlines; the frames before take their time, too
    pictures = read_pictures(out)
    assert np.array_equal(pictures[hangs_at:], demo_clip.pictures[hangs_at:])
    assert read_times(out) == read_times(demo_clip.path)


def test_gstreamer_runs_the_filter(
    demo_clip: DemoClip, frei0r_plugin: Path, scripted: StartWorker, runtime: Path
) -> None:
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("not installed here: gst-launch-1.0")
    raw, out = runtime / "in.rgba", runtime / "out.rgba"
    raw.write_bytes(read_pictures(demo_clip.path, 4).tobytes())
    parse = f"rawvideoparse format=rgba width={SIZE[0]} height={SIZE[1]} framerate=30/1"
    element = "frei0r-filter-gest-stream effect=green deadline=1.0"
    pipeline = f"filesrc location={raw} ! {parse} ! {element} ! filesink location={out}"
    with scripted():
        run(["gst-launch-1.0", "-q", *pipeline.split()], frei0r_plugin, runtime)
    pictures = np.frombuffer(out.read_bytes(), np.uint8).reshape(-1, SIZE[1], SIZE[0], 4)
    assert len(pictures) == FRAMES
    assert np.mean(ious(left_of_green(pictures[..., :3], demo_clip), demo_clip)) > 0.95


def test_melt_runs_the_filter(demo_clip: DemoClip, frei0r_plugin: Path, scripted: StartWorker, runtime: Path) -> None:
    if shutil.which("melt") is None:
        pytest.skip("not installed here: melt")
    out = runtime / "melt.mkv"
    profile = runtime / "profile"
    width, height = SIZE
    profile.write_text(
        f"description=clip\nframe_rate_num=30\nframe_rate_den=1\nwidth={width}\nheight={height}\nprogressive=1\n"
        f"sample_aspect_num=1\nsample_aspect_den=1\ndisplay_aspect_num=16\ndisplay_aspect_den=9\ncolorspace=709\n"
    )
    command = ["melt", "-profile", str(profile), str(demo_clip.path), "-filter", "frei0r.gest_stream", "0=green", "1=1"]
    command += ["-consumer", f"avformat:{out}", "vcodec=ffv1", "pix_fmt=bgra", "an=1", "real_time=-1"]
    with scripted():
        run(command, frei0r_plugin, runtime)
    pictures = read_pictures(out)
    assert len(pictures) >= FRAMES - 1
    found = ious(left_of_green(pictures[: FRAMES - 1], demo_clip), _first(demo_clip, FRAMES - 1))
    assert np.mean(found) > 0.8


def _first(clip: DemoClip, count: int) -> DemoClip:
    return DemoClip(clip.pictures[:count], clip.masks[:count], clip.path, clip.script)
