"""From a settings file, `--set` and flags to one `PipelineConfig`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gest_stream.config import PipelineConfig, config_from_mapping, load_toml
from gest_stream.errors import ConfigError


def _merge(values: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {'.'.join(path)}: {part!r} is a value, not a group of settings")
        values = inner
    values[path[-1]] = value


def _parse_value(text: str) -> Any:
    """`text` as a TOML value, else as a bare string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def compose_config(file: Path | None, assignments: list[str], flags: Mapping[str, Any]) -> PipelineConfig:
    """Settings from `file`, overridden by `--set KEY=VALUE`, overridden by flags.

    Args:
        file: TOML file, or None.
        assignments: "tracker.loss.lost_after_frames=8", the value as TOML or a bare string.
        flags: Dotted setting name to value; None means that the flag was not given.

    Raises:
        ConfigError: A key is unknown or a value does not fit.
    """
    values = load_toml(file) if file is not None else {}
    origin = str(file) if file is not None else "settings"
    for assignment in assignments:
        key, found, text = assignment.partition("=")
        if not found or not key.strip():
            raise ConfigError(f"--set {assignment}: expected KEY=VALUE, for example tracker.loss.lost_after_frames=8")
        _merge(values, key.strip().split("."), _parse_value(text.strip()))
    for key, value in flags.items():
        if value is not None:
            _merge(values, key.split("."), value)
    return config_from_mapping(values, origin)
