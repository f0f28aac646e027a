"""A SAM2 of 64 pixels and 32 channels with seeded weights: milliseconds a step, every path of the real one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.config import Precision, Sam2Runner, Sam2Size
from gest_stream.models.sam2_device import Compute
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Engine
from gest_stream.models.sam2_model import Sam2Model
from gest_stream.models.sam2_weights import build_modules
from gest_stream.types import Prompt, PromptMode
from tests.models.sam2_upstream import plain_config, weights

SIDE = 64
FRAME_SIZE = (96, 64)
CPU = Compute(torch.device("cpu"), torch.float32)

SEEN = 30.0
"""Bias of the object score under which objects are seen on all frames."""

_WIDTH, _MEMORY, _TRUNK, _GRID = 32, 8, 16, SIDE // 16
_ATTENTION = "model.memory_attention"

NANO: tuple[str, ...] = (
    f"model.image_encoder.trunk.embed_dim={_TRUNK}",
    "model.image_encoder.trunk.stages=[1,1,2,1]",
    "model.image_encoder.trunk.global_att_blocks=[3]",
    f"model.image_encoder.trunk.window_spec=[8,4,{_GRID},{_GRID // 2}]",
    f"model.image_encoder.neck.d_model={_WIDTH}",
    f"model.image_encoder.neck.position_encoding.num_pos_feats={_WIDTH}",
    f"model.image_encoder.neck.backbone_channel_list=[{_TRUNK * 8},{_TRUNK * 4},{_TRUNK * 2},{_TRUNK}]",
    f"{_ATTENTION}.d_model={_WIDTH}",
    f"{_ATTENTION}.num_layers=1",
    f"{_ATTENTION}.layer.d_model={_WIDTH}",
    f"{_ATTENTION}.layer.dim_feedforward={2 * _WIDTH}",
    f"{_ATTENTION}.layer.self_attention.embedding_dim={_WIDTH}",
    f"{_ATTENTION}.layer.cross_attention.embedding_dim={_WIDTH}",
    f"{_ATTENTION}.layer.cross_attention.kv_in_dim={_MEMORY}",
    f"model.memory_encoder.out_dim={_MEMORY}",
    f"model.memory_encoder.position_encoding.num_pos_feats={_MEMORY}",
    f"model.memory_encoder.in_dim={_WIDTH}",
    f"model.memory_encoder.mask_downsampler.embed_dim={_WIDTH}",
    f"model.memory_encoder.fuser.layer.dim={_WIDTH}",
    "model.memory_encoder.fuser.num_layers=1",
)
"""Overrides of upstream's tiny config."""


def nano_weights(score_bias: float | None = None) -> dict[str, torch.Tensor]:
    """The nano model's seeded weights; the bias moves the object scores.

    Which of the three masks is best is no toss-up: random weights predict the same IoU for all to a thousandth, and a
    rounding would choose another mask.
    """
    state = weights(Sam2Size.TINY, SIDE, score_bias, NANO)
    name = "sam_mask_decoder.iou_prediction_head.layers.2.bias"
    return state | {name: state[name] + torch.tensor([0.0, -1.0, 1.0, 0.0])}


def nano_modules(score_bias: float | None = None) -> Any:
    """Upstream's modules with those weights."""
    modules = build_modules(Sam2Size.TINY, SIDE, NANO)
    modules.load_state_dict(nano_weights(score_bias))
    return modules


def nano_model(score_bias: float | None = SEEN) -> Sam2Model:
    """Our model around them, float32 on the CPU."""
    return Sam2Model(_shared_modules(score_bias), CPU)


def nano_engine(
    runner: Sam2Runner = Sam2Runner.BATCHED,
    max_objects: int = 4,
    score_bias: float | None = SEEN,
    **settings: Any,
) -> Sam2Engine:
    """An engine with everything off that upstream does not do; its objects are seen on most frames."""
    config = plain_config(SIDE, runner, **settings)
    # An engine casts and moves its modules, which changes nothing in float32 on the CPU: those are shared.
    own = config.precision != Precision.FLOAT32
    return Sam2Engine(nano_modules(score_bias) if own else _shared_modules(score_bias), config, max_objects)


@lru_cache(maxsize=4)
def _shared_modules(score_bias: float | None) -> Any:
    return nano_modules(score_bias)


def images(count: int, seed: int = 0, size: tuple[int, int] = FRAME_SIZE) -> list[NDArray[np.uint8]]:
    """Frames in which two soft blobs wander over a coloured ground."""
    width, height = size
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 90, (height, width, 3)).astype(np.float64)
    rows, columns = np.mgrid[0:height, 0:width]
    frames = []
    for index in range(count):
        picture = ground.copy()
        for phase, colour in ((0.0, (230, 160, 120)), (2.0, (120, 200, 230))):
            x = width * (0.5 + 0.3 * np.cos(phase + index / 7))
            y = height * (0.5 + 0.3 * np.sin(phase + index / 5))
            near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (height / 6) ** 2))[..., None]
            picture = picture * (1 - near) + np.array(colour) * near
        frames.append(picture.astype(np.uint8))
    return frames


def encoded_frames(engine: Sam2Engine, count: int, seed: int = 0) -> list[Sam2Encoded]:
    """Their features; any engine with the same weights may step on them."""
    return [engine.encode(image) for image in images(count, seed)]


def click(x: float, y: float, label: int = 1, mode: PromptMode = PromptMode.RESET) -> Prompt:
    """One point in pixels of the frame."""
    return Prompt(np.array([[x, y]], np.float32), np.array([label], np.int32), None, mode)


def box(left: float, top: float, right: float, bottom: float, mode: PromptMode = PromptMode.RESET) -> Prompt:
    """A box in pixels of the frame."""
    return Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int32), (left, top, right, bottom), mode)
