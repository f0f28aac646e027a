"""What this machine's CPU computes quickly."""

from __future__ import annotations


def multiplies_bfloat16() -> bool:
    """Whether the CPU has a unit for matrices of bfloat16 (AMX), on which half precision is the quicker one.

    Without it bfloat16 is slower than float32.
    """
    import torch

    return torch.cpu._is_amx_tile_supported()  # torch.cpu.get_capabilities, which says it too, is newer than torch 2.6
