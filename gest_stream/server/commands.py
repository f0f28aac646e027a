"""The commands of a session's data channel: version 1, one JSON object a message."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gest_stream.config import EffectKind
from gest_stream.errors import SignallingError

VERSION = 1

SENDABLE_EFFECTS = (EffectKind.OVERLAY, EffectKind.CONTOUR, EffectKind.GREEN, EffectKind.BLUR, EffectKind.REPLACE)
"""`transparent` needs an alpha channel, which WebRTC video has not."""

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Extra = Literal["landmarks", "landmarks_world", "contour", "mask_rle"]


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    v: Literal[1]
    id: Annotated[int, Field(ge=0, le=2**53)]


class PromptCommand(_Command):
    """Point at a hand; places are shares of the frame's width and height."""

    type: Literal["prompt"]
    points_xy_norm: Annotated[list[tuple[Share, Share]], Field(max_length=32)] = []
    labels: Annotated[list[Literal[0, 1]], Field(max_length=32)] | None = None
    track_id: Annotated[int, Field(ge=1)] | None = None
    box_xyxy_norm: tuple[Share, Share, Share, Share] | None = None


class RemoveTrackCommand(_Command):
    """Drop a hand."""

    type: Literal["remove_track"]
    track_id: Annotated[int, Field(ge=1)]


class EffectCommand(_Command):
    """Draw another effect; what is left out stays as it is."""

    type: Literal["effect"]
    kind: Literal["overlay", "contour", "green", "blur", "replace"]
    opacity: Share | None = None
    feather_px: Annotated[int, Field(ge=0, le=64)] | None = None
    blur_px: Annotated[float, Field(gt=0.0, le=200.0, allow_inf_nan=False)] | None = None
    landmarks: bool | None = None
    labels: bool | None = None


class PauseCommand(_Command):
    """Stop processing, or go on."""

    type: Literal["pause"]
    paused: bool


class ResultsCommand(_Command):
    """What results hold besides boxes, states and scores."""

    type: Literal["results"]
    include: Annotated[list[Extra], Field(max_length=4)]


class PingCommand(_Command):
    """Answered with the same time."""

    type: Literal["ping"]
    time_ms: Annotated[float, Field(allow_inf_nan=False)]


Command = PromptCommand | RemoveTrackCommand | EffectCommand | PauseCommand | ResultsCommand | PingCommand
_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])


def parse_command(message: str | bytes, max_bytes: int) -> Command:
    """Read one message.

    Args:
        message: As it came; binary ones are refused.
        max_bytes: Longer ones are refused unread.

    Raises:
        SignallingError: It is no command of version 1; the message says what is wrong where.
    """
    if isinstance(message, bytes):
        raise SignallingError("command: expected JSON text, got a binary message")
    if len(message) > max_bytes or len(message.encode("utf-8", "replace")) > max_bytes:
        raise SignallingError(f"command: expected at most {max_bytes} bytes, got {len(message)} characters", 413)
    try:
        return _COMMANDS.validate_json(message)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SignallingError(f"command{' ' + where if where else ''}: {first['msg']}") from exc


def command_id_of(message: str | bytes) -> int | None:
    """The id of a message that is no valid command, so that the refusal can be matched; None where there is none."""
    try:
        values = json.loads(message)
    except (ValueError, RecursionError):
        return None
    number = values.get("id") if isinstance(values, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 2**53 else None


def reply(kind: str, **values: Any) -> str:
    """A message from the server."""
    return json.dumps({"v": VERSION, "type": kind, **values}, separators=(",", ":"), allow_nan=False)
