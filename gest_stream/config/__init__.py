"""Frozen settings, one dataclass a component; TOML is read at the edge, here, and nowhere else."""

from gest_stream.config.batching import BatchingConfig, BatchingMode
from gest_stream.config.check import nearest_name
from gest_stream.config.deadline import DeadlineConfig
from gest_stream.config.device import Precision
from gest_stream.config.hands import HandsConfig
from gest_stream.config.light import LightConfig
from gest_stream.config.pipeline import PipelineConfig, SegmenterKind, config_from_mapping, load_config, load_toml
from gest_stream.config.redetection import PointPolicy, RedetectionConfig, RedetectionMode, RegionConfig
from gest_stream.config.redetector import DinoBackbone, RedetectorConfig, RedetectorKind
from gest_stream.config.refiner import RefinerConfig
from gest_stream.config.rtc import H264Encoder, IceServerConfig, RtcConfig
from gest_stream.config.sam2 import ConditioningKeep, MemoryPolicy, Sam2Config, Sam2Runner, Sam2Size
from gest_stream.config.server import LimitsConfig, ServerConfig
from gest_stream.config.streams import (
    BufferConfig,
    BufferPolicy,
    EffectConfig,
    EffectKind,
    Hwaccel,
    ReconnectConfig,
    SourceConfig,
    VideoConfig,
)
from gest_stream.config.tracking import AssociationConfig, LossConfig, PromptConfig, TrackerConfig

__all__ = [
    "AssociationConfig",
    "BatchingConfig",
    "BatchingMode",
    "BufferConfig",
    "BufferPolicy",
    "ConditioningKeep",
    "DeadlineConfig",
    "DinoBackbone",
    "EffectConfig",
    "EffectKind",
    "H264Encoder",
    "HandsConfig",
    "Hwaccel",
    "IceServerConfig",
    "LightConfig",
    "LimitsConfig",
    "LossConfig",
    "MemoryPolicy",
    "PipelineConfig",
    "PointPolicy",
    "Precision",
    "PromptConfig",
    "ReconnectConfig",
    "RedetectionConfig",
    "RedetectionMode",
    "RedetectorConfig",
    "RedetectorKind",
    "RefinerConfig",
    "RegionConfig",
    "RtcConfig",
    "Sam2Config",
    "Sam2Runner",
    "Sam2Size",
    "SegmenterKind",
    "ServerConfig",
    "SourceConfig",
    "TrackerConfig",
    "VideoConfig",
    "config_from_mapping",
    "load_config",
    "load_toml",
    "nearest_name",
]
