"""A SAM2 small enough to be trained by a benchmark on one core: upstream's own modules, only narrower.

The official weights cannot be fetched everywhere and random weights give no masks, so what the engine does with masks
(two hands that must not overlap, holes, the memory's gate) is measured with this one on rendered clips. It is built
from upstream's tiny configuration by overrides; heads, memory, pointers and object scores work as in the official
model, so the engine takes the same path. Its masks say nothing about how good the official weights are.
`python -m benchmarks.train_small_sam2` trains it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

IMAGE_SIZE: Final = 256
_WIDTH: Final = 64
_MEMORY_WIDTH: Final = _WIDTH // 4
_TRUNK_WIDTH: Final = 24
_GRID: Final = IMAGE_SIZE // 16
_CONFIG: Final = "configs/sam2.1/sam2.1_hiera_t.yaml"


def _attention(part: str) -> tuple[str, ...]:
    return (
        f"++model.memory_attention.layer.{part}.embedding_dim={_WIDTH}",
        f"++model.memory_attention.layer.{part}.feat_sizes=[{_GRID},{_GRID}]",
        f"++model.memory_attention.layer.{part}.dropout=0.0",
    )


SMALL_OVERRIDES: Final[tuple[str, ...]] = (
    f"++model.image_size={IMAGE_SIZE}",
    f"++model.image_encoder.trunk.embed_dim={_TRUNK_WIDTH}",
    "++model.image_encoder.trunk.stages=[1,2,3,1]",
    "++model.image_encoder.trunk.global_att_blocks=[5]",
    f"++model.image_encoder.trunk.window_spec=[8,4,{_GRID},8]",  # 14 and 7 would be padded at this size
    f"++model.image_encoder.neck.d_model={_WIDTH}",
    f"++model.image_encoder.neck.position_encoding.num_pos_feats={_WIDTH}",
    "++model.image_encoder.neck.backbone_channel_list="
    + str([_TRUNK_WIDTH * k for k in (8, 4, 2, 1)]).replace(" ", ""),
    f"++model.memory_attention.d_model={_WIDTH}",
    "++model.memory_attention.num_layers=2",
    f"++model.memory_attention.layer.d_model={_WIDTH}",
    f"++model.memory_attention.layer.dim_feedforward={4 * _WIDTH}",
    "++model.memory_attention.layer.dropout=0.0",
    *_attention("self_attention"),
    *_attention("cross_attention"),
    f"++model.memory_attention.layer.cross_attention.kv_in_dim={_MEMORY_WIDTH}",
    f"++model.memory_encoder.in_dim={_WIDTH}",
    f"++model.memory_encoder.out_dim={_MEMORY_WIDTH}",
    f"++model.memory_encoder.position_encoding.num_pos_feats={_MEMORY_WIDTH}",
    f"++model.memory_encoder.mask_downsampler.embed_dim={_WIDTH}",
    f"++model.memory_encoder.fuser.layer.dim={_WIDTH}",
    # upstream starts its fuser switched off, which costs more training than there is
    "++model.memory_encoder.fuser.layer.layer_scale_init_value=0.1",
    "++model.binarize_mask_from_pts_for_mem_enc=true",
)
"""Hydra overrides that make upstream's tiny configuration the small one; its video predictor takes them, too."""


def default_folder() -> Path:
    """Where the benchmark's clips and weights lie: a cache, outside the repository."""
    import pooch

    return Path(pooch.os_cache("gest_stream")) / "benchmarks"


def default_weights() -> Path:
    """Where the training writes the weights."""
    return default_folder() / "small_sam2.pt"


def build_small_sam2(weights: Path | None = None) -> SAM2Base:
    """The small model on the CPU, in evaluation mode.

    Args:
        weights: What `python -m benchmarks.train_small_sam2` wrote; None leaves the weights as they are drawn.
    """
    from sam2.build_sam import build_sam2

    path = None if weights is None else str(weights)
    return build_sam2(_CONFIG, path, device="cpu", hydra_overrides_extra=list(SMALL_OVERRIDES))
