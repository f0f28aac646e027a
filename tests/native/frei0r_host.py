"""The smallest frei0r host: loads the filter and times each frame."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

PARAMETERS = ("effect", "deadline", "socket", "hands", "background")


class Frei0rHost:
    """One instance of the filter.

    Args:
        plugin: The shared object.
        size: (width, height) of the frames.
        parameters: Strings, and a number for the deadline.
    """

    def __init__(self, plugin: Path, size: tuple[int, int], **parameters: str | float) -> None:
        self._library = ctypes.CDLL(str(plugin))
        self._library.f0r_construct.restype = ctypes.c_void_p
        self._library.f0r_update.argtypes = [ctypes.c_void_p, ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p]
        assert self._library.f0r_init() == 1
        self._size = size
        self._instance = ctypes.c_void_p(self._library.f0r_construct(*size))
        assert self._instance
        for name, value in parameters.items():
            holder: ctypes.c_char_p | ctypes.c_double
            holder = ctypes.c_char_p(value.encode()) if isinstance(value, str) else ctypes.c_double(value)
            self._library.f0r_set_param_value(self._instance, ctypes.byref(holder), PARAMETERS.index(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._library.f0r_destruct(self._instance)
        self._library.f0r_deinit()

    def text_of(self, name: str) -> str:
        """A parameter that is a string, as the filter says that it is."""
        holder = ctypes.c_char_p()
        self._library.f0r_get_param_value(self._instance, ctypes.byref(holder), PARAMETERS.index(name))
        return (holder.value or b"").decode()

    def number_of(self, name: str) -> float:
        """A parameter that is a number, as the filter says that it is."""
        holder = ctypes.c_double()
        self._library.f0r_get_param_value(self._instance, ctypes.byref(holder), PARAMETERS.index(name))
        return holder.value

    def update(self, rgba: NDArray[np.uint8], time_argument: float = 0.0) -> tuple[NDArray[np.uint8], float]:
        """One frame, (H, W, 4) uint8; returns what comes out and the milliseconds that it took."""
        assert rgba.shape == (self._size[1], self._size[0], 4) and rgba.flags.c_contiguous
        out = np.zeros_like(rgba)
        start = time.perf_counter_ns()
        self._library.f0r_update(self._instance, time_argument, rgba.ctypes.data, out.ctypes.data)
        return out, (time.perf_counter_ns() - start) / 1e6


def with_alpha(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) as opaque (H, W, 4)."""
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
