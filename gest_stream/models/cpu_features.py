"""What this machine's CPU computes quickly."""

from __future__ import annotations


def multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 by itself (AMX, AVX512-BF16), which makes it the quicker precision.

    Where it does not, bfloat16 is slower than float32.
    """
    from torch import cpu  # cpu.get_capabilities, which says it too, is newer than torch 2.6

    return multiplies_bfloat16_matrices() or cpu._is_avx512_bf16_supported()


def multiplies_bfloat16_matrices() -> bool:
    """Whether it has a unit for matrices of bfloat16 (AMX)."""
    from torch import cpu

    return cpu._is_amx_tile_supported()
