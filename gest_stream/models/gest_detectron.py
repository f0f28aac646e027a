"""The segmentation network of gest_detectron, for its checkpoint.

Source: github.com/therealnaveenkamal/gest_detectron, branch dino_pipeline: DINOv2 ViT-B/14 and five convolutions with
enlargements between them, and no activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from gest_stream.config import DinoBackbone
from gest_stream.errors import WeightsError
from gest_stream.models.checkpoint import read_state
from gest_stream.models.dino import SHAPES, DinoEncoder, check_names, describe_official, official_weights

INPUT_PX = 224
"""Side of the square that the network sees and answers in."""

_ENCODER, _DECODER = "dinov2.", "decoder."


class GestDetectronNet(nn.Module):
    """Hand or not, for each pixel of a square.

    Its weights are drawn from torch's random numbers; `load_gest_detectron` brings the trained ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = DinoEncoder(DinoBackbone.VITB14)
        self.decoder = nn.Sequential(
            nn.Conv2d(self.encoder.width, 256, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(256, 128, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Upsample(size=INPUT_PX, mode="bilinear", align_corners=True),
            nn.Conv2d(32, 1, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1, 224, 224) of pictures (B, 3, 224, 224) float32, normalised with mean and deviation 0.5."""
        (tokens,) = self.encoder(images, (self.encoder.depth - 1,))
        logits: torch.Tensor = self.decoder(tokens)
        return logits


def load_gest_detectron(path: Path) -> GestDetectronNet:
    """The network of gest_detectron's checkpoint, on the CPU, in evaluation mode.

    Raises:
        WeightsError: The file cannot be read, is something else, lacks a part, or is of another backbone.
    """
    return gest_detectron_in(read_state(path), path)


def gest_detectron_in(state: Mapping[str, torch.Tensor], path: Path) -> GestDetectronNet:
    """The network in a state dict laid out as gest_detectron's.

    Args:
        state: Names that start with "dinov2." and "decoder.".
        path: Where it was read, for messages.

    Raises:
        WeightsError: It is something else, lacks a part, or is of another backbone.
    """
    encoder, decoder = _below(_ENCODER, state), _below(_DECODER, state)
    foreign = sorted(name for name in state if not name.startswith((_ENCODER, _DECODER)))
    if foreign:
        raise WeightsError(
            f"{path}: is not laid out as gest_detectron's checkpoint, all of whose weights are named dinov2.… or "
            f"decoder.…: it holds {foreign[0]}"
        )
    _check_parts(encoder, decoder, path)
    with torch.device("meta"):  # no weights are drawn that would be overwritten
        net = GestDetectronNet()
    check_names(decoder, net.decoder.state_dict(), path, "gest_detectron's decoder")
    weights = official_weights(net.encoder, encoder, path)
    net.encoder.vit.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    net.decoder.load_state_dict({name: value.float() for name, value in decoder.items()}, assign=True)
    return net.eval()


def _check_parts(encoder: Mapping[str, torch.Tensor], decoder: Mapping[str, torch.Tensor], path: Path) -> None:
    wanted = SHAPES[DinoBackbone.VITB14]
    if not encoder:
        raise WeightsError(
            f"{path}: holds a decoder alone; its encoder, {wanted} under the names dinov2.…, is missing; "
            "give gest_detectron's whole file ('gest-stream models fetch gest-detectron' gets it), or train a decoder "
            "with 'gest-stream train decoder', which keeps both in one file"
        )
    if not decoder:
        raise WeightsError(
            f"{path}: holds the encoder of gest_detectron alone, no decoder; give its whole file "
            "('gest-stream models fetch gest-detectron' gets it)"
        )
    found = describe_official(encoder)
    if found != wanted:
        raise WeightsError(
            f"{path}: its encoder is {found or 'none of DINOv2'}; gest_detectron's decoder stands on {wanted}; "
            "train a decoder for another backbone with 'gest-stream train decoder'"
        )


def _below(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
