"""A file that was found right is not read whole again until it changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pooch
import pytest

from gest_stream.errors import WeightsError
from gest_stream.models.stamp import stamp_path
from gest_stream.models.store import ModelStatus, ModelStore
from tests.models.fileserver import Answer, serving
from tests.models.test_store import GOOD, closed_port_url, store_of

DAMAGED = GOOD[:-1] + b"?"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read whole, in order."""
    read: list[str] = []
    whole: Callable[[str], str] = pooch.file_hash

    def counted(path: str) -> str:
        read.append(Path(path).name)
        return whole(path)

    monkeypatch.setattr(pooch, "file_hash", counted)
    return read


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    (tmp_path / "model.bin").write_bytes(GOOD)
    return store_of(tmp_path, closed_port_url())


def test_a_right_file_is_read_once_and_by_verify_every_time(store: ModelStore, readings: list[str]) -> None:
    for _ in range(3):
        assert store.status("model.bin") is ModelStatus.OK
        assert [entry.status for entry in store.list()] == [ModelStatus.OK]
        store.fetch("model.bin")
    assert readings == ["model.bin"]
    store.verify("model.bin")
    assert [entry.status for entry in store.list(reread=True)] == [ModelStatus.OK]
    assert len(readings) == 3


def test_another_process_trusts_the_note_too(store: ModelStore, readings: list[str], tmp_path: Path) -> None:
    store.status("model.bin")
    assert store_of(tmp_path, closed_port_url()).status("model.bin") is ModelStatus.OK
    assert len(readings) == 1


def test_a_fetched_file_is_read_once(tmp_path: Path, readings: list[str]) -> None:
    with serving([Answer(GOOD)]) as server:
        store = store_of(tmp_path, server.url)
        store.fetch("model.bin")
    assert store.status("model.bin") is ModelStatus.OK
    assert readings == [".model.bin.part"]


def test_a_changed_time_has_the_file_read_again(store: ModelStore, readings: list[str]) -> None:
    store.status("model.bin")
    path = store.path("model.bin")
    seen = path.stat()
    path.write_bytes(DAMAGED)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    assert store.status("model.bin") is ModelStatus.DAMAGED
    assert len(readings) == 2


def test_a_changed_size_is_seen_even_at_the_same_time(store: ModelStore) -> None:
    store.status("model.bin")
    path = store.path("model.bin")
    seen = path.stat()
    path.write_bytes(GOOD[:-1])
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert store.status("model.bin") is ModelStatus.DAMAGED


def test_damage_that_leaves_size_and_time_is_found_by_verify_alone(store: ModelStore) -> None:
    store.status("model.bin")
    path = store.path("model.bin")
    seen = path.stat()
    path.write_bytes(DAMAGED)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert store.status("model.bin") is ModelStatus.OK
    with pytest.raises(WeightsError, match="is damaged"):
        store.verify("model.bin")


@pytest.mark.parametrize("text", ["", "[]", '{"size": 1}', "null"])
def test_a_note_that_cannot_be_read_counts_for_nothing(store: ModelStore, readings: list[str], text: str) -> None:
    stamp_path(store.path("model.bin")).write_text(text)
    assert store.status("model.bin") is ModelStatus.OK
    assert len(readings) == 1


def test_a_note_of_another_file_counts_for_nothing(store: ModelStore, readings: list[str]) -> None:
    store.status("model.bin")
    note = stamp_path(store.path("model.bin"))
    note.write_text(note.read_text().replace('"sha256": "', '"sha256": "0'))
    assert store.status("model.bin") is ModelStatus.OK
    assert len(readings) == 2


def test_where_no_note_can_be_kept_the_file_is_read_every_time(store: ModelStore, readings: list[str]) -> None:
    stamp_path(store.path("model.bin")).mkdir()
    assert [store.status("model.bin"), store.status("model.bin")] == [ModelStatus.OK, ModelStatus.OK]
    assert len(readings) == 2


def test_a_damaged_file_gets_no_note(store: ModelStore) -> None:
    store.path("model.bin").write_bytes(DAMAGED)
    assert store.status("model.bin") is ModelStatus.DAMAGED
    assert not stamp_path(store.path("model.bin")).exists()
