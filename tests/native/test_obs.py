"""OBS records scenes with the plugin's filters, while workers come, go and hang. Content counts here, not timing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.native.conftest import StartWorker
from tests.native.demo_clip import DemoClip, read_pictures, recode
from tests.native.obs_judge import WALL, Judge, longest_stand, moves, runs

pytest.importorskip("obsws_python", reason="not installed here: obsws-python")

from tests.native.obs_host import (
    ObsHost,
    async_filter,
    colour_source,
    crop_filter,
    effect_filter,
    media_source,
)

pytestmark = [pytest.mark.native, pytest.mark.timeout(300), pytest.mark.usefixtures("obs_is_here")]

_CONNECTED = "Status: connected\n"
_ABSENT = "Status: no worker"
_LATE = "the worker is late"
_REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_cut_out_shows_the_source_behind_it_and_outlives_its_worker(
    demo_clip: DemoClip, obs_plugin: Path, scripted: StartWorker, runtime: Path, tmp_path: Path
) -> None:
    sources = [
        colour_source("wall", WALL),
        media_source(
            "clip", demo_clip.path, [effect_filter({"effect": "cutout", "timing": "in_sync", "feather": 0.0})]
        ),
    ]
    with scripted() as worker, ObsHost(tmp_path, obs_plugin, sources, runtime) as obs:
        obs.wait_for_log(_CONNECTED)
        obs.record_for(2.5)
        worker.kill()
        obs.wait_for_log(_ABSENT)
        obs.record_for(2)
        worker.start()
        obs.wait_for_log(_CONNECTED, 2)
        obs.record_for(2.5)
        worker.hang()
        obs.wait_for_log(_LATE)
        obs.record_for(2)
        recording = obs.finish()
    shown = Judge(demo_clip).all_shown(recording)
    parts = runs(shown)
    assert [kind for kind, _ in parts if kind != "wall"][-4:] == ["cut", "whole", "cut", "whole"], parts
    assert min(length for _, length in parts[-4:]) >= 15, parts
    cut = [one for one in shown if one.kind == "cut"]
    assert np.median([one.overlap for one in cut]) > 0.93
    assert np.mean([one.overlap > 0.8 for one in cut]) > 0.97  # in sync: mask and picture are one frame's
    assert np.mean([one.apart < 15 for one in cut]) > 0.97
    assert moves(cut) and moves([one for one in shown if one.kind == "whole"])
    assert obs.held_ms("effect")[0] <= 4.0


def test_a_worker_is_started_and_nothing_shows_before_it_answers(
    demo_clip: DemoClip, obs_plugin: Path, runtime: Path, tmp_path: Path
) -> None:
    worker = [sys.executable, "-m", "tests.native.scripted_worker", str(demo_clip.script)]
    command = " ".join(f'"{word}"' for word in ["env", f"PYTHONPATH={_REPOSITORY}", *worker])
    settings = {"effect": "cutout", "timing": "in_sync", "fallback": "blank", "feather": 0.0}
    started = {"start_worker": True, "worker_command": command}
    sources = [
        colour_source("wall", WALL),
        media_source("clip", demo_clip.path, [async_filter({**settings, **started})]),
    ]
    with ObsHost(tmp_path, obs_plugin, sources, runtime) as obs:
        obs.wait_for_log(_CONNECTED, timeout_s=60)
        obs.record_for(3)
        process = int(obs.log.split("(process ")[1].split(")")[0])
        os.kill(process, 0)
        recording = obs.finish()
    shown = Judge(demo_clip).all_shown(recording)
    parts = runs(shown)
    assert {kind for kind, _ in parts} == {"wall", "cut"}, parts
    assert parts[0][0] == "wall" and parts[-1][0] == "cut" and parts[-1][1] >= 20, parts
    cut = [one for one in shown if one.kind == "cut"]
    assert np.mean([one.overlap > 0.8 for one in cut]) > 0.97
    assert np.mean([one.apart < 15 for one in cut]) > 0.97
    assert obs.held_ms("async")[0] <= 4.0
    if obs.ended_well:
        assert not Path(f"/proc/{process}").exists()
    else:
        os.kill(process, signal.SIGTERM)


def test_the_last_good_picture_is_held_while_the_worker_is_away(
    demo_clip: DemoClip, obs_plugin: Path, scripted: StartWorker, runtime: Path, tmp_path: Path
) -> None:
    settings = {"effect": "cutout", "timing": "low_latency", "fallback": "hold"}
    sources = [colour_source("wall", WALL), media_source("clip", demo_clip.path, [async_filter(settings)])]
    with scripted() as worker, ObsHost(tmp_path, obs_plugin, sources, runtime) as obs:
        obs.wait_for_log(_CONNECTED)
        obs.record_for(2)
        worker.kill()
        obs.wait_for_log(_ABSENT)
        obs.record_for(2.5)
        worker.start()
        obs.wait_for_log(_CONNECTED, 2)
        obs.record_for(2)
        recording = obs.finish()
    shown = Judge(demo_clip).all_shown(recording)
    assert {kind for kind, _ in runs(shown)} <= {"wall", "cut"}
    assert longest_stand([one for one in shown if one.kind == "cut"]) >= 25
    assert moves(shown[-30:])


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "known"),
    [("yuv420p", "libx264", True), ("nv12", "rawvideo", True), ("yuv422p", "ffv1", False)],
)
def test_frames_of_other_formats_are_cut_out_or_pass(
    pix_fmt: str,
    codec: str,
    known: bool,
    demo_clip: DemoClip,
    obs_plugin: Path,
    scripted: StartWorker,
    runtime: Path,
    tmp_path: Path,
) -> None:
    clip = tmp_path / "clip.nut"
    recode(demo_clip.path, clip, pix_fmt, codec)
    settings = {"effect": "cutout", "timing": "in_sync", "feather": 0.0}
    sources = [colour_source("wall", WALL), media_source("clip", clip, [async_filter(settings)])]
    folder = tmp_path / "obs"
    folder.mkdir()
    refused = "are not supported"
    with scripted(), ObsHost(folder, obs_plugin, sources, runtime) as obs:
        obs.wait_for_log(_CONNECTED if known else refused)
        obs.record_for(2)
        recording = obs.finish()
    shown = Judge(demo_clip).all_shown(recording)
    assert runs(shown)[-1][0] == ("cut" if known else "whole"), runs(shown)
    assert obs.log.count(refused) == (not known)
    if known:
        cut = [one for one in shown if one.kind == "cut"]
        assert np.mean([one.overlap > 0.8 and one.apart < 15 for one in cut]) > 0.97


@pytest.mark.parametrize("crop_first", [True, False])
def test_other_filters_do_not_move_the_mask(
    crop_first: bool, demo_clip: DemoClip, obs_plugin: Path, scripted: StartWorker, runtime: Path, tmp_path: Path
) -> None:
    left = 64
    filters = [crop_filter(left), async_filter({"effect": "cutout", "timing": "in_sync", "feather": 0.0})]
    sources = [
        colour_source("wall", WALL),
        media_source("clip", demo_clip.path, filters if crop_first else filters[::-1]),
    ]
    with scripted(), ObsHost(tmp_path, obs_plugin, sources, runtime) as obs:
        obs.wait_for_log(_CONNECTED)
        obs.record_for(2)
        recording = obs.finish()
    judge = Judge(demo_clip)
    shown = []
    for picture in read_pictures(recording)[-20:]:
        moved_back = np.full_like(picture, WALL)
        moved_back[:, left:] = picture[:, :-left]
        shown.append(judge.shown(moved_back))
    assert {one.kind for one in shown} == {"cut"}
    assert np.mean([one.overlap > 0.8 and one.apart < 15 for one in shown]) > 0.9


def test_filters_come_and_go_while_they_draw(
    demo_clip: DemoClip, obs_plugin: Path, scripted: StartWorker, runtime: Path, tmp_path: Path
) -> None:
    sources = [colour_source("wall", WALL), media_source("clip", demo_clip.path, [crop_filter(8)])]
    rounds = 25
    with scripted(), ObsHost(tmp_path, obs_plugin, sources, runtime) as obs:
        for _ in range(rounds):
            obs.add_and_remove("clip", async_filter({"effect": "cutout"}))
            obs.add_and_remove("clip", effect_filter({"effect": "blur", "timing": "low_latency"}))
        obs.wait_for_log(" ms each, longest ", 2 * rounds)
        obs.record_for(0.5)
