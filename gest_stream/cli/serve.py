"""`gest-stream serve`: the WebRTC server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gest_stream.cli.choices import choice_option
from gest_stream.cli.download import get_models_ready
from gest_stream.cli.options import Given, QuietOption, tracking_options
from gest_stream.cli.session import call_on_interrupt
from gest_stream.config import H264Encoder
from gest_stream.errors import ConfigError

_NETWORK = "Network"
_ACCESS = "Access"
_PICTURE = "Picture"


@tracking_options
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
    h264: Annotated[
        H264Encoder | None,
        choice_option("--h264", H264Encoder, "What encodes H.264.", _PICTURE),
    ] = None,
    *,
    given: Given,
    quiet: QuietOption = False,
) -> None:
    """Serve WebRTC: a page for browsers, WHIP for senders, WHEP for viewers."""
    settings = given.settings(
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
        },
    )
    import asyncio

    from rich.console import Console

    from gest_stream.build.server import serve as serve_webrtc

    console = Console(stderr=True, quiet=quiet)
    get_models_ready(settings, console)

    def ready(url: str) -> None:
        base = url.rstrip("/")
        for name, path in (("page", ""), ("WHIP", "whip/NAME"), ("WHEP", "whep/NAME")):
            console.print(f"{name}  {base}/{path}", highlight=False, soft_wrap=True)
        console.print("Ctrl-C ends it", highlight=False)

    async def go() -> None:
        stop = asyncio.Event()
        call_on_interrupt(stop.set)
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
