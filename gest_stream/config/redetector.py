"""Settings of the network that finds hands which the landmark detector misses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from gest_stream.config.check import STRICT, require, take_members
from gest_stream.config.device import Precision, device_is_known


class RedetectorKind(StrEnum):
    """What finds lost hands again."""

    AUTO = "auto"
    """DINOv2 where gest_detectron's weights and a CUDA device are here, else none."""
    DINO = "dino"
    """DINOv2 with a segmentation decoder."""
    BUILTIN = "builtin"
    """hand-seg, the project's own small network; its weights come with the package."""
    NONE = "none"
    """Landmarks alone find hands."""


class DinoBackbone(StrEnum):
    """The encoder under a segmentation decoder: DINOv2's sizes, and one of our own that needs no download."""

    VITS14 = "vits14"
    VITB14 = "vitb14"
    VITS14_REG = "vits14_reg"
    VITB14_REG = "vitb14_reg"
    NANO = "nano"
    """DINOv2's architecture, 192 wide and 4 blocks deep; has no official weights."""


@dataclass(frozen=True, slots=True)
class RedetectorConfig:
    """The redetector's network; when it is asked is `RedetectionConfig`'s.

    Args:
        kind: Which redetector.
        checkpoint: Weights of your own: what `gest-stream train decoder` wrote, a file laid out as gest_detectron's,
            or the .safetensors of `gest-stream train builtin --preset hand-seg`.
        backbone: Refuse a checkpoint of another backbone; None takes what the checkpoint says.
        input_size: Longer side in pixels of what the network sees; 0 takes what the checkpoint was trained with.
        device: Where it runs: auto, cpu, cuda, cuda:N or mps.
        precision: Of its arithmetic.
        threads: CPU threads it may use; it works beside the tracker, so one leaves the others free. 0 leaves that
            to torch.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    kind: RedetectorKind = RedetectorKind.AUTO
    checkpoint: Path | None = None
    backbone: DinoBackbone | None = None
    input_size: int = 0
    device: str = "auto"
    precision: Precision = Precision.AUTO
    threads: int = 1

    def __post_init__(self) -> None:
        take_members(self, kind=RedetectorKind, precision=Precision)
        if self.backbone is not None:
            take_members(self, backbone=DinoBackbone)
        sound = self.input_size == 0 or 56 <= self.input_size <= 2044
        require(sound, "redetector.input_size", "0, or 56 to 2044", self.input_size)
        require(device_is_known(self.device), "redetector.device", "auto, cpu, cuda, cuda:N or mps", self.device)
        require(0 <= self.threads <= 1024, "redetector.threads", "0 to 1024", self.threads)
