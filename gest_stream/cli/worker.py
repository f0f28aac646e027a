"""`gest-stream worker`: what plugins in OBS, FFmpeg, GStreamer and Kdenlive send their frames to."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from gest_stream.cli.choices import choice_names, choice_parser
from gest_stream.cli.download import fetch_needed
from gest_stream.cli.run import ConfigOption, QuietOption, RedetectorOption, SegmenterOption, SetOption
from gest_stream.cli.settings import compose_config
from gest_stream.config import EffectKind
from gest_stream.worker.view import HandChoice

_PICTURE = "Picture, where a plugin does not say"
_HOSTS = "Plugins"


def worker(
    effect: Annotated[
        EffectKind | None,
        typer.Option(
            "--effect",
            parser=choice_parser(EffectKind),
            metavar=choice_names(EffectKind),
            help="What frames show.",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    background: Annotated[Path | None, typer.Option(help="Picture for replace.", rich_help_panel=_PICTURE)] = None,
    hands: Annotated[
        HandChoice,
        typer.Option(
            "--hands",
            parser=choice_parser(HandChoice),
            metavar=choice_names(HandChoice),
            help="Which hands are shown.",
            rich_help_panel=_PICTURE,
        ),
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
    segmenter: SegmenterOption = None,
    redetector: RedetectorOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Work for plugins in OBS, FFmpeg, GStreamer and Kdenlive: models are loaded once, for any number of them."""
    settings = compose_config(
        config,
        set_ or [],
        {
            "effect.kind": effect,
            "effect.background": background,
            "segmenter": segmenter,
            "redetector.kind": redetector,
        },
    )
    from rich.console import Console

    from gest_stream import build
    from gest_stream.exchange.address import default_socket_path
    from gest_stream.worker import ViewConfig, Worker

    console = Console(stderr=True, quiet=quiet)
    defaults = ViewConfig(settings.effect, echo=echo, hands=hands, smoothing=smoothing, mask_every=mask_every)
    path = socket if socket is not None else default_socket_path(os.environ, os.geteuid())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also while models load: the socket is removed
    with Worker(path.absolute(), lambda: build.HandTracker(settings), defaults, max_hosts=max_hosts) as serving:
        if not echo:
            fetch_needed(settings, console)
            console.print(f"segmenter {build.choose_segmenter(settings)[1]}", highlight=False)
            console.print(f"redetector {build.choose_redetector(settings)[1]}", highlight=False)
        serving.prepare()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: serving.stop())
        console.print(f"listening for plugins at {path.absolute()} (Ctrl-C ends)", highlight=False, soft_wrap=True)
        serving.serve()
    console.print("every plugin was let go", highlight=False)
