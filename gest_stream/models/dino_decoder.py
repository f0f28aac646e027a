"""Our segmentation network: a decoder on DINOv2's patch tokens that tells hands and forearms from the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gest_stream.config import DinoBackbone
from gest_stream.config.check import require, take_members
from gest_stream.errors import ConfigError, WeightsError
from gest_stream.models.checkpoint import read_content, state_in
from gest_stream.models.dino import PATCH_PX, SHAPES, DinoEncoder, check_names

FORMAT = "gest_stream.redetector"
"""What a checkpoint of `save_net` calls itself."""

CELLS_PER_PATCH = 4
"""Cells of the output along a patch's side: one is 3.5 pixels of the input."""

_VERSION = 1
_LEVELS = 4
_GROUPS = 8
_PICTURE_CHANNELS = 16
_MEAN = (0.485, 0.456, 0.406)  # ImageNet's
_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class NetSpec:
    """What a `HandNet` is built of.

    Args:
        backbone: Its encoder.
        classes: What it tells from the background, in the order of its channels; "hand" is among them.
        levels: Blocks of the encoder whose tokens the decoder reads, ascending, from 0; empty takes four, evenly
            spaced, of which the last is the encoder's last.
        width: Channels of the decoder, a multiple of 16.
        input_size: Longer side in pixels of the pictures it is made for.

    Raises:
        ConfigError: A value has no meaning.
    """

    backbone: DinoBackbone
    classes: tuple[str, ...] = ("hand", "forearm")
    levels: tuple[int, ...] = ()
    width: int = 128
    input_size: int = 448

    def __post_init__(self) -> None:
        take_members(self, backbone=DinoBackbone)
        sound = all(isinstance(one, str) and one and one != "background" for one in self.classes)
        sound = sound and "hand" in self.classes and len(set(self.classes)) == len(self.classes)
        require(sound, "classes", "different names, hand among them", self.classes)
        depth = SHAPES[self.backbone].depth
        known = all(type(level) is int and 0 <= level < depth for level in self.levels)
        ascending = known and list(self.levels) == sorted(set(self.levels))
        require(ascending, "levels", f"ascending blocks of 0 to {depth - 1}", self.levels)
        sound = 16 <= self.width <= 1024 and self.width % 16 == 0
        require(sound, "width", "a multiple of 16 from 16 to 1024", self.width)
        require(56 <= self.input_size <= 2044, "input_size", "56 to 2044", self.input_size)

    @property
    def blocks(self) -> tuple[int, ...]:
        """The levels, spelled out."""
        depth = SHAPES[self.backbone].depth
        return self.levels or tuple(depth * (level + 1) // _LEVELS - 1 for level in range(_LEVELS))


class HandNet(nn.Module):
    """An encoder and a decoder on it; its weights are drawn from torch's random numbers.

    Args:
        spec: What it is built of.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = DinoEncoder(spec.backbone)
        self.decoder = _Decoder(self.encoder.width, len(spec.blocks), spec.width, 1 + len(spec.classes))

    def train_backbone(self, wanted: bool) -> None:
        """Let the encoder learn, or freeze it: then no gradient reaches it and nothing is kept for one."""
        self.encoder.requires_grad_(wanted)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of pictures.

        Args:
            images: (B, 3, H, W) float32 from `normalise`; H and W are multiples of 14.

        Returns:
            (B, 1 + classes, 4 * H/14, 4 * W/14); the first channel is the background, softmax goes over channels.
        """
        logits: torch.Tensor = self.decoder(self.encoder(images, self.spec.blocks), images)
        return logits


class _Decoder(nn.Module):
    """Tokens of several levels, summed, refined, enlarged twice, and joined with the picture itself for its edges."""

    def __init__(self, token_width: int, levels: int, width: int, outputs: int) -> None:
        super().__init__()
        self.inlets = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, token_width), nn.Conv2d(token_width, width, 1)) for _ in range(levels)
        )
        self.refine = nn.Sequential(_Residual(width), _Residual(width))
        self.middle = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1), nn.GroupNorm(_GROUPS, width // 2), nn.GELU()
        )
        self.narrow = nn.Conv2d(width // 2, width // 4, 1)
        # reads the picture at twice the output's resolution; 4 wide with stride 2 lies centred on each output cell
        self.picture = nn.Sequential(
            nn.Conv2d(3, _PICTURE_CHANNELS, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(_PICTURE_CHANNELS, _PICTURE_CHANNELS, 3, padding=1),
        )
        self.join = nn.Sequential(
            nn.Conv2d(width // 4 + _PICTURE_CHANNELS, width // 4, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 4, outputs, 3, padding=1),
        )

    def forward(self, levels: list[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        own = [inlet(level) for inlet, level in zip(self.inlets, levels, strict=True)]
        coarse = self.refine(torch.stack(own).sum(dim=0))
        fine = self.narrow(self.middle(_twice(coarse)))
        height, width = levels[0].shape[-2:]
        size = (2 * CELLS_PER_PATCH * height, 2 * CELLS_PER_PATCH * width)
        picture = self.picture(F.interpolate(images, size=size, mode="bilinear", antialias=True))
        joined = torch.cat([_twice(fine), picture], dim=1)
        logits: torch.Tensor = self.join(F.gelu(joined))
        return logits


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(_GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(_GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = values + self.body(values)
        return changed


def _twice(values: torch.Tensor) -> torch.Tensor:
    return F.interpolate(values, scale_factor=2.0, mode="bilinear")


def fit_to_input(frame_size: tuple[int, int], input_size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """How a frame is resized and padded for a network.

    Args:
        frame_size: (width, height), pixels.
        input_size: Longer side of what the network sees, pixels; rounded to a multiple of 14.

    Returns:
        (width, height) of the resized frame, its aspect kept, and (width, height) of it padded on the right and below
        to multiples of 14.
    """
    longer = max(PATCH_PX, round(input_size / PATCH_PX) * PATCH_PX)
    scale = longer / max(frame_size)
    width, height = (max(1, round(side * scale)) for side in frame_size)
    return (width, height), (-(-width // PATCH_PX) * PATCH_PX, -(-height // PATCH_PX) * PATCH_PX)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) float32 with ImageNet's mean and deviation, of (B, H, W, 3) uint8 RGB."""
    mean = torch.tensor(_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(_STD, device=images.device)[:, None, None]
    return (images.permute(0, 3, 1, 2) / 255.0 - mean) / std


def save_net(path: Path, net: HandNet) -> None:
    """Write a checkpoint that `load_net` reads; a file that is there stays whole until the new one is."""
    state = {name: value.detach().cpu() for name, value in net.state_dict().items()}
    spec = asdict(net.spec) | {"backbone": str(net.spec.backbone)}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        torch.save({"format": FORMAT, "v": _VERSION, "spec": spec, "model": state}, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_net(path: Path) -> HandNet:
    """The network of a checkpoint of `save_net`, on the CPU, in evaluation mode.

    Raises:
        WeightsError: The file cannot be read, or is something else.
    """
    return net_in(read_content(path), path)


def net_in(content: object, path: Path) -> HandNet:
    """The network in what a checkpoint holds.

    Args:
        content: From `read_content`.
        path: Where it was read, for messages.

    Raises:
        WeightsError: It is something else.
    """
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise WeightsError(f"{path}: was not written by gest-stream train decoder")
    if content.get("v") != _VERSION:
        raise WeightsError(
            f"{path}: has version {content.get('v')!r} of its format, and this gest_stream reads {_VERSION}; update it"
        )
    state = state_in(content, path)
    with torch.device("meta"):  # no weights are drawn that would be overwritten
        net = HandNet(_spec_in(content, path))
    check_names(state, net.state_dict(), path, f"a decoder on {net.encoder.shape}")
    net.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return net.eval()


def _spec_in(content: Mapping[str, object], path: Path) -> NetSpec:
    spec = content.get("spec")
    if not isinstance(spec, dict):
        raise WeightsError(f"{path}: does not say how its network is built; train it anew")
    try:
        return NetSpec(**spec | {name: tuple(spec[name]) for name in ("classes", "levels")})
    except (ConfigError, KeyError, TypeError) as exc:
        raise WeightsError(f"{path}: says of its network what this gest_stream cannot build ({exc})") from exc
