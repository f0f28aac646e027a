"""The virtual camera, on a backend that is registered with pyvirtualcam as others are."""

import asyncio
import builtins
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import pyvirtualcam
from numpy.typing import NDArray
from pyvirtualcam.camera import BACKENDS

from gest_stream.cli.virtual_camera import make_virtual_camera
from gest_stream.config import EffectConfig, EffectKind, PipelineConfig
from gest_stream.errors import ConfigError, MissingDependencyError, SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.overlay.palette import GREEN_SCREEN
from gest_stream.sinks.virtualcam import VirtualCameraSink
from gest_stream.testing import hull_mask, make_landmarks
from gest_stream.types import Frame, FrameResult, Handedness, Track, TrackState

BACKEND = "scripted"
PLAIN = EffectConfig(kind=EffectKind.CONTOUR)


@dataclass
class Device:
    """What the backend was told."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    closed: int = 0
    refuses: set[str] = field(default_factory=set)
    fails_after: int | None = None


@pytest.fixture
def device() -> Iterator[Device]:
    """A backend named "scripted", taken back afterwards."""
    told = Device()

    class Backend:
        def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **kw: Any) -> None:
            format = pyvirtualcam.PixelFormat(fourcc.to_bytes(4, "little").decode())
            if format.name in told.refuses:
                raise RuntimeError(f"unsupported format {format.name}")
            if device == "/dev/absent":
                raise RuntimeError("Device /dev/absent does not exist")
            told.opened.append({"size": (width, height), "fps": fps, "format": format.name, "device": device})
            self._shape = (height, width, 3)

        def close(self) -> None:
            told.closed += 1

        def send(self, frame: NDArray[np.uint8]) -> None:
            if told.fails_after == len(told.frames):
                raise RuntimeError("the device is gone")
            assert frame.dtype == np.uint8 and frame.ndim == 1 and frame.flags.c_contiguous
            told.frames.append(frame.reshape(self._shape).copy())

        def device(self) -> str:
            return "/dev/scripted"

        def native_fourcc(self) -> int | None:
            return None

    pyvirtualcam.register_backend(BACKEND, Backend)
    yield told
    del BACKENDS[BACKEND]


def result_of(seq: int, size: tuple[int, int] = (64, 48), colour: tuple[int, int, int] = (200, 60, 30)) -> FrameResult:
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:] = colour
    return FrameResult(Frame(image, seq, Fraction(1, 25), 0, seq))


def info_of(size: tuple[int, int] = (64, 48), rate: Fraction | None = Fraction(25), live: bool = True) -> SourceInfo:
    return SourceInfo("scripted", live, size, Fraction(1, 25), rate)


def show(sink: VirtualCameraSink, results: Sequence[FrameResult], info: SourceInfo | None = None) -> None:
    async def run() -> None:
        try:
            await sink.open(info or info_of(), None)
            for result in results:
                await sink.write(result)
        finally:
            await sink.close()

    asyncio.run(run())


def test_pictures_come_in_rgb_with_the_sources_size_and_rate(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        show(VirtualCameraSink(PLAIN, backend=BACKEND), [result_of(0), result_of(1, colour=(1, 2, 3))])
    assert device.opened == [{"size": (64, 48), "fps": 25.0, "format": "RGB", "device": None}]
    assert [frame[10, 10].tolist() for frame in device.frames] == [[200, 60, 30], [1, 2, 3]]
    assert device.closed == 1
    assert "virtual camera /dev/scripted (scripted): 64x48 at 25 frames a second" in caplog.text


def test_the_effect_is_drawn(device: Device) -> None:
    hand = make_landmarks((32, 24), 30)
    mask = hull_mask(hand, (64, 48))
    track = Track(1, TrackState.TRACKED, Handedness.RIGHT, 1.0, hand, mask)
    frame = result_of(0).frame
    show(VirtualCameraSink(EffectConfig(kind=EffectKind.GREEN), backend=BACKEND), [FrameResult(frame, (track,))])
    assert device.frames[0][2, 2].tolist() == list(GREEN_SCREEN)
    assert device.frames[0][24, 32].tolist() == [200, 60, 30]


def test_a_backend_that_wants_bgr_gets_it(device: Device) -> None:
    device.refuses = {"RGB"}
    show(VirtualCameraSink(PLAIN, backend=BACKEND), [result_of(0)])
    assert device.opened[0]["format"] == "BGR"
    assert device.frames[0][10, 10].tolist() == [30, 60, 200]


def test_a_picture_of_another_size_is_fitted_into_the_first(device: Device) -> None:
    show(VirtualCameraSink(PLAIN, backend=BACKEND), [result_of(0), result_of(1, (48, 48))])
    late = device.frames[1]
    assert late.shape == (48, 64, 3)
    assert late[:, :8].max() == late[:, -8:].max() == 0
    assert late[24, 32].tolist() == [200, 60, 30]


def test_an_odd_size_is_made_even(device: Device) -> None:
    show(VirtualCameraSink(PLAIN, backend=BACKEND), [result_of(0, (63, 47))], info_of((63, 47)))
    assert device.opened[0]["size"] == (64, 48)
    assert device.frames[0][-1, -1].tolist() == [200, 60, 30]


def test_an_unknown_rate_counts_as_thirty(device: Device) -> None:
    show(VirtualCameraSink(PLAIN, backend=BACKEND), [result_of(0)], info_of(rate=None))
    assert device.opened[0]["fps"] == 30.0


@pytest.mark.parametrize(("live", "expected"), [(False, [0.04, 0.04, 0.04]), (True, [])], ids=["file", "live"])
def test_a_file_is_shown_at_its_own_speed_and_a_live_source_at_once(
    device: Device, live: bool, expected: list[float]
) -> None:
    now_s = [0.0]
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now_s[0] += seconds

    sink = VirtualCameraSink(PLAIN, backend=BACKEND, clock=lambda: int(now_s[0] * 1e9), wait=wait)
    show(sink, [result_of(seq) for seq in range(4)], info_of(live=live))
    assert waits == pytest.approx(expected, abs=1e-6)
    assert len(device.frames) == 4


def test_the_device_that_is_named_is_asked_for(device: Device) -> None:
    show(VirtualCameraSink(PLAIN, "/dev/video4", backend=BACKEND), [result_of(0)])
    assert device.opened[0]["device"] == "/dev/video4"


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("linux", "apt-get install v4l2loopback-dkms && sudo modprobe v4l2loopback"),
        ("linux", "or, where PipeWire runs, use its camera: --virtual-camera-device pipewire"),
        ("darwin", "start its virtual camera once, allow the extension"),
        ("win32", "Unity Capture"),
        ("freebsd14", "Linux, macOS and Windows only"),
    ],
)
def test_where_there_is_no_device_the_error_says_what_to_install(device: Device, platform: str, words: str) -> None:
    device.refuses = {"RGB", "BGR"}
    with pytest.raises(SinkError, match=f"virtual camera: no device is free: .*unsupported format RGB; .*{words}"):
        show(VirtualCameraSink(PLAIN, backend=BACKEND, platform=platform), [])
    assert device.closed == 0


def test_a_device_that_is_absent_is_named(device: Device) -> None:
    with pytest.raises(SinkError, match="virtual camera /dev/absent: it cannot be opened: .*does not exist"):
        show(VirtualCameraSink(PLAIN, "/dev/absent", backend=BACKEND), [])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other backends")
def test_a_machine_without_v4l2loopback_is_told_so() -> None:
    import glob

    if glob.glob("/dev/video*"):
        pytest.skip("this machine has video devices")
    with pytest.raises(SinkError, match="'v4l2loopback' backend: .*; install v4l2loopback"):
        show(VirtualCameraSink(PLAIN), [])


def test_a_backend_that_is_unknown_is_named() -> None:
    with pytest.raises(SinkError, match="no backend 'nothing' here"):
        show(VirtualCameraSink(PLAIN, backend="nothing"), [])


def test_a_device_that_goes_away_is_a_sink_error_and_is_closed(device: Device) -> None:
    device.fails_after = 1
    with pytest.raises(SinkError, match="virtual camera: RuntimeError: the device is gone"):
        show(VirtualCameraSink(PLAIN, backend=BACKEND), [result_of(0), result_of(1)])
    assert device.closed == 1


def test_without_pyvirtualcam_the_error_is_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyvirtualcam"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gest-stream\[virtualcam\]'"):
        show(VirtualCameraSink(PLAIN), [])


def test_a_camera_has_no_alpha() -> None:
    with pytest.raises(ConfigError, match="'transparent' cannot be shown by a camera.*'green'"):
        VirtualCameraSink(EffectConfig(kind=EffectKind.TRANSPARENT))


def test_the_options_make_one_camera_at_most() -> None:
    settings = PipelineConfig()
    assert make_virtual_camera(settings, False, None) == []
    assert [sink.name for sink in make_virtual_camera(settings, True, None)] == ["virtual camera"]
    assert [sink.name for sink in make_virtual_camera(settings, False, "/dev/video4")] == ["virtual camera /dev/video4"]
