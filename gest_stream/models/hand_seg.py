"""The built-in redetector: hand-seg's network, from a frame to where hands and forearms probably are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.config import Precision, RedetectorConfig
from gest_stream.errors import ModelError
from gest_stream.models.builtin import builtin_path, read_builtin
from gest_stream.models.cpu_features import multiplies_bfloat16
from gest_stream.models.hand_seg_net import CELL_PX, CLASSES, INPUT_PX, HandSegNet, fit_frame, net_of
from gest_stream.models.redetector_device import choose_compute, out_of_memory_is_an_error
from gest_stream.models.torch_threads import torch_threads
from gest_stream.types import Frame, HandProbability, ReinitialisedBy

NAME = "hand-seg"
"""Of its weights in the package."""


class HandSegRedetector:
    """Finds hands with hand-seg's network; implements `interfaces.Redetector`.

    Unless told otherwise it computes in bfloat16 where the device multiplies that by itself, else in float32.

    Args:
        net: The network with its weights; its normalisation is folded and it is moved, so it belongs to this object
            from now on.
        config: Where it computes, and how large a picture it sees.

    Raises:
        DeviceError: The device is not there, cannot compute in that precision, or has no memory for the network.
    """

    def __init__(self, net: HandSegNet, config: RedetectorConfig) -> None:
        self._longer_side = config.input_size or INPUT_PX
        self._threads = config.threads
        # not by a trial of speed: answers are to be the same on every run
        on_cpu = Precision.BFLOAT16 if multiplies_bfloat16() else Precision.FLOAT32
        self._compute = choose_compute(config, on_cpu)
        net.requires_grad_(False).fold()
        with out_of_memory_is_an_error(self._compute.device, "loading its weights"):
            prepared: HandSegNet = self._compute.prepare(net)
            self._net: HandSegNet | None = prepared.to(memory_format=torch.channels_last)

    @property
    def kind(self) -> ReinitialisedBy:
        """What results call it."""
        return ReinitialisedBy.BUILTIN

    def segment(self, frame: Frame) -> HandProbability:
        """Where hands and forearms probably are on `frame`.

        Returns:
            A grid of two pixels of the network's input a cell: of a frame of 1280x720 128x72 cells.

        Raises:
            DeviceError: The device is out of memory.
            ModelError: It was closed.
        """
        if self._net is None:
            raise ModelError("redetector: it was closed; make a new one")
        (width, height), padded = fit_frame(frame.size, self._longer_side)
        image = np.zeros((padded[1], padded[0], 3), np.uint8)
        image[:height, :width] = _resized(frame.image, (width, height))
        with (
            out_of_memory_is_an_error(self._compute.device, f"looking at a frame of {frame.width}x{frame.height}"),
            torch_threads(self._threads),
            self._compute.active(),
        ):
            logits = self._net(torch.from_numpy(image)[None].to(self._compute.device))
            seen = logits[0, :, : height // CELL_PX, : width // CELL_PX].float()
            shares = F.softmax(seen, dim=0).clamp(0.0, 1.0).cpu().numpy()
        hand, forearm = (np.ascontiguousarray(shares[CLASSES.index(name)]) for name in ("hand", "forearm"))
        return HandProbability(hand, frame.size, forearm)

    def close(self) -> None:
        """Let go of the network; more than once does no harm."""
        self._net = None


def load_hand_seg(config: RedetectorConfig, path: Path | None = None) -> HandSegRedetector:
    """The redetector with the weights that lie in the package, or those of a training of one's own.

    Args:
        config: Where it computes, and how large a picture it sees.
        path: What `gest-stream train builtin --preset hand-seg` wrote.

    Raises:
        WeightsError: The file is absent, damaged or another model's.
        DeviceError: The device is not there, cannot compute in that precision, or has no memory for the network.
        MissingDependencyError: safetensors is not installed.
    """
    path = path or builtin_path(NAME)
    state, metadata = read_builtin(path)
    return HandSegRedetector(net_of(state, metadata, str(path)), config)


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    smaller = size[0] <= image.shape[1]
    # with averages over each pixel's area, as the pictures were made small that the network learnt from
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8)
