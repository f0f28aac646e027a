"""Where the SAM2 engine computes, and in what precision."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from gest_stream.config import Precision, Sam2Config, Sam2Runner, Sam2Size
from gest_stream.device import find_device
from gest_stream.errors import DeviceError

_log = logging.getLogger(__name__)

_PROBE_SIDE = 512
_PROBE_REPEATS = 7


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and what is computed in on it.

    Args:
        device: A torch device.
        dtype: torch.float32 or torch.bfloat16; the latter as autocast over float32 values.
        threads: CPU threads that torch takes in every thread that computes; 0 leaves that to torch, where a thread has
            what any other one had set last when it first used torch, for example a redetector that takes one.
    """

    device: torch.device
    dtype: torch.dtype
    threads: int = 0

    @classmethod
    def choose(cls, device: str, precision: Precision) -> Compute:
        """The compute of settings on this machine.

        Args:
            device: "auto" takes CUDA, else MPS, else the CPU.
            precision: "auto" takes bfloat16 on CUDA where it is native, and on a CPU where it is measured to be faster.

        Raises:
            DeviceError: The device is not there, or cannot compute in that precision.
        """
        chosen = find_device(device)
        if precision is Precision.AUTO:
            return cls(chosen, _best_dtype(chosen))
        if precision is Precision.BFLOAT16 and chosen.type == "mps":
            raise DeviceError("precision bfloat16: not supported on mps; use --set sam2.precision=float32")
        return cls(chosen, torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32)

    @property
    def is_cuda(self) -> bool:
        """Whether it is an NVIDIA GPU (or one that torch treats as such)."""
        return self.device.type == "cuda"

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inference mode on this device and in this precision: autocast for bfloat16.

        Autocast keeps no cache: weights are cast once, when the model is prepared, and a cache would not survive the
        capture of a CUDA graph.
        """
        if self.threads and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with ExitStack() as entered:
            entered.enter_context(torch.inference_mode())
            if self.is_cuda:
                entered.enter_context(torch.cuda.device(self.device))
            if self.dtype is torch.bfloat16:
                entered.enter_context(torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False))
            yield

    def prepare(self, modules: Any) -> Any:
        """Move modules there.

        For bfloat16 the weights of matrix products are cast once, not on every frame. For float32 on CUDA, TF32 is
        allowed, which torch can only do for the whole process.
        """
        modules = modules.to(self.device)
        if self.dtype is torch.bfloat16:
            for module in modules.modules():
                if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                    module.to(torch.bfloat16)
        elif self.is_cuda:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        if self.is_cuda or self.dtype is torch.bfloat16:
            modules.to(memory_format=torch.channels_last)
        return modules

    def synchronize(self) -> None:
        """Wait until everything that was asked of the device is done."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def choose_compute(config: Sam2Config) -> Compute:
    """Where an engine with these settings computes.

    Raises:
        DeviceError: The device is not there, or cannot do what is asked.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    compute = Compute.choose(config.device, config.precision)
    if config.precision is Precision.AUTO and config.size is Sam2Size.NANO and compute.device.type == "cpu":
        # its products are too small for bfloat16 to pay, even with AMX (benchmarks/results/builtin_sam2_nano.json)
        compute = replace(compute, dtype=torch.float32)
    if config.runner is Sam2Runner.GRAPH and not compute.is_cuda:
        raise DeviceError(f"runner graph: needs a CUDA device, got {compute.device}; use runner fixed or auto")
    return compute


def runner_of(config: Sam2Config, compute: Compute) -> Sam2Runner:
    """Which runner these settings mean there."""
    if config.runner is Sam2Runner.AUTO:
        return Sam2Runner.GRAPH if compute.is_cuda else Sam2Runner.BATCHED
    return config.runner


@contextmanager
def out_of_memory_is_an_error(device: torch.device, config: Sam2Config, doing: str) -> Iterator[None]:
    """Turn torch's error into one that says what to do.

    Raises:
        DeviceError: The device's memory is full.
    """
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise DeviceError(
            f"{device}: out of memory while {doing} with sam2 {config.size} at {config.image_size} pixels; choose a "
            "smaller --size or a smaller --image-size"
        ) from exc


def _best_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device)[0] >= 8
        return torch.bfloat16 if native else torch.float32
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _bfloat16_is_faster_on_cpu():
        return torch.bfloat16
    return torch.float32


def _bfloat16_is_faster_on_cpu() -> bool:
    """A matrix product in both, interleaved, by their medians: CPUs that emulate bfloat16 are slower with it."""
    operands = {dtype: torch.ones(_PROBE_SIDE, _PROBE_SIDE, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    times: dict[torch.dtype, list[int]] = {dtype: [] for dtype in operands}
    for _ in range(_PROBE_REPEATS):
        for dtype, operand in operands.items():
            start = time.perf_counter_ns()
            torch.mm(operand, operand)
            times[dtype].append(time.perf_counter_ns() - start)
    medians = {dtype: sorted(values)[_PROBE_REPEATS // 2] for dtype, values in times.items()}
    return medians[torch.bfloat16] < 0.8 * medians[torch.float32]
