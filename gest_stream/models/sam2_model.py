"""SAM2's four parts as plain functions over tensors, with everything that is constant computed once.

    encode_image     picture -> features at strides 4, 8 and 16
    (attention)      features + memory -> features that know the object; sam2_attention.py
    decode           features (+ prompt) -> mask logits, scores, object pointer
    remember         features + mask logits -> one memory frame

Written on the modules of the `sam2` package (image encoder, prompt encoder, mask decoder, memory encoder); the order of
operations follows SAM2Base._forward_sam_heads, _use_mask_as_output and _encode_new_memory in
sam2/modeling/sam2_base.py, so that float32 results are the same bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from gest_stream.errors import WeightsError
from gest_stream.models.memory_bank import BankShape
from gest_stream.models.sam2_device import Compute

NO_OBJECT_LOGIT = -1024.0
"""What upstream writes into the mask of an object that is not in the picture."""

_SUPPRESSED_LOGIT = -10.0
_MASK_SCALE, _MASK_BIAS = 20.0, -10.0


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the image encoder makes of one picture, or of several that were encoded together.

    Args:
        stride4: (1, C/8, S/4, S/4) for the mask decoder.
        stride8: (1, C/4, S/8, S/8) for the mask decoder.
        stride16: (1, C, S/16, S/16), what memory attention reads.
    """

    stride4: torch.Tensor
    stride8: torch.Tensor
    stride16: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All three."""
        return self.stride4, self.stride8, self.stride16

    def of_picture(self, index: int) -> Features:
        """Those of one of several pictures; views."""
        return Features(*(tensor[index : index + 1] for tensor in self.tensors()))


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What the mask decoder makes of B objects.

    Args:
        logits: (B, 1, S/4, S/4) float32 mask logits; -1024 where the object is not in the picture.
        iou: (B,) predicted IoU of the mask, 0 to 1.
        score: (B, 1) object score logit; above 0 the object is in the picture.
        pointer: (B, C) object pointer.
    """

    logits: torch.Tensor
    iou: torch.Tensor
    score: torch.Tensor
    pointer: torch.Tensor


class Sam2Model:
    """The modules of one SAM2, prepared for one device, and their constants.

    Nothing in it changes once it is made, so that any number of engines may use one, each on a thread of its own.

    Args:
        modules: A `SAM2Base` with its weights; it is moved and cast, so it belongs to this object from now on.
        compute: Where and in what precision.

    Raises:
        WeightsError: It is built in a way that this engine does not follow.
    """

    def __init__(self, modules: Any, compute: Compute) -> None:
        _check_supported(modules)
        self.compute = compute
        self.modules: Any = compute.prepare(modules)
        self.image_size = int(modules.image_size)
        self.grid = self.image_size // 16
        self.tokens = self.grid**2
        self.hidden_dim = int(modules.hidden_dim)
        self.memory_dim = int(modules.mem_dim)
        self.memory_frames = int(modules.num_maskmem) - 1
        self.pointer_frames = int(modules.max_obj_ptrs_in_encoder) - 1
        self.pointer_tokens = self.hidden_dim // self.memory_dim
        with torch.inference_mode():
            self._make_constants()

    def _make_constants(self) -> None:
        modules, device, grid = self.modules, self.compute.device, self.grid
        place = torch.zeros(1, 1, grid, grid, device=device)
        position = modules.image_encoder.neck.position_encoding(place)
        self.vision_position = position.flatten(2).permute(2, 0, 1).contiguous()  # (HW, 1, C)
        position = modules.memory_encoder.position_encoding(place)
        self.memory_position = position.flatten(2).permute(2, 0, 1).contiguous()  # (HW, 1, D)
        rotations = modules.memory_attention.layers[0].self_attn
        rotation = rotations.compute_cis(end_x=grid, end_y=grid)  # (HW, C/2) complex
        self.rotary_cos: torch.Tensor = rotation.real.repeat_interleave(2, dim=-1).to(device)
        self.rotary_sin: torch.Tensor = rotation.imag.repeat_interleave(2, dim=-1).to(device)
        if device.type == "cuda":  # upstream moves them when they are first read, under the eyes of other threads
            for layer in modules.memory_attention.layers:
                for attention in (layer.self_attn, layer.cross_attn_image):
                    attention.freqs_cis = attention.freqs_cis.to(device)
        self.temporal_position = modules.maskmem_tpos_enc.detach()[:, 0, 0]  # (7, D); row 0 is the newest frame
        trunk, side = modules.image_encoder.trunk, self.image_size // 4
        placed = trunk._get_pos_embed((side, side))
        # always the same one, which upstream interpolates anew for every picture
        trunk._get_pos_embed = lambda size: placed
        encoder = modules.sam_prompt_encoder
        self._dense_position = encoder.get_dense_pe()
        self._unprompted = self.embed_points(torch.zeros(1, 1, 2, device=device), -torch.ones(1, 1, device=device))

    def bank_shape(self, max_objects: int, conditioning_frames: int) -> BankShape:
        """How large a bank of so many objects and prompted frames is."""
        frames, pointers = self.memory_frames, self.pointer_frames
        sizes = (self.tokens, self.memory_dim, self.hidden_dim)
        return BankShape(max_objects, conditioning_frames, frames, pointers, *sizes)

    def encode_image(self, image: torch.Tensor) -> Features:
        """Features of B pictures, (B, 3, S, S) normalised.

        Follows FpnNeck.forward in sam2/modeling/backbones/image_encoder.py, without the position encodings of the
        levels that nothing reads.
        """
        encoder, decoder = self.modules.image_encoder, self.modules.sam_mask_decoder
        convs = encoder.neck.convs
        at4, at8, at16, at32 = encoder.trunk(image)
        coarse = F.interpolate(convs[0](at32).float(), scale_factor=2.0, mode="nearest")
        stride16 = convs[1](at16) + coarse
        return Features(decoder.conv_s0(convs[3](at4)), decoder.conv_s1(convs[2](at8)), stride16)

    def embed_points(
        self, points: torch.Tensor, labels: torch.Tensor, logits: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sparse and dense prompt embeddings.

        Args:
            points: (B, P, 2) pixels of the model's square.
            labels: (B, P); 1 on, 0 off, 2 and 3 box corners, -1 padding.
            logits: (B, 1, S/4, S/4) mask to start from.
        """
        sparse, dense = self.modules.sam_prompt_encoder(points=(points, labels), boxes=None, masks=logits)
        return sparse, dense

    def unconditioned(self, features: Features) -> torch.Tensor:
        """(1, C, S/16, S/16) features for a prompted frame, which reads no memory."""
        tokens: torch.Tensor = features.stride16.flatten(2).permute(2, 0, 1) + self.modules.no_mem_embed
        return tokens.permute(1, 2, 0).view(1, self.hidden_dim, self.grid, self.grid)

    def decode(
        self,
        pixels: torch.Tensor,
        features: Features,
        prompt: tuple[torch.Tensor, torch.Tensor] | None = None,
        multimask: bool = True,
    ) -> Decoded:
        """Masks of B objects.

        Args:
            pixels: (B, C, S/16, S/16) features that know the object.
            features: Of the same picture.
            prompt: From `embed_points`; None where the object is tracked without one.
            multimask: Let the decoder propose three masks and take the best; False where the prompt leaves no doubt.
        """
        modules, count = self.modules, pixels.shape[0]
        sparse, dense = self._unprompted if prompt is None else prompt
        masks, ious, tokens, score = modules.sam_mask_decoder(
            image_embeddings=pixels,
            image_pe=self._dense_position,
            sparse_prompt_embeddings=sparse.expand(count, -1, -1),
            dense_prompt_embeddings=dense.expand(count, -1, -1, -1),
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=[features.stride4, features.stride8],
        )
        token = tokens[:, 0]
        if multimask:
            best, rows = torch.argmax(ious, dim=-1), torch.arange(count, device=pixels.device)
            masks, ious = masks[rows, best].unsqueeze(1), ious[rows, best].unsqueeze(1)
            if tokens.shape[1] > 1:
                token = tokens[rows, best]
        present = score > 0
        logits = torch.where(present[:, None, None], masks, NO_OBJECT_LOGIT).float()
        pointer = self._present_or_not(modules.obj_ptr_proj(token), present)
        return Decoded(logits, ious[:, 0].float(), score.float(), pointer.float())

    def adopt_mask(self, mask: torch.Tensor, features: Features) -> Decoded:
        """Take a mask, (1, 1, S, S) float 0 or 1, as the object's own; the decoder only makes its pointer."""
        side = self.image_size // 4
        logits = F.interpolate(
            mask * _MASK_SCALE + _MASK_BIAS, size=(side, side), mode="bilinear", align_corners=False, antialias=True
        )
        device = mask.device
        prompt = self.embed_points(
            torch.zeros(1, 1, 2, device=device),
            -torch.ones(1, 1, device=device),
            self.modules.mask_downsample(mask),
        )
        pixels = features.stride16.flatten(2).view(1, self.hidden_dim, self.grid, self.grid)
        decoded = self.decode(pixels, features, prompt, multimask=False)
        present = torch.any(mask.flatten(1) > 0.0, dim=1)[:, None]
        pointer = self._present_or_not(decoded.pointer, present)
        score = _MASK_SCALE * present.float() + _MASK_BIAS
        return Decoded(logits, torch.ones_like(decoded.iou), score, pointer.float())

    def _present_or_not(self, pointer: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        share = present.float()
        absent: torch.Tensor = self.modules.no_obj_ptr
        return share * pointer + (1 - share) * absent

    def enlarge(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, 1, S/4, S/4) mask logits at the size of the model's square, (B, 1, S, S)."""
        return F.interpolate(logits, size=(self.image_size,) * 2, mode="bilinear", align_corners=False)

    def remember(self, features: Features, enlarged: torch.Tensor, score: torch.Tensor, certain: bool) -> torch.Tensor:
        """One memory frame for each of B objects.

        Args:
            features: Of the picture.
            enlarged: (B, 1, S, S) mask logits.
            score: (B, 1) object score logits.
            certain: True on prompted frames, whose masks are taken as they are seen: hand or not.

        Returns:
            (B, S/16 * S/16, D).
        """
        encoder = self.modules.memory_encoder
        pixels = features.stride16.contiguous()  # as upstream: another layout takes another kernel, another rounding
        mask = (enlarged > 0).float() if certain else torch.sigmoid(enlarged)
        mask = mask * self.modules.sigmoid_scale_for_mem_enc + self.modules.sigmoid_bias_for_mem_enc
        downsampled = encoder.mask_downsampler(mask)
        fused: torch.Tensor = encoder.out_proj(encoder.fuser(encoder.pix_feat_proj(pixels) + downsampled))
        absent = 1 - (score > 0).float()
        fused = fused + absent[..., None, None] * self.modules.no_obj_embed_spatial[..., None, None]
        return fused.flatten(2).transpose(1, 2)


def without_overlap(enlarged: torch.Tensor) -> torch.Tensor:
    """Keep at each pixel only the object with the highest logit; the others are pressed to -10 there.

    Follows SAM2Base._apply_non_overlapping_constraints, which never acts upstream, where objects run one by one.

    Args:
        enlarged: (B, 1, H, W) mask logits of different objects on one frame.
    """
    if enlarged.shape[0] == 1:
        return enlarged
    # not argmax, which takes a hundred times as long on a CPU along this dimension (300 ms for two 720p masks)
    own = enlarged == enlarged.amax(dim=0, keepdim=True)
    for index in range(1, enlarged.shape[0]):  # of equal ones the first, as argmax has it
        own[index] &= ~own[:index].any(dim=0)
    return torch.where(own, enlarged, enlarged.clamp(max=_SUPPRESSED_LOGIT))


def _check_supported(modules: Any) -> None:
    """The settings in which all SAM 2.1 configs agree, and which this engine takes for granted."""
    neck = modules.image_encoder.neck
    expected = {
        "image_encoder.scalp": (modules.image_encoder.scalp, 1),
        "neck.fpn_top_down_levels": (list(neck.fpn_top_down_levels), [2, 3]),
        "neck.fpn_interp_model": (neck.fpn_interp_model, "nearest"),
        "neck.fuse_type": (neck.fuse_type, "sum"),
        "use_high_res_features_in_sam": (modules.use_high_res_features_in_sam, True),
        "directly_add_no_mem_embed": (modules.directly_add_no_mem_embed, True),
        "use_obj_ptrs_in_encoder": (modules.use_obj_ptrs_in_encoder, True),
        "use_mask_input_as_output_without_sam": (modules.use_mask_input_as_output_without_sam, True),
        "pred_obj_scores": (modules.pred_obj_scores, True),
        "fixed_no_obj_ptr": (modules.fixed_no_obj_ptr, True),
        "soft_no_obj_ptr": (modules.soft_no_obj_ptr, False),
        "no_obj_embed_spatial": (modules.no_obj_embed_spatial is not None, True),
        "binarize_mask_from_pts_for_mem_enc": (modules.binarize_mask_from_pts_for_mem_enc, True),
        "add_tpos_enc_to_obj_ptrs": (modules.add_tpos_enc_to_obj_ptrs, True),
        "proj_tpos_enc_in_obj_ptrs": (modules.proj_tpos_enc_in_obj_ptrs, True),
        "memory_temporal_stride_for_eval": (modules.memory_temporal_stride_for_eval, 1),
        "multimask_output_for_tracking": (modules.multimask_output_for_tracking, True),
    }
    for name, (got, wanted) in expected.items():
        if got != wanted:
            raise WeightsError(f"SAM2 config: {name} is {got}, but this engine follows SAM 2.1, where it is {wanted}")
