"""The C client in this process, by ctypes."""

import ctypes
import shutil
import subprocess
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

from gest_stream.exchange.slots import Planes, Shape

SHARED = Path(__file__).parents[2] / "plugins" / "shared"
SOURCES = sorted(SHARED.glob("gst_exchange*.c"))
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror")

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler: apt-get install gcc")


class Status(IntEnum):
    """gsx_status."""

    DONE = 0
    ABSENT = 1
    LATE = 2
    BROKEN = 3
    PENDING = 4
    INVALID = 5


class State(IntEnum):
    """gsx_state."""

    ABSENT = 0
    CONNECTING = 1
    READY = 2
    LATE = 3
    REFUSED = 4


class Image(ctypes.Structure):
    """gsx_image."""

    _fields_ = [("plane", ctypes.c_void_p * 3), ("stride", ctypes.c_uint32 * 3)]


def compile_c(output: Path, *arguments: str | Path) -> Path:
    """Run the compiler with the project's warnings as errors."""
    assert COMPILER is not None
    command = [COMPILER, *WARNINGS, *map(str, arguments), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def image_of(planes: Planes) -> Image:
    """Where planes lie; they must outlive it."""
    image = Image()
    for i, plane in enumerate(planes):
        assert plane.flags.c_contiguous
        image.plane[i], image.stride[i] = plane.ctypes.data, plane.shape[1]
    return image


class Client:
    """A gsx_client. Calls let other threads of this process run.

    Args:
        library: The client as a shared library.
        path: Of the worker's socket.
        shape: Of the frames.
    """

    def __init__(self, library: ctypes.CDLL, path: Path, shape: Shape) -> None:
        self._library = library
        self._library.gsx_open.restype = ctypes.c_void_p
        self._library.gsx_refusal_text.restype = ctypes.c_char_p
        self._library.gsx_state_text.restype = ctypes.c_char_p
        self._client = ctypes.c_void_p(self._library.gsx_open(str(path).encode()))
        assert self._client.value
        self.configure(shape)

    def configure(self, shape: Shape) -> None:
        """gsx_configure."""
        self.shape = shape
        numbers = (ctypes.c_uint32(shape.width), ctypes.c_uint32(shape.height), int(shape.format), int(shape.output))
        assert self._library.gsx_configure(self._client, *numbers) == 0

    def set(self, key: int, value: float) -> None:
        """gsx_set."""
        assert self._library.gsx_set(self._client, int(key), ctypes.c_double(value)) == 0

    def process(self, planes: Planes, deadline_ms: int, pts: int = 0) -> tuple[Status, Planes]:
        """gsx_process; the output's planes are 0 where it did not fill them."""
        out = tuple(np.zeros(size, np.uint8) for size in self.shape.output_planes)
        there, back = image_of(planes), image_of(out)
        status = self._library.gsx_process(
            self._client, ctypes.byref(there), ctypes.byref(back), ctypes.c_int64(pts), deadline_ms
        )
        return Status(status), out

    def state(self) -> State:
        """gsx_state_of."""
        return State(self._library.gsx_state_of(self._client))

    def refusal(self) -> str:
        """gsx_refusal_text."""
        text: bytes = self._library.gsx_refusal_text(self._client)
        return text.decode()

    def close(self) -> None:
        """gsx_close."""
        self._library.gsx_close(self._client)
