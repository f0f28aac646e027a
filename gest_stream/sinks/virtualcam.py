"""A camera that other programs can open: PipeWire's, or through pyvirtualcam v4l2loopback, OBS' or Unity Capture."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gest_stream.clock import Pacer, now_ns
from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError, MissingDependencyError, SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.overlay import Renderer
from gest_stream.sinks.letterbox import letterbox, pad_to_even
from gest_stream.sinks.pipewire import PipeWireCamera, names_pipewire
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from gest_stream.audio import AudioFeed

logger = logging.getLogger(__name__)

_RATE_WHERE_UNKNOWN = 30.0
_REMEDIES = {
    "linux": (
        "install v4l2loopback and load it: sudo apt-get install v4l2loopback-dkms && "
        "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label=gest_stream; "
        "or, where PipeWire runs, use its camera: --virtual-camera-device pipewire"
    ),
    "darwin": (
        "install OBS (https://obsproject.com), start its virtual camera once, allow the extension in System Settings, "
        "then stop it and quit OBS"
    ),
    "win32": (
        "install OBS (https://obsproject.com), which brings a virtual camera and must not be using it now, "
        "or Unity Capture (https://github.com/schellingb/UnityCapture)"
    ),
}


class VirtualCameraSink(ThreadedSink):
    """Shows every result, with an effect, on a camera device that browsers and meeting programs can open.

    The device has the size of the first picture (made even, which many programs want) and the source's frame rate;
    a picture of another size is fitted into it. Pictures of a source that is not live (a file) are sent when they are
    due, so the source waits.

    Args:
        effect: How results are drawn; `transparent` is refused, since a camera has no alpha.
        device: Which device, as pyvirtualcam names it: "/dev/video4", "OBS Virtual Camera"; or "pipewire", also with
            its program: "pipewire:/path/to/gest_stream_camera"; pyvirtualcam's first free one where None.
        backend: Which of pyvirtualcam's backends; all are tried where None.
        platform: As `sys.platform`, for the remedy where there is no device.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds; None waits in real time.

    Raises:
        ConfigError: The effect is `transparent`, or lacks its background.
    """

    def __init__(
        self,
        effect: EffectConfig,
        device: str | None = None,
        *,
        backend: str | None = None,
        platform: str = sys.platform,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__("virtual camera" if device is None else f"virtual camera {device}")
        if effect.kind is EffectKind.TRANSPARENT:
            raise ConfigError("effect.kind: 'transparent' cannot be shown by a camera, which has no alpha; use 'green'")
        self._renderer = Renderer(effect)
        self._device = device
        self._backend = backend
        self._platform = platform
        self._clock = clock
        self._wait = wait or threading.Event().wait
        self._camera: Any = None
        self._swaps_channels = False
        self._size = (0, 0)
        self._pacer: Pacer | None = None

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        self._size = info.size
        self._pacer = None if info.live else Pacer()
        width, height = info.size[0] + info.size[0] % 2, info.size[1] + info.size[1] % 2
        rate = float(info.average_rate) if info.average_rate else _RATE_WHERE_UNKNOWN
        self._camera = self._opened(width, height, rate)
        logger.info(
            "virtual camera %s (%s): %dx%d at %.3g frames a second",
            *(self._camera.device, self._camera.backend, width, height, rate),
        )

    def _opened(self, width: int, height: int, rate: float) -> Any:
        if self._device is not None and names_pipewire(self._device):
            return PipeWireCamera(width, height, rate, self._device)
        try:
            import pyvirtualcam.camera
        except ImportError as exc:
            raise MissingDependencyError(
                "virtual camera: pyvirtualcam is not installed: pip install 'gest-stream[virtualcam]'"
            ) from exc
        known = pyvirtualcam.camera.BACKENDS
        if self._backend is not None and self._backend not in known:
            raise SinkError(f"{self.name}: no backend {self._backend!r} here; pyvirtualcam has {', '.join(known)}")
        failure: Exception | None = None
        # every backend that comes with pyvirtualcam takes RGB; one that was registered may want BGR
        for format in (pyvirtualcam.PixelFormat.RGB, pyvirtualcam.PixelFormat.BGR):
            try:
                camera = pyvirtualcam.Camera(
                    width, height, rate, fmt=format, device=self._device, backend=self._backend
                )
            except Exception as exc:  # pyvirtualcam raises RuntimeError; backends may raise anything
                failure = failure or exc
                continue
            self._swaps_channels = format is pyvirtualcam.PixelFormat.BGR
            return camera
        raise SinkError(f"{self.name}: {self._why(str(failure))}") from failure

    def _why(self, told: str) -> str:
        remedy = _REMEDIES.get(self._platform, "virtual cameras are known on Linux, macOS and Windows only")
        what = "no device is free" if self._device is None else "it cannot be opened"
        return f"{what}: {' '.join(told.split()).rstrip('.')}; {remedy}"

    def _write(self, result: FrameResult) -> None:
        if self._camera is None:
            raise SinkError(f"{self.name}: not open; await open() first")
        picture = pad_to_even(letterbox(self._renderer.render(result), self._size))
        if self._pacer is not None:
            delay_s = self._pacer.delay_s(result.frame.time_s, self._clock())
            if delay_s > 0:
                self._wait(delay_s)
        self._camera.send(np.ascontiguousarray(picture[..., ::-1] if self._swaps_channels else picture))

    def _close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
