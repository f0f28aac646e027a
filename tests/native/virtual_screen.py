"""A screen for programs that need one."""

from __future__ import annotations

import os
import subprocess
from types import TracebackType
from typing import Self


class VirtualScreen:
    """Xvfb with OpenGL, on a display of its own choice; it is gone on leaving."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.display = ""

    def __enter__(self) -> Self:
        read_end, write_end = os.pipe()
        screen = ["-screen", "0", "1280x800x24", "+extension", "GLX"]
        try:
            self._process = subprocess.Popen(
                ["Xvfb", "-displayfd", str(write_end), *screen], pass_fds=[write_end], stderr=subprocess.DEVNULL
            )
        finally:
            os.close(write_end)
        with os.fdopen(read_end) as answer:
            self.display = f":{answer.readline().strip()}"
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """Ours, for a program that draws there."""
        # cv2 points Qt at plugins of its own
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "WAYLAND"))}
        return {**ours, "DISPLAY": self.display, "LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"}
