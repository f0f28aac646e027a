"""Settings of the `sam2` segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final

from gest_stream.config.check import STRICT, require, take_members
from gest_stream.config.device import Precision, device_is_known


class Sam2Size(StrEnum):
    """The official SAM 2.1 models, smallest first, and our own."""

    TINY = "tiny"
    SMALL = "small"
    BASE_PLUS = "base_plus"
    LARGE = "large"
    NANO = "nano"
    """Ours, for hands on a CPU: the same architecture, far narrower."""

    @property
    def bundled(self) -> bool:
        """Whether its weights lie in the package, where the others' have to be fetched."""
        return self is Sam2Size.NANO


_SIDES: Final = {Sam2Size.NANO: 256}
_OFFICIAL_SIDE: Final = 1024


def trained_side(size: Sam2Size) -> int:
    """Side of the square that a size was trained on, in pixels."""
    return _SIDES.get(size, _OFFICIAL_SIDE)


class Sam2Runner(StrEnum):
    """How the objects of a frame are computed. All give the same masks, to rounding."""

    AUTO = "auto"
    """`graph` on CUDA, `batched` elsewhere."""
    EXACT = "exact"
    """One object at a time through upstream's own memory attention: bit for bit what upstream computes."""
    BATCHED = "batched"
    """All objects in one pass, as large as the fullest memory needs."""
    FIXED = "fixed"
    """All objects in one pass of fixed shapes, unused places masked; what a graph is captured from."""
    GRAPH = "graph"
    """`fixed`, captured as CUDA graphs; runs uncaptured where capturing fails."""


class ConditioningKeep(StrEnum):
    """Which prompted frames stay in memory when there are more than it holds."""

    RECENT = "recent"
    """The newest, as upstream's `max_cond_frames_in_attn`."""
    ANCHOR = "anchor"
    """The first and the newest: the first prompt is a safeguard against drift."""


class MemoryPolicy(StrEnum):
    """Which tracked frames are remembered."""

    EVERY = "every"
    """Every frame, as upstream."""
    CONFIDENT = "confident"
    """Only frames whose mask is likely to be right."""


@dataclass(frozen=True, slots=True)
class Sam2Config:
    """The `sam2` segmenter.

    Args:
        size: Which of the models.
        checkpoint: Weights to use instead of the size's own, for example fine-tuned ones of the same size.
        image_size: Side of the square that a frame is resized to, a multiple of 32; time grows faster than its square.
            0 becomes what the size was trained on: 1024, for nano 256.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: What it computes in.
        runner: How the objects of a frame are computed.
        compile: Compile the encoder and the fixed step with torch.compile; takes minutes to warm up.
        threads: CPU threads that torch uses; 0 leaves that to torch.
        conditioning_frames: Prompted frames remembered for each object. Upstream remembers all of them for ever.
        keep: Which of them stay.
        memory: Which tracked frames are remembered.
        min_memory_iou: Predicted IoU from which a frame is remembered, 0 to 1; only where `memory` is `confident`.
        non_overlap: No pixel belongs to two hands, neither in the masks nor in what is remembered of them. Upstream
            leaves masks overlapping.
        max_hole_share: Holes of up to this share of a hand's area are filled; 0 fills none, because gaps between
            fingers are filled as well, which cost outline in benchmarks/sam2_quality.py.
        wrist_cut: Cut off what lies beyond the wrist, where landmarks show it.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    size: Sam2Size = Sam2Size.TINY
    checkpoint: Path | None = None
    image_size: int = 0
    device: str = "auto"
    precision: Precision = Precision.AUTO
    runner: Sam2Runner = Sam2Runner.AUTO
    compile: bool = False
    threads: int = 0
    conditioning_frames: int = 4
    keep: ConditioningKeep = ConditioningKeep.RECENT
    memory: MemoryPolicy = MemoryPolicy.EVERY
    min_memory_iou: float = 0.5
    non_overlap: bool = True
    max_hole_share: float = 0.0
    wrist_cut: bool = True

    def __post_init__(self) -> None:
        take_members(
            self,
            size=Sam2Size,
            precision=Precision,
            runner=Sam2Runner,
            keep=ConditioningKeep,
            memory=MemoryPolicy,
        )
        if self.image_size == 0:
            object.__setattr__(self, "image_size", trained_side(self.size))
        sound = 64 <= self.image_size <= 2048 and self.image_size % 32 == 0
        require(sound, "sam2.image_size", "a multiple of 32 from 64 to 2048", self.image_size)
        require(device_is_known(self.device), "sam2.device", "auto, cpu, cuda, cuda:N or mps", self.device)
        require(0 <= self.threads <= 1024, "sam2.threads", "0 to 1024", self.threads)
        require(1 <= self.conditioning_frames <= 32, "sam2.conditioning_frames", "1 to 32", self.conditioning_frames)
        require(
            self.keep is ConditioningKeep.RECENT or self.conditioning_frames >= 2,
            "sam2.conditioning_frames",
            "2 or more where keep is 'anchor'",
            self.conditioning_frames,
        )
        require(0.0 <= self.min_memory_iou <= 1.0, "sam2.min_memory_iou", "0 to 1", self.min_memory_iou)
        require(0.0 <= self.max_hole_share <= 1.0, "sam2.max_hole_share", "0 to 1", self.max_hole_share)
