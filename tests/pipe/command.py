"""`gest-stream` in a process of its own, on a scripted detector: `python -m tests.pipe.command`.

It also prints on standard output, as native code may at any time, which must not get into the stream.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gest_stream.build import models
from gest_stream.cli import download
from gest_stream.cli.main import main
from gest_stream.config import PipelineConfig
from gest_stream.interfaces import HandDetector, Redetector, Segmenter
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.types import HandLandmarks


def script(seq: int) -> Sequence[HandLandmarks]:
    """An open hand in the middle of a picture of 160x120."""
    if seq == 5:
        os.write(1, b"printed in the middle of it\n")
    return [make_landmarks((80, 60), 70)]


def detector(config: PipelineConfig) -> HandDetector:
    return ScriptedDetector(script)


def segmenter(config: PipelineConfig) -> Segmenter[object]:
    return ScriptedSegmenter()  # type: ignore[return-value]


def redetector(config: PipelineConfig) -> Redetector | None:
    return None


def run() -> None:
    models.make_detector, models.make_segmenter, models.make_redetector = detector, segmenter, redetector
    vars(download)["fetch_needed"] = lambda config, console: None
    main()


if __name__ == "__main__":
    run()
