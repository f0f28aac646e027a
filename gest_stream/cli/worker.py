"""`gest-stream worker`: what plugins in OBS, FFmpeg, GStreamer and Kdenlive send their frames to."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from gest_stream.cli.choices import choice_option
from gest_stream.cli.download import get_models_ready
from gest_stream.cli.options import Given, QuietOption, tracking_options
from gest_stream.errors import MissingDependencyError
from gest_stream.worker.view import HandChoice

if TYPE_CHECKING:
    from gest_stream.build.shared import SharedModels
    from gest_stream.config import PipelineConfig
    from gest_stream.tracking.tracker import TrackerCore
    from gest_stream.worker import Worker

_PICTURE = "Picture, where a plugin does not say"
_HOSTS = "Plugins"


@tracking_options
def worker(
    hands: Annotated[
        HandChoice,
        choice_option("--hands", HandChoice, "Which hands are shown.", _PICTURE),
    ] = HandChoice.BOTH,
    smoothing: Annotated[
        float, typer.Option(help="Part of a mask carried over from the frame before.", rich_help_panel=_PICTURE)
    ] = 0.0,
    mask_every: Annotated[int, typer.Option(help="Look for hands on every n-th frame.", rich_help_panel=_PICTURE)] = 1,
    echo: Annotated[
        bool,
        typer.Option("--echo", help="Give frames back as they are; no model is loaded.", rich_help_panel=_PICTURE),
    ] = False,
    socket: Annotated[
        Path | None,
        typer.Option(
            help="Where to listen; plugins look in $XDG_RUNTIME_DIR/gest_stream/worker.sock.", rich_help_panel=_HOSTS
        ),
    ] = None,
    max_hosts: Annotated[int, typer.Option(min=1, max=256, help="More are refused.", rich_help_panel=_HOSTS)] = 16,
    *,
    given: Given,
    quiet: QuietOption = False,
) -> None:
    """Work for plugins in OBS, FFmpeg, GStreamer and Kdenlive: models are loaded once, for any number of them."""
    if sys.platform != "linux":
        raise MissingDependencyError("gest-stream worker: plugins reach it by memfds, which only Linux has")
    settings = given.settings()
    from rich.console import Console

    from gest_stream.exchange.address import default_socket_path
    from gest_stream.worker import ViewConfig, Worker

    console = Console(stderr=True, quiet=quiet)
    defaults = ViewConfig(settings.effect, echo=echo, hands=hands, smoothing=smoothing, mask_every=mask_every)
    path = socket if socket is not None else default_socket_path(os.environ, os.geteuid())
    trackers = _Trackers(settings)
    with (
        _handling(signal.default_int_handler),  # also while models load: the socket is removed
        contextlib.closing(trackers),
        Worker(path.absolute(), trackers.make, defaults, max_hosts=max_hosts) as serving,
    ):
        if not echo:
            get_models_ready(settings, console)
        serving.prepare()
        with _stopped_by_signals(serving):
            console.print(f"listening for plugins at {path.absolute()} (Ctrl-C ends)", highlight=False, soft_wrap=True)
            serving.serve()
    console.print("every plugin was let go", highlight=False)


class _Trackers:
    """A tracker for each plugin over one set of weights, which is loaded when the first one comes."""

    def __init__(self, settings: PipelineConfig) -> None:
        self._settings = settings
        self._models: SharedModels | None = None

    def make(self) -> TrackerCore:
        """A tracker with memory of its own; the worker asks for one at a time."""
        if self._models is None:
            from gest_stream.build.shared import SharedModels

            self._models = SharedModels(self._settings)
        return self._models.tracker()

    def close(self) -> None:
        """Let go of the weights."""
        if self._models is not None:
            self._models.close()


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call `handler`."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextlib.contextmanager
def _stopped_by_signals(serving: Worker) -> Iterator[None]:
    before = signal.set_wakeup_fd(serving.wake_descriptor, warn_on_full_buffer=False)
    try:
        with _handling(lambda *_: serving.stop()):
            yield
    finally:
        signal.set_wakeup_fd(before)
