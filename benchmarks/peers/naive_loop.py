"""The loop that a user would write with OpenCV around the same models: read, process, write, one after the other."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.footage import Footage
from benchmarks.peers.rounds import Clock, Outcome
from gest_stream.build import make_detector, make_segmenter
from gest_stream.clock import now_ns
from gest_stream.config import PipelineConfig
from gest_stream.tracking.prompts import build_prompt
from gest_stream.types import Frame, Handedness, HandLandmarks, HandMask, Observation

if TYPE_CHECKING:
    from gest_stream.interfaces import Segmenter

_COLOURS_BGR = {1: (80, 200, 40), 2: (230, 120, 30)}
_OPACITY = 0.45
_RATE = 30


class NaiveLoop:
    """cv2.VideoCapture, MediaPipe, the segmenter, NumPy on whole frames, cv2.VideoWriter, on one thread.

    Hands are told apart by left and right, as MediaPipe names them. The video is OpenCV's own "mp4v" (MPEG-4 part 2),
    because its wheels carry no H.264 encoder; that takes less time than the H.264 that ours writes.

    Args:
        config: The detector's and segmenter's settings; those that ours has.
    """

    name = "naive loop"
    about = "cv2.VideoCapture, MediaPipe, the same segmenter, NumPy blending of whole frames, cv2.VideoWriter (mp4v)"

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config

    def run(self, footage: Footage) -> Outcome:
        """As `Way.run`."""
        detector, segmenter = make_detector(self._config), make_segmenter(self._config)
        if segmenter is None:
            raise ValueError("the naive loop needs a segmenter, got none")
        try:
            with tempfile.TemporaryDirectory() as folder:
                return self._loop(footage, Path(folder) / "naive.mp4", detector, segmenter)
        finally:
            segmenter.close()
            detector.close()

    def _loop(self, footage: Footage, out: Path, detector: Any, segmenter: Segmenter[Any]) -> Outcome:
        import cv2

        clock = Clock()
        capture = cv2.VideoCapture(str(footage.path))
        writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), _RATE, footage.size)
        seen: set[int] = set()
        while True:
            with clock.part("read"):
                read, bgr = capture.read()
            if not read:
                break
            with clock.part("convert"):
                rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            frame = Frame(rgb, clock.frames, Fraction(1, _RATE), now_ns(), clock.frames)
            with clock.part("landmarks"):
                hands = hands_by_id(detector.detect(frame))
            with clock.part("segment"):
                masks = segmenter.step(segmenter.encode(frame), observations(hands, seen, frame.size))
            seen |= hands.keys()
            with clock.part("draw"):
                draw(bgr, hands, masks)
            with clock.part("write"):
                writer.write(bgr)
            clock.frame(bool(masks))
        with clock.part("write"):
            writer.release()
        capture.release()
        return clock.stop(written_bytes=out.stat().st_size)


def hands_by_id(hands: tuple[HandLandmarks, ...]) -> dict[int, HandLandmarks]:
    """1 for the right hand and 2 for the other; of two with the same name the second takes what is left."""
    found: dict[int, HandLandmarks] = {}
    for hand in hands[:2]:
        wanted = 1 if hand.handedness is Handedness.RIGHT else 2
        found[3 - wanted if wanted in found else wanted] = hand
    return found


def observations(hands: dict[int, HandLandmarks], seen: set[int], size: tuple[int, int]) -> list[Observation]:
    """What the segmenter is told; a hand that is seen for the first time is prompted."""
    found = []
    for object_id, hand in hands.items():
        others = [other for other in hands.values() if other is not hand]
        prompt = None if object_id in seen else build_prompt(hand, others, size)
        found.append(Observation(object_id, hand, prompt))
    return found


def draw(bgr: NDArray[np.uint8], hands: dict[int, HandLandmarks], masks: Any) -> None:
    """Colour each hand and write which it is, in the picture itself."""
    import cv2

    for object_id, mask in masks.items():
        _blend(bgr, mask, _COLOURS_BGR[object_id])
    for hand in hands.values():
        left, top, *_ = hand.box_xyxy_px
        place = (int(left), max(int(top) - 8, 16))
        cv2.putText(bgr, str(hand.handedness), place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)


def _blend(bgr: NDArray[np.uint8], mask: HandMask, colour_bgr: tuple[int, int, int]) -> None:
    inside = mask.full() >= 128
    bgr[inside] = ((1 - _OPACITY) * bgr[inside] + _OPACITY * np.array(colour_bgr)).astype(np.uint8)
