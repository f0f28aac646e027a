"""A camera of PipeWire, which browsers, OBS and GStreamer open without a kernel module."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gest_stream.clock import now_ns
from gest_stream.errors import SinkError

logger = logging.getLogger(__name__)

DEVICE = "pipewire"
_PROGRAM = "gest_stream_camera"
_BUILT = Path(__file__).resolve().parents[2] / "build" / "plugins" / "pipewire" / _PROGRAM
_BUILD_IT = (
    "build it from gest_stream's repository (Debian: sudo apt-get install cmake gcc pkg-config libpipewire-0.3-dev): "
    "cmake -S plugins -B build/plugins && cmake --build build/plugins; "
    f"then put {_PROGRAM} on the PATH or name it: pipewire:/path/to/{_PROGRAM}"
)
_NEEDS_SERVICE = "PipeWire and a session manager have to run: systemctl --user start pipewire wireplumber"
_NO_SERVICE = 3  # the program's exit code where it cannot reach PipeWire
_READY_S = 10.0
_SEND_S = 0.1
_STALLED_S = 5.0
_CLOSE_S = 2.0
_PIPE_BYTES = 1 << 20


def names_pipewire(device: str | None) -> bool:
    """Whether a device's name asks for a camera of PipeWire: "pipewire" or "pipewire:/path/to/gest_stream_camera"."""
    return device is not None and (device == DEVICE or device.startswith(f"{DEVICE}:"))


class PipeWireCamera:
    """Gives frames to `gest_stream_camera`, which shows them as a camera, until it is closed.

    Used as pyvirtualcam's `Camera` is. Frames are for whoever looks just now: none is kept, and one that the program
    is not ready for is dropped.

    Args:
        width: Of the frames, pixels, even.
        height: Likewise.
        rate: Frames a second, which consumers are told.
        device: "pipewire", or "pipewire:" and the program's path.
        clock: Monotonic nanoseconds.

    Raises:
        SinkError: The program is not here or refuses, or PipeWire cannot be reached.
    """

    backend = DEVICE

    def __init__(
        self, width: int, height: int, rate: float, device: str = DEVICE, *, clock: Callable[[], int] = now_ns
    ) -> None:
        self._shape = (height, width, 3)
        self._clock = clock
        self._unsent = memoryview(b"")
        self._took_ns = clock()
        self._dropped = 0
        shown = Fraction(rate).limit_denominator(1001)
        command = [str(_find(device)), str(width), str(height), f"{shown.numerator}/{shown.denominator}"]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the camera)
        try:
            # a session of its own: Ctrl-C is for us, who close it
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,
            )
        except OSError as exc:
            self._said.close()
            raise SinkError(f"{device}: {command[0]} does not start: {exc.strerror}; {_BUILD_IT}") from exc
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        try:
            os.set_blocking(self._pipe, False)
            _widen(self._pipe)
            self.device = f"gest_stream (node {self._node()})"
        except BaseException:
            self.close()
            raise

    def send(self, frame: NDArray[np.uint8]) -> None:
        """Show a frame, waiting for a tenth of a second at most.

        Args:
            frame: (H, W, 3) uint8 RGB of the camera's size.

        Raises:
            SinkError: The program has ended, or has taken nothing for five seconds.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise SinkError(f"{DEVICE}: the camera takes {self._shape} uint8, not {frame.shape} {frame.dtype}")
        deadline_ns = self._clock() + int(_SEND_S * 1e9)
        # what the program has a part of must be finished first: it counts bytes
        if self._flush(deadline_ns):
            self._unsent = memoryview(np.ascontiguousarray(frame).tobytes())
            self._flush(deadline_ns)
        else:
            self._dropped += 1
        if self._clock() - self._took_ns > _STALLED_S * 1e9:
            raise SinkError(f"{DEVICE}: {_PROGRAM} has taken no frame for {_STALLED_S:g} s")

    def close(self) -> None:
        """Take the camera away; the program is gone on return."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._said.close()
        if self._dropped:
            logger.info("%s: %d frames were dropped, since the camera was not ready for them", DEVICE, self._dropped)
            self._dropped = 0

    def _flush(self, deadline_ns: int) -> bool:
        """Write what is unsent; whether all of it was."""
        while self._unsent:
            try:
                written = os.write(self._pipe, self._unsent)
            except BlockingIOError:
                wait_s = (deadline_ns - self._clock()) / 1e9
                if wait_s <= 0 or not select.select((), (self._pipe,), (), wait_s)[1]:
                    return False
            except OSError as exc:
                raise SinkError(self._why()) from exc
            else:
                self._unsent = self._unsent[written:]
                self._took_ns = self._clock()
        if self._process.poll() is not None:
            raise SinkError(self._why())
        self._took_ns = self._clock()
        return True

    def _node(self) -> int:
        """The node's number, once the program says that it is there."""
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select((stdout,), (), (), _READY_S)[0]:
            self._process.kill()
            raise SinkError(f"{DEVICE}: no camera after {_READY_S:g} s; {_NEEDS_SERVICE}")
        words = stdout.readline().split()
        if len(words) == 2 and words[0] == b"ready" and words[1].isdigit():
            return int(words[1])
        raise SinkError(self._why())

    def _why(self) -> str:
        """Why the program has ended, as it says."""
        try:
            code = self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            return f"{DEVICE}: {_PROGRAM} closed its input and goes on; is it gest_stream's?"
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        # libpipewire warns there too
        own = [line.removeprefix(f"{_PROGRAM}: ") for line in lines if line.startswith(f"{_PROGRAM}: ")]
        told = f": {(own or lines)[-1]}" if lines else ""
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{DEVICE}: {_PROGRAM} {how}{told}{f'; {_NEEDS_SERVICE}' if code == _NO_SERVICE else ''}"


def _find(device: str) -> Path:
    _, _, named = device.partition(":")
    if named:
        if not Path(named).is_file():
            raise SinkError(f"{device}: there is no file {named}; {_BUILD_IT}")
        return Path(named)
    if _BUILT.is_file():
        return _BUILT
    found = shutil.which(_PROGRAM)
    if found is None:
        raise SinkError(f"{device}: {_PROGRAM} is neither built nor on the PATH; {_BUILD_IT}")
    return Path(found)


def _widen(pipe: int) -> None:
    """Make room for more than 64 KiB, so that a frame takes fewer turns; not every system lets us."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
