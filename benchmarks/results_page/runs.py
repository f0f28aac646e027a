"""What is written about whole runs, what they find, and what others do in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.results_page.section import Section, times
from benchmarks.results_page.tables import Each, Figures

RUNS: Final[Mapping[str, Section]] = {
    "gest-stream bench": Section(
        "Latency and speed of a whole run",
        "Every stage alone; a live source end to end, from the moment a frame is due until it is handed to the sink; a "
        "file as fast as it goes; hands, sources, memory; masks against the truth of the rendered clip.",
        "gest-stream bench",
        (
            Figures(
                (
                    ("segmenter", "settings/segmenter"),
                    ("redetector", "settings/redetector"),
                    ("source", "settings/source"),
                    ("deadline, ms", "settings/deadline_ms"),
                    ("quick", "settings/quick"),
                    ("file to segmented video, fps", "throughput/fps_median"),
                    ("of each run", "throughput/fps"),
                    ("memory, slope in MB a minute", "memory/slope_mb_per_min"),
                    ("memory, peak MB", "memory/peak_mb"),
                )
            ),
            Each(
                "stages/stages/*",
                ("",),
                (
                    ("stage", "stage"),
                    *times("wall_ms"),
                    ("CPU p50 ms", "cpu_ms/p50"),
                    ("GPU p50 ms", "gpu_ms/p50"),
                ),
            ),
            Each(
                "live/*",
                ("",),
                (
                    ("live source", "name"),
                    ("fps", "fps"),
                    ("dropped", "frames_dropped"),
                    *times("glass_to_glass_ms"),
                    ("age of the mask p50 ms", "mask_age_ms/p50"),
                    ("p99", "mask_age_ms/p99"),
                    ("CPU cores", "cpu_cores"),
                ),
            ),
            Each("hands/*", ("",), (("hands", "hands"), ("found", "hands_found_mean"), *times("frame_ms"))),
            Each(
                "sources/*",
                ("",),
                (
                    ("sources at once", "sources"),
                    ("fps of all", "fps_total"),
                    ("share dropped", "dropped_share"),
                    *times("glass_to_glass_ms"),
                ),
            ),
            Each(
                "quality/*",
                ("",),
                (
                    ("masks at", "name"),
                    ("hands", "hands"),
                    ("mean IoU", "iou_mean"),
                    ("boundary F", "boundary_f_mean"),
                    ("missing", "masks_missing"),
                    ("id switches", "id_switches"),
                    ("found again", "found_again"),
                    ("of returns", "returns"),
                    ("after, median ms", "reacquisition_ms_median"),
                    ("a frame p50 ms", "frame_ms/p50"),
                ),
            ),
        ),
    ),
    "peers": Section(
        "Beside what a user would take instead",
        "Whole clips through every system in turn, one run, models loaded before. Ratios are what the other takes over "
        "what ours takes within a round, median and least to most; above 1 ours is ahead.",
        "python -m benchmarks.peers",
        (
            Each(
                "comparisons/*/others_over_ours/*",
                ("", ""),
                (
                    ("other system", "other"),
                    ("time", "time"),
                    ("CPU time", "cpu_time"),
                    ("time to the first mask", "time_to_first_mask"),
                ),
                (("comparison", "comparison"),),
            ),
            Each(
                "comparisons/*/systems/*",
                ("", ""),
                (
                    ("system", "system"),
                    ("frames", "frames"),
                    ("fps", "fps"),
                    ("CPU ms a frame", "cpu_ms_a_frame"),
                    ("first mask after ms", "first_mask_ms"),
                    ("bytes held", "held_bytes"),
                    ("cores taken by other programs", "other_programs_cores"),
                ),
                (("comparison", "comparison"),),
            ),
            Each("comparisons/*", ("",), (("comparison", "comparison"), ("rounds", "rounds"), ("what", "what"))),
            Each("comparisons/*/skipped/*", ("", "did not take part"), (("why", ""),)),
            Each(
                "comparisons/*/systems/*/parts_a_frame/*",
                ("", "", "part of a one-thread system, in its order"),
                (("ms a frame", "ms"), ("CPU ms a frame", "cpu_ms")),
                (("comparison", "comparison"),),
            ),
            Figures((("peers' versions", "how/peer_versions"), ("clip", "how/clip"), ("weights", "how/weights"))),
        ),
    ),
    "live_cpu": Section(
        "Live 720p on a CPU",
        "Two hands, paced in real time or as fast as possible; latency from the moment a frame is due to its hand-over "
        "to the sink, processor time by what it was spent on.",
        "python -m benchmarks.live_cpu",
        (
            Each(
                "runs/*",
                ("run",),
                (
                    ("fps", "fps"),
                    ("dropped", "dropped"),
                    *times("handover_ms"),
                    ("written p99 ms", "written_ms/p99"),
                    ("CPU ms a frame", "cpu_ms_per_frame"),
                    ("cores busy", "cores_busy"),
                ),
            ),
            Figures((("targets", "targets"), ("met", "targets_met"), ("clip", "source"))),
            Each(
                "runs/*/cpu_ms_per_frame_by_work/*",
                ("run", "work"),
                (("CPU ms a frame", ""),),
            ),
            Each("copies/*", ("copies of a frame",), (("", ""),)),
        ),
    ),
    "deadline": Section(
        "Masks by a deadline from a segmenter that is late",
        "A segmenter of 2 frames a second: its late masks carried to the frame (what the deadline mode shows), the "
        "last one left where it was (stale), or only shown on its own frame (dropped). IoU with the truth, a missing "
        "mask counts as 0.",
        "python -m benchmarks.deadline",
        (
            Each(
                "steps/*/*/*",
                ("clip", "segmenter", "masks"),
                (
                    ("hands", "hands"),
                    ("mean IoU", "iou_mean"),
                    ("a tenth is worse than", "iou_p10"),
                    ("missing", "masks_missing"),
                    ("age, mean ms", "mask_age_ms_mean"),
                    ("longest", "mask_age_ms_max"),
                ),
            ),
            Each(
                "steps/*/light_never_late",
                ("never late: light on",),
                (("hands", "hands"), ("mean IoU", "iou_mean"), ("missing", "masks_missing")),
            ),
            Figures(
                (
                    ("live, limit ms", "live/limit_ms"),
                    ("frames read", "live/frames_read"),
                    ("dropped", "live/frames_dropped"),
                    ("capture to result, p99 ms", "live/total_ms/p99"),
                    ("mean IoU", "live/iou_mean"),
                    (
                        "light behind a deadline that it keeps, wall time over light alone",
                        "quick_light/wall_ratio_median",
                    ),
                    ("frames with equal masks there", "quick_light/frames_with_equal_masks"),
                    ("of", "quick_light/frames"),
                )
            ),
        ),
    ),
    "quality": Section(
        "Masks and landmarks against the truth",
        "The demo clip, whose hands are rendered; a missing mask counts as IoU 0.",
        "python -m benchmarks.quality",
        (
            Figures(
                (
                    ("segmenter", "segmenter"),
                    ("hands", "tracked/masks/hands"),
                    ("mean IoU", "tracked/masks/iou_mean"),
                    ("mean IoU of hands that nothing hides", "tracked/masks/iou_mean_unoccluded_inside"),
                    ("masks missing", "tracked/masks/masks_missing"),
                    ("boundary F, where masked", "tracked/masks/boundary_f_mean_where_masked"),
                    ("found by MediaPipe, of hands in full view", "tracked/landmarks/found_share"),
                    ("landmark error, median, hand sizes", "tracked/landmarks/error_median_hand_sizes"),
                    ("left and right told correctly", "tracked/landmarks/handedness_right_share"),
                    ("mean IoU from true landmarks", "from_true_landmarks/iou_mean"),
                    ("a hand, p50 ms", "from_true_landmarks/ms_per_hand_p50"),
                    ("p95", "from_true_landmarks/ms_per_hand_p95"),
                )
            ),
        ),
        ("pictures/masked.jpg", "pictures/effects.jpg"),
    ),
    "reacquisition": Section(
        "Finding lost hands",
        'Rendered clips in which a hand is covered, leaves and blurs. "blind" is MediaPipe that finds nothing any more '
        'after its first loss; "truth" a perfect redetector.',
        "python -m benchmarks.reacquisition",
        (
            Each(
                "cases/*",
                ("",),
                (
                    ("landmarks", "detector"),
                    ("redetector", "redetector"),
                    ("returns", "returns"),
                    ("found again", "found_again"),
                    ("within 5 frames", "found_within_5_frames"),
                    ("frames until found, median", "frames_until_found_median"),
                    ("id kept", "id_kept"),
                    ("mean IoU in view", "iou_mean_where_in_view"),
                ),
            ),
        ),
    ),
    "redetector_latency": Section(
        "What finding lost hands costs a live run",
        "640x480 at 30 fps, capture to result; with losses, hands are lost on two frames of three.",
        "python -m benchmarks.redetector_latency",
        (
            Each(
                "cases/*",
                ("case",),
                (
                    *times("total_ms_median_of_runs"),
                    ("p99 over the steady median's", "p99_over_steady_median"),
                    ("frames dropped", "dropped_median"),
                ),
            ),
        ),
    ),
    "redetector_training": Section(
        "Training the redetector that was measured",
        "A decoder on the backbone nano, on two cores (`gest-stream train decoder`); it is not shipped.",
        "",
        (
            Figures(
                (
                    ("steps", "steps"),
                    ("seconds", "elapsed_s"),
                    ("best step", "best/step"),
                    ("IoU of hands there", "best/iou/hand"),
                    ("of forearms", "best/iou/forearm"),
                )
            ),
        ),
    ),
    "mask_steps": Section(
        "Cutting at the wrist and filling holes",
        "True masks of hand and forearm, cut at the wrist that landmarks tell; the truth is the hand alone.",
        "python -m benchmarks.mask_steps",
        (
            Each(
                "wrist_cut/*/*",
                ("clip", "landmarks"),
                (
                    ("hands", "hands"),
                    ("IoU before", "iou_before_mean"),
                    ("after", "iou_after_mean"),
                    ("lost of a hand alone", "hand_alone_lost_mean"),
                ),
            ),
            Figures(
                (
                    ("cut at the wrist, CPU p50 ms", "time/cut_at_wrist_cpu_ms_p50"),
                    ("fill holes, CPU p50 ms", "time/fill_holes_cpu_ms_p50"),
                    ("IoU of masks with holes", "holes/clips/iou_punched_mean"),
                    ("filled", "holes/clips/by_max_share/0.003/iou_after_mean"),
                )
            ),
        ),
    ),
    "soak": Section(
        "Memory over an hour",
        "A clip in a loop, as fast as it goes; growth is the last tenth's median over that of the second tenth.",
        "python -m benchmarks.soak",
        (
            Figures(
                (
                    ("frames", "frames"),
                    ("hours at 30 fps", "hours_at_30_fps"),
                    ("landmarks", "detector"),
                    ("MB after warm-up", "rss_mb_after_warm_up"),
                    ("MB at the end", "rss_mb_at_the_end"),
                    ("growth", "rss_growth"),
                )
            ),
        ),
    ),
}
