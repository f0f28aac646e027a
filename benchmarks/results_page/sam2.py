"""What is written about the SAM2 engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.results_page.section import Section
from benchmarks.results_page.tables import Each, Figures

SAM2: Final[Mapping[str, Section]] = {
    "sam2_engine": Section(
        "The SAM2 engine beside upstream and transformers",
        "A frame's time, all systems with the same seeded weights in one run, memories full. Ratios are "
        "the other's time over ours; above 1 ours is faster.",
        "python -m benchmarks.sam2_engine",
        (
            Each(
                "steps/*/systems/*",
                ("", ""),
                (
                    ("system", "system"),
                    ("precision", "precision"),
                    ("p50 ms", "p50_ms"),
                    ("p95 ms", "p95_ms"),
                    ("state grows by bytes a frame", "state_bytes_a_frame"),
                    ("others take times as long", "others_take_times_as_long"),
                ),
                (("model", "size"), ("pixels", "image_size"), ("objects", "objects")),
            ),
            Each("steps/*/skipped/*", ("", "did not take part"), (("why", ""),)),
            Figures((("device", "how/device"), ("GPU", "how/gpu"), ("timing", "how/timing"))),
        ),
        ("pictures/sam2_engine.png",),
    ),
    "sam2_engine_long": Section(
        "The SAM2 engine over very many steps",
        "A narrow model; what it holds must not grow, and a step must not become slower.",
        "python -m benchmarks.sam2_long_run",
        (
            Figures(
                (
                    ("steps", "ours/steps"),
                    ("bytes of state", "ours/state_bytes"),
                    ("constant", "ours/state_bytes_constant"),
                    ("growth of RSS after warm-up", "ours/rss_growth"),
                    ("upstream's state grows by bytes a frame", "upstream/state_bytes_a_frame"),
                    ("timing", "timing"),
                )
            ),
            Each(
                "ours/last_thousand_steps_before/*",
                ("thousand steps before",),
                (("p50 ms", "p50_ms"), ("p95 ms", "p95_ms"), ("p99 ms", "p99_ms")),
            ),
        ),
    ),
    "sam2_quality": Section(
        "What the additions to SAM2 do to masks",
        "Six rendered clips and a small SAM2 that was trained on renders of the same renderer: absolute figures say "
        "nothing of the official weights.",
        "python -m benchmarks.sam2_quality",
        (
            Each(
                "variants/*",
                ("variant",),
                (
                    ("mean IoU", "all/iou_mean"),
                    ("minus the default's", "minus default/all/iou/mean"),
                    ("95 % interval", "minus default/all/iou/interval_95"),
                    ("boundary F", "all/boundary_f_mean"),
                    ("missing", "all/missing_share"),
                ),
            ),
        ),
        ("pictures/sam2_demo.jpg",),
    ),
    "sam2_sessions": Section(
        "Several sessions over one set of SAM2 weights",
        "With and without joined encoder passes, in turn.",
        "python -m benchmarks.sam2_sessions",
        (
            Figures((("device", "how/device"), ("GPU", "how/gpu"), ("model", "how/model"))),
            Each(
                "results/*/servers/*",
                ("", ""),
                (
                    ("encoder passes", "encoder_passes"),
                    ("fps of all", "flat_out/fps_of_all"),
                    ("fps a session", "flat_out/fps_a_session"),
                    ("CPU ms a frame", "flat_out/cpu_ms_a_frame"),
                    ("paced, p50 ms", "paced/frame/p50_ms"),
                    ("bank bytes a session", "memory/bank_bytes_a_session"),
                ),
                (("sessions", "sessions"),),
            ),
            Each(
                "results/*",
                ("",),
                (("sessions", "sessions"), ("joined over not joined, fps", "joined_over_not/fps")),
            ),
        ),
    ),
}
