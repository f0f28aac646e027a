"""Hands and background put together on a torch device; only the finished picture leaves it.

The mattes are those of the host, cut to the hands' boxes, so that both draw the same within a grey level; what grows
with the picture (blending, blurring, the background) is done on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.device import Upload, fetched, find_device
from gest_stream.overlay.backgrounds import Background, blur_scale
from gest_stream.overlay.matte import Matte, mattes_of
from gest_stream.overlay.palette import track_colour
from gest_stream.types import FrameResult

_SIGMAS: Final = 4.0  # a Gaussian's reach
DRAWN_ON_DEVICE: Final = (EffectKind.OVERLAY, EffectKind.GREEN, EffectKind.REPLACE, EffectKind.BLUR)


class DeviceCompositor:
    """Draws the effects of `DRAWN_ON_DEVICE`.

    Args:
        config: The effect, and its device.
        background: What shows behind the hands, for `green` and `replace`.

    Raises:
        DeviceError: The device is not there.
    """

    def __init__(self, config: EffectConfig, background: Background) -> None:
        self._config = config
        self._device = find_device(config.device)
        self._upload = Upload(self._device)
        self._background = background
        self._kept: tuple[tuple[int, int], torch.Tensor] | None = None
        draw: dict[EffectKind, Callable[[torch.Tensor, Sequence[tuple[int, Matte]]], torch.Tensor]] = {
            EffectKind.OVERLAY: self._overlay,
            EffectKind.GREEN: self._on_background,
            EffectKind.REPLACE: self._on_background,
            EffectKind.BLUR: self._blur,
        }
        self._draw = draw[config.kind]

    def draw(self, result: FrameResult) -> NDArray[np.uint8]:
        """The picture with the effect, without landmarks and labels.

        Returns:
            A new (H, W, 3) uint8 RGB picture.

        Raises:
            InvalidInputError: A mask belongs to a frame of another size.
        """
        mattes = mattes_of(result, self._config.feather_px)
        with torch.inference_mode():
            drawn = self._draw(self._upload(result.frame.image), mattes)
            (picture,) = fetched(drawn)
        return picture.numpy()

    def _overlay(self, frame: torch.Tensor, mattes: Sequence[tuple[int, Matte]]) -> torch.Tensor:
        out = frame.clone()
        for track_id, matte in mattes:
            part = out[matte.slices].float()
            weight = self._weight(matte.alpha) * self._config.opacity
            colour = torch.tensor(track_colour(track_id), dtype=torch.float32, device=self._device)
            out[matte.slices] = _rounded(torch.lerp(part, colour.expand_as(part), weight))
        return out

    def _on_background(self, frame: torch.Tensor, mattes: Sequence[tuple[int, Matte]]) -> torch.Tensor:
        return self._composed(frame, self._picture((frame.shape[1], frame.shape[0])), mattes)

    def _blur(self, frame: torch.Tensor, mattes: Sequence[tuple[int, Matte]]) -> torch.Tensor:
        alpha = self._combined(frame, mattes)
        return self._composed(frame, _blurred(frame, alpha, self._config.blur_px), mattes, alpha)

    def _composed(
        self,
        frame: torch.Tensor,
        background: torch.Tensor,
        mattes: Sequence[tuple[int, Matte]],
        alpha: torch.Tensor | None = None,
    ) -> torch.Tensor:
        alpha = self._combined(frame, mattes) if alpha is None else alpha
        out = background.clone()
        for _, matte in mattes:  # each from frame and background: overlapping hands are blended once
            front, back = frame[matte.slices].float(), background[matte.slices].float()
            out[matte.slices] = _rounded(torch.lerp(back, front, alpha[matte.slices]))
        return out

    def _combined(self, frame: torch.Tensor, mattes: Sequence[tuple[int, Matte]]) -> torch.Tensor:
        """(H, W, 1) float32 alpha 0 to 1 over the whole picture; where hands overlap the larger one counts."""
        alpha = torch.zeros((*frame.shape[:2], 1), device=self._device)
        for _, matte in mattes:
            alpha[matte.slices] = torch.maximum(alpha[matte.slices], self._weight(matte.alpha))
        return alpha

    def _weight(self, alpha: NDArray[np.uint8]) -> torch.Tensor:
        """(h, w, 1) float32, 0 to 1."""
        return torch.from_numpy(np.ascontiguousarray(alpha)).to(self._device)[..., None].float() / 255.0

    def _picture(self, size: tuple[int, int]) -> torch.Tensor:
        """The background for pictures of (width, height), which stays on the device."""
        if self._kept is None or self._kept[0] != size:
            picture = torch.from_numpy(np.ascontiguousarray(self._background.picture(size))).to(self._device)
            self._kept = size, picture
        return self._kept[1]


def _rounded(values: torch.Tensor) -> torch.Tensor:
    return values.round().clamp_(0.0, 255.0).to(torch.uint8)


def _blurred(frame: torch.Tensor, alpha: torch.Tensor, sigma_at_720: float) -> torch.Tensor:
    """`overlay.backgrounds.blurred_background` on the device: the same normalised convolution."""
    height, width = frame.shape[:2]
    sigma, size = blur_scale((width, height), sigma_at_720)
    small = F.interpolate(frame.permute(2, 0, 1)[None].float(), size=(size[1], size[0]), mode="area")
    certainty = 1.0 - F.interpolate(alpha.permute(2, 0, 1)[None], size=(size[1], size[0]), mode="area")
    smooth = _gaussian(torch.cat([small * certainty, certainty], 1), sigma)
    blurred = _rounded(smooth[:, :3] / smooth[:, 3:].clamp(min=1e-3)).float()
    grown = F.interpolate(blurred, size=(height, width), mode="bilinear", align_corners=False)
    return _rounded(grown)[0].permute(1, 2, 0).contiguous()


def _gaussian(picture: torch.Tensor, sigma: float) -> torch.Tensor:
    """(1, C, H, W) smoothed, along rows and along columns, mirrored at the borders without their last pixel."""
    channels, height, width = picture.shape[1:]
    reach = min(int(np.ceil(_SIGMAS * sigma)), height - 1, width - 1)
    at = torch.arange(-reach, reach + 1, device=picture.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(channels, 1, -1)
    padded = F.pad(picture, (reach, reach, reach, reach), mode="reflect")
    across = F.conv2d(padded, kernel[:, :, None, :], groups=channels)
    return F.conv2d(across, kernel[:, :, :, None], groups=channels)
