"""A result as a picture, by the effect that was asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError
from gest_stream.overlay.backgrounds import (
    Background,
    ColourBackground,
    PictureBackground,
    blurred_background,
    read_picture,
)
from gest_stream.overlay.labels import draw_label
from gest_stream.overlay.landmarks import draw_hand, line_width_px
from gest_stream.overlay.matte import Matte, blend, combined, mattes_of, tint
from gest_stream.overlay.palette import GREEN_SCREEN, track_colour
from gest_stream.types import FrameResult, HandMask

_LABELLED = (EffectKind.OVERLAY, EffectKind.CONTOUR)


class Renderer:
    """Draws results with one effect. Keeps backgrounds between calls, so one thread at a time.

    Args:
        config: The effect.
        background: (H, W, 3) uint8 RGB, for `replace`, instead of the file that `config` names.

    Raises:
        ConfigError: `replace` has no background, or its file is absent or not a picture.
        DeviceError: The effect's device is not there.
    """

    def __init__(self, config: EffectConfig, background: NDArray[np.uint8] | None = None) -> None:
        self._config = config
        self._background: Background = ColourBackground(GREEN_SCREEN)
        if config.kind is EffectKind.REPLACE:
            self._background = PictureBackground(_picture_of(config) if background is None else background)
        on_host: dict[EffectKind, Callable[[FrameResult], NDArray[np.uint8]]] = {
            EffectKind.OVERLAY: self._overlay,
            EffectKind.CONTOUR: self._contour,
            EffectKind.GREEN: self._on_background,
            EffectKind.REPLACE: self._on_background,
            EffectKind.TRANSPARENT: self._transparent,
            EffectKind.BLUR: self._blur,
        }
        self._draw = on_host[config.kind]
        if config.device != "cpu":
            self._draw = self._on_device(config)

    def render(self, result: FrameResult) -> NDArray[np.uint8]:
        """Draw one result; the frame's own picture is not written to.

        Returns:
            A new (H, W, 3) uint8 RGB picture; for `transparent` (H, W, 4) RGBA with straight alpha, black where no
            hand is (the background is not hidden in it).

        Raises:
            InvalidInputError: A mask belongs to a frame of another size.
        """
        out = self._draw(result)
        for track in result.tracks:
            if self._config.landmarks and track.landmarks is not None:
                draw_hand(out, track.landmarks)
        if self._config.labels and self._config.kind in _LABELLED:
            for track in result.tracks:
                draw_label(out, track)
        return out

    def _on_device(self, config: EffectConfig) -> Callable[[FrameResult], NDArray[np.uint8]]:
        from gest_stream.overlay.device_compositor import DRAWN_ON_DEVICE, DeviceCompositor

        return DeviceCompositor(config, self._background).draw if config.kind in DRAWN_ON_DEVICE else self._draw

    def _mattes(self, result: FrameResult) -> list[Matte]:
        return [matte for _, matte in mattes_of(result, self._config.feather_px)]

    def _overlay(self, result: FrameResult) -> NDArray[np.uint8]:
        import cv2

        out = result.frame.image.copy()
        for track_id, matte in mattes_of(result, self._config.feather_px):
            alpha = np.asarray(cv2.convertScaleAbs(matte.alpha, alpha=self._config.opacity), np.uint8)
            out[matte.slices] = tint(out[matte.slices], track_colour(track_id), alpha)
        return out

    def _contour(self, result: FrameResult) -> NDArray[np.uint8]:
        out = result.frame.image.copy()
        mattes_of(result, 0)  # checks the sizes
        for track in result.tracks:
            if track.mask is not None:
                _draw_contour(out, track.mask, track_colour(track.id))
        return out

    def _on_background(self, result: FrameResult) -> NDArray[np.uint8]:
        background = self._background.picture(result.frame.size)
        return _composite(result, background.copy(), background, self._mattes(result))

    def _blur(self, result: FrameResult) -> NDArray[np.uint8]:
        mattes = self._mattes(result)
        alpha = combined(mattes, result.frame.size)
        background = blurred_background(result.frame.image, alpha, self._config.blur_px)
        return _composite(result, background.copy(), background, mattes)

    def _transparent(self, result: FrameResult) -> NDArray[np.uint8]:
        width, height = result.frame.size
        mattes = self._mattes(result)
        alpha = combined(mattes, result.frame.size)
        out = np.zeros((height, width, 4), np.uint8)
        for matte in mattes:
            part = alpha[matte.slices]
            out[matte.slices][..., :3] = result.frame.image[matte.slices] * (part > 0)[..., None]
            out[matte.slices][..., 3] = part
        return out


def _composite(
    result: FrameResult, out: NDArray[np.uint8], background: NDArray[np.uint8], mattes: list[Matte]
) -> NDArray[np.uint8]:
    # each part is worked out from frame and background, never from `out`: overlapping hands are blended once
    alpha = combined(mattes, result.frame.size)
    for matte in mattes:
        rows_columns = matte.slices
        out[rows_columns] = blend(result.frame.image[rows_columns], background[rows_columns], alpha[rows_columns])
    return out


def _draw_contour(image: NDArray[np.uint8], mask: HandMask, colour: tuple[int, int, int]) -> None:
    import cv2

    if mask.crop.size == 0:
        return
    contours, _ = cv2.findContours(
        mask.inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=mask.origin_xy_px
    )
    width = line_width_px((image.shape[1], image.shape[0])) + 1
    cv2.drawContours(image, contours, -1, colour, width, cv2.LINE_AA)


def _picture_of(config: EffectConfig) -> NDArray[np.uint8]:
    if config.background is None:
        raise ConfigError("effect.background: expected a picture file for the effect 'replace', got None")
    return read_picture(config.background)
