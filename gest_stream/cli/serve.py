"""`gest-stream serve`: the WebRTC server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from gest_stream.cli.choices import choice_names, choice_parser
from gest_stream.cli.download import fetch_needed
from gest_stream.cli.options import (
    BackgroundOption,
    CheckpointOption,
    ConfigOption,
    DeviceOption,
    EffectOption,
    ImageSizeOption,
    MaxHandsOption,
    MirroredOption,
    QuietOption,
    RedetectorCheckpointOption,
    RedetectorOption,
    SegmenterOption,
    SetOption,
    SizeOption,
)
from gest_stream.cli.settings import compose_config
from gest_stream.config import H264Encoder
from gest_stream.errors import ConfigError

_NETWORK = "Network"
_ACCESS = "Access"
_PICTURE = "Picture"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind.", rich_help_panel=_NETWORK)] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", rich_help_panel=_NETWORK)] = None,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(help="stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT; may be repeated.", rich_help_panel=_NETWORK),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="GEST_STREAM_TOKEN", help="What clients must show.", rich_help_panel=_ACCESS, show_envvar=True
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM).", rich_help_panel=_ACCESS)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).", rich_help_panel=_ACCESS)] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web origin that may use it besides its own; may be repeated.", rich_help_panel=_ACCESS),
    ] = None,
    public_name: Annotated[
        list[str] | None,
        typer.Option(help="Host name under which it is reached; may be repeated.", rich_help_panel=_ACCESS),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Let others reach it without token or TLS.", rich_help_panel=_ACCESS),
    ] = None,
    max_sessions: Annotated[
        int | None, typer.Option(help="Pictures processed at once.", rich_help_panel=_ACCESS)
    ] = None,
    effect: EffectOption = None,
    background: BackgroundOption = None,
    h264: Annotated[
        H264Encoder | None,
        typer.Option(
            "--h264",
            parser=choice_parser(H264Encoder),
            metavar=choice_names(H264Encoder),
            help="What encodes H.264.",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    segmenter: SegmenterOption = None,
    size: SizeOption = None,
    device: DeviceOption = None,
    image_size: ImageSizeOption = None,
    checkpoint: CheckpointOption = None,
    redetector: RedetectorOption = None,
    redetector_checkpoint: RedetectorCheckpointOption = None,
    max_hands: MaxHandsOption = None,
    mirrored: MirroredOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Serve WebRTC: a page for browsers, WHIP for senders, WHEP for viewers."""
    settings = compose_config(
        config,
        set_ or [],
        {
            "server.host": host,
            "server.port": port,
            "server.token": token,
            "server.certificate": tls_cert,
            "server.key": tls_key,
            "server.insecure": insecure,
            "server.allowed_origins": allow_origin,
            "server.public_names": public_name,
            "server.limits.max_sessions": max_sessions,
            "rtc.ice_servers": [parse_ice_server(text) for text in ice_server] if ice_server else None,
            "rtc.h264": h264,
            "effect.kind": effect,
            "effect.background": background,
            "segmenter": segmenter,
            "sam2.size": size,
            "sam2.device": device,
            "sam2.image_size": image_size,
            "sam2.checkpoint": checkpoint,
            "redetector.kind": redetector,
            "redetector.checkpoint": redetector_checkpoint,
            "hands.max_hands": max_hands,
            "hands.mirrored": mirrored,
        },
    )
    from rich.console import Console

    from gest_stream import build
    from gest_stream.build.server import serve as serve_webrtc

    console = Console(stderr=True, quiet=quiet)
    fetch_needed(settings, console)
    console.print(f"segmenter {build.choose_segmenter(settings)[1]}", highlight=False)
    console.print(f"redetector {build.choose_redetector(settings)[1]}", highlight=False)

    def ready(url: str) -> None:
        base = url.rstrip("/")
        for name, path in (("page", ""), ("WHIP", "whip/NAME"), ("WHEP", "whep/NAME")):
            console.print(f"{name}  {base}/{path}", highlight=False, soft_wrap=True)
        console.print("Ctrl-C ends it", highlight=False)

    async def go() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C stays a KeyboardInterrupt
                loop.add_signal_handler(number, stop.set)
        await serve_webrtc(settings, ready=ready, stop=stop)

    asyncio.run(go())
    console.print("every session was closed", highlight=False)


def parse_ice_server(text: str) -> dict[str, str]:
    """Settings of "stun:HOST:PORT" or "turn:USER:PASSWORD@HOST:PORT".

    Raises:
        ConfigError: It is neither.
    """
    scheme, colon, rest = text.partition(":")
    account, at, place = rest.rpartition("@")
    if not colon or not place:
        raise ConfigError(
            f"--ice-server {scheme}: expected stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT"
        )  # the text itself may hold a password
    if not at:
        return {"url": text}
    username, _, credential = account.partition(":")
    return {"url": f"{scheme}:{place}", "username": username, "credential": credential}
