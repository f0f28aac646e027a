"""Settings of `gest-stream train decoder`, one frozen dataclass a component."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from gest_stream.config import DinoBackbone
from gest_stream.config.check import require, take_members
from gest_stream.config.device import device_is_known
from gest_stream.errors import ConfigError

CLASSES: Final = ("hand", "forearm")
"""What can be told apart; a network knows the first one or both."""


class DataKind(StrEnum):
    """Where labelled pictures come from."""

    EGOHANDS = "egohands"
    """EgoHands as it is published: metadata.mat and _LABELLED_SAMPLES/."""
    FOLDER = "folder"
    """images/ and masks/ with PNGs of the same names."""
    COCO = "coco"
    """A COCO JSON file with polygons or run lengths."""
    SYNTHETIC = "synthetic"
    """Rendered hands."""


class Grey(StrEnum):
    """What the value 128 of a mask means."""

    FOREARM = "forearm"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class DataSource:
    """One set of labelled pictures.

    Args:
        kind: What it is.
        path: Its folder, or the JSON file; of rendered hands the folder that keeps them, None for the user's cache.
        weight: How often its pictures are drawn, against those of the other sets: a picture's chance is the weight.
        grey: What 128 means in the masks of a folder; None refuses masks with 128.
        images: Folder of the pictures of a COCO file; None looks beside the file and in images/ beside it.
    """

    kind: DataKind
    path: Path | None = None
    weight: float = 1.0
    grey: Grey | None = None
    images: Path | None = None

    def __post_init__(self) -> None:
        take_members(self, kind=DataKind)
        if self.grey is not None:
            take_members(self, grey=Grey)
        sound = math.isfinite(self.weight) and self.weight > 0
        require(sound, f"weight of {self}", "a number above 0", self.weight)
        if self.path is None and self.kind is not DataKind.SYNTHETIC:
            raise ConfigError(f"data {self.kind}: names no place; write {self.kind}:PATH")

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path is not None else str(self.kind)


@dataclass(frozen=True, slots=True)
class RenderConfig:
    """Hands rendered ahead of the training.

    Args:
        frames: Pictures in all.
        frames_per_clip: Pictures of the same hands and background; they stay together in the split.
        longer_side: Of a picture, pixels.
        seed: Of everything in them.
        backgrounds: Folder of pictures without hands, which most of the clips are laid over; None paints all
            backgrounds.
        workers: Processes that render; 0 takes one a core.
    """

    frames: int = 4000
    frames_per_clip: int = 4
    longer_side: int = 384
    seed: int = 0
    backgrounds: Path | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        require(1 <= self.frames <= 10_000_000, "render.frames", "1 to 10000000", self.frames)
        require(1 <= self.frames_per_clip <= 100, "render.frames_per_clip", "1 to 100", self.frames_per_clip)
        require(112 <= self.longer_side <= 2048, "render.longer_side", "112 to 2048", self.longer_side)
        require(0 <= self.seed < 2**32, "render.seed", "0 to 4294967295", self.seed)
        require(0 <= self.workers <= 1024, "render.workers", "0 to 1024", self.workers)


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How far pictures are changed by chance. 0 switches a change off.

    Args:
        flip: Chance of a mirror image.
        zoom: The picture fills the canvas times 1 / zoom to zoom.
        turn_deg: Rotation to either side.
        on_hand: Chance that the crop is centred near a hand instead of anywhere.
        light: Brightness, contrast and saturation change by up to this share.
        tint: Single colour channels change by up to this share.
        blur: Chance of a soft or moving picture.
        noise: Chance of sensor noise.
        jpeg: Chance of compression artefacts.
    """

    flip: float = 0.5
    zoom: float = 1.8
    turn_deg: float = 25.0
    on_hand: float = 0.5
    light: float = 0.35
    tint: float = 0.08
    blur: float = 0.25
    noise: float = 0.25
    jpeg: float = 0.25

    def __post_init__(self) -> None:
        for name in ("flip", "on_hand", "blur", "noise", "jpeg"):
            require(0.0 <= getattr(self, name) <= 1.0, f"augment.{name}", "0 to 1", getattr(self, name))
        for name in ("light", "tint"):
            require(0.0 <= getattr(self, name) <= 0.9, f"augment.{name}", "0 to 0.9", getattr(self, name))
        require(1.0 <= self.zoom <= 10.0, "augment.zoom", "1 to 10", self.zoom)
        require(0.0 <= self.turn_deg <= 180.0, "augment.turn_deg", "0 to 180", self.turn_deg)


@dataclass(frozen=True, slots=True)
class DecoderTraining:
    """One training of the redetector's network.

    It ends with the first of `steps`, `epochs`, `minutes` and `patience`; where none of the first three is given, after
    `DEFAULT_EPOCHS`. The loss of every step follows from these settings and the data alone, on one machine and with the
    CPU; a limit in minutes takes that away, because the rate then falls by the clock.

    Args:
        data: What it learns from.
        out: The checkpoint; its state and its history lie beside it.
        val: What it is measured with; empty keeps a share of `data` back.
        val_share: Which share: whole videos of EgoHands and of rendered hands, picked by the hash of their names.
        val_limit: Pictures that are measured, evenly spaced over those kept back; 0 takes all.
        backbone: The encoder; None takes that of `init`, or vits14.
        backbone_weights: Official DINOv2 file; None fetches it where its address is known.
        init: A checkpoint of this project to go on from.
        classes: "hand", or "hand" and "forearm"; None takes those of `init`, or both.
        input_size: Longer side of what the network sees, pixels; 0 takes that of `init`, or 448.
        freeze_backbone: Train the decoder only. The backbone nano is always trained.
        steps: Batches at most.
        epochs: Passes over the data at most.
        minutes: Time at most, without what comes before the first step and the last measurement.
        batch: Pictures a step.
        rate: Learning rate of the decoder at its peak.
        backbone_rate: Learning rate of the encoder; None is a fiftieth of `rate`, and `rate` itself for nano.
        weight_decay: Of all weights but norms and biases.
        warm_up_steps: Steps over which the rate rises; at most a tenth of all.
        dice: Weight of the dice loss beside the cross-entropy.
        seed: Of the new weights, of which pictures are drawn and of how they are changed.
        device: auto, cpu, cuda, cuda:N or mps.
        amp: Mixed precision on CUDA: bfloat16 where it is native, else float16 with scaled gradients.
        workers: Threads that load pictures; 0 takes one a core, 16 at most.
        val_every: Steps from one measurement to the next.
        save_every: Steps from one state file to the next.
        patience: Measurements without a better one, after which it ends; 0 never does.
        resume: Go on from the state beside `out`.
        overwrite: Give up the state of an unfinished training beside `out`.
        coco_hand: Categories of COCO files that are hands.
        coco_forearm: Categories of COCO files that are forearms.
        augment: How pictures are changed.
        render: Rendered hands.
    """

    data: tuple[DataSource, ...]
    out: Path = Path("redetector.pt")
    val: tuple[DataSource, ...] = ()
    val_share: float = 0.1
    val_limit: int = 256
    backbone: DinoBackbone | None = None
    backbone_weights: Path | None = None
    init: Path | None = None
    classes: tuple[str, ...] | None = None
    input_size: int = 0
    freeze_backbone: bool = True
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch: int = 16
    rate: float = 1e-3
    backbone_rate: float | None = None
    weight_decay: float = 0.02
    warm_up_steps: int = 100
    dice: float = 1.0
    seed: int = 0
    device: str = "auto"
    amp: bool = True
    workers: int = 0
    val_every: int = 200
    save_every: int = 200
    patience: int = 10
    resume: bool = False
    overwrite: bool = False
    coco_hand: tuple[str, ...] = ("hand",)
    coco_forearm: tuple[str, ...] = ("forearm",)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    render: RenderConfig = field(default_factory=RenderConfig)

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("there is nothing to learn from; give data, for example --data synthetic")
        if self.backbone is not None:
            take_members(self, backbone=DinoBackbone)
        if self.classes is not None:
            require(self.classes in (CLASSES[:1], CLASSES), "classes", "hand, or hand,forearm", ",".join(self.classes))
        if self.out.suffix != ".pt":
            raise ConfigError(f"{self.out}: a checkpoint's name ends in .pt; call it {self.out.name}.pt")
        if self.init is not None and self.backbone_weights is not None:
            raise ConfigError("a checkpoint to go on from already has its backbone; give --init or --backbone-weights")
        if self.backbone is DinoBackbone.NANO and self.backbone_weights is not None:
            raise ConfigError("the backbone nano has no official weights; leave --backbone-weights out")
        if self.resume and self.overwrite:
            raise ConfigError("to go on with a training and to give it up exclude each other; resume or overwrite")
        self._check_numbers()

    def _check_numbers(self) -> None:
        require(0.0 < self.val_share < 1.0, "val_share", "above 0 and below 1", self.val_share)
        sound = self.input_size == 0 or 56 <= self.input_size <= 2044
        require(sound, "input_size", "0, or 56 to 2044", self.input_size)
        for name in ("epochs", "minutes"):
            value = getattr(self, name)
            require(value is None or (math.isfinite(value) and value > 0), name, "a number above 0", value)
        require(self.steps is None or self.steps >= 1, "steps", "1 or more", self.steps)
        require(1 <= self.batch <= 4096, "batch", "1 to 4096", self.batch)
        require(0.0 < self.rate <= 1.0, "rate", "above 0, up to 1", self.rate)
        require(
            self.backbone_rate is None or 0 < self.backbone_rate <= 1, "backbone_rate", "0 to 1", self.backbone_rate
        )
        require(0.0 <= self.weight_decay <= 1.0, "weight_decay", "0 to 1", self.weight_decay)
        require(0.0 <= self.dice <= 100.0, "dice", "0 to 100", self.dice)
        require(0 <= self.seed < 2**32, "seed", "0 to 4294967295", self.seed)
        require(0 <= self.workers <= 1024, "workers", "0 to 1024", self.workers)
        for name in ("warm_up_steps", "patience", "val_limit"):
            require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name in ("val_every", "save_every"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        require(device_is_known(self.device), "device", "auto, cpu, cuda, cuda:N or mps", self.device)
