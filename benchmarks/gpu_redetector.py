"""How long the redetectors take on one frame, on a GPU or a CPU.

    python -m benchmarks.gpu_redetector [--device cuda] [--json out.json]

The DINOv2 sizes have seeded weights, and so has `hand-seg`: time does not depend on what they
are. It needs torch, and timm for DINOv2, which is left out where that is absent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.sam2_clip import make_clip
from benchmarks.sam2_timing import percentiles
from gest_stream.config import DinoBackbone, RedetectorConfig
from gest_stream.interfaces import Redetector
from gest_stream.models.dino_decoder import HandNet, NetSpec
from gest_stream.models.hand_seg import HandSegRedetector
from gest_stream.models.hand_seg_net import HandSegNet
from gest_stream.models.redetector import DinoRedetector
from gest_stream.types import Frame, ReinitialisedBy

_WARM_UP: Final = 5


def systems(device: str) -> dict[str, Redetector]:
    """What is measured, by name."""
    config = RedetectorConfig(device=device)
    torch.manual_seed(0)
    found: dict[str, Redetector] = {"hand-seg": HandSegRedetector(HandSegNet(), config)}
    try:
        for backbone in (DinoBackbone.VITS14, DinoBackbone.VITB14):
            net = HandNet(NetSpec(backbone))
            found[str(backbone)] = DinoRedetector(net, config, ReinitialisedBy.DINO)
    except ImportError as exc:
        print(f"DINOv2 is left out: {exc}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--frames", type=int, default=100 if cuda else 10)
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu_redetector.json")
    args = parser.parse_args(arguments)
    head, clip = conditions(), make_clip((1280, 720), 1)
    figures: dict[str, Any] = {
        "how": {
            "gpu": torch.cuda.get_device_name() if cuda else "none was lent: says nothing about a GPU",
            "device": args.device,
            "frame_size": [1280, 720],
            "timing": "the wall's clock, from a picture in memory to a map in memory; the systems take turns",
        }
    }
    measured = systems(args.device)
    times: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(args.frames + _WARM_UP):
        frame = Frame(clip.image(number), number, Fraction(1, 30), 0, number)
        for name, redetector in measured.items():
            began = time.perf_counter()
            redetector.segment(frame)
            if number >= _WARM_UP:
                times[name].append(1e3 * (time.perf_counter() - began))
    figures["frame_ms"] = {name: percentiles(values) for name, values in times.items()}
    write_result(args.json, "gpu_redetector", figures, head)


if __name__ == "__main__":
    main()
