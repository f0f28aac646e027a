"""Settings in, a segmenter, redetector or detector out."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gest_stream.config import PipelineConfig, RedetectorKind, SegmenterKind
from gest_stream.interfaces import HandDetector, Redetector, Segmenter
from gest_stream.tracking.redetection import Redetection

if TYPE_CHECKING:
    from gest_stream.models.sam2_shared import SharedSam2

_LOG = logging.getLogger(__name__)


def choose_segmenter(config: PipelineConfig) -> tuple[SegmenterKind, str]:
    """Which segmenter `config` gets on this machine, and why, in one line."""
    if config.segmenter is not SegmenterKind.AUTO:
        return config.segmenter, f"{config.segmenter}: asked for"
    lacking = _what_sam2_lacks(config)
    if lacking:
        from gest_stream.models.builtin import builtin_path

        kind, why = SegmenterKind.BUILTIN, "its weights lie in the package, and it runs on any CPU"
        if not builtin_path("refiner").exists():
            kind, why = SegmenterKind.LIGHT, "needs no weights and runs on any CPU; this installation lacks builtin's"
        return kind, f"{kind}: {why}; sam2 was not taken: {lacking}"
    return SegmenterKind.SAM2, f"sam2: the {config.sam2.size} model's weights and a CUDA device are here"


def _what_sam2_lacks(config: PipelineConfig) -> str:
    """Why `auto` does not take sam2; "" where it does. Weights are looked for first: torch takes seconds to import."""
    from gest_stream.models.registry import find_model_file, sam2_weights_name
    from gest_stream.models.store import ModelStore

    if config.sam2.checkpoint is None and not config.sam2.size.bundled:
        name = sam2_weights_name(config.sam2.size)
        if not ModelStore().path(name).exists():
            short = find_model_file(name).short_name
            return f"its weights are not here (fetch them with 'gest-stream models fetch {short}')"
    if not config.sam2.device.startswith(("auto", "cuda")):
        return f"it is to run on {config.sam2.device}, where it takes seconds a frame"
    import torch

    return "" if torch.cuda.is_available() else "torch sees no CUDA device"


def make_segmenter(config: PipelineConfig) -> Segmenter[Any] | None:
    """The segmenter of `config`; None for `none`, which tracks landmarks only.

    Raises:
        WeightsError: Its weights can neither be found nor fetched, or belong to another model.
        DeviceError: Its device is not there.
    """
    kind, reason = choose_segmenter(config)
    _LOG.info("segmenter %s", reason)
    if kind is SegmenterKind.NONE:
        return None
    return within_deadline(config, _make_segmenter(config, kind))


def within_deadline(config: PipelineConfig, segmenter: Segmenter[Any]) -> Segmenter[Any]:
    """The segmenter itself, or one that gives its masks in time where `config` has a deadline; takes it over."""
    if config.deadline.limit_ms is None:
        return segmenter
    from gest_stream.models.deadline import DeadlineSegmenter

    return DeadlineSegmenter(segmenter, config.deadline, config.light)


def _make_segmenter(config: PipelineConfig, kind: SegmenterKind) -> Segmenter[Any]:
    if kind is SegmenterKind.SAM2:
        return _make_sam2(config)
    if kind is SegmenterKind.BUILTIN:
        from gest_stream.models.builtin_segmenter import load_refiner

        return load_refiner(config.refiner)
    from gest_stream.models.light import LightSegmenter

    return LightSegmenter(config.light)


def _make_sam2(config: PipelineConfig) -> Segmenter[Any]:
    from gest_stream.models.sam2 import Sam2Segmenter, load_engine

    engine = load_engine(config.sam2, _sam2_checkpoint(config), config.tracker.max_tracks)
    segmenter = Sam2Segmenter(engine)
    if engine.compute.is_cuda:
        segmenter.warmup((1280, 720), config.tracker.max_tracks)
    else:
        _warn_of_slowness(config, str(engine.compute.device))
    return segmenter


def load_shared_sam2(config: PipelineConfig) -> SharedSam2:
    """The weights of sam2 for several trackers.

    Raises:
        WeightsError: They can neither be found nor fetched, or belong to another model.
        DeviceError: The device is not there.
    """
    from gest_stream.models.sam2_shared import load_shared

    shared = load_shared(config.sam2, _sam2_checkpoint(config), config.batching)
    if shared.compute.is_cuda:
        shared.warmup()
    else:
        _warn_of_slowness(config, str(shared.compute.device))
    return shared


def _sam2_checkpoint(config: PipelineConfig) -> Path:
    from gest_stream.models.sam2_weights import weights_of

    return config.sam2.checkpoint or weights_of(config.sam2.size)


def _warn_of_slowness(config: PipelineConfig, device: str) -> None:
    if config.sam2.size.bundled:  # made for it
        return
    _LOG.warning(
        "sam2 on %s at %d pixels takes seconds a frame; a smaller --image-size is faster, and the segmenters "
        "builtin and light keep up with a camera",
        *(device, config.sam2.image_size),
    )


def choose_redetector(config: PipelineConfig) -> tuple[RedetectorKind, str]:
    """Which redetector `config` gets on this machine, and why, in one line."""
    wanted = config.redetector
    segmenter = choose_segmenter(config)[0]
    if segmenter is SegmenterKind.NONE:
        return RedetectorKind.NONE, "none: there is no segmenter that it would prompt"
    if wanted.kind is not RedetectorKind.AUTO:
        return wanted.kind, f"{wanted.kind}: asked for"
    if wanted.checkpoint is not None:
        kind = RedetectorKind.BUILTIN if wanted.checkpoint.suffix == ".safetensors" else RedetectorKind.DINO
        return kind, f"{kind}: its checkpoint {wanted.checkpoint} was given"
    lacking = _what_dino_lacks(config)
    if lacking and segmenter is SegmenterKind.LIGHT:
        return RedetectorKind.NONE, f"none: light runs without networks unless one is asked for; not dino: {lacking}"
    if lacking:
        return RedetectorKind.BUILTIN, f"builtin: its weights come with gest-stream; dino was not taken: {lacking}"
    return RedetectorKind.DINO, "dino: gest_detectron's weights and a CUDA device are here"


def _what_dino_lacks(config: PipelineConfig) -> str:
    """Why `auto` does not take gest_detectron's network; "" where it does."""
    from gest_stream.models.registry import GEST_DETECTRON, find_model_file
    from gest_stream.models.store import ModelStore

    if not ModelStore().path(GEST_DETECTRON).exists():
        short = find_model_file(GEST_DETECTRON).short_name
        return f"gest_detectron's weights are not here (fetch them with 'gest-stream models fetch {short}')"
    if not config.redetector.device.startswith(("auto", "cuda")):
        return f"it is to run on {config.redetector.device}, where it takes seconds"
    import torch

    return "" if torch.cuda.is_available() else "torch sees no CUDA device, and without one it takes seconds"


def make_redetector(config: PipelineConfig) -> Redetector | None:
    """The redetector of `config`; None where there is none.

    Raises:
        WeightsError: Its weights can neither be found nor fetched, or belong to another model.
        DeviceError: Its device is not there.
    """
    kind, reason = choose_redetector(config)
    _LOG.info("redetector %s", reason)
    if kind is RedetectorKind.NONE:
        return None
    checkpoint = config.redetector.checkpoint
    if kind is RedetectorKind.BUILTIN and (checkpoint is None or checkpoint.suffix == ".safetensors"):
        from gest_stream.models.hand_seg import load_hand_seg

        return load_hand_seg(config.redetector, checkpoint)
    from gest_stream.models.redetector import load_redetector
    from gest_stream.models.registry import GEST_DETECTRON
    from gest_stream.models.store import ModelStore

    return load_redetector(config.redetector, checkpoint or ModelStore().fetch(GEST_DETECTRON))


def make_redetection(config: PipelineConfig, redetector: Redetector | None) -> Redetection | None:
    """How a tracker uses `redetector`; None where there is none."""
    if redetector is None:
        return None
    from gest_stream.models.map_flow import FlowCarrier

    return Redetection(redetector, FlowCarrier(), config.tracker.redetection.regions)


def make_detector(config: PipelineConfig) -> HandDetector:
    """MediaPipe's hand landmarker with the model file of `config`, fetched first where it is absent.

    Raises:
        WeightsError: The model file can neither be found nor fetched.
        MissingDependencyError: mediapipe is not installed.
    """
    from gest_stream.models.hands import MediaPipeHands
    from gest_stream.models.registry import HAND_LANDMARKER
    from gest_stream.models.store import ModelStore

    model_path = config.hands.model_path or ModelStore().fetch(HAND_LANDMARKER)
    return MediaPipeHands(config.hands, model_path)


def make_detectors(config: PipelineConfig) -> HandDetector:
    """The detectors of a run, as one: `config.hands.detectors` of those of `make_detector`.

    Raises:
        WeightsError: The model file can neither be found nor fetched.
        MissingDependencyError: mediapipe is not installed.
    """
    count = config.hands.detectors or min(2, os.cpu_count() or 1)
    if count == 1:
        return make_detector(config)
    from gest_stream.tracking.detector_lanes import DetectorLanes

    with ExitStack() as stack:  # where one cannot be made, the others are closed
        detectors = []
        for _ in range(count):
            detectors.append(make_detector(config))
            stack.callback(detectors[-1].close)
        stack.pop_all()
    return DetectorLanes(detectors)
