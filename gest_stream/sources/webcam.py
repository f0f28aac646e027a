"""A camera attached to this machine."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gest_stream.clock import now_ns
from gest_stream.config import SourceConfig
from gest_stream.errors import SourceOpenError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.cameras import Camera, list_cameras
from gest_stream.sources.reconnect import Reconnector
from gest_stream.sources.threaded import ThreadedSource
from gest_stream.sources.timeline import Picture, Timeline
from gest_stream.types import Frame

_LOG = logging.getLogger(__name__)

# RTP's video clock: fine enough to tell any two frames apart, and every container and WebRTC take it as it is.
TIME_BASE = Fraction(1, 90_000)
TICKS_PER_NS = 1 / (TIME_BASE * 10**9)
_FAILED_READS = 10
_RETRY_S = 0.02


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool:
        """Whether there is a camera behind it."""
        ...

    def read(self) -> tuple[bool, Any]:
        """Wait for the next picture: (True, (H, W, 3) uint8 BGR), or (False, None)."""
        ...

    def get(self, property_id: int) -> float:
        """A property's value, 0 where unknown."""
        ...

    def release(self) -> None:
        """Close the camera."""
        ...


CaptureFactory = Callable[[int | str, tuple[int, int] | None, float | None], Capture]
"""(device, size, rate) to a capture, opened or not."""


def open_capture(device: int | str, size: tuple[int, int] | None, rate: float | None) -> Capture:
    """Open a camera with OpenCV, keeping its warnings off the terminal.

    Args:
        device: Its number, or a path such as "/dev/video0".
        size: (width, height) to ask for; a camera that cannot gives the nearest it can.
        rate: Frames per second to ask for.
    """
    import cv2

    backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(device, backend)
        if size is not None:
            # Uncompressed 720p does not fit through USB 2 at 30 fps; MJPEG does.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if rate is not None:
            capture.set(cv2.CAP_PROP_FPS, rate)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    finally:
        cv2.utils.logging.setLogLevel(level)
    opened: Capture = capture
    return opened


class WebcamSource(ThreadedSource):
    """The newest frame of a camera; one that is unplugged is waited for and opened again.

    A frame's pts is the time since the first one, in 1/90000 s.

    Args:
        device: Its number, or a path such as "/dev/video0".
        size: (width, height) to ask for, None takes the camera's own.
        rate: Frames per second to ask for, None takes the camera's own.
        config: Time limits and reconnecting.
        capture_factory: Opens the camera.
        cameras: Lists what else could be opened, for messages.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.
        uniform: A random number in [0, 1), for the pauses' jitter.
    """

    def __init__(
        self,
        device: int | str,
        size: tuple[int, int] | None = None,
        rate: float | None = None,
        *,
        config: SourceConfig | None = None,
        capture_factory: CaptureFactory = open_capture,
        cameras: Callable[[], tuple[Camera, ...]] = list_cameras,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(f"camera {device}", reads_before_iteration=True)
        self._device = device
        self._size = size
        self._rate = rate
        self._config = config or SourceConfig()
        self._factory = capture_factory
        self._cameras = cameras
        self._clock = clock
        self._wait = wait or self._stopping.wait
        self._reconnector = Reconnector(
            self._name, self._config.reconnect, self._wait, self._stopping.is_set, clock, uniform
        )
        self._capture: Capture | None = None
        self._start_ns: int | None = None

    def _open(self) -> SourceInfo:
        first = self._connect()
        rate = self._actual_rate()
        self._timeline = Timeline(self._name, TIME_BASE, rate)
        self._first = self._timeline.frame(first)
        if self._size is not None and self._first.size != self._size:
            _LOG.warning("%s: asked for %dx%d, gives %dx%d", self._name, *self._size, *self._first.size)
        return SourceInfo(self._name, True, self._first.size, TIME_BASE, rate, None)

    def _frames(self) -> Iterator[Frame]:
        yield self._first
        while not self._stopping.is_set():
            picture = self._read()
            if picture is None and not self._stopping.is_set():
                self._release()
                picture = self._reconnector.recover(self._connect, "it gives no more frames")
            if picture is None:
                return
            yield self._timeline.frame(picture)

    def _close(self) -> None:
        self._release()

    def _connect(self) -> Picture:
        """Open the camera; its first picture.

        Raises:
            SourceOpenError: It is not there, or gives no picture.
        """
        self._capture = self._factory(self._device, self._size, self._rate)
        if not self._capture.isOpened():
            self._release()
            raise SourceOpenError(f"{self._name}: cannot be opened; {self._remedy()}")
        picture = self._read()
        if picture is None:
            self._release()
            raise SourceOpenError(
                f"{self._name}: was opened but gives no picture; close other programs that use it, or plug it in again"
            )
        return picture

    def _read(self) -> Picture | None:
        """The next picture; None where the camera is gone, stalls, or the source is stopped."""
        assert self._capture is not None
        since_ns = self._clock()
        for _ in range(_FAILED_READS):
            ok, image = self._capture.read()
            captured_ns = self._clock()
            if ok and image is not None:
                if self._start_ns is None:
                    self._start_ns = captured_ns
                pts = int((captured_ns - self._start_ns) * TICKS_PER_NS)
                return Picture(_rgb(image), pts, TIME_BASE, captured_ns)
            if self._stopping.is_set() or captured_ns - since_ns > self._config.read_timeout_s * 1e9:
                return None
            self._wait(_RETRY_S)
        return None

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _actual_rate(self) -> Fraction | None:
        import cv2

        assert self._capture is not None
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        return Fraction(rate).limit_denominator(1001) if 0 < rate <= 1000 else None

    def _remedy(self) -> str:
        cameras = self._cameras()
        if not cameras:
            return "no camera was found on this machine; plug one in, or pass a video file or 'synthetic:'"
        listed = ", ".join(str(camera) for camera in cameras)
        return (
            f"cameras here: {listed}; pass one of them, close other programs that use it, "
            "and check that this user may open it (group 'video')"
        )


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's picture, grey, BGR or BGRA, as contiguous RGB."""
    import cv2

    channels = 1 if image.ndim == 2 else image.shape[2]
    code = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[channels]
    converted: NDArray[np.uint8] = cv2.cvtColor(image, code)
    return converted
