"""hand-seg: a small network of our own that says of every pixel whether it is hand, forearm or background.

An encoder of residual blocks (He et al. 2016) in the shape of a U-Net (Ronneberger et al. 2015), whose decoder adds
sides from 1x1 convolutions as feature pyramids do (Lin et al. 2017). At 1/32 of the input, where there are 40 to 64
cells, two blocks of self-attention (Vaswani et al. 2017) let every cell see the whole frame: what a forearm, a hand or
a face is shows in what it hangs on. Convolutions are plain ones: depthwise ones have less arithmetic, but were no
faster on a CPU (no figures kept).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from gest_stream.errors import WeightsError

CLASSES: Final = ("background", "hand", "forearm")
INPUT_PX: Final = 256
"""Longer side of what the network sees."""
CELL_PX: Final = 2
"""Of the input, a cell of the answer."""
ARCHITECTURE: Final = "hand-seg/1"
"""What the metadata of its weights say under `architecture`."""

_STRIDE: Final = 32
_WIDTHS: Final = (16, 32, 48, 80, 128)
"""Channels at 1/2, 1/4, 1/8, 1/16 and 1/32."""
_BLOCKS: Final = (0, 1, 1, 2, 1)
_DECODER_WIDTHS: Final = (16, 24, 32, 48)
"""Channels at 1/2, 1/4, 1/8 and 1/16, on the way back."""
_ATTENTION_BLOCKS: Final = 2
_HEADS: Final = 4
_MEAN: Final = 115.0
_SPREAD: Final = 60.0


def fit_frame(size: tuple[int, int], longer_side: int = INPUT_PX) -> tuple[tuple[int, int], tuple[int, int]]:
    """How large a frame of `size` is to the network.

    Args:
        size: (width, height) in pixels.
        longer_side: Of the picture that the network sees.

    Returns:
        (width, height) that the frame is resized to, its aspect kept, whole cells; and with the black at its right and
        bottom that fills up what the network needs, multiples of 32.
    """
    scale = longer_side / max(size)
    width, height = (max(CELL_PX, round(side * scale / CELL_PX) * CELL_PX) for side in size)
    return (width, height), (_padded(width), _padded(height))


def _padded(side: int) -> int:
    return -(-side // _STRIDE) * _STRIDE


class HandSegNet(nn.Module):
    """The network: 1.05 million parameters, 0.5 GFLOP a frame of 256x192."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, _WIDTHS[0], 3, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_ConvNorm(before, width, 3, stride=2), *(_Residual(width) for _ in range(blocks)))
            for before, width, blocks in zip(_WIDTHS, _WIDTHS[1:], _BLOCKS[1:], strict=False)
        )
        self.attention = nn.Sequential(*(_Attention(_WIDTHS[-1], _HEADS) for _ in range(_ATTENTION_BLOCKS)))
        coming = (*_DECODER_WIDTHS[1:], _WIDTHS[-1])
        self.ups = nn.ModuleList(
            _Up(below, side, width) for below, side, width in zip(coming, _WIDTHS[:-1], _DECODER_WIDTHS, strict=True)
        )
        self.head = nn.Conv2d(_DECODER_WIDTHS[0], len(CLASSES), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of pictures.

        Args:
            images: (B, H, W, 3) uint8 RGB, sides multiples of 32.

        Returns:
            (B, 3, H/2, W/2) of `CLASSES`.
        """
        # a view of RGB as it lies in memory is channels last, which convolutions on a CPU like best
        levels = [self.stem((images.permute(0, 3, 1, 2).float() - _MEAN) / _SPREAD)]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        x = self.attention(levels.pop())
        for up, side in zip(reversed(self.ups), reversed(levels), strict=True):
            x = up(x, side)
        logits: torch.Tensor = self.head(x)
        return logits

    def fold(self) -> None:
        """Work the normalisation into the convolutions, for inference: the answers stay, the network gets quicker."""
        self.eval()
        for module in self.modules():
            if isinstance(module, _ConvNorm):
                module.fold()


def net_of(state: Mapping[str, torch.Tensor], metadata: Mapping[str, object], name: str) -> HandSegNet:
    """The network with its weights.

    Args:
        state: As `HandSegNet.state_dict()` has it.
        metadata: Of the file.
        name: What messages call it.

    Raises:
        WeightsError: They are another network's.
    """
    if metadata.get("architecture") != ARCHITECTURE:
        found = metadata.get("architecture", metadata.get("preset", "something else"))
        raise WeightsError(f"{name}: holds weights of {found}, not of {ARCHITECTURE}; give those of hand-seg")
    net = HandSegNet()
    try:
        net.load_state_dict(state)
    except RuntimeError as exc:
        first = str(exc).splitlines()[-1].strip()
        raise WeightsError(f"{name}: does not fit {ARCHITECTURE} ({first}); install gest-stream anew") from exc
    return net


class _ConvNorm(nn.Module):
    """Convolution, batch normalisation and, where wished, what is above zero."""

    def __init__(self, channels: int, width: int, kernel: int, *, stride: int = 1, activate: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(width)
        self._activate = activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=True) if self._activate else x

    def fold(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _ConvNorm(width, width, 3)
        self.second = _ConvNorm(width, width, 3, activate=False)
        assert isinstance(self.second.norm, nn.BatchNorm2d)
        nn.init.zeros_(self.second.norm.weight)  # each block starts as nothing (Goyal et al. 2017, section 5.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(self.first(x)), inplace=True)


class _Attention(nn.Module):
    """One block of a transformer over all cells, normalised first; convolutions before it tell where a cell lies."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, width, rows, columns = x.shape
        cells = x.permute(0, 2, 3, 1).reshape(batch, rows * columns, width)
        split = self.qkv(self.norm(cells)).view(batch, -1, 3, self._heads, width // self._heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(cells.shape)
        cells = cells + self.out(seen)
        cells = cells + self.mlp(cells)
        grid: torch.Tensor = cells.view(batch, rows, columns, width).permute(0, 3, 1, 2)
        return grid


class _Up(nn.Module):
    """Doubles the grid and adds what the encoder saw on it."""

    def __init__(self, below: int, side: int, width: int) -> None:
        super().__init__()
        self.below = _ConvNorm(below, width, 1, activate=False)
        self.side = _ConvNorm(side, width, 1, activate=False)
        self.mix = _ConvNorm(width, width, 3)

    def forward(self, x: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        doubled = F.interpolate(self.below(x), scale_factor=2.0, mode="nearest")
        mixed: torch.Tensor = self.mix(F.relu(doubled + self.side(side), inplace=True))
        return mixed
