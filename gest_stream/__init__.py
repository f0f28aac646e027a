"""Tracks hands in live video: landmarks, masks and measured latency, frame by frame.

Names are resolved on first use, so that importing the package loads neither torch, mediapipe, OpenCV nor PyAV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gest_stream import webrtc
    from gest_stream.build import HandTracker, Pipeline, track
    from gest_stream.config import (
        EffectConfig,
        EffectKind,
        PipelineConfig,
        RedetectorConfig,
        RedetectorKind,
        Sam2Config,
        Sam2Size,
        SegmenterKind,
        load_config,
    )
    from gest_stream.errors import (
        ConfigError,
        DeviceError,
        GestStreamError,
        InvalidInputError,
        MissingDependencyError,
        ModelError,
        SinkError,
        SourceError,
        SourceLostError,
        SourceOpenError,
        WeightsError,
    )
    from gest_stream.interfaces import HandDetector, Redetector, Segmenter, Sink, Source, SourceInfo
    from gest_stream.models.sam2_engine import Sam2Engine
    from gest_stream.overlay import Renderer, draw_landmarks
    from gest_stream.pipeline import RunStats
    from gest_stream.pyav import AvFilter, av_filter
    from gest_stream.sinks.jsonl import JsonlSink
    from gest_stream.sinks.masks import MaskFolderSink
    from gest_stream.sinks.video import VideoSink, landmark_video, segmented_video
    from gest_stream.sinks.window import WindowSink
    from gest_stream.sources.open import open_source
    from gest_stream.types import (
        HAND_CONNECTIONS,
        LANDMARK_NAMES,
        Frame,
        FrameResult,
        Handedness,
        HandLandmarks,
        HandMask,
        HandProbability,
        Prompt,
        PromptMode,
        Reinitialisation,
        ReinitialisedBy,
        Track,
        TrackState,
    )

_HOMES = {
    "build": ("HandTracker", "Pipeline", "track"),
    "config": (
        "EffectConfig",
        "EffectKind",
        "PipelineConfig",
        "RedetectorConfig",
        "RedetectorKind",
        "Sam2Config",
        "Sam2Size",
        "SegmenterKind",
        "load_config",
    ),
    "errors": (
        "ConfigError",
        "DeviceError",
        "GestStreamError",
        "InvalidInputError",
        "MissingDependencyError",
        "ModelError",
        "SinkError",
        "SourceError",
        "SourceLostError",
        "SourceOpenError",
        "WeightsError",
    ),
    "interfaces": ("HandDetector", "Redetector", "Segmenter", "Sink", "Source", "SourceInfo"),
    "models.sam2_engine": ("Sam2Engine",),
    "overlay": ("Renderer", "draw_landmarks"),
    "pipeline": ("RunStats",),
    "pyav": ("AvFilter", "av_filter"),
    "sinks.jsonl": ("JsonlSink",),
    "sinks.masks": ("MaskFolderSink",),
    "sinks.video": ("VideoSink", "landmark_video", "segmented_video"),
    "sinks.window": ("WindowSink",),
    "sources.open": ("open_source",),
    "types": (
        "HAND_CONNECTIONS",
        "LANDMARK_NAMES",
        "Frame",
        "FrameResult",
        "HandLandmarks",
        "HandMask",
        "HandProbability",
        "Handedness",
        "Prompt",
        "PromptMode",
        "Reinitialisation",
        "ReinitialisedBy",
        "Track",
        "TrackState",
    ),
}
_ROOMS = ("webrtc",)
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "HAND_CONNECTIONS",
    "LANDMARK_NAMES",
    "AvFilter",
    "ConfigError",
    "DeviceError",
    "EffectConfig",
    "EffectKind",
    "Frame",
    "FrameResult",
    "GestStreamError",
    "HandDetector",
    "HandLandmarks",
    "HandMask",
    "HandProbability",
    "HandTracker",
    "Handedness",
    "InvalidInputError",
    "JsonlSink",
    "MaskFolderSink",
    "MissingDependencyError",
    "ModelError",
    "Pipeline",
    "PipelineConfig",
    "Prompt",
    "PromptMode",
    "Redetector",
    "RedetectorConfig",
    "RedetectorKind",
    "Reinitialisation",
    "ReinitialisedBy",
    "Renderer",
    "RunStats",
    "Sam2Config",
    "Sam2Engine",
    "Sam2Size",
    "Segmenter",
    "SegmenterKind",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "SourceInfo",
    "SourceLostError",
    "SourceOpenError",
    "Track",
    "TrackState",
    "VideoSink",
    "WeightsError",
    "WindowSink",
    "av_filter",
    "draw_landmarks",
    "landmark_video",
    "load_config",
    "open_source",
    "segmented_video",
    "track",
    "webrtc",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
