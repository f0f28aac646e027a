"""How settings check themselves."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from gest_stream.errors import ConfigError

STRICT: Mapping[str, Any] = {"extra": "forbid"}
"""What pydantic is told of every config: unknown settings are errors."""


def require(ok: bool, name: str, expected: str, value: object) -> None:
    """Refuse a value that has no meaning.

    Raises:
        ConfigError: `ok` is False.
    """
    if not ok:
        raise ConfigError(f"{name}: expected {expected}, got {value!r}")


def take_members(config: Any, **kinds: type[StrEnum]) -> None:
    """Turn names in the given fields of a config into members of their enums.

    Raises:
        ConfigError: There is no such member; the nearest name is suggested.
    """
    for field, kind in kinds.items():
        value = getattr(config, field)
        if value not in list(kind):
            known = [str(member) for member in kind]
            raise ConfigError(f"{field}: {value!r} is not known{nearest_name(str(value), known)}")
        object.__setattr__(config, field, kind(value))


def nearest_name(name: str, known: list[str]) -> str:
    """The remedy for an unknown name: "; did you mean 'x'?" or "; known are …"."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
