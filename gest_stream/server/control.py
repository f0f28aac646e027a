"""What a session's commands do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import SignallingError
from gest_stream.server.commands import (
    Command,
    EffectCommand,
    PauseCommand,
    PingCommand,
    PromptCommand,
    RemoveTrackCommand,
    ResultsCommand,
)
from gest_stream.server.results import ResultsChannel
from gest_stream.sinks.webrtc import PictureSink
from gest_stream.sources.webrtc import TrackSource
from gest_stream.tracking.tracker import TrackerCore

_MAX_BACKGROUND_PX = 4096 * 4096


class Control:
    """Carries out commands on one session.

    Args:
        effect: What the session begins with.
        picture: Draws.
        source: Is paused.
        tracker: The session's tracker, None while it is being loaded.
        frame_size: (width, height) of the newest frame in pixels, None before the first.
    """

    def __init__(
        self,
        effect: EffectConfig,
        picture: PictureSink,
        source: TrackSource,
        tracker: Callable[[], TrackerCore | None],
        frame_size: Callable[[], tuple[int, int] | None],
    ) -> None:
        self._effect = effect
        self._picture = picture
        self._source = source
        self._tracker = tracker
        self._frame_size = frame_size
        self._background: NDArray[np.uint8] | None = None

    def carry_out(self, command: Command, results: ResultsChannel | None) -> dict[str, Any]:
        """Do what a command says.

        Args:
            command: Of the session's peer.
            results: Where the peer gets its results, None where it gets none.

        Returns:
            What the reply holds besides.

        Raises:
            GestStreamError: It cannot be done; the message says why.
        """
        match command:
            case PromptCommand():
                return {"track_id": self._prompt(command)}
            case RemoveTrackCommand():
                self._ready_tracker().remove_track(command.track_id)
            case EffectCommand():
                self._set_effect(command)
            case PauseCommand():
                self._source.paused = command.paused
            case ResultsCommand():
                if results is None:
                    raise SignallingError("results: there is no data channel 'results' that they could go to")
                results.extras = frozenset(command.include)
            case PingCommand():
                return {"time_ms": command.time_ms}
        return {}

    def set_background(self, encoded: bytes) -> None:
        """Take a picture for `replace`; safe from any thread.

        Args:
            encoded: A PNG or JPEG file.

        Raises:
            SignallingError: It is no such file, or has too many pixels.
        """
        self._background = decode_background(encoded)
        if self._effect.kind is EffectKind.REPLACE:
            self._picture.set_effect(self._effect, self._background)

    def _prompt(self, command: PromptCommand) -> int:
        size = self._frame_size()
        if size is None:
            raise SignallingError("prompt: no frame was processed yet; point at the returned picture")
        points = [(x * size[0], y * size[1]) for x, y in command.points_xy_norm]
        box = None
        if command.box_xyxy_norm is not None:
            x0, y0, x1, y1 = command.box_xyxy_norm
            box = (x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1])
        return self._ready_tracker().add_prompt(points, command.labels, track_id=command.track_id, box_xyxy_px=box)

    def _ready_tracker(self) -> TrackerCore:
        tracker = self._tracker()
        if tracker is None:
            raise SignallingError("the models are still being loaded; try again in a moment")
        return tracker

    def _set_effect(self, command: EffectCommand) -> None:
        kind = EffectKind(command.kind)
        if kind is EffectKind.REPLACE and self._background is None and self._effect.background is None:
            raise SignallingError("effect replace: there is no background yet; send a picture first")
        wanted = {
            name: value
            for name in ("opacity", "feather_px", "blur_px", "landmarks", "labels")
            if (value := getattr(command, name)) is not None
        }
        effect = replace(self._effect, kind=kind, **wanted)
        self._picture.set_effect(effect, self._background)
        self._effect = effect


def decode_background(encoded: bytes) -> NDArray[np.uint8]:
    """A PNG or JPEG file as (H, W, 3) uint8 RGB.

    Raises:
        SignallingError: It is no such file, or has too many pixels to be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > _MAX_BACKGROUND_PX:  # before any pixel is decoded
                raise SignallingError(
                    f"background: expected at most {_MAX_BACKGROUND_PX} pixels, got {image.width}x{image.height}", 422
                )
            return np.asarray(image.convert("RGB"), np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise SignallingError(f"background: expected at most {_MAX_BACKGROUND_PX} pixels, got far more", 422) from exc
    except UnidentifiedImageError as exc:
        raise SignallingError("background: expected a PNG or JPEG picture, got something else", 415) from exc
    except (OSError, SyntaxError, ValueError) as exc:  # what Pillow raises for damaged files
        raise SignallingError(f"background: the picture is damaged: {exc}", 422) from exc
