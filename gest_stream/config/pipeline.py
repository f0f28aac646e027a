"""Everything a run can be told, and how it is read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from gest_stream.config.batching import BatchingConfig
from gest_stream.config.check import STRICT, nearest_name, take_members
from gest_stream.config.deadline import DeadlineConfig
from gest_stream.config.hands import HandsConfig
from gest_stream.config.light import LightConfig
from gest_stream.config.redetector import RedetectorConfig
from gest_stream.config.refiner import RefinerConfig
from gest_stream.config.rtc import RtcConfig
from gest_stream.config.sam2 import Sam2Config
from gest_stream.config.server import ServerConfig
from gest_stream.config.streams import BufferConfig, EffectConfig, SourceConfig, VideoConfig
from gest_stream.config.tracking import TrackerConfig
from gest_stream.errors import ConfigError


class SegmenterKind(StrEnum):
    """Which segmenter makes the masks."""

    AUTO = "auto"
    """The best that this machine can run."""
    SAM2 = "sam2"
    """SAM 2.1 on its own streaming memory; made for CUDA."""
    BUILTIN = "builtin"
    """The project's own small network, whose weights lie in the package; CPU."""
    LIGHT = "light"
    """Classical, no weights, CPU."""
    NONE = "none"
    """Landmarks only."""


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Everything a run can be told, composed of one config a component."""

    __pydantic_config__: ClassVar[Any] = STRICT
    source: SourceConfig = field(default_factory=SourceConfig)
    hands: HandsConfig = field(default_factory=HandsConfig)
    segmenter: SegmenterKind = SegmenterKind.AUTO
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    light: LightConfig = field(default_factory=LightConfig)
    sam2: Sam2Config = field(default_factory=Sam2Config)
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    deadline: DeadlineConfig = field(default_factory=DeadlineConfig)
    redetector: RedetectorConfig = field(default_factory=RedetectorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    effect: EffectConfig = field(default_factory=EffectConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    rtc: RtcConfig = field(default_factory=RtcConfig)
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        take_members(self, segmenter=SegmenterKind)


def _known_at(path: tuple[str, ...]) -> list[str]:
    kind: Any = PipelineConfig
    for part in path:
        kind = get_type_hints(kind)[part]
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []


def config_from_mapping(values: Mapping[str, Any], origin: str) -> PipelineConfig:
    """Build a `PipelineConfig` from nested plain values.

    Args:
        values: As read from TOML; missing keys keep their defaults.
        origin: Named in error messages, usually the file.

    Raises:
        ConfigError: A key is unknown (the nearest name is suggested) or a value does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(PipelineConfig).validate_python(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        path = tuple(str(part) for part in first["loc"])
        where = f"{origin}: {'.'.join(path)}"
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise ConfigError(f"{where}: unknown setting{nearest_name(path[-1], _known_at(path[:-1]))}") from exc
        if first["type"] == "value_error":
            raise ConfigError(f"{origin}: {first['ctx']['error']}") from exc
        raise ConfigError(f"{where}: {first['msg']}, got {first['input']!r}") from exc


def load_toml(path: Path) -> dict[str, Any]:
    """The plain values of a TOML file.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read as a settings file: {why}; check the path") from exc
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc


def load_config(path: Path) -> PipelineConfig:
    """Read a `PipelineConfig` from a TOML file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or a setting is unknown or does not fit.
    """
    return config_from_mapping(load_toml(path), str(path))
