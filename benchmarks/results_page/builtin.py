"""What is written about the models that lie in the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.results_page.section import Section
from benchmarks.results_page.tables import Each, Figures

BUILTIN: Final[Mapping[str, Section]] = {
    "builtin_tracker": Section(
        "Built-in segmenters on the same frames",
        "Held-out rendered videos with real landmarks of MediaPipe, in the real tracker, without a redetector but "
        "where one is named: a missing mask counts as IoU 0. On real clips, whose truth is not known, how many frames "
        "have masks, and how well a mask agrees with that of the frame before, moved by the picture's flow.",
        "python -m benchmarks.builtin_tracker",
        (
            Each(
                "held_out_videos/*",
                ("held-out videos",),
                (
                    ("videos", "clips"),
                    ("hands on frames", "hands"),
                    ("found by MediaPipe", "landmarks_share"),
                    ("mean IoU of these", "iou_mean_with_landmarks"),
                    ("over all", "iou_mean"),
                    ("boundary F", "boundary_f_mean"),
                    ("flicker", "flicker_mean_iou_change"),
                    ("masks missing", "missing_share"),
                    ("masks on no hand", "stray_masks_share"),
                    ("crossings without an id switch", "crossing_clips_without_id_switch_share"),
                    ("a hand, p50 ms", "ms_per_hand_p50"),
                    ("p95 ms", "ms_per_hand_p95"),
                ),
            ),
            Each(
                "two_hands/*",
                ("two_hands.mp4",),
                (
                    ("frames with both masks", "both_masks_share"),
                    ("agreement with the frame before", "consistency_mean"),
                    ("a hand, p50 ms", "ms_per_hand_p50"),
                    ("fps, landmarks and masks one after the other", "fps_with_landmarks"),
                ),
            ),
            Each(
                "egocentric/*",
                ("egocentric.mp4, with hand-seg",),
                (("frames with a mask", "masked_share"), ("ids", "ids")),
            ),
            Figures((("numbers of the videos", "videos"),)),
        ),
    ),
    "builtin_photographs": Section(
        "Built-in segmenters on photographs",
        "Held-out photographs where MediaPipe finds a hand, from one picture alone. The labels are pseudo labels, made "
        "much as `light` makes its masks, and favour it; what can be compared are weights of one network.",
        "python -m benchmarks.builtin_photographs",
        (
            Each(
                "segmenters/*",
                ("segmenter",),
                (
                    ("photographs", "photographs"),
                    ("mean IoU", "iou_mean"),
                    ("10th percentile", "iou_p10"),
                    ("mask beside the hand, of the hand's area", "beside_the_hand_over_its_area_mean"),
                ),
            ),
        ),
    ),
    "builtin redetector": Section(
        "The built-in redetector",
        "hand-seg alone on held-out pictures, cut at a probability of 0.5; regions as the tracker takes them.",
        "python -m benchmarks.builtin_redetector",
        (
            Each(
                "held_out/*",
                ("held out",),
                (
                    ("pictures with a hand", "frames_with_a_hand"),
                    ("mean hand IoU", "hand_iou_mean"),
                    ("median", "hand_iou_median"),
                    ("mean forearm IoU", "forearm_iou_mean"),
                    ("hands found", "hands_found_share"),
                    ("as surely as opens a track", "hands_that_open_a_track_share"),
                    ("regions that are hands", "regions_that_are_hands_share"),
                    ("pictures without a hand", "frames_without_hand"),
                    ("with a region", "frames_without_hand_but_with_region"),
                    ("with one that opens a track", "frames_without_hand_but_with_open_region"),
                ),
            ),
            Each("held_out/*/hand_iou_mean_by_size/*", ("held out", "hand"), (("mean hand IoU", ""),)),
            Each(
                "learnt/*",
                ("it has learnt from",),
                (
                    ("pictures with a hand", "frames_with_a_hand"),
                    ("mean hand IoU", "hand_iou_mean"),
                    ("median", "hand_iou_median"),
                ),
            ),
            Each("latency_one_core/*", ("frame, one core",), (("p50 ms", "wall_ms/p50"), ("p95 ms", "wall_ms/p95"))),
            Figures(
                (
                    ("held-out photographs", "beside_labelled_hands/photographs"),
                    (
                        "with a region beside the labelled hands: open_score",
                        "beside_labelled_hands/with_one_of_open_score",
                    ),
                    ("the same: seek_score", "beside_labelled_hands/with_one_of_seek_score"),
                    ("egocentric.mp4, frames", "egocentric.mp4/frames"),
                    ("with a region", "egocentric.mp4/frames_with_a_region_share"),
                    ("with one that opens a track", "egocentric.mp4/frames_with_one_that_opens_a_track_share"),
                )
            ),
        ),
    ),
}
