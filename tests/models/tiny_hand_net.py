"""A `HandNet` that learned in seconds to tell two colours of discs from noise, and pictures to show it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.config import DinoBackbone
from gest_stream.models.dino_decoder import HandNet, NetSpec, normalise

SPEC = NetSpec(DinoBackbone.NANO, width=32, input_size=112)

HAND_RGB, FOREARM_RGB = (210, 140, 110), (40, 60, 200)

_STEPS, _BATCH, _SIDE = 45, 4, 84


def disc(height: int, width: int, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    """(H, W) True within `radius` of the place; the middle of the first pixel is at 0.5."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """(H, W, 3) a grey with coloured grain."""
    return rng.uniform(50, 200) + rng.normal(0, 25, (height, width, 3))


@lru_cache(maxsize=1)
def learned() -> tuple[HandNet, tuple[float, ...]]:
    """The network, the same on every call, and its losses from the first step to the last; not to be changed."""
    rng, losses = np.random.default_rng(0), []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        net = HandNet(SPEC)
        optimizer = torch.optim.AdamW(net.parameters())
        for step in range(_STEPS):
            optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, (step + 1) / 5) * (1 - step / _STEPS)
            images, labels = _batch(rng)
            logits = net(normalise(images))
            loss = F.cross_entropy(logits, F.interpolate(labels, size=logits.shape[2:])[:, 0].long())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    return net.eval(), tuple(losses)


def _batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.stack([noise(rng, _SIDE, _SIDE) for _ in range(_BATCH)])
    labels = np.zeros((_BATCH, 1, _SIDE, _SIDE), np.float32)
    for image, label in zip(images, labels, strict=True):
        for value, colour in ((2, FOREARM_RGB), (1, HAND_RGB)):
            if rng.random() < 0.85:
                x, y = rng.uniform(0, _SIDE, 2)
                inside = disc(_SIDE, _SIDE, x, y, rng.uniform(0.12, 0.3) * _SIDE)
                image[inside] = np.array(colour) + rng.normal(0, 20, (int(inside.sum()), 3))
                label[0][inside] = value
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8)), torch.from_numpy(labels)
