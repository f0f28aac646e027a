"""torch devices: found by name, and copied to and from with no more waiting than there must be."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.errors import DeviceError


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        DeviceError: It is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise DeviceError(
                f"device {name!r}: torch sees {count} CUDA devices; check the driver with nvidia-smi, "
                "or use --device cpu"
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps': torch sees no Apple GPU; use --device cpu")
    return device


class Upload:
    """Brings pictures to a device. On CUDA through pinned memory, on a stream of its own beside what is computed.

    Args:
        device: Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned: torch.Tensor | None = None
        self._copied: torch.cuda.Event | None = None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """The image on the device; what is computed with it on the current stream waits for it. On a CPU a view."""
        if self._stream is None:  # torch warns of what it may not write to
            return torch.from_numpy(np.require(image, requirements=("C", "W"))).to(self._device)
        if self._pinned is None or self._pinned.shape != image.shape:
            self._pinned = torch.empty(image.shape, dtype=torch.uint8, pin_memory=True)
        if self._copied is not None:
            self._copied.synchronize()  # the last image must have left before its place is used again
        self._pinned.numpy()[...] = image
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            pixels = self._pinned.to(self._device, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()
        current.wait_event(self._copied)
        pixels.record_stream(current)
        return pixels


def fetched(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Tensors in memory, with one wait for all."""
    if tensors[0].device.type != "cuda":
        return tuple(tensor.cpu() for tensor in tensors)
    hosts = tuple(torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors)
    for host, tensor in zip(hosts, tensors, strict=True):
        host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return hosts
