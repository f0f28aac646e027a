"""The redetector: a segmentation network on DINOv2, from a frame to where hands and forearms probably are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from gest_stream.config import DinoBackbone, RedetectorConfig
from gest_stream.errors import ModelError, WeightsError
from gest_stream.models.checkpoint import read_content, state_in
from gest_stream.models.dino import PATCH_PX, SHAPES, describe_official
from gest_stream.models.dino_decoder import CELLS_PER_PATCH, FORMAT, HandNet, fit_to_input, net_in, normalise
from gest_stream.models.gest_detectron import INPUT_PX, GestDetectronNet, gest_detectron_in
from gest_stream.models.redetector_device import choose_compute, out_of_memory_is_an_error
from gest_stream.models.torch_threads import torch_threads
from gest_stream.types import Frame, HandProbability, ReinitialisedBy

_CELL_PX = PATCH_PX / CELLS_PER_PATCH


class DinoRedetector:
    """Finds hands with a segmentation network; implements `interfaces.Redetector`.

    Args:
        net: The network with its weights; it is moved and cast, so it belongs to this object from now on.
        config: Where it computes, and how large a picture it sees.
        kind: What results call it.

    Raises:
        DeviceError: The device is not there, cannot compute in that precision, or has no memory for the network.
    """

    def __init__(self, net: HandNet | GestDetectronNet, config: RedetectorConfig, kind: ReinitialisedBy) -> None:
        self._config = config
        self._kind = kind
        self._compute = choose_compute(config)
        with out_of_memory_is_an_error(self._compute.device, "loading its weights"):
            self._net: HandNet | GestDetectronNet | None = self._compute.prepare(net.eval().requires_grad_(False))

    @property
    def kind(self) -> ReinitialisedBy:
        """What results call it."""
        return self._kind

    def segment(self, frame: Frame) -> HandProbability:
        """Where hands and forearms probably are on `frame`.

        Returns:
            A grid of 3.5 pixels of the network's input a cell; of gest_detectron's network 224x224.

        Raises:
            DeviceError: The device is out of memory.
            ModelError: It was closed.
        """
        if self._net is None:
            raise ModelError("redetector: it was closed; make a new one")
        pixels = torch.from_numpy(np.require(frame.image, requirements=("C", "W")))
        with (
            out_of_memory_is_an_error(self._compute.device, f"looking at a frame of {frame.width}x{frame.height}"),
            torch_threads(self._config.threads),
            self._compute.active(),
        ):
            pixels = pixels.to(self._compute.device).permute(2, 0, 1)[None]
            if isinstance(self._net, HandNet):
                maps = see(self._net, pixels, self._config.input_size or self._net.spec.input_size)
            else:
                maps = {"hand": _see_square(self._net, pixels)}
            hand, forearm = ((maps[name].cpu().numpy() if name in maps else None) for name in ("hand", "forearm"))
        assert hand is not None  # NetSpec sees to it
        return HandProbability(hand, frame.size, forearm)

    def close(self) -> None:
        """Let go of the network; more than once does no harm."""
        self._net = None


def load_redetector(config: RedetectorConfig, checkpoint: Path) -> DinoRedetector:
    """The redetector of a checkpoint: gest_detectron's or one of `gest-stream train decoder`, told apart by itself.

    Args:
        config: Where it computes, and which backbone it must have.
        checkpoint: The file.

    Raises:
        WeightsError: The file cannot be read, lacks a part, is something else, or is of another backbone than asked.
        DeviceError: The device is not there, cannot compute in that precision, or has no memory for the network.
    """
    content = read_content(checkpoint)
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        net: HandNet | GestDetectronNet = net_in(content, checkpoint)
    else:
        state = state_in(content, checkpoint)
        _refuse_others(state, checkpoint)
        net = gest_detectron_in(state, checkpoint)
    backbone, wanted = net.encoder.kind, config.backbone
    if wanted is not None and wanted is not backbone:
        raise WeightsError(
            f"{checkpoint}: its encoder is {SHAPES[backbone]}; {SHAPES[wanted]} was asked for; use a checkpoint of "
            f"{SHAPES[wanted].name}, or leave redetector.backbone unset"
        )
    if not all(bool(value.isfinite().all()) for value in net.state_dict().values()):
        raise WeightsError(f"{checkpoint}: holds weights that are not finite: its training went wrong; train it anew")
    kind = ReinitialisedBy.BUILTIN if backbone is DinoBackbone.NANO else ReinitialisedBy.DINO
    return DinoRedetector(net, config, kind)


def _refuse_others(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Say what a file is that people may well take for a redetector's."""
    encoder = describe_official(state)
    if encoder is not None:
        raise WeightsError(
            f"{path}: is {encoder} as it was published, an encoder without a decoder; train one on it with "
            f"'gest-stream train decoder --backbone-weights {path}'"
        )
    if any(name.startswith("image_encoder.trunk.") for name in state):
        raise WeightsError(
            f"{path}: is a checkpoint of SAM 2, which the segmenter takes (--checkpoint); a redetector's is "
            "gest_detectron's file or what 'gest-stream train decoder' wrote"
        )
    if not any(name.startswith(("dinov2.", "decoder.")) for name in state):
        raise WeightsError(
            f"{path}: is no redetector's checkpoint (it holds {min(state)}); give gest_detectron's file or what "
            "'gest-stream train decoder' wrote"
        )


def see(net: HandNet, pixels: torch.Tensor, input_size: int) -> dict[str, torch.Tensor]:
    """What one of our networks says of a picture.

    Args:
        net: The network.
        pixels: (1, 3, H, W) uint8 RGB, on the network's device.
        input_size: Longer side of what the network sees, pixels.

    Returns:
        For each class (h, w) float32, 0 to 1; the grid covers the picture and nothing else.
    """
    size = (pixels.shape[-1], pixels.shape[-2])
    (width, height), padded = fit_to_input(size, input_size)
    resized = _resized(pixels, (height, width))
    resized = F.pad(resized, (0, padded[0] - width, 0, padded[1] - height))  # black, as training measures
    logits = net(normalise(resized.permute(0, 2, 3, 1)))
    shares = _cut(logits.float().softmax(dim=1), (width, height), padded)
    return {name: shares[0, channel].clamp(0.0, 1.0) for channel, name in enumerate(net.spec.classes, 1)}


def _cut(values: torch.Tensor, size: tuple[int, int], padded: tuple[int, int]) -> torch.Tensor:
    """The part of a grid over a padded picture that shows the picture, on a grid of its own.

    The picture's edge lies anywhere within a cell, so the part is sampled: else the map would be up to a cell too
    wide, and everything on it shifted.

    Args:
        values: (1, C, h, w), which covers `padded`.
        size: (width, height) of the picture, pixels; it lies at the top left.
        padded: (width, height) with its padding.
    """
    if size == padded:
        return values
    width, height = (max(1, round(side / _CELL_PX)) for side in size)
    x = (torch.arange(width, device=values.device) + 0.5) * (2 * size[0] / width / padded[0]) - 1
    y = (torch.arange(height, device=values.device) + 0.5) * (2 * size[1] / height / padded[1]) - 1
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    return F.grid_sample(values, places, mode="bilinear", padding_mode="border", align_corners=False)


def _see_square(net: GestDetectronNet, pixels: torch.Tensor) -> torch.Tensor:
    """(224, 224) float32, 0 to 1, of (1, 3, H, W) uint8: the picture as a square, its aspect not kept."""
    square = _resized(pixels, (INPUT_PX, INPUT_PX))
    logits: torch.Tensor = net((square / 255.0 - 0.5) / 0.5)
    return logits[0, 0].float().sigmoid()


def _resized(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(1, 3, *size) uint8, of (1, 3, H, W) uint8."""
    if pixels.shape[-2:] == size:
        return pixels
    if pixels.device.type == "cpu":  # torch has an integer filter for uint8, there alone: ten times as fast
        return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return F.interpolate(pixels.float(), size=size, mode="bilinear", antialias=True).round().to(torch.uint8)
