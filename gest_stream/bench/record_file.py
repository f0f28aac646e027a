"""Records as JSON: written, read, and their schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gest_stream.bench.record import BENCHMARK, VERSION, Record
from gest_stream.errors import ConfigError

SCHEMA_PATH: Final = Path(__file__).with_name("schema.json")
"""What `schema()` returns; a test keeps the two equal. `python -m gest_stream.bench.record_file` writes it anew."""


def as_json(record: Record) -> str:
    """The record as a JSON text."""
    return json.dumps(asdict(record), indent=2) + "\n"


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `as_json`; `schema.json` holds it."""
    from pydantic import TypeAdapter

    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://github.com/gest-stream/gest_stream/bench/schema-v{VERSION}.json",
    }
    return {**head, **TypeAdapter(Record).json_schema()}


def record_of(values: Mapping[str, Any], origin: str) -> Record:
    """Read a record from plain values.

    Args:
        values: As read from JSON.
        origin: Named in messages, usually the file.

    Raises:
        ConfigError: They are of another format or version, or do not fit the schema.
    """
    from pydantic import TypeAdapter, ValidationError

    if values.get("benchmark") != BENCHMARK:
        raise ConfigError(
            f"{origin}: not a record of 'gest-stream bench': its \"benchmark\" is "
            f"{values.get('benchmark')!r}; pass a file that 'gest-stream bench --json' wrote"
        )
    if values.get("v") != VERSION:
        raise ConfigError(
            f"{origin}: record of version {values.get('v')!r}, and this program reads version {VERSION}; "
            "measure again, or compare with the version of gest-stream that wrote it"
        )
    try:
        return TypeAdapter(Record).validate_python(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{origin}: {where}: {first['msg']}; the file was changed or cut off, measure again") from exc


def load_record(path: Path) -> Record:
    """Read a record from a file.

    Raises:
        ConfigError: The file cannot be read, is not JSON, or is no record of this version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}; check the path") from exc
    except ValueError as exc:
        raise ConfigError(f"{path}: not JSON: {exc}; pass a file that 'gest-stream bench --json' wrote") from exc
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: not a record of 'gest-stream bench': it holds no JSON object")
    return record_of(values, str(path))


if __name__ == "__main__":
    SCHEMA_PATH.write_text(json.dumps(schema(), indent=2) + "\n")
