"""Scripted trackers, and a worker on a thread of its own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Handedness, HandLandmarks
from gest_stream.worker import ViewConfig, Worker

SIZE = (96, 64)
LEFT_AT, RIGHT_AT = (28.0, 32.0), (68.0, 32.0)
_HAND_PX = 36


def two_hands(seq: int) -> Sequence[HandLandmarks]:
    """A left and a right hand that stay where they are."""
    return [
        make_landmarks(LEFT_AT, _HAND_PX, Handedness.LEFT),
        make_landmarks(RIGHT_AT, _HAND_PX, Handedness.RIGHT),
    ]


class Factory:
    """Makes scripted trackers and remembers them.

    Args:
        script: The hands of frame `seq`; it may raise or wait.
    """

    def __init__(self, script: Callable[[int], Sequence[HandLandmarks]] = two_hands) -> None:
        self.script = script
        self.detectors: list[ScriptedDetector] = []
        self.segmenters: list[ScriptedSegmenter] = []
        self.seqs: list[int] = []

    def __call__(self) -> TrackerCore:
        def script(seq: int) -> Sequence[HandLandmarks]:
            self.seqs.append(seq)
            return self.script(seq)

        self.detectors.append(ScriptedDetector(script))
        self.segmenters.append(ScriptedSegmenter())
        return TrackerCore(self.detectors[-1], self.segmenters[-1])

    @property
    def open(self) -> int:
        """How many are not closed."""
        return sum(not detector.closed for detector in self.detectors)


@contextmanager
def working(
    path: Path, make: Callable[[], TrackerCore], defaults: ViewConfig | None = None, *, max_hosts: int = 16
) -> Iterator[Worker]:
    """A worker that serves."""
    escaped: list[BaseException] = []

    def run(worker: Worker) -> None:
        try:
            worker.serve()
        except BaseException as exc:
            escaped.append(exc)

    with Worker(path, make, defaults, max_hosts=max_hosts) as worker:
        worker.prepare()
        thread = threading.Thread(target=run, args=(worker,))
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join()
    assert not escaped
