"""DINOv2's image encoder: patch tokens of pictures of any size, from the official weights.

The modules are timm's; what happens between them is here, because timm resizes position embeddings in another way than
facebookresearch/dinov2, whose numbers a decoder was trained on.

Source: DINOv2, Oquab et al. 2023 (arXiv:2304.07193); registers, Darcet et al. 2023 (arXiv:2309.16588);
dinov2/models/vision_transformer.py, DinoVisionTransformer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gest_stream.config import DinoBackbone
from gest_stream.errors import InvalidInputError, MissingDependencyError, WeightsError
from gest_stream.models.checkpoint import read_state

PATCH_PX = 14
"""Side of a patch."""

_TRAINED_SIDE_PX = 518
_TRAINED_GRID = _TRAINED_SIDE_PX // PATCH_PX
_OFFSET = 0.1  # DinoVisionTransformer.interpolate_offset, of the models without registers


@dataclass(frozen=True, slots=True)
class BackboneShape:
    """What tells one backbone from another.

    Args:
        name: For messages.
        width: Values of a token.
        depth: Blocks.
        registers: Register tokens.
    """

    name: str
    width: int
    depth: int
    registers: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.width} wide)"


SHAPES: Mapping[DinoBackbone, BackboneShape] = {
    DinoBackbone.VITS14: BackboneShape("DINOv2 ViT-S/14", 384, 12),
    DinoBackbone.VITB14: BackboneShape("DINOv2 ViT-B/14", 768, 12),
    DinoBackbone.VITS14_REG: BackboneShape("DINOv2 ViT-S/14 with registers", 384, 12, 4),
    DinoBackbone.VITB14_REG: BackboneShape("DINOv2 ViT-B/14 with registers", 768, 12, 4),
    DinoBackbone.NANO: BackboneShape("nano", 192, 4),
}
"""Every backbone there is."""

_OTHER_SIZES = {1024: "ViT-L/14", 1536: "ViT-g/14"}


class DinoEncoder(nn.Module):
    """A vision transformer of DINOv2's architecture.

    Its weights are drawn from torch's random numbers; `load_official` brings the trained ones.

    Args:
        kind: Which one.

    Raises:
        MissingDependencyError: The package timm is not installed.
    """

    def __init__(self, kind: DinoBackbone) -> None:
        super().__init__()
        self.kind = kind
        self.vit: Any = _build(kind)

    @property
    def shape(self) -> BackboneShape:
        """What tells it from the others."""
        return SHAPES[self.kind]

    @property
    def width(self) -> int:
        """Values of a token."""
        return self.shape.width

    @property
    def depth(self) -> int:
        """Blocks."""
        return self.shape.depth

    def forward(self, images: torch.Tensor, levels: Sequence[int]) -> list[torch.Tensor]:
        """Patch tokens after some of the blocks.

        Args:
            images: (B, 3, H, W) float32, normalised; H and W are multiples of 14.
            levels: Blocks whose tokens are wanted, from 0, ascending.

        Returns:
            For each level (B, C, H/14, W/14): the tokens after that block and the final norm.

        Raises:
            InvalidInputError: The pictures are of another shape, or there is no such block.
        """
        self._check(images, levels)
        patches = self.vit.patch_embed.proj(images)
        height, width = patches.shape[-2:]
        tokens = self._with_positions(patches.flatten(2).transpose(1, 2), height, width)
        found = []
        for index, block in enumerate(self.vit.blocks[: max(levels) + 1]):
            tokens = block(tokens)
            if index in levels:
                own = self.vit.norm(tokens)[:, 1 + self.shape.registers :]
                found.append(own.transpose(1, 2).reshape(-1, self.width, height, width))
        return found

    def _check(self, images: torch.Tensor, levels: Sequence[int]) -> None:
        if images.ndim != 4 or images.shape[1] != 3 or not _is_whole(images.shape[2]) or not _is_whole(images.shape[3]):
            raise InvalidInputError(
                f"images: expected (B, 3, H, W) with H and W multiples of {PATCH_PX}, got {tuple(images.shape)}"
            )
        if not levels or list(levels) != sorted(set(levels)) or levels[0] < 0 or levels[-1] >= self.depth:
            raise InvalidInputError(f"levels: expected ascending blocks of 0 to {self.depth - 1}, got {tuple(levels)}")

    def _with_positions(self, patches: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """All tokens of the first block, (B, 1 + registers + N, C), from (B, N, C).

        With registers, timm keeps no position for the class token (`no_embed_class`): `load_official` has added it.
        """
        count, registers = patches.shape[0], self.shape.registers
        position = self.vit.pos_embed
        own = position if registers else position[:, 1:]
        patches = patches + resize_positions(own, height, width, with_registers=registers > 0)
        first = self.vit.cls_token if registers else self.vit.cls_token + position[:, :1]
        prefix = [first, self.vit.reg_token] if registers else [first]
        return torch.cat([*(one.expand(count, -1, -1) for one in prefix), patches], dim=1)


def resize_positions(positions: torch.Tensor, height: int, width: int, with_registers: bool) -> torch.Tensor:
    """Position embeddings for another grid.

    Follows DinoVisionTransformer.interpolate_pos_encoding with the arguments of dinov2/hub/backbones.py: the models
    without registers sample at the scale (n + 0.1) / 37, those with registers with antialiasing to the size.

    Args:
        positions: (1, 37 * 37, C).
        height: Rows wanted.
        width: Columns wanted.
        with_registers: Which models.

    Returns:
        (1, height * width, C).
    """
    if height == width == _TRAINED_GRID:
        return positions
    grid = positions.float().transpose(1, 2).reshape(1, -1, _TRAINED_GRID, _TRAINED_GRID)
    if with_registers:
        resized = F.interpolate(grid, size=(height, width), mode="bicubic", antialias=True)
    else:
        scale = ((height + _OFFSET) / _TRAINED_GRID, (width + _OFFSET) / _TRAINED_GRID)
        resized = F.interpolate(grid, scale_factor=scale, mode="bicubic")
    return resized.flatten(2).transpose(1, 2)


def load_official(encoder: DinoEncoder, path: Path) -> None:
    """Put facebookresearch's weights into an encoder.

    Args:
        encoder: Of the size that the weights are of.
        path: A file of https://dl.fbaipublicfiles.com/dinov2.

    Raises:
        WeightsError: The file cannot be read, is something else, or is of another size.
    """
    state, wanted = read_state(path), encoder.shape
    found = describe_official(state)
    if found is None:
        raise WeightsError(
            f"{path}: holds no DINOv2 encoder; {wanted} was expected, as a file of facebookresearch/dinov2 has it"
        )
    if found != wanted:
        other = next((f", or the backbone {kind}" for kind, shape in SHAPES.items() if shape == found), "")
        raise WeightsError(f"{path}: is {found}; {wanted} was expected; use weights of {wanted.name}{other}")
    encoder.vit.load_state_dict(official_weights(encoder, state, path))


def official_weights(encoder: DinoEncoder, state: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The weights of `encoder.vit` from a state dict of facebookresearch/dinov2 that is of its size.

    Args:
        encoder: Whose names and shapes are wanted.
        state: Under the official names.
        path: Where it was read, for messages.

    Raises:
        WeightsError: A weight is absent, foreign, or of another shape.
    """
    own = {name: value for name, value in state.items() if name not in ("mask_token", "register_tokens")}
    if encoder.shape.registers:
        own["reg_token"] = state["register_tokens"]
        own["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        own["pos_embed"] = state["pos_embed"][:, 1:]
    check_names(own, encoder.vit.state_dict(), path, str(encoder.shape))
    return own


def check_names(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], path: Path, what: str) -> None:
    """Refuse weights that are not those of a network, name by name and shape by shape.

    Args:
        state: What was read.
        expected: What the network has.
        path: Where it was read, for messages.
        what: What it was taken for, for messages.

    Raises:
        WeightsError: A weight is absent, foreign, or of another shape.
    """
    wrong = sorted(state.keys() ^ expected.keys())
    wrong += sorted(name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape)
    if wrong:
        name = wrong[0]
        sides = [str(tuple(side[name].shape)) if name in side else "absent" for side in (state, expected)]
        raise WeightsError(
            f"{path}: looks like {what}, but {len(wrong)} weights do not fit it, for example {name}: "
            f"{sides[0]} in the file, {sides[1]} in the network; get the file anew"
        )


def describe_official(state: Mapping[str, torch.Tensor]) -> BackboneShape | None:
    """Which of DINOv2's models a state dict is of; None where it is of none."""
    patches, position = state.get("patch_embed.proj.weight"), state.get("pos_embed")
    blocks = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    if patches is None or position is None or not blocks or "blocks.0.ls1.gamma" not in state or patches.ndim != 4:
        return None
    registers = state["register_tokens"].shape[1] if "register_tokens" in state else 0
    width, depth = patches.shape[0], len(blocks)
    for shape in SHAPES.values():
        if (shape.width, shape.depth, shape.registers) == (width, depth, registers):
            return shape
    kind = _OTHER_SIZES.get(width, f"model of {depth} blocks")
    return BackboneShape(f"DINOv2 {kind}{' with registers' if registers else ''}", width, depth, registers)


def _is_whole(pixels: int) -> bool:
    return pixels > 0 and pixels % PATCH_PX == 0


def _build(kind: DinoBackbone) -> Any:
    try:
        import timm
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as exc:
        raise MissingDependencyError("the redetector dino needs the package timm: pip install 'timm>=1.0.15'") from exc
    if kind is DinoBackbone.NANO:
        # LayerScale starts at 1: with DINOv2's 1e-5 the blocks do nothing for thousands of steps
        return VisionTransformer(
            img_size=_TRAINED_SIDE_PX,
            patch_size=PATCH_PX,
            num_classes=0,
            embed_dim=SHAPES[kind].width,
            depth=SHAPES[kind].depth,
            num_heads=3,
            init_values=1.0,
        )
    size = "small" if SHAPES[kind].width == 384 else "base"
    registers = "_reg4" if SHAPES[kind].registers else ""
    name = f"vit_{size}_patch14{registers}_dinov2"
    return timm.create_model(name, pretrained=False, num_classes=0, img_size=_TRAINED_SIDE_PX)
