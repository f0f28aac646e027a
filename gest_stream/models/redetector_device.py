"""Where a redetector computes, and what its errors say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gest_stream.config import Precision, RedetectorConfig
from gest_stream.device import find_device
from gest_stream.errors import DeviceError
from gest_stream.models.sam2_device import Compute
from gest_stream.models.torch_threads import torch_threads


def choose_compute(config: RedetectorConfig, on_cpu: Precision = Precision.AUTO) -> Compute:
    """Where a redetector with these settings computes.

    Args:
        config: Its settings.
        on_cpu: What precision `auto` means on a CPU.

    Raises:
        DeviceError: The device is not there, or cannot compute in that precision.
    """
    precision = config.precision
    try:
        if precision is Precision.AUTO and find_device(config.device).type == "cpu":
            precision = on_cpu
        with torch_threads(config.threads):  # what is faster here depends on them
            return Compute.choose(config.device, precision)
    except DeviceError as exc:  # its remedies are the segmenter's settings
        reason = str(exc).partition(";")[0]
        raise DeviceError(f"redetector: {reason}; use --set redetector.device=cpu") from exc


@contextmanager
def out_of_memory_is_an_error(device: torch.device, doing: str) -> Iterator[None]:
    """Turn torch's error into one that says what to do.

    Raises:
        DeviceError: The device's memory is full.
    """
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise DeviceError(
            f"redetector: {device} is out of memory while {doing}; use a smaller "
            "redetector.input_size or --set redetector.device=cpu"
        ) from exc
