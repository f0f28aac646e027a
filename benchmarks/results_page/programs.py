"""What is written about gest_stream between other programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.results_page.section import Section, times
from benchmarks.results_page.tables import Each, Figures

PROGRAMS: Final[Mapping[str, Section]] = {
    "webrtc_loop": Section(
        "Through a browser and back",
        "The demo clip as Chromium's camera, numbers burnt into the picture and read from both videos.",
        "python -m benchmarks.webrtc_loop",
        (
            Each(
                "runs/*",
                ("",),
                (
                    ("codec", "codec"),
                    ("fps returned", "fps_returned"),
                    *times("glass_to_glass_ms"),
                    ("frames with their result", "results/share_with_result"),
                ),
            ),
        ),
        ("results/webrtc_loop.png", "results/webrtc_loop_page.jpg"),
    ),
    "webrtc_codecs": Section(
        "Codecs of WebRTC beside aiortc's",
        "Coding a frame with our sessions' settings and with aiortc's own.",
        "python -m benchmarks.webrtc_codecs",
        (
            Each(
                "codecs/*/*/*/*",
                ("codec", "size", "way", "system"),
                (("CPU ms", "cpu_ms"), ("wall ms", "wall_ms"), ("PSNR dB", "psnr_db"), ("kbit/s", "kbps")),
            ),
            Figures((("delay that is saved by the marker bit, ms", "delay/saved_ms"),)),
        ),
    ),
    "exchange": Section(
        "Exchange of frames with a worker",
        "1280x720 RGBA through shared memory to a worker that does nothing, and back.",
        "python -m benchmarks.exchange",
        (Each("cases/*", ("case",), (*times("ms"), ("best round's median ms", "best_round_median_ms"))),),
    ),
    "pipe_filter": Section(
        "Frames through a pipe",
        "`gest-stream filter` between two ffmpeg processes, beside `cat`.",
        "python -m benchmarks.pipe_filter",
        (
            Each(
                "sizes/*",
                ("size",),
                tuple((one, f"fps_median_of_runs/{one}") for one in ("cat", "scripted", "landmarks", "light")),
            ),
        ),
    ),
    "plugins": Section(
        "Plugins in their hosts",
        "The worker killed and hung under a host, masks read back from its picture, time on OBS's graphics thread.",
        "python -m benchmarks.plugins",
        (
            Figures(
                (
                    ("exchange at 720p, p50 ms", "exchange_720p_ms/p50"),
                    ("p99 ms", "exchange_720p_ms/p99"),
                    ("worker killed: first frame, ms", "killed/first_frame_ms_by_round"),
                    ("later frames, ms", "killed/later_frames_median_ms_by_round"),
                    ("worker hung: 50 frames in all, ms", "hung/total_ms_by_round"),
                )
            ),
            Each("masks_iou/*", ("masks read back from",), (("mean IoU", "mean"), ("least", "least"))),
            Each(
                "obs/*",
                ("OBS filter",),
                (("mean ms a frame", "mean_ms_by_round"), ("longest ms", "longest_ms_by_round")),
            ),
        ),
    ),
}
