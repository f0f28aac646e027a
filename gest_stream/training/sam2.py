"""Fine-tunes SAM 2.1 on clips with masks; `train_sam2` is `gest-stream train sam2`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from gest_stream.config import Precision
from gest_stream.errors import DeviceError
from gest_stream.models.sam2_device import Compute
from gest_stream.models.sam2_weights import build_modules, load_checkpoint, weights_of
from gest_stream.models.torch_threads import torch_threads
from gest_stream.training.files import state_path
from gest_stream.training.progress import OnProgress, TrainingResult
from gest_stream.training.run import memory_is_short, stored_state
from gest_stream.training.sam2_config import Sam2Training
from gest_stream.training.sam2_data import prepare_clips
from gest_stream.training.sam2_loop import TrainingLoop
from gest_stream.training.state import SAM2, TrainingState, check_same_settings

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


def train_sam2(
    config: Sam2Training,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Fine-tune, measure and keep the best weights.

    Args:
        config: Settings.
        on_progress: Is told after every step and clip.
        should_stop: Is asked after every step; True writes the state and ends the training, which can go on later.

    Returns:
        What was written and how it went.

    Raises:
        ConfigError: Settings contradict each other, or the training that is to go on.
        InvalidInputError: A set has no clips, no masks, or is damaged.
        SourceError: A video cannot be read, or a rendering process ended early.
        WeightsError: The weights to start from are absent, damaged or of another size.
        DeviceError: The device is absent or out of memory.
        ModelError: The loss is no number any more.
        SinkError: An output cannot be written.
        MissingDependencyError: The package sam2 is not installed.
    """
    tell: OnProgress = on_progress or (lambda progress: None)
    stored = stored_state(config, SAM2)
    compute = training_compute(config)
    devices = [compute.device] if compute.is_cuda else []
    with (
        out_of_memory_is_an_error(config, compute),
        torch_threads(config.threads),
        torch.random.fork_rng(devices=devices),
    ):
        torch.manual_seed(config.seed)  # the trunk of an unlike shape is drawn before weights come
        model: SAM2Base = build_modules(config.size, config.image_size, config.overrides)
        if stored is None:
            load_checkpoint(model, config.init or weights_of(config.size), f"sam2.1 {config.size}")
        clips = prepare_clips(config, tell)
        settings = _curve_settings(config, clips.fingerprint())
        if stored is not None:
            check_same_settings(state_path(config.out), stored.settings, settings)
        state = stored if stored is not None else TrainingState(SAM2, settings)
        loop = TrainingLoop(config, model, clips, state, compute, tell)
        return loop.run(should_stop or (lambda: False))


def training_compute(config: Sam2Training) -> Compute:
    """Where the training computes and in what; bfloat16 by itself only on CUDA, where it was trained in.

    Raises:
        DeviceError: The device is not there.
    """
    device = Compute.choose(config.device, Precision.FLOAT32).device
    if config.precision is Precision.AUTO:
        precision = Precision.AUTO if device.type == "cuda" else Precision.FLOAT32
    else:
        precision = config.precision
    return Compute.choose(str(device), precision)


def _curve_settings(config: Sam2Training, clips: str) -> dict[str, Any]:
    """The settings that the loss curve follows from; `clips` is the fingerprint of the clips."""
    names = (
        *("image_size", "frames", "batch", "max_objects", "max_stride", "min_area", "corrected", "max_clicks"),
        *("rate", "encoder_rate", "weight_decay", "warm_up_steps", "max_norm", "unfreeze_encoder", "seed"),
    )
    return {
        "data": clips,
        "size": str(config.size),
        "train": [str(part) for part in config.train],
        "overrides": list(config.overrides),
        **{name: getattr(config, name) for name in names},
    }


@contextmanager
def out_of_memory_is_an_error(config: Sam2Training, compute: Compute) -> Iterator[None]:
    """Say what helps where memory is short.

    Raises:
        DeviceError: It was short.
    """
    try:
        yield
    except RuntimeError as exc:
        if not memory_is_short(exc):
            raise
        frames = f"fewer --frames (now {config.frames})"
        others = " or leave --unfreeze-encoder out" if config.unfreeze_encoder else ""
        raise DeviceError(
            f"{compute.device}: out of memory while training sam2 {config.size} at {config.image_size} pixels; use "
            f"{frames}, a smaller --image-size{', a smaller --batch' if config.batch > 1 else ''}{others}"
        ) from exc
