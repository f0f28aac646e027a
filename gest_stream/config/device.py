"""Where a model computes, and in what."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """What a model computes in."""

    AUTO = "auto"
    """bfloat16 where the device has it and is faster with it, else float32."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def device_is_known(device: str) -> bool:
    """Whether `device` is auto, cpu, cuda, cuda:N or mps; it need not be there."""
    kind, _, index = device.partition(":")
    return kind in ("auto", "cpu", "cuda", "mps") and (not index or (kind == "cuda" and index.isdigit()))
