"""What `gest-stream filter` costs between two ffmpeg processes: frames a second, beside the same pipes without it.

    python -m benchmarks.pipe_filter [--frames 200] [--repeats 3] [--json out.json]

A clip of one rendered hand with sound goes `ffmpeg -f nut - | X | ffmpeg -i - -c copy -f nut -`, where X is

    cat          nothing: what the pipes and the decoder allow
    scripted     the filter on a detector and a segmenter that cost next to nothing: its own cost
    landmarks    the filter with MediaPipe, landmarks drawn, no masks
    light        the filter with MediaPipe and the segmenter `light`

The cases take turns. Each run checks that every frame, every pts and every audio packet came through. The time counts
from the first byte that leaves the last ffmpeg to the last one, so that loading models is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

from benchmarks.report import RESULTS, ROOT, conditions, write_result
from gest_stream.build import save_frames
from gest_stream.sources.open import open_source

_SIZES = ((640, 480), (1280, 720))
_EFFECT = ["--quiet", "--effect", "green"]
_SCRIPTED = [sys.executable, "-m", "tests.pipe.command", "filter", *_EFFECT]
_REAL = [sys.executable, "-m", "gest_stream", "filter", *_EFFECT, "--redetector", "none"]
CASES = {
    "cat": ["cat"],
    "scripted": _SCRIPTED,
    "landmarks": [*_REAL, "--segmenter", "none", "--set", "effect.landmarks=true"],
    "light": [*_REAL, "--segmenter", "light"],
}
"""The middle of the pipe, by name."""


async def _render(path: Path, size: tuple[int, int], frames: int) -> None:
    async with open_source(f"synthetic:easy,hands=1,frames={frames},size={size[0]}x{size[1]}") as source:
        await save_frames(source, path)


def make_clip(folder: Path, ffmpeg: str, size: tuple[int, int], frames: int) -> Path:
    """A clip of `frames` pictures with a tone beside them."""
    silent, path = folder / f"{size[0]}.mp4", folder / f"{size[0]}.mkv"
    asyncio.run(_render(silent, size, frames))
    tone = ["-f", "lavfi", "-i", "sine=440:sample_rate=48000", "-shortest"]
    subprocess.run([ffmpeg, "-v", "error", "-i", silent, *tone, "-c:v", "copy", "-c:a", "aac", path], check=True)
    return path


def pipe(clip: Path, ffmpeg: str, middle: Sequence[str]) -> tuple[bytes, float]:
    """One run through the pipes.

    Returns:
        What came out, and the seconds from its first byte to its last.
    """
    quiet = [ffmpeg, "-v", "error", "-nostdin"]
    sender = subprocess.Popen(
        [*quiet, "-i", clip, "-c:v", "rawvideo", "-c:a", "copy", "-f", "nut", "-"], stdout=subprocess.PIPE
    )
    worker = subprocess.Popen(middle, stdin=sender.stdout, stdout=subprocess.PIPE, cwd=ROOT)
    taker = subprocess.Popen(
        [*quiet, "-i", "-", "-c", "copy", "-f", "nut", "-"], stdin=worker.stdout, stdout=subprocess.PIPE, bufsize=0
    )
    for process in (sender, worker):
        assert process.stdout is not None
        process.stdout.close()
    assert taker.stdout is not None
    pieces = [taker.stdout.read(1 << 16)]
    first_s = last_s = time.perf_counter()
    while piece := taker.stdout.read(1 << 20):
        pieces.append(piece)
        last_s = time.perf_counter()
    taker.stdout.close()
    codes = [process.wait() for process in (sender, worker, taker)]
    if any(codes):
        raise SystemExit(f"{middle}: the processes ended with {codes}")
    return b"".join(pieces), last_s - first_s


def contents(data: bytes) -> tuple[list[Any], list[Any]]:
    """Times of the frames; payloads and times of the audio packets."""
    times: list[Any] = []
    sound: list[Any] = []
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None and packet.time_base is not None:
                moment = packet.pts * packet.time_base
                times += [moment] if packet.stream.type == "video" else []
                sound += [(bytes(packet), moment)] if packet.stream.type == "audio" else []
    return times, sound


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "pipe_filter.json")
    given = parser.parse_args(arguments)
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise SystemExit("the ffmpeg program is needed: apt-get install ffmpeg")
    head = conditions()
    sizes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in _SIZES:
            clip = make_clip(Path(folder), ffmpeg, size, given.frames)
            reference: tuple[list[Any], list[Any]] | None = None
            rates: dict[str, list[float]] = {name: [] for name in CASES}
            for _ in range(given.repeats):
                for name, middle in CASES.items():
                    data, seconds = pipe(clip, ffmpeg, middle)
                    came = contents(data)
                    reference = reference or came  # what `cat` lets through
                    if came != reference or len(came[0]) != given.frames:
                        raise SystemExit(f"{name}: frames, times or audio packets differ from what was sent")
                    rates[name].append((given.frames - 1) / seconds)
            assert reference is not None
            sizes[f"{size[0]}x{size[1]}"] = {
                "audio_packets_identical": len(reference[1]),
                "fps_median_of_runs": {name: round(statistics.median(values), 1) for name, values in rates.items()},
                "fps_of_runs": {name: [round(value, 1) for value in values] for name, values in rates.items()},
            }
            print(size, sizes[f"{size[0]}x{size[1]}"]["fps_median_of_runs"])
    figures = {"frames": given.frames, "repeats": given.repeats, "effect": "green", "sizes": sizes}
    write_result(given.json, "pipe_filter", figures, head)


if __name__ == "__main__":
    main()
