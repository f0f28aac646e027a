"""A worker whose models recognise the frames of the demo clip: `python -m tests.native.scripted_worker SCRIPT`.

Everything but the models is the real worker. It can die or hang at a frame, as a real one might.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gest_stream.config import EffectConfig
from gest_stream.exchange.address import default_socket_path
from gest_stream.interfaces import Segmenter
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, Handedness, HandLandmarks, HandMask, MaskSource, Observation
from gest_stream.worker import ViewConfig, Worker
from tests.native.demo_clip import ClipScript

_SIDES = (Handedness.RIGHT, Handedness.LEFT)  # of a clip's hands, in their order


class ClipDetector:
    """Finds the hands that the clip's truth has on a frame.

    Args:
        script: The clip.
        before: Called with the number of frames before this one.
    """

    def __init__(self, script: ClipScript, before: Callable[[int], None]) -> None:
        self._script = script
        self._before = before
        self._frames = 0

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The hands of the frame of the clip that looks like it."""
        self._before(self._frames)
        self._frames += 1
        index = self._script.index_of(frame.image)
        return tuple(
            HandLandmarks(points, None, side, 0.95)
            for points, side, seen in zip(self._script.points[index], _SIDES, self._script.seen[index], strict=True)
            if seen
        )

    def close(self) -> None:
        """Nothing to let go of."""


class TruthSegmenter:
    """Gives every hand the mask that it has in truth.

    Args:
        script: The clip.
    """

    takes_clicks = False

    def __init__(self, script: ClipScript) -> None:
        self._script = script
        self._hand_of: dict[int, int] = {}

    def encode(self, frame: Frame) -> int:
        """Which frame of the clip it is."""
        return self._script.index_of(frame.image)

    def step(self, encoded: int, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """The true masks of the hands that are observed."""
        points = self._script.points[encoded]
        for observation in observations:
            if observation.landmarks is not None:
                apart = [float(abs(one - observation.landmarks.points_px).sum()) for one in points]
                self._hand_of[observation.object_id] = apart.index(min(apart))
        return {
            observation.object_id: HandMask.from_full(
                self._script.hands[encoded, self._hand_of[observation.object_id]], 1.0, MaskSource.SCRIPTED
            )
            for observation in observations
            if observation.object_id in self._hand_of
        }

    def forget(self, object_id: int) -> None:
        """Drop a hand."""
        self._hand_of.pop(object_id, None)

    def reset(self) -> None:
        """Drop every hand."""
        self._hand_of.clear()

    def close(self) -> None:
        """Nothing to let go of."""


def _make_segmenter(name: str, script: ClipScript) -> Segmenter[Any]:
    if name == "truth":
        return TruthSegmenter(script)
    from gest_stream.config import LightConfig
    from gest_stream.models.light import LightSegmenter

    return LightSegmenter(LightConfig())


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("script", type=Path)
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--segmenter", choices=("truth", "light"), default="truth")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--die-at", type=int, help="the frame that the worker dies of")
    parser.add_argument("--hang-at", type=int, help="the frame at which the worker stops")
    given = parser.parse_args()

    def before(frames: int) -> None:
        if frames == given.die_at:
            os._exit(9)
        if frames == given.hang_at:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(given.delay_ms / 1000)

    script = ClipScript.load(given.script)
    path = given.socket or default_socket_path(os.environ, os.geteuid())
    defaults = ViewConfig(EffectConfig(labels=False))

    def make_tracker() -> TrackerCore:
        return TrackerCore(ClipDetector(script, before), _make_segmenter(given.segmenter, script))

    with Worker(path, make_tracker, defaults) as worker:
        worker.prepare()
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        worker.serve()


if __name__ == "__main__":
    main()
