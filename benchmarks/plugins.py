"""What the plugins cost inside other programs, and what they do when the worker dies or hangs.

    python -m benchmarks.plugins [--rounds 5] [--obs-rounds 3] [--json out.json]

It builds plugins/ as `make plugins` does and drives them with the hosts of `tests/native`. Where not said otherwise,
the worker recognises the frames of a short rendered clip and knows where the hands are.

    exchange_720p_ms   frei0r, 1280x720 RGBA to a worker that does nothing and back; the first frames warm up
    killed             frei0r, the worker dies of a frame: that frame, and the median of those after it
    hung               frei0r, the worker is stopped: all frames that follow, together
    masks_iou          masks read back from what ffmpeg wrote through frei0r, against the truth of the clip; the
                       segmenter is `light`, with landmarks of the clip or MediaPipe's
    obs                how long the filters hold OBS's graphics thread for each frame, as they log it when they go:
                       the exchange, without what is drawn and rendered for it; OBS records under Xvfb meanwhile
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exchange import worker
from benchmarks.report import RESULTS, ROOT, conditions, percentiles, write_result
from tests.native.demo_clip import SIZE, DemoClip, read_pictures, render
from tests.native.frei0r_host import Frei0rHost, with_alpha
from tests.native.frei0r_programs import MASKS_OF, filtered, ious
from tests.native.worker_process import WorkerProcess

_BUILD = ROOT / "build" / "plugins"
_FREI0R = _BUILD / "frei0r" / "gest_stream.so"
_OBS = _BUILD / "obs" / "gest_stream"
_DIES_AT = 20
_BEFORE_IT_HANGS = 10
_DEADLINE_S = 0.15
_RECORDED_S = 10.0
_REAL_WORKER = ["-c", "import typer; from gest_stream.cli.worker import worker; typer.run(worker)"]
_REAL_WORKER += ["--segmenter", "light", "--redetector", "none", "--effect", "green"]


def build() -> None:
    """Build the plugins that can be built here."""
    for command in (["cmake", "-S", "plugins", "-B", str(_BUILD)], ["cmake", "--build", str(_BUILD)]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    if not _FREI0R.exists():
        raise SystemExit("plugins: frei0r.h is not here; on Debian: apt-get install frei0r-plugins-dev")


def scripted(clip: DemoClip, runtime: Path, *flags: str) -> WorkerProcess:
    """A worker that knows the clip."""
    return WorkerProcess(["-m", "tests.native.scripted_worker", str(clip.script), *flags], runtime)


def exchanges_ms(runtime: Path, frames: int = 200, warm_up: int = 20) -> list[float]:
    """Milliseconds of frames whose worker does nothing."""
    frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 4), np.uint8)
    path = runtime / "echo.sock"
    with worker(path), Frei0rHost(_FREI0R, (1280, 720), deadline=1.0, socket=str(path)) as host:
        return [host.update(frame)[1] for _ in range(warm_up + frames)][warm_up:]


def killed_ms(clip: DemoClip, runtime: Path) -> tuple[float, float]:
    """Milliseconds of the frame of which the worker dies, and the median of those after it."""
    frames = [with_alpha(picture) for picture in clip.pictures]
    with (
        scripted(clip, runtime, "--die-at", str(_DIES_AT)) as dying,
        Frei0rHost(_FREI0R, SIZE, effect="green", deadline=5.0, socket=str(dying.address)) as host,
    ):
        took = [host.update(frame)[1] for frame in frames]
    return took[_DIES_AT], statistics.median(took[_DIES_AT + 1 :])


def hung_ms(clip: DemoClip, runtime: Path) -> list[float]:
    """Milliseconds of each frame after the worker was stopped."""
    frames = [with_alpha(picture) for picture in clip.pictures]
    with (
        scripted(clip, runtime) as hanging,
        Frei0rHost(_FREI0R, SIZE, effect="green", deadline=_DEADLINE_S, socket=str(hanging.address)) as host,
    ):
        for frame in frames[:_BEFORE_IT_HANGS]:
            host.update(frame)
        hanging.hang()
        return [host.update(frame)[1] for frame in frames[_BEFORE_IT_HANGS:]]


def overlaps(clip: DemoClip, runtime: Path, process: WorkerProcess, effect: str) -> dict[str, float]:
    """Intersection over union of what ffmpeg wrote, with the truth."""
    with process:
        out, _ = filtered(clip, f"{effect}|10", _FREI0R, runtime)
    found = ious(MASKS_OF[effect](read_pictures(out), clip), clip)
    return {"mean": round(float(np.mean(found)), 3), "least": round(min(found), 3)}


def masks(clip: DemoClip, runtime: Path) -> dict[str, dict[str, float]]:
    """Overlaps by case."""
    return {
        "green": overlaps(clip, runtime, scripted(clip, runtime, "--segmenter", "light"), "green"),
        "overlay": overlaps(clip, runtime, scripted(clip, runtime, "--segmenter", "light"), "overlay"),
        "mediapipe, green": overlaps(clip, runtime, WorkerProcess(_REAL_WORKER, runtime, ready="listening"), "green"),
    }


def obs_held_ms(kind: str, clip: DemoClip, runtime: Path, folder: Path) -> tuple[float, float]:
    """Mean and longest milliseconds of a frame, while OBS records a cut-out in sync."""
    from tests.native import obs_host

    make = {"effect": obs_host.effect_filter, "async": obs_host.async_filter}[kind]
    hands = make({"effect": "cutout", "timing": "in_sync"})
    sources = [obs_host.colour_source("wall", (20, 40, 220)), obs_host.media_source("clip", clip.path, [hands])]
    folder.mkdir()
    with scripted(clip, runtime), obs_host.ObsHost(folder, _OBS, sources, runtime) as obs:
        obs.wait_for_log("Status: connected\n")
        obs.record_for(_RECORDED_S)
        obs.finish()
        return obs.held_ms(kind)


def obs(clip: DemoClip, runtime: Path, folder: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Both filters in turns; nothing where OBS is not here."""
    if not _OBS.exists() or shutil.which("obs") is None or shutil.which("Xvfb") is None:
        print("plugins: OBS, Xvfb or libobs is not here; nothing is measured in OBS")
        return {}
    figures: dict[str, dict[str, list[float]]] = {
        kind: {"mean_ms_by_round": [], "longest_ms_by_round": []} for kind in ("effect", "async")
    }
    for turn in range(rounds):
        for kind, values in figures.items():
            mean, longest = obs_held_ms(kind, clip, runtime, folder / f"{kind}-{turn}")
            values["mean_ms_by_round"].append(mean)
            values["longest_ms_by_round"].append(longest)
    return figures


def programs() -> dict[str, str]:
    """The first line of what they say of their version."""
    told = {}
    for command in (["ffmpeg", "-version"], ["obs", "--version"]):
        if shutil.which(command[0]) is not None:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            told[command[0]] = done.stdout.partition("\n")[0].partition(" Copyright")[0]
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--obs-rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "plugins.json")
    given = parser.parse_args(arguments)
    build()
    head = conditions()
    exchanged: list[float] = []
    kills: list[tuple[float, float]] = []
    hangs: list[list[float]] = []
    with tempfile.TemporaryDirectory(prefix="gst") as name:
        folder = Path(name)
        clip = render(folder)
        for _ in range(given.rounds):
            exchanged += exchanges_ms(folder)
            kills.append(killed_ms(clip, folder))
            hangs.append(hung_ms(clip, folder))
        figures: dict[str, Any] = {
            "size": list(SIZE),
            "programs": programs(),
            "exchange_720p_ms": percentiles(exchanged),
            "killed": {
                "first_frame_ms_by_round": [round(first, 2) for first, _ in kills],
                "later_frames_median_ms_by_round": [round(later, 2) for _, later in kills],
            },
            "hung": {
                "deadline_s": _DEADLINE_S,
                "frames": len(hangs[0]),
                "total_ms_by_round": [round(sum(took), 1) for took in hangs],
            },
            "masks_iou": masks(clip, folder),
            "obs": obs(clip, folder, folder, given.obs_rounds),
        }
    write_result(given.json, "plugins", figures, head)


if __name__ == "__main__":
    main()
