"""PipeWire with a session manager and a bus, all private, for cameras and those who look at them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.native.waiting import wait_until

PROGRAMS = ("dbus-daemon", "pipewire", "wireplumber", "gst-launch-1.0", "gst-inspect-1.0")
_ELSEWHERE = ("PIPEWIRE_", "WIREPLUMBER_", "XDG_", "DBUS_", "GST_")


class PipeWireSession:
    """The three programs; they start on entering and are gone on leaving.

    Args:
        folder: For sockets, states and what the programs say; its path is short.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_ELSEWHERE)}
        homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE", "DATA")}
        bus = f"unix:path={folder / 'bus'}"
        self.environment = {
            **ours,
            **homes,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "DBUS_SESSION_BUS_ADDRESS": bus,
        }
        self._bus = bus

    def __enter__(self) -> Self:
        try:
            self._start(["dbus-daemon", "--session", f"--address={self._bus}", "--nofork", "--nopidfile"], "bus")
            self._start(["pipewire"], "pipewire-0")
            self._start(["wireplumber"], None)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop()

    def stop_pipewire(self) -> None:
        """Kill PipeWire itself."""
        self._programs[1].kill()
        self._programs[1].wait()

    def _start(self, command: list[str], socket: str | None) -> None:
        log = (self._folder / f"{command[0]}.log").open("wb")
        self._logs.append(log)
        program = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        self._programs.append(program)
        if socket is not None:
            wait_until((self._folder / socket).exists, f"the socket of {command[0]}", 20)

    def _stop(self) -> None:
        for program in reversed(self._programs):
            program.terminate()
        deadline = time.monotonic() + 5
        for program in reversed(self._programs):
            try:
                program.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        for log in self._logs:
            log.close()


class Looker:
    """GStreamer's `pipewiresrc` on a camera, writing RGB frames to a file; it is gone on leaving.

    Args:
        session: Where the camera is.
        camera: The name of its node.
        out: The file.
        format: What the camera is asked for, as GStreamer names it.
        frames: After how many it ends.
    """

    def __init__(self, session: PipeWireSession, camera: str, out: Path, format: str, frames: int) -> None:
        self._session = session
        ask = f"pipewiresrc target-object={camera} num-buffers={frames} ! video/x-raw,format={format}"
        self._command = (
            f"gst-launch-1.0 -q {ask} ! videoconvert ! video/x-raw,format=RGB ! filesink buffer-mode=2".split()
        )
        self._command.append(f"location={out}")
        self._out = out

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            env=self._session.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def finish(self, timeout_s: float = 30.0) -> bytes:
        """Wait until it has seen its frames; returns them."""
        said, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, said.decode(errors="replace")
        return self._out.read_bytes()

    def wait_for_frames(self, count: int, frame_bytes: int, timeout_s: float = 30.0) -> None:
        """Wait until it has written some."""
        wanted = count * frame_bytes
        wait_until(lambda: self._out.exists() and self._out.stat().st_size >= wanted, f"{count} frames", timeout_s)
