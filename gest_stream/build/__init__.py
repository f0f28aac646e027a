"""The one room that wires concrete classes: settings in, a detector, segmenter, tracker, pipeline or server out."""

from gest_stream.build.models import (
    choose_redetector,
    choose_segmenter,
    make_detector,
    make_detectors,
    make_redetector,
    make_segmenter,
)
from gest_stream.build.runs import Pipeline, save_frames, track
from gest_stream.build.tracker import HandTracker

__all__ = [
    "HandTracker",
    "Pipeline",
    "choose_redetector",
    "choose_segmenter",
    "make_detector",
    "make_detectors",
    "make_redetector",
    "make_segmenter",
    "save_frames",
    "track",
]
