"""Records: the published schema, reading them back, and what is refused."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gest_stream.bench.record import PARTS
from gest_stream.bench.record_file import SCHEMA_PATH, as_json, load_record, schema
from gest_stream.errors import ConfigError
from tests.bench.records import EXAMPLE, make_record


def published() -> Any:
    return json.loads(SCHEMA_PATH.read_text())


def test_the_published_schema_is_that_of_the_classes() -> None:
    assert published() == schema(), "write it anew: python -m gest_stream.bench.record_file"


def test_the_example_is_valid_and_read_back_whole() -> None:
    assert EXAMPLE.read_text() == as_json(make_record()), "write it anew: python -m tests.bench.records"
    jsonschema_rs.validate(published(), json.loads(EXAMPLE.read_text()))
    assert load_record(EXAMPLE) == make_record()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_was_not_measured_is_null(part: str, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {part: None}
    record = make_record(complete=False, **nothing)
    jsonschema_rs.validate(published(), json.loads(as_json(record)))
    path = tmp_path / "record.json"
    path.write_text(as_json(record))
    assert load_record(path) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": 2}, "version 2, and this program reads version 1"),
        ({"benchmark": "soak"}, "not a record of 'gest-stream bench'"),
        ({"memory": {"seconds": 1}}, "memory"),
        ({"surplus": 1}, "surplus"),
        ({"stages": {"size": ["a", 2], "frames": 1, "stages": []}}, "stages.size.0"),
    ],
)
def test_another_format_is_refused_by_schema_and_reader(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = json.loads(EXAMPLE.read_text()) | change
    assert not jsonschema_rs.is_valid(published(), values)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message) as caught:
        load_record(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(("text", "message"), [("[]", "no JSON object"), ("{", "not JSON"), (None, "cannot be read")])
def test_a_file_that_holds_no_record_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_record(path)
    assert str(caught.value).startswith(f"{path}: ")
