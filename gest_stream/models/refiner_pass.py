"""The refiner's network in use: what it says of the hand alone, with two thirds of the multiplications of its way up.

A 3x3 convolution of a map that was doubled by repeating its cells sees only 2x2 different cells, which lie in four
ways. It is computed as four 2x2 convolutions of the small map with sums of the same weights: 16 multiplications where
there were 36 (the transformation of Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?",
the other way round). What a network of the same weights says differs by rounding alone.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from gest_stream.models.refiner import MAPS, RefinerNet, RefinerSpec, way_down

_FOLDS: Final = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
"""How the three rows of a kernel fall on two rows of the small map: for even rows of the doubled one, for odd ones."""


class RefinerPass(nn.Module):
    """A folded `RefinerNet`, ready to compute.

    Args:
        net: Whose weights these are; parts of it are used on, so it belongs to this object from now on.
    """

    def __init__(self, net: RefinerNet) -> None:
        super().__init__()
        self.spec: RefinerSpec = net.spec
        self.down, self.presence, self.last = net.down, net.presence, net.last
        state = net.state_dict()
        self.up = nn.ModuleList(
            _Up(state[f"up.{number}.conv.weight"], state[f"up.{number}.conv.bias"], deep)
            for number, deep in enumerate(net.spec.widths[:0:-1])
        )
        each = net.maps.out_channels // len(MAPS)
        self.hand = nn.Conv2d(net.maps.in_channels, each, 1)
        self.hand.load_state_dict({name: state[f"maps.{name}"][:each] for name in ("weight", "bias")})
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Segment crops.

        Args:
            x: (B, 10, grid, grid).

        Returns:
            (B, grid, grid) logits of the hand, and (B,) logits of its being there.
        """
        x, skipped, seen = way_down(self.down, self.presence, x)
        for stage in self.up:
            x = stage(x, skipped.pop())
        return F.pixel_shuffle(self.hand(self.last(x)), 2)[:, 0], seen


class _Up(nn.Module):
    """Doubles a map and mixes it with one of the way down, as a convolution does with both beside each other.

    Args:
        weight: (C, deep + D, 3, 3) of that convolution.
        bias: (C,)
        deep: Channels of the map that is doubled, which come first.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, deep: int) -> None:
        super().__init__()
        width, beside = weight.shape[0], weight.shape[1] - deep
        self.beside = nn.Conv2d(beside, width, 3, 1, 1)
        self.beside.load_state_dict({"weight": weight[:, deep:], "bias": bias})
        folds = torch.tensor(_FOLDS)
        kernels = torch.einsum("apk,bql,oikl->aboipq", folds, folds, weight[:, :deep])
        self.below = nn.Conv2d(deep, 4 * width, 2, 1, 1, bias=False)
        self.below.load_state_dict({"weight": kernels.reshape(4 * width, deep, 2, 2)})

    def forward(self, x: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        rows, columns = x.shape[2:]
        mixed: torch.Tensor = self.beside(side)
        parts = self.below(x).chunk(4, dim=1)
        for place, part in enumerate(parts):
            down, across = divmod(place, 2)
            mixed[:, :, down::2, across::2] += part[:, :, down : down + rows, across : across + columns]
        return mixed.relu_()
