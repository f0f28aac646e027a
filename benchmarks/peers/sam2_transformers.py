"""The weights of a SAM2 in the model that transformers has of it, `Sam2VideoModel`.

The two have the same parts under other names. What is needed is the table of names below, and three things that are
not a change of name: transformers numbers the layers of an MLP "in, between, out", stores the four point embeddings as
one table, and holds the random Fourier matrix twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from gest_stream.config import Sam2Size

_MLP_OF_TWO = re.compile(r"(\bmlp)\.layers\.([01])\.")
_MLP_OF_THREE = re.compile(
    r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d+|obj_ptr_proj)\.layers\.([012])\."
)
_THREE = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}
_DOWNSAMPLER = re.compile(r"mask_downsampler\.encoder\.(\d+)\.")
_POINT_EMBEDDING = "sam_prompt_encoder.point_embeddings.{}.weight"

# in this order: a later one sees what an earlier one wrote
_RENAMED = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"\.gamma$", ".scale"),
    (r"\.dwconv\.", ".depthwise_conv."),
    (r"\.pwconv([12])\.", r".pointwise_conv\1."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.norm(\d?|_final_attn)\.", r".layer_norm\1."),
    (r"^obj_ptr_proj\.", "object_pointer_proj."),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"^no_obj_ptr$", "no_object_pointer"),
)

# of sam2/configs/sam2.1: (width, blocks of each stage, blocks with global attention, window of the position embedding,
# windows of each stage)
_TRUNKS: Mapping[Sam2Size, tuple[int, list[int], list[int], int, list[int]]] = {
    Sam2Size.TINY: (96, [1, 2, 7, 2], [5, 7, 9], 7, [8, 4, 14, 7]),
    Sam2Size.SMALL: (96, [1, 2, 11, 2], [7, 10, 13], 7, [8, 4, 14, 7]),
    Sam2Size.BASE_PLUS: (112, [2, 3, 16, 3], [12, 16, 20], 14, [8, 4, 14, 7]),
    Sam2Size.LARGE: (144, [2, 6, 36, 4], [23, 33, 43], 7, [8, 4, 16, 8]),
}
_FIRST_HEADS: Mapping[Sam2Size, int] = {Sam2Size.BASE_PLUS: 2, Sam2Size.LARGE: 2}


def transformers_name(name: str) -> str:
    """What transformers calls a weight of the `sam2` package."""
    name = _MLP_OF_TWO.sub(lambda found: f"{found[1]}.proj_{('in', 'out')[int(found[2])]}.", name)
    name = _MLP_OF_THREE.sub(lambda found: f"{found[1]}.{_THREE[found[2]]}.", name)
    name = _DOWNSAMPLER.sub(lambda found: f"mask_downsampler.{_downsampler_layer(int(found[1]))}.", name)
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


def _downsampler_layer(index: int) -> str:
    """Four times convolution, norm, activation, and a convolution at the end."""
    if index == 12:
        return "final_conv"
    return f"layers.{index // 3}.{('conv', 'layer_norm')[index % 3]}"


def transformers_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of `Sam2VideoModel` with the weights of a `SAM2Base`."""
    points = [_POINT_EMBEDDING.format(index) for index in range(4)]
    renamed = {transformers_name(name): value for name, value in state.items() if name not in points}
    renamed["prompt_encoder.point_embed.weight"] = torch.cat([state[name] for name in points])
    renamed["shared_image_embedding.positional_embedding"] = renamed[
        "prompt_encoder.shared_embedding.positional_embedding"
    ]
    return renamed


def build_transformers_model(size: Sam2Size, image_size: int, state: Mapping[str, torch.Tensor]) -> Any:
    """A `Sam2VideoModel` with the weights of a `SAM2Base`, in evaluation mode, on the CPU.

    Args:
        size: Which of the official models.
        image_size: Side of the square that it takes, pixels.
        state: The weights, under the names of the `sam2` package.

    Raises:
        ImportError: transformers is not installed, or has no Sam2VideoModel.
        RuntimeError: The weights do not fit, name by name and shape by shape.
    """
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

    width, blocks, global_blocks, window, windows = _TRUNKS[size]
    widths = [width * factor for factor in (1, 2, 4, 8)]
    heads = [_FIRST_HEADS.get(size, 1) * factor for factor in (1, 2, 4, 8)]
    trunk = Sam2HieraDetConfig(
        hidden_size=width,
        image_size=[image_size, image_size],
        embed_dim_per_stage=widths,
        num_attention_heads=heads[0],
        num_attention_heads_per_stage=heads,
        blocks_per_stage=blocks,
        global_attention_blocks=global_blocks,
        window_positional_embedding_background_size=[window, window],
        window_size_per_stage=windows,
    )
    vision = Sam2VisionConfig(
        backbone_config=trunk,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[image_size // stride] * 2 for stride in (4, 8, 16)],
    )
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": image_size},
        image_size=image_size,
        memory_attention_rope_feat_sizes=[image_size // 16] * 2,
    )
    model = Sam2VideoModel(config).eval()
    model.load_state_dict(transformers_state(state), strict=True)
    return model.requires_grad_(False)
