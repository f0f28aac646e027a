"""The parts of one SAM2 frame, each alone: what a step is made of, and how far each part is from the device's rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sam2_clip import Clip
from benchmarks.sam2_timing import Stopwatch, percentiles
from gest_stream.models.memory_bank import BankView
from gest_stream.models.sam2_attention import BatchedAttention
from gest_stream.models.sam2_device import Compute
from gest_stream.models.sam2_engine import Sam2Engine, Sam2Masks
from gest_stream.models.sam2_frames import FrameUpload
from gest_stream.models.sam2_graphs import capture_on_cuda
from gest_stream.models.sam2_masks import frame_logits, to_hand_masks
from gest_stream.models.sam2_model import Sam2Model

_WARM_UP = 2
_MATRIX = {"cuda": 8192, "cpu": 1024, "mps": 2048}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a frame.

    Args:
        name: What it is called in results.
        run: Does it once.
        objects: For so many objects; 0 where it does not depend on them.
        capturable: It can become a CUDA graph.
    """

    name: str
    run: Callable[[], object]
    objects: int
    capturable: bool


def full_view(model: Sam2Model, objects: int) -> BankView:
    """A bank in which every object has one conditioning frame, six others and all pointers."""
    device = model.compute.device
    generator = torch.Generator().manual_seed(0)
    frames, pointers = model.memory_frames + 1, model.pointer_frames + 1
    places = torch.arange(frames, device=device).flip(0)
    ages = torch.arange(1, pointers + 1, device=device, dtype=torch.float32)
    memory = torch.randn(objects, frames, model.tokens, model.memory_dim, generator=generator)
    pointer = torch.randn(objects, pointers, model.hidden_dim, generator=generator)
    return BankView(
        memory.to(device, torch.bfloat16),
        places.expand(objects, -1),
        None,
        pointer.to(device),
        ages.expand(objects, -1),
        None,
    )


def shared_parts(engine: Sam2Engine, clip: Clip) -> list[Part]:
    """Those that do not depend on the number of objects."""
    model = engine.model
    upload = FrameUpload(engine.compute, model.image_size)
    picture = upload(clip.image(0))
    return [
        Part("input", lambda: upload(clip.image(0)), 0, False),
        Part("encoder", lambda: model.encode_image(picture), 0, True),
    ]


def object_parts(engine: Sam2Engine, clip: Clip, objects: int) -> list[Part]:
    """Those of so many objects."""
    model = engine.model
    features = model.encode_image(FrameUpload(engine.compute, model.image_size)(clip.image(0)))
    view, attention = full_view(model, objects), BatchedAttention(model)
    pixels = attention(features, view)
    decoded = model.decode(pixels, features)
    masks = Sam2Masks(tuple(range(objects)), decoded, clip.frame_size)

    def remember() -> torch.Tensor:
        return model.remember(features, model.enlarge(decoded.logits), decoded.score, certain=False)

    return [
        Part("attention", lambda: attention(features, view), objects, True),
        Part("decoder", lambda: model.decode(pixels, features), objects, True),
        Part("memory encoder", remember, objects, True),
        Part("logits at frame size", lambda: frame_logits(masks), objects, False),
        Part("8-bit masks in memory", lambda: to_hand_masks(masks, non_overlap=True), objects, False),
    ]


def measure_part(part: Part, compute: Compute, repeats: int) -> dict[str, Any]:
    """Time one part; on CUDA as a captured graph, too."""
    watch = Stopwatch(compute.device)
    for _ in range(_WARM_UP):
        part.run()
    counter = FlopCounterMode(display=False)
    with counter:
        part.run()
    figures: dict[str, Any] = {
        "part": part.name,
        "objects": part.objects,
        "gflop": round(counter.get_total_flops() / 1e9, 3),
        **percentiles([watch.time(part.run)[0] for _ in range(repeats)]),
    }
    if compute.is_cuda and part.capturable:
        try:
            replay, _ = capture_on_cuda(part.run)
            figures["graph"] = percentiles([watch.time(replay)[0] for _ in range(repeats)])
        except RuntimeError as exc:
            figures["graph"] = {"failed": (str(exc).splitlines() or [""])[0]}
    return figures


def measure_parts(engine: Sam2Engine, clip: Clip, objects: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Every part of an engine's model, in its precision."""
    with engine.compute.active():
        parts = shared_parts(engine, clip)
        for count in objects:
            parts += object_parts(engine, clip, count)
        return [measure_part(part, engine.compute, repeats) for part in parts]


def matrix_tflops(compute: Compute, repeats: int = 9) -> float:
    """What a large square matrix product reaches here in this precision, in 10^12 operations a second."""
    side = _MATRIX.get(compute.device.type, 1024)
    operand = torch.ones(side, side, device=compute.device, dtype=compute.dtype)
    watch = Stopwatch(compute.device)
    with compute.active():
        times = [watch.time(lambda: operand @ operand)[0] for _ in range(repeats)]
    return round(2 * side**3 / (float(np.median(times)) / 1e3) / 1e12, 4)
