"""Rendered hands as a source: `synthetic:demo,frames=90,seed=3`."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from gest_stream.clock import now_ns
from gest_stream.config import nearest_name
from gest_stream.errors import ConfigError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.container import paced
from gest_stream.sources.threaded import ThreadedSource
from gest_stream.synthetic import ClipConfig, SyntheticFrame, preset, render_clip
from gest_stream.synthetic.workers import render_in_processes
from gest_stream.types import Frame

_SCHEME: Final = "synthetic"
_WORTH_PROCESSES: Final = 60  # frames; starting a process takes as long as rendering ten


class SyntheticSource(ThreadedSource):
    """A clip of rendered hands, rendered on the source's own thread while it is read.

    Args:
        config: The clip.
        realtime: Play it at its own rate, as a live source; what cannot be rendered in time comes late.
        device: Where torch renders.
        workers: Processes that render; 1 renders on the source's own thread, None takes a process a core (at most 4)
            for clips long enough to be worth starting them.
        on_truth: Called with each frame and the truth about it, on the source's thread, before the frame is handed
            over. The frame in it carries the same pts, seq and pixels as the one handed over.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.

    Raises:
        DeviceError: On entering: torch has no such device.
    """

    def __init__(
        self,
        config: ClipConfig,
        realtime: bool = False,
        *,
        device: str = "cpu",
        workers: int | None = None,
        on_truth: Callable[[SyntheticFrame], None] | None = None,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(_SCHEME)
        self._config = config
        self._realtime = realtime
        self._device = device
        self._workers = _workers_for(config, device) if workers is None else workers
        self._on_truth = on_truth
        self._clock = clock
        self._wait = wait or self._stopping.wait
        self._clip: Iterator[SyntheticFrame] = iter(())

    def _open(self) -> SourceInfo:
        if self._workers > 1:
            self._clip = render_in_processes(self._config, self._workers)
        else:
            self._clip = render_clip(self._config, self._device)
        rate = Fraction(self._config.rate)
        return SourceInfo(self._name, self._realtime, self._config.size, 1 / rate, rate, self._config.frames)

    def _frames(self) -> Iterator[Frame]:
        frames = self._rendered()
        return paced(frames, self._clock, self._wait) if self._realtime else frames

    def _close(self) -> None:
        if isinstance(self._clip, Generator):
            self._clip.close()

    def _rendered(self) -> Iterator[Frame]:
        for rendered in self._clip:
            if self._stopping.is_set():
                return
            if self._on_truth is not None:
                self._on_truth(rendered)
            # the moment it enters the process is when it is handed over, not when rendering it began
            yield replace(rendered.frame, captured_ns=self._clock())


def _workers_for(config: ClipConfig, device: str) -> int:
    return min(os.cpu_count() or 1, 4) if device == "cpu" and config.frames >= _WORTH_PROCESSES else 1


def parse_synthetic_spec(text: str) -> ClipConfig:
    """The clip that a text like "synthetic:demo,frames=90,size=640x480,seed=3,rate=30" names.

    Args:
        text: A preset's name ("demo" where it is left out) and any of frames, size, seed, rate, hands, shutter, noise,
            separated by commas; "synthetic:" before it may be left out. A seed draws everything anew, also the skin.

    Raises:
        ConfigError: A name is unknown (the nearest one is suggested), a value is missing, given twice or out of range.
    """
    parts = [part.strip() for part in text.removeprefix(f"{_SCHEME}:").split(",")]
    name = parts.pop(0) if "=" not in parts[0] else ""
    config, given = preset(name or "demo"), dict[str, Any]()
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in _READERS:
            raise ConfigError(f"synthetic: setting {key!r} is unknown{nearest_name(key, list(_READERS))}")
        if not equals or not value:
            raise ConfigError(f"synthetic: setting {key!r} has no value; write {key}={_EXAMPLES[key]}")
        if key in given:
            raise ConfigError(f"synthetic: setting {key!r} is given twice; keep one")
        try:
            given[key] = _READERS[key](value)
        except ValueError as exc:
            raise ConfigError(
                f"synthetic: {key}={value}: cannot be read; write it like {key}={_EXAMPLES[key]}"
            ) from exc
    if "seed" in given:
        given["tones"] = ()
    if given.get("hands", config.hands) < config.hands:
        given["tones"] = config.tones[: given["hands"]]
        given["events"] = tuple(e for e in config.events if e.hand < given["hands"] and e.kind != "cross")
    return replace(config, **given)


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {"frames": int, "size": _size, "seed": int, "rate": int, "hands": int, "shutter": float, "noise": float}
)
_EXAMPLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "frames": "90",
        "size": "640x480",
        "seed": "3",
        "rate": "30",
        "hands": "2",
        "shutter": "0.3",
        "noise": "2",
    }
)
