"""The project's own small SAM2, `--size nano`: upstream's modules, made narrow by overrides of the tiny config.

Heads, memory, pointers and object scores work as in the official models, so that engine and training take the same
path. What was cut is what costs a CPU core most for two hands (benchmarks/results/builtin_sam2_nano.json): the trunk's
width at stride 4, three of seven memory frames, twelve of sixteen pointers, three of four layers of memory attention,
and the mask's way into the memory, which takes two convolutions of stride 4 instead of four of stride 2.
"""

from __future__ import annotations

from typing import Any, Final

NANO_NAME: Final = "sam2-nano"
"""Of its weights, gest_stream/weights/sam2-nano.safetensors, and of its training preset."""

NANO_TRUNK_WIDTH: Final = 16
NANO_STAGES: Final = (1, 2, 4, 1)

_WIDTH: Final = 64
_DECODER_HEADS: Final = 2
_MEMORY_WIDTH: Final = _WIDTH // 4
_MEMORY_FRAMES: Final = 4
_POINTERS: Final = 4
_CHANNELS: Final = tuple(NANO_TRUNK_WIDTH * factor for factor in (8, 4, 2, 1))
_WINDOWS: Final = (8, 4, 16, 8)
"""The official 14 and 7 would be padded at 256 pixels."""

_TRUNK: Final = "model.image_encoder.trunk"
_NECK: Final = "model.image_encoder.neck"
_ATTENTION: Final = "model.memory_attention"
_MEMORY: Final = "model.memory_encoder"


def _numbers(values: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, values))}]"


def _attention(part: str) -> tuple[str, ...]:
    return (f"{_ATTENTION}.layer.{part}.embedding_dim={_WIDTH}", f"{_ATTENTION}.layer.{part}.dropout=0.0")


NANO_OVERRIDES: Final[tuple[str, ...]] = (
    f"{_TRUNK}.embed_dim={NANO_TRUNK_WIDTH}",
    f"{_TRUNK}.stages={_numbers(NANO_STAGES)}",
    f"{_TRUNK}.global_att_blocks=[6]",
    f"{_TRUNK}.window_spec={_numbers(_WINDOWS)}",
    f"{_NECK}.d_model={_WIDTH}",
    f"{_NECK}.position_encoding.num_pos_feats={_WIDTH}",
    f"{_NECK}.backbone_channel_list={_numbers(_CHANNELS)}",
    f"{_ATTENTION}.d_model={_WIDTH}",
    f"{_ATTENTION}.num_layers=1",
    f"{_ATTENTION}.layer.d_model={_WIDTH}",
    f"{_ATTENTION}.layer.dim_feedforward={4 * _WIDTH}",
    f"{_ATTENTION}.layer.dropout=0.0",
    *_attention("self_attention"),
    *_attention("cross_attention"),
    f"{_ATTENTION}.layer.cross_attention.kv_in_dim={_MEMORY_WIDTH}",
    f"{_MEMORY}.in_dim={_WIDTH}",
    f"{_MEMORY}.out_dim={_MEMORY_WIDTH}",
    f"{_MEMORY}.position_encoding.num_pos_feats={_MEMORY_WIDTH}",
    f"{_MEMORY}.mask_downsampler.embed_dim={_WIDTH}",
    f"{_MEMORY}.mask_downsampler.kernel_size=4",
    f"{_MEMORY}.mask_downsampler.stride=4",
    f"{_MEMORY}.mask_downsampler.padding=0",
    f"{_MEMORY}.fuser.num_layers=1",
    f"{_MEMORY}.fuser.layer.dim={_WIDTH}",
    # upstream starts its fuser switched off, which costs more training than a core has time for
    f"{_MEMORY}.fuser.layer.layer_scale_init_value=0.1",
    f"model.num_maskmem={_MEMORY_FRAMES}",
    f"model.max_obj_ptrs_in_encoder={_POINTERS}",
)
"""Settings of the `sam2` package's config, on top of the tiny model's."""


def narrow_decoder(modules: Any) -> None:
    """Give the mask decoder's attention two heads of 16 channels, as wide as an official model's.

    Upstream's config has no entry for them, and its eight would have 4 channels each, in which a point's place cannot
    be told: in a first training (no figures kept) such masks followed skin, not the prompt.
    """
    from sam2.modeling.sam.transformer import Attention

    for module in modules.sam_mask_decoder.transformer.modules():
        if isinstance(module, Attention):
            module.num_heads = _DECODER_HEADS
