"""DINOv2 as facebookresearch lays it out, computed plainly from a state dict: what our encoder is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F

State = dict[str, torch.Tensor]

GRID = 37
_EPS = 1e-6


def official_state(width: int, depth: int = 12, registers: int = 0, seed: int = 0) -> State:
    """Seeded weights under the official names; no gamma is one, no bias is zero, and tokens keep a size of about 1."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float, mean: float = 0.0) -> torch.Tensor:
        return torch.randn(*shape, generator=draw) * std + mean

    def linear(name: str, outputs: int, inputs: int) -> State:
        return {f"{name}.weight": normal(outputs, inputs, std=inputs**-0.5), f"{name}.bias": normal(outputs, std=0.1)}

    def norm(name: str) -> State:
        return {f"{name}.weight": normal(width, std=0.2, mean=1.0), f"{name}.bias": normal(width, std=0.1)}

    state = {
        "cls_token": normal(1, 1, width, std=0.5),
        "pos_embed": normal(1, GRID * GRID + 1, width, std=0.5),
        "mask_token": normal(1, width, std=0.5),
        "patch_embed.proj.weight": normal(width, 3, 14, 14, std=(3 * 14 * 14) ** -0.5),
        "patch_embed.proj.bias": normal(width, std=0.1),
        **norm("norm"),
    }
    if registers:
        state["register_tokens"] = normal(1, registers, width, std=0.5)
    for index in range(depth):
        block = f"blocks.{index}"
        state |= norm(f"{block}.norm1") | norm(f"{block}.norm2")
        state |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
        state |= linear(f"{block}.mlp.fc1", 4 * width, width) | linear(f"{block}.mlp.fc2", width, 4 * width)
        state |= {f"{block}.ls{k}.gamma": normal(width, std=0.1, mean=0.3) for k in (1, 2)}
    return state


def hollow(state: State) -> State:
    """The same names and shapes, as views of one zero, so that a file of them is small."""
    return {name: torch.zeros(()).expand(value.shape) for name, value in state.items()}


@lru_cache
def _hollow_official(width: int, depth: int, registers: int) -> State:
    return hollow(official_state(width, depth, registers))


def hollow_official(width: int, depth: int = 12, registers: int = 0) -> State:
    """`official_state` without its values."""
    return dict(_hollow_official(width, depth, registers))


def plain_tokens(state: State, images: torch.Tensor) -> Iterator[torch.Tensor]:
    """After each block the normalised patch tokens (B, C, H/14, W/14), the class token and registers left out."""
    patches = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    count, width, rows, columns = patches.shape
    registers = state.get("register_tokens")
    tokens = torch.cat([state["cls_token"].expand(count, 1, width), patches.flatten(2).transpose(1, 2)], dim=1)
    tokens = tokens + _positions(state["pos_embed"], rows, columns, registers is not None)
    skipped = 1
    if registers is not None:
        skipped += registers.shape[1]
        tokens = torch.cat([tokens[:, :1], registers.expand(count, -1, -1), tokens[:, 1:]], dim=1)
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    for index in range(depth):
        block = {name.split(".", 2)[2]: value for name, value in state.items() if name.startswith(f"blocks.{index}.")}
        tokens = tokens + block["ls1.gamma"] * _attention(block, _norm(block, "norm1", tokens), heads=width // 64)
        inner = _linear(block, "mlp.fc1", _norm(block, "norm2", tokens))
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        tokens = tokens + block["ls2.gamma"] * _linear(block, "mlp.fc2", inner)
        own = _norm(state, "norm", tokens)[:, skipped:]
        yield own.transpose(1, 2).reshape(count, width, rows, columns)


def _positions(table: torch.Tensor, rows: int, columns: int, with_registers: bool) -> torch.Tensor:
    if rows == columns == GRID:
        return table
    square = table[:, 1:].reshape(1, GRID, GRID, -1).permute(0, 3, 1, 2)
    if with_registers:
        square = F.interpolate(square, size=(rows, columns), mode="bicubic", antialias=True)
    else:
        scale = ((rows + 0.1) / math.sqrt(GRID * GRID), (columns + 0.1) / math.sqrt(GRID * GRID))
        square = F.interpolate(square, scale_factor=scale, mode="bicubic", antialias=False)
    return torch.cat([table[:, :1], square.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], dim=1)


def _attention(block: State, tokens: torch.Tensor, heads: int) -> torch.Tensor:
    count, length, width = tokens.shape
    own = _linear(block, "attn.qkv", tokens).reshape(count, length, 3, heads, width // heads)
    query, key, value = own.unbind(dim=2)
    likeness = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(width // heads)
    mixed = torch.einsum("bhqk,bkhd->bqhd", likeness.softmax(dim=-1), value)
    return _linear(block, "attn.proj", mixed.reshape(count, length, width))


def _norm(state: State, name: str, tokens: torch.Tensor) -> torch.Tensor:
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + _EPS)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def _linear(state: State, name: str, tokens: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bni,oi->bno", tokens, state[f"{name}.weight"]) + state[f"{name}.bias"]
