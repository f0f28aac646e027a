"""The network of the `builtin` segmenter: one hand's crop and what is expected of it in, its mask out.

Inputs, (B, 10, grid, grid), as `refiner_inputs.py` lays them out: the crop's colours, whether a cell lies in the frame,
the hand's shape by its landmarks, the other hands' shapes, and the last frame's mask and colours moved to this crop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import nn

from gest_stream.errors import WeightsError

INPUTS: Final = 10
MAPS: Final = ("hand", "other hands", "forearms")
"""What the maps show; all but the first only help to learn."""


@dataclass(frozen=True, slots=True)
class RefinerSpec:
    """What a network is built of.

    Args:
        widths: Channels at a half, a quarter, … of the grid.
        depths: Convolutions at each of these beyond the one that halves, on the way down.
        grid: Cells of a side of the crop that it was trained for; a multiple of 2 ** len(widths).
    """

    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    depths: tuple[int, ...] = (0, 1, 1, 2, 1)
    grid: int = 160

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or not self.widths or min(self.widths) < 1 or min(self.depths) < 0:
            raise WeightsError(f"refiner: expected as many widths as depths, got {self.widths} and {self.depths}")
        if self.grid < 32 or self.grid % 2 ** len(self.widths):
            raise WeightsError(
                f"refiner: expected a grid that is a multiple of {2 ** len(self.widths)}, got {self.grid}"
            )

    @classmethod
    def from_metadata(cls, values: Any) -> RefinerSpec:
        """Read what `as_metadata` gave.

        Raises:
            WeightsError: It is something else.
        """
        try:
            return cls(tuple(map(int, values["widths"])), tuple(map(int, values["depths"])), int(values["grid"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise WeightsError(f"refiner: its weights do not say what it is built of ({exc!r}); train it anew") from exc

    def as_metadata(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


class _Conv(nn.Module):
    """A 3x3 convolution and a rectifier; between them a normalisation while it learns."""

    def __init__(self, inputs: int, outputs: int, stride: int, normalised: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not normalised)
        self.norm = nn.BatchNorm2d(outputs) if normalised else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return F.relu(x if self.norm is None else self.norm(x))


class RefinerNet(nn.Module):
    """A small U-Net whose first convolution halves the grid and whose last map is shuffled back to it.

    Source: Ronneberger, Fischer and Brox, "U-Net", 2015; that a mask of the last frame guides the next one follows
    Perazzi et al., "Learning Video Object Segmentation from Static Images" (MaskTrack), 2017.

    Args:
        spec: What it is built of.
        normalised: With normalisations, as it learns; without, as `folded` leaves it.
    """

    def __init__(self, spec: RefinerSpec, normalised: bool = False) -> None:
        super().__init__()
        self.spec = spec
        down, inputs = [], INPUTS
        for width, depth in zip(spec.widths, spec.depths, strict=True):
            convs = [_Conv(inputs, width, 2, normalised), *(_Conv(width, width, 1, normalised) for _ in range(depth))]
            down.append(nn.Sequential(*convs))
            inputs = width
        self.down = nn.ModuleList(down)
        pairs = list(zip(spec.widths[:0:-1], spec.widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_Conv(deep + width, width, 1, normalised) for deep, width in pairs)
        self.last = _Conv(spec.widths[0], spec.widths[0], 1, normalised)
        self.maps = nn.Conv2d(spec.widths[0], 4 * len(MAPS), 1)
        self.presence = nn.Linear(2 * spec.widths[-1], 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Segment crops.

        Args:
            x: (B, 10, grid, grid).

        Returns:
            (B, 3, grid, grid) logits of `MAPS`, and (B,) logits of the hand being there.
        """
        x, skipped, seen = way_down(self.down, self.presence, x)
        for stage in self.up:
            x = stage(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skipped.pop()], dim=1))
        return F.pixel_shuffle(self.maps(self.last(x)), 2), seen


def way_down(
    down: Iterable[nn.Module], presence: nn.Module, x: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """The coarsest map of (B, 10, grid, grid) inputs, those above it, the finest first, and (B,) logits of presence."""
    maps = []
    for stage in down:
        x = stage(x)
        maps.append(x)
    return x, maps[:-1], presence(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))[:, 0]


def folded(state: Mapping[str, torch.Tensor], eps: float = 1e-5) -> dict[str, torch.Tensor]:
    """The weights of a normalised network as those of a plain one that computes the same.

    Args:
        state: State dict of `RefinerNet(spec, normalised=True)`.
        eps: Of its normalisations.
    """
    plain = {}
    for name, value in state.items():
        if ".norm." in name:
            continue
        stem = name.removesuffix(".conv.weight")
        if stem == name:
            plain[name] = value
            continue
        norm = f"{stem}.norm."
        gain = state[f"{norm}weight"] * torch.rsqrt(state[f"{norm}running_var"] + eps)
        plain[name] = value * gain[:, None, None, None]
        plain[f"{stem}.conv.bias"] = state[f"{norm}bias"] - state[f"{norm}running_mean"] * gain
    return plain


def build_refiner(state: Mapping[str, torch.Tensor], spec: RefinerSpec) -> RefinerNet:
    """The network of folded weights, ready to compute.

    Raises:
        WeightsError: They belong to another network.
    """
    net = RefinerNet(spec)
    try:
        net.load_state_dict(dict(state))
    except RuntimeError as exc:
        raise WeightsError(f"refiner: its weights do not fit what they say it is built of ({exc}); train anew") from exc
    return net.eval().requires_grad_(False)
