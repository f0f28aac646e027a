"""The network that a training starts with."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch

from gest_stream.config import DinoBackbone
from gest_stream.errors import ConfigError, WeightsError
from gest_stream.models.dino import SHAPES, load_official
from gest_stream.models.dino_decoder import HandNet, NetSpec, load_net
from gest_stream.training.config import CLASSES, DecoderTraining

DEFAULT_BACKBONE: Final = DinoBackbone.VITS14
DEFAULT_INPUT_SIZE: Final = 448

_OFFICIAL_FILES: Final = {DinoBackbone.VITS14: "dinov2-vits14"}
"""What the store of weight files knows."""


def official_file(config: DecoderTraining) -> str | None:
    """The name under which the store fetches the backbone that these settings need; None where they need none.

    Raises:
        ConfigError: The backbone has official weights, but their address is not known here.
    """
    backbone = config.backbone or DEFAULT_BACKBONE
    if config.resume or config.init or config.backbone_weights or backbone is DinoBackbone.NANO:
        return None
    if backbone not in _OFFICIAL_FILES:
        raise ConfigError(
            f"backbone {backbone}: its official weights are not fetched by this program; get the file of "
            f"{SHAPES[backbone].name} from https://github.com/facebookresearch/dinov2 and give it with "
            "--backbone-weights FILE"
        )
    return _OFFICIAL_FILES[backbone]


def make_net(config: DecoderTraining) -> HandNet:
    """A network on the CPU: a checkpoint's, or a new decoder on official weights, or, for nano, a new one as a whole.

    Args:
        config: Settings; `resume` is not looked at.

    Raises:
        WeightsError: Weights are absent, damaged or of another backbone.
        ConfigError: The settings do not fit the checkpoint, or the address of the official weights is not known.
    """
    if config.init is not None:
        net = load_net(config.init)
        check_spec(net.spec, config, str(config.init))
        if config.input_size:
            net.spec = replace(net.spec, input_size=config.input_size)
        return net
    spec = NetSpec(
        config.backbone or DEFAULT_BACKBONE,
        classes=config.classes or CLASSES,
        input_size=config.input_size or DEFAULT_INPUT_SIZE,
    )
    name = official_file(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = HandNet(spec)
    if config.backbone_weights is not None:
        load_official(net.encoder, config.backbone_weights)
    elif name is not None:
        from gest_stream.models.store import ModelStore

        load_official(net.encoder, ModelStore().fetch(name))
    return net


def check_spec(spec: NetSpec, config: DecoderTraining, origin: str) -> None:
    """Refuse a stored network that is not the one that the settings ask for.

    Raises:
        WeightsError: It has another backbone.
        ConfigError: It tells other classes apart.
    """
    if config.backbone is not None and spec.backbone is not config.backbone:
        raise WeightsError(
            f"{origin}: has the backbone {SHAPES[spec.backbone]}, not {SHAPES[config.backbone]}; "
            f"leave --backbone out or say --backbone {spec.backbone}"
        )
    if spec.classes not in (CLASSES[:1], CLASSES):
        raise ConfigError(f"{origin}: tells {', '.join(spec.classes)} apart; here it is hand, or hand and forearm")
    if config.classes is not None and spec.classes != config.classes:
        raise ConfigError(
            f"{origin}: tells {' and '.join(spec.classes)} apart, not {' and '.join(config.classes)}; "
            f"say --classes {','.join(spec.classes)}, or train a new decoder"
        )
