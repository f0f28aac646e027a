"""The options of a run that is shown as a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gest_stream.config import PipelineConfig

if TYPE_CHECKING:
    from gest_stream.interfaces import Sink

_OUT = "Outputs"

VirtualCameraOption = Annotated[
    bool,
    typer.Option(
        "--virtual-camera",
        help="Show the picture with the effect as a camera that other programs open.",
        rich_help_panel=_OUT,
    ),
]
VirtualCameraDeviceOption = Annotated[
    str | None,
    typer.Option(
        "--virtual-camera-device",
        metavar="DEVICE",
        help="Which one: /dev/video4, OBS Virtual Camera, pipewire; the first free one but pipewire by default.",
        rich_help_panel=_OUT,
    ),
]


def make_virtual_camera(settings: PipelineConfig, wanted: bool, device: str | None) -> list[Sink]:
    """The sink for a virtual camera, if one was asked for.

    Args:
        settings: Settings; the effect's are what is shown.
        wanted: Whether `--virtual-camera` was given.
        device: What `--virtual-camera-device` names, which asks for one too.

    Raises:
        ConfigError: The effect cannot be shown by a camera.
    """
    if not wanted and device is None:
        return []
    from gest_stream.sinks.virtualcam import VirtualCameraSink

    return [VirtualCameraSink(settings.effect, device)]
