"""Settings of `gest-stream train sam2`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gest_stream.config import Precision, Sam2Size, nearest_name
from gest_stream.config.check import require, take_members
from gest_stream.config.device import device_is_known
from gest_stream.config.sam2 import trained_side
from gest_stream.errors import ConfigError

DEFAULT_STEPS: Final = 2000


class ClipKind(StrEnum):
    """Where clips with masks come from."""

    CLIPS = "clips"
    """A folder of clips, as DAVIS has them or as `--save-masks` writes them."""
    SYNTHETIC = "synthetic"
    """Rendered hands."""


@dataclass(frozen=True, slots=True)
class ClipData:
    """One set of clips.

    Args:
        kind: What it is.
        path: Its folder; of rendered hands the folder that keeps them, None for the user's cache.
    """

    kind: ClipKind
    path: Path | None = None

    def __post_init__(self) -> None:
        take_members(self, kind=ClipKind)
        if self.path is None and self.kind is ClipKind.CLIPS:
            raise ConfigError("data clips: names no folder; write clips:FOLDER")

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path is not None else str(self.kind)


class Sam2Part(StrEnum):
    """A part of SAM2 that is trained or left as it is, all of it."""

    DECODER = "decoder"
    """The mask decoder with its heads for IoU and object score."""
    MEMORY = "memory"
    """Memory attention, memory encoder, object pointers, and their embeddings."""
    PROMPTS = "prompts"
    """The prompt encoder: what a point, a box or a mask means."""
    ENCODER = "encoder"
    """The image encoder."""


def parse_parts(text: str) -> tuple[Sam2Part, ...]:
    """The parts that a list such as "decoder,memory" names.

    Raises:
        ConfigError: One is not known or there is none; the image encoder has a switch of its own.
    """
    known = [part for part in Sam2Part if part is not Sam2Part.ENCODER]
    parts: list[Sam2Part] = []
    for name in filter(None, (one.strip() for one in text.split(","))):
        if name == Sam2Part.ENCODER:
            raise ConfigError("train: the image encoder has a rate of its own; use --unfreeze-encoder")
        if name not in known:
            raise ConfigError(f"train: {name!r} is not known{nearest_name(name, [str(part) for part in known])}")
        parts.append(Sam2Part(name))
    if not parts:
        raise ConfigError(f"train: expected parts such as 'decoder,memory', got {text!r}")
    return tuple(dict.fromkeys(parts))


@dataclass(frozen=True, slots=True)
class Sam2Training:
    """A fine-tuning of SAM 2.1.

    Rates, decay and the length of gradients are those of upstream's fine-tuning on MOSE
    (configs/sam2.1_training/sam2.1_hiera_b+_MOSE_finetune.yaml), as are eight frames and three objects.

    Args:
        data: Clips to learn from.
        out: The best checkpoint; state and history lie beside it.
        val: Clips to measure with; a share of `data` where empty.
        val_share: Share of the clips that are kept back to measure with, about.
        val_frames: Frames of a clip that are measured, the prompted one included.
        val_limit: Clips that are measured with at most; 0 is no limit.
        size: Which of the models.
        image_size: Side of the square that a frame is resized to; what it is trained with it should be run with. 0
            becomes the size's own: 1024, for nano 256.
        overrides: Settings of the `sam2` package's config, for models of other shapes.
        init: Weights to start from; None takes the size's own.
        train: What is trained.
        unfreeze_encoder: Train the image encoder too; it needs by far the most memory.
        frames: Frames of a sequence.
        batch: Clips a step.
        max_objects: Objects that are followed in a clip at most.
        max_stride: Most frames from one frame of a sequence to the next.
        min_area: Share of the picture that an object must cover on the frame where it is prompted.
        corrected: Share of the steps in which frames are corrected by clicks.
        max_clicks: Clicks on such a frame at most.
        rendered: Clips that are rendered for synthetic.
        steps: At most; 2000 where neither steps nor minutes are given.
        minutes: At most, without what comes before the first step.
        rate: Learning rate at its peak.
        encoder_rate: Of the image encoder.
        weight_decay: Of all weights but norms, biases and embeddings.
        warm_up_steps: Steps over which the rate rises; at most a tenth of all.
        max_norm: Length that gradients are cut to.
        seed: Of everything that is drawn by chance. The same settings give the same losses, on the same machine.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: What the model computes in; auto is bfloat16 on CUDA where that is native, else float32.
        threads: CPU threads that torch uses; 0 leaves that to torch.
        workers: Processes that render; 0 takes one a core.
        val_every: Steps from one measurement to the next.
        save_every: Steps from one state file to the next.
        patience: Measurements without a better one, after which it ends; 0 never does.
        resume: Go on from the state beside `out`.
        overwrite: Give up the state of an unfinished training beside `out`.
    """

    data: tuple[ClipData, ...]
    out: Path = Path("sam2.pt")
    val: tuple[ClipData, ...] = ()
    val_share: float = 0.1
    val_frames: int = 24
    val_limit: int = 24
    size: Sam2Size = Sam2Size.TINY
    image_size: int = 0
    overrides: tuple[str, ...] = ()
    init: Path | None = None
    train: tuple[Sam2Part, ...] = (Sam2Part.DECODER, Sam2Part.MEMORY)
    unfreeze_encoder: bool = False
    frames: int = 8
    batch: int = 1
    max_objects: int = 3
    max_stride: int = 4
    min_area: float = 0.0005
    corrected: float = 0.5
    max_clicks: int = 3
    rendered: int = 400
    steps: int | None = None
    minutes: float | None = None
    rate: float = 5e-6
    encoder_rate: float = 3e-6
    weight_decay: float = 0.1
    warm_up_steps: int = 100
    max_norm: float = 0.1
    seed: int = 0
    device: str = "auto"
    precision: Precision = Precision.AUTO
    threads: int = 0
    workers: int = 0
    val_every: int = 200
    save_every: int = 200
    patience: int = 10
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("there is nothing to learn from; give data, for example --data synthetic")
        take_members(self, size=Sam2Size, precision=Precision)
        if self.out.suffix != ".pt":
            raise ConfigError(f"{self.out}: a checkpoint's name ends in .pt; call it {self.out.name}.pt")
        if self.resume and self.overwrite:
            raise ConfigError("to go on with a training and to give it up exclude each other; resume or overwrite")
        parts = {Sam2Part(part) for part in parse_parts(",".join(self.train))}
        object.__setattr__(self, "train", tuple(part for part in Sam2Part if part in parts))
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.image_size == 0:
            object.__setattr__(self, "image_size", trained_side(self.size))
        sound = 64 <= self.image_size <= 2048 and self.image_size % 32 == 0
        require(sound, "image_size", "a multiple of 32 from 64 to 2048", self.image_size)
        require(0.0 < self.val_share < 1.0, "val_share", "above 0 and below 1", self.val_share)
        require(2 <= self.val_frames <= 10_000, "val_frames", "2 to 10000", self.val_frames)
        require(1 <= self.frames <= 64, "frames", "1 to 64", self.frames)
        require(1 <= self.rendered <= 1_000_000, "rendered", "1 to 1000000", self.rendered)
        require(0.0 < self.min_area < 1.0, "min_area", "above 0 and below 1", self.min_area)
        require(0.0 <= self.corrected <= 1.0, "corrected", "0 to 1", self.corrected)
        require(0.0 <= self.weight_decay <= 1.0, "weight_decay", "0 to 1", self.weight_decay)
        require(self.steps is None or self.steps >= 1, "steps", "1 or more", self.steps)
        sound = self.minutes is None or (math.isfinite(self.minutes) and self.minutes > 0)
        require(sound, "minutes", "a number above 0", self.minutes)
        require(0 <= self.seed < 2**32, "seed", "0 to 4294967295", self.seed)
        require(device_is_known(self.device), "device", "auto, cpu, cuda, cuda:N or mps", self.device)
        for name in ("batch", "max_objects", "max_stride", "max_clicks"):
            require(1 <= getattr(self, name) <= 256, name, "1 to 256", getattr(self, name))
        for name in ("rate", "encoder_rate"):
            require(0.0 < getattr(self, name) <= 1.0, name, "above 0, up to 1", getattr(self, name))
        require(math.isfinite(self.max_norm) and self.max_norm > 0, "max_norm", "a number above 0", self.max_norm)
        for name in ("threads", "workers"):
            require(0 <= getattr(self, name) <= 1024, name, "0 to 1024", getattr(self, name))
        for name in ("warm_up_steps", "patience", "val_limit"):
            require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name in ("val_every", "save_every"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))

    @property
    def trained(self) -> tuple[Sam2Part, ...]:
        """Every part that is trained, the image encoder included."""
        return (*self.train, Sam2Part.ENCODER) if self.unfreeze_encoder else self.train
