"""`gest-stream run`: one source through the tracker into any outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gest_stream.cli.addresses import Tokens, split_outputs
from gest_stream.cli.choices import choice_option, parse_size
from gest_stream.cli.options import Given, JsonOption, QuietOption, tracking_options
from gest_stream.cli.session import Verbosity, run_session
from gest_stream.cli.virtual_camera import (
    VirtualCameraDeviceOption,
    VirtualCameraOption,
    make_virtual_camera,
)
from gest_stream.config import BufferPolicy, PipelineConfig
from gest_stream.errors import SinkError
from gest_stream.url import redacted

if TYPE_CHECKING:
    from gest_stream.interfaces import Sink
    from gest_stream.pipeline import Pipeline

_OUT = "Outputs"
_INPUT = "Input"


@tracking_options
def run(
    source: Annotated[
        str,
        typer.Argument(
            help="A file, a folder of images, a camera (0, /dev/video0), a URL (rtsp://, http://, udp://), "
            "webrtc:whep:URL, - for a pipe, or synthetic:demo."
        ),
    ],
    out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|whip:URL",
            help="Where the picture with the effect goes: a video file, or a WHIP server; may be repeated.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    token: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[HOST=]TOKEN",
            envvar="GEST_STREAM_TOKEN",
            show_envvar=True,
            help="For WHIP and WHEP servers; with their host in front where there are several.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    save_masked: Annotated[
        Path | None,
        typer.Option(help="Video with the effect; .mp4 .mkv .mov .webm.", rich_help_panel=_OUT),
    ] = None,
    save_landmarks: Annotated[Path | None, typer.Option(help="Video with the landmarks.", rich_help_panel=_OUT)] = None,
    save_json: Annotated[
        Path | None, typer.Option(help="One JSON object a frame (.jsonl).", rich_help_panel=_OUT)
    ] = None,
    save_masks: Annotated[
        Path | None, typer.Option(help="Folder of PNG masks; a pixel is its track's id.", rich_help_panel=_OUT)
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show the result in a window.", rich_help_panel=_OUT)] = False,
    virtual_camera: VirtualCameraOption = False,
    virtual_camera_device: VirtualCameraDeviceOption = None,
    *,
    given: Given,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a file at its own speed, as a camera.", rich_help_panel=_INPUT)
    ] = False,
    buffer: Annotated[
        BufferPolicy | None,
        choice_option("--buffer", BufferPolicy, "live: the newest frame wins; lossless: the source waits.", _INPUT),
    ] = None,
    camera_size: Annotated[
        str | None,
        typer.Option("--camera-size", metavar="WxH", help="Camera picture size.", rich_help_panel=_INPUT),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Frames a second of a camera or image folder.", rich_help_panel=_INPUT),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Track the hands of SOURCE and write what was found."""
    picture_size = parse_size(camera_size) if camera_size is not None else None
    settings = given.settings({"buffer.policy": buffer})
    from gest_stream.sources.open import open_source, whep_url

    opened: list[Pipeline] = []
    files, pushed = split_outputs(out or [])
    pulled = whep_url(source)
    tokens = Tokens(token or [], pushed if pulled is None else [pulled, *pushed])
    saved = [path for path in (*files, save_masked, save_landmarks, save_json, save_masks) if path is not None]
    _refuse_shared_outputs(source, saved)
    sinks = make_sinks(settings, save_masked, save_landmarks, save_json, save_masks)
    sinks += make_out_sinks(settings, files, pushed, tokens)
    sinks += make_virtual_camera(settings, virtual_camera, virtual_camera_device)
    if show:
        from gest_stream.overlay import Renderer
        from gest_stream.sinks.pointer import Pointer
        from gest_stream.sinks.window import WindowSink

        pointer = Pointer(lambda: opened[0].tracker if opened else None)

        def stop() -> None:
            for pipeline in opened:
                pipeline.stop()

        sinks.append(WindowSink(Renderer(settings.effect).render, stop, pointer=pointer))
    frames = open_source(
        source,
        realtime=realtime,
        size=picture_size,
        rate=rate,
        config=settings.source,
        rtc=settings.rtc,
        token=tokens.of(pulled) if pulled is not None else None,
    )
    addresses = [f"whip:{redacted(url)}" for url in pushed]
    run_session(frames, settings, sinks, [*saved, *addresses], Verbosity(quiet, json), opened.append)


def _refuse_shared_outputs(source: str, outputs: list[Path]) -> None:
    """Two outputs must not be one file, and none may be the input."""
    resolved = [path.resolve() for path in outputs]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise SinkError(f"{outputs[index]}: two outputs would write this file; give each its own name")
        if path == Path(source).resolve():
            raise SinkError(f"{outputs[index]}: this is the input; give the output another name")


def make_out_sinks(
    settings: PipelineConfig, files: Sequence[Path], whip_urls: Sequence[str], tokens: Tokens
) -> list[Sink]:
    """A sink for every `--out`.

    Raises:
        SinkError: A file's suffix is unknown.
        ConfigError: An address or a token cannot be used, or the effect cannot be shown there.
    """
    sinks: list[Sink] = []
    if files:
        from gest_stream.sinks.video import segmented_video

        sinks += [segmented_video(path, settings.effect, settings.video) for path in files]
    if whip_urls:
        from gest_stream.sinks.whip import WhipSink

        sinks += [WhipSink(url, settings.effect, tokens.of(url), rtc=settings.rtc) for url in whip_urls]
    return sinks


def make_sinks(
    settings: PipelineConfig,
    save_masked: Path | None,
    save_landmarks: Path | None,
    save_json: Path | None,
    save_masks: Path | None,
) -> list[Sink]:
    """A sink for every output that was asked for."""
    from gest_stream.sinks.jsonl import JsonlSink
    from gest_stream.sinks.masks import MaskFolderSink
    from gest_stream.sinks.video import landmark_video, segmented_video

    sinks: list[Sink] = []
    if save_masked is not None:
        sinks.append(segmented_video(save_masked, settings.effect, settings.video))
    if save_landmarks is not None:
        sinks.append(landmark_video(save_landmarks, settings.video))
    if save_json is not None:
        sinks.append(JsonlSink(save_json))
    if save_masks is not None:
        sinks.append(MaskFolderSink(save_masks))
    return sinks
