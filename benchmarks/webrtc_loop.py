"""Glass-to-glass delay of the browser loop: camera, server and back, read from numbers burnt into the picture.

    python -m benchmarks.webrtc_loop [--codecs H264 VP8] [--seconds 30] [--json out.json]

Chromium shows the real page of a real server; its camera is the rendered demo clip. Browser and server share this
machine. A frame's delay runs from the moment the browser says that it was captured to the moment at which it says that
the returned picture of the same number is on the screen.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.webrtc_figures import figures_of
from benchmarks.webrtc_recording import CHROMIUM, LoopSettings, record_loop
from gest_stream.synthetic import preset
from tests.browser.clip import CameraClip

_COLOURS = {"H264": "#1f6f8b", "VP8": "#c9742b"}


def measure(codecs: Sequence[str], seconds: float, clip: CameraClip, screenshot: Path | None) -> list[dict[str, Any]]:
    """One run a codec, one after another.

    Args:
        codecs: "H264", "VP8".
        seconds: How long each is measured.
        clip: What the camera shows.
        screenshot: Where to keep a picture of the page in the first run.
    """
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        camera = Path(folder) / "camera.mjpeg"
        clip.write(camera, LoopSettings(seconds=seconds).clip_s)
        for codec in codecs:
            settings = LoopSettings(codec=codec, seconds=seconds)
            recording = asyncio.run(record_loop(settings, camera, None if runs else screenshot))
            runs.append(figures_of(recording, clip))
    return runs


def draw(result: dict[str, Any], picture: Path) -> None:
    """The delay of every run: how it is spread, and second by second."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (spread, seconds) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for run in result["runs"]:
        colour, delay = _COLOURS[run["codec"]], run["glass_to_glass_ms"]
        frames = run["glass_to_glass_histogram"]["frames"]
        width = run["glass_to_glass_histogram"]["bin_ms"]
        label = f"{run['codec']}: {run['fps_returned']:g} fps, p50 {delay['p50']:g} ms, p95 {delay['p95']:g} ms"
        places = [int(start) + width / 2 for start in frames]
        spread.bar(places, list(frames.values()), width, color=colour, alpha=0.6, label=label)
        every = run["glass_to_glass_by_second_ms"]
        seconds.plot(range(1, len(every) + 1), every, color=colour, marker=".", label=run["codec"])
        if run["panel"]["times_read"]:
            seconds.axhline(run["panel"]["p50_ms"], color=colour, linestyle=":", linewidth=1)
    for axes, across, up, title in (
        (spread, "glass to glass, ms", "frames", "Delay of every returned frame"),
        (seconds, "second of the run", "median ms", "Second by second; dotted: the page's own panel"),
    ):
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_title(title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    machine = result["machine"]
    figure.suptitle(
        f"640x480 at 30 fps through Chromium and gest-stream serve ({result['segmenter']}) on one machine: "
        f"{machine['cpu']}, {machine['cores']} cores, load before {machine['load_before']}",
        fontsize=10,
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codecs", nargs="+", choices=tuple(_COLOURS), default=list(_COLOURS))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path, default=RESULTS / "webrtc_loop.json")
    args = parser.parse_args()
    clip = CameraClip(preset("demo"))
    head = conditions()  # after rendering, which is work that the load would show
    browser = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    runs = measure(args.codecs, args.seconds, clip, args.json.with_name(f"{args.json.stem}_page.jpg"))
    figures = {
        "source": "synthetic:demo, to and fro, as an MJPEG camera of 640x480 at 30 fps",
        "segmenter": LoopSettings().segmenter,
        "browser": browser,
        "aiortc": metadata.version("aiortc"),
        "runs": runs,
    }
    write_result(args.json, "webrtc_loop", figures, head)
    draw({**head, **figures}, args.json.with_suffix(".png"))
    print(args.json.with_suffix(".png"))


if __name__ == "__main__":
    main()
