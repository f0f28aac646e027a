"""Memory attention: the picture's features read what is remembered of each object.

Two ways to the same numbers. `attend_exactly` calls upstream's module, for one object, with as many keys as there are
memories. `BatchedAttention` takes many objects at once, any of whose keys may be switched off by a mask, so that its
shapes can stay the same from frame to frame; its rotary encoding is in real numbers, which CUDA graphs, compilers and
MPS take. It follows MemoryAttention and RoPEAttention (sam2/modeling/memory_attention.py, sam/transformer.py).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_utils import get_1d_sine_pe

from gest_stream.models.memory_bank import BankView
from gest_stream.models.sam2_model import Features, Sam2Model


def pointer_position(model: Sam2Model, distance: torch.Tensor) -> torch.Tensor:
    """(..., D) encoding of how many frames ago an object pointer is from; `distance` is (...) float32."""
    encoded = get_1d_sine_pe(distance / model.pointer_frames, dim=model.hidden_dim)
    position: torch.Tensor = model.modules.obj_ptr_tpos_proj(encoded)
    return position


def attend_exactly(model: Sam2Model, features: Features, view: BankView) -> torch.Tensor:
    """(1, C, S/16, S/16) features of one object, through upstream's own module.

    Args:
        model: The modules.
        features: Of the picture.
        view: What is remembered of the one object, in upstream's order, everything valid.
    """
    frames = view.frames[0]  # (n, HW, D)
    memory = [*frames.unsqueeze(2)]
    position = [model.memory_position + row for row in model.temporal_position[view.temporal[0]]]
    split = view.pointers[0].reshape(-1, 1, model.pointer_tokens, model.memory_dim)  # (p, 1, 4, D)
    memory.append(split.permute(0, 2, 1, 3).flatten(0, 1))
    encoded = pointer_position(model, view.distance[0])[:, None]
    position.append(encoded.repeat_interleave(model.pointer_tokens, dim=0))
    vision = features.stride16.flatten(2).permute(2, 0, 1)
    attended: torch.Tensor = model.modules.memory_attention(
        curr=[vision],
        curr_pos=[model.vision_position],
        memory=torch.cat(memory),
        memory_pos=torch.cat(position),
        num_obj_ptr_tokens=memory[-1].shape[0],
    )
    return attended.permute(1, 2, 0).view(1, model.hidden_dim, model.grid, model.grid)


class BatchedAttention:
    """Memory attention over B objects in one pass.

    Args:
        model: The modules; their weights are read, not copied.
    """

    def __init__(self, model: Sam2Model) -> None:
        self._model = model

    def __call__(self, features: Features, view: BankView) -> torch.Tensor:
        """(B, C, S/16, S/16) features of each object.

        Args:
            features: Of the picture, the same for all objects.
            view: What is remembered of each; places that are not valid are not read.
        """
        model = self._model
        module = model.modules.memory_attention
        keyed, memory, mask = self._keys(view)
        output: torch.Tensor = features.stride16.flatten(2).transpose(
            1, 2
        )  # (1, HW, C); the same for all up to the first memory
        output = output + 0.1 * model.vision_position.transpose(0, 1)
        for layer in module.layers:
            output = output + self._self_attention(layer.self_attn, layer.norm1(output))
            output = output + self._cross_attention(
                layer.cross_attn_image, layer.norm2(output), keyed, memory, mask, view.frames.shape[1]
            )
            output = output + layer.linear2(layer.activation(layer.linear1(layer.norm3(output))))
        output = module.norm(output)
        return output.transpose(1, 2).reshape(-1, model.hidden_dim, model.grid, model.grid)

    def _keys(self, view: BankView) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """(B, N, D) tokens for keys and for values, and which of them may be read, None for all.

        Made once for all layers, and in what the layers compute in.
        """
        model = self._model
        objects, frames = view.frames.shape[:2]
        pointers, split = view.pointers.shape[1], model.pointer_tokens
        place = model.memory_position[:, 0] + model.temporal_position[view.temporal][:, :, None]
        age = pointer_position(model, view.distance).repeat_interleave(split, dim=1)
        memory = torch.cat(
            [
                view.frames.reshape(objects, frames * model.tokens, model.memory_dim).to(view.pointers.dtype),
                view.pointers.reshape(objects, pointers * split, model.memory_dim),
            ],
            dim=1,
        )
        position = torch.cat([place.reshape(objects, frames * model.tokens, model.memory_dim), age], dim=1)
        keyed, memory = (memory + position).to(model.compute.dtype), memory.to(model.compute.dtype)
        if view.frame_valid is None or view.pointer_valid is None:
            return keyed, memory, None
        valid = torch.cat(
            [
                view.frame_valid.repeat_interleave(model.tokens, dim=1),
                view.pointer_valid.repeat_interleave(split, dim=1),
            ],
            dim=1,
        )
        return keyed, memory, valid[:, None, None]

    def _rotate(self, tokens: torch.Tensor) -> torch.Tensor:
        """Rotary encoding of (..., HW, C), in float32 as upstream."""
        values = tokens.float()
        turned = torch.stack((-values[..., 1::2], values[..., 0::2]), dim=-1).flatten(-2)
        return (values * self._model.rotary_cos + turned * self._model.rotary_sin).to(tokens.dtype)

    def _self_attention(self, attention: Any, tokens: torch.Tensor) -> torch.Tensor:
        query, key = self._rotate(attention.q_proj(tokens)), self._rotate(attention.k_proj(tokens))
        return self._attended(attention, query, key, attention.v_proj(tokens), None)

    def _cross_attention(
        self,
        attention: Any,
        tokens: torch.Tensor,
        keyed: torch.Tensor,
        memory: torch.Tensor,
        mask: torch.Tensor | None,
        frames: int,
    ) -> torch.Tensor:
        objects, model = memory.shape[0], self._model
        query = self._rotate(attention.q_proj(tokens)).expand(objects, -1, -1)
        key, value = attention.k_proj(keyed), attention.v_proj(memory)
        placed = frames * model.tokens  # the rest are pointers, which have no place in the picture
        rotated = self._rotate(key[:, :placed].reshape(objects, frames, model.tokens, -1))
        key = torch.cat([rotated.reshape(objects, placed, -1), key[:, placed:]], dim=1)
        return self._attended(attention, query, key, value, mask)

    @staticmethod
    def _attended(
        attention: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """One head, as in all of SAM2's memory attention."""
        read = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], attn_mask=mask)
        projected: torch.Tensor = attention.out_proj(read[:, 0])
        return projected
