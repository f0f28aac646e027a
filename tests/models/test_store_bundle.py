from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gest_stream.errors import WeightsError
from gest_stream.models.bundle import assemble, download_wheel
from gest_stream.models.registry import HAND_LANDMARKER, BundleMember, Fingerprint, ModelFile, WheelBundle
from gest_stream.models.store import ModelStore
from tests.models.test_store import closed_port_url, content_of

MEMBERS = {"fake/models/palm.tflite": b"palm model!" * 37, "fake/models/hand.tflite": b"hand model" * 53}
WHEEL_NAME = "fakehands-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"


def make_wheel(folder: Path, contents: dict[str, bytes] | None = None) -> Path:
    info = "fakehands-1.0.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL_NAME, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in (MEMBERS if contents is None else contents).items():
            wheel.writestr(name, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fakehands\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_x86_64\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder / WHEEL_NAME


def make_bundle(fingerprint: Fingerprint | None = None) -> WheelBundle:
    names = ("detector.tflite", "landmarks.tflite")
    members = tuple(
        BundleMember(path, name, hashlib.sha256(content).hexdigest())
        for (path, content), name in zip(MEMBERS.items(), names, strict=True)
    )
    return WheelBundle("fakehands==1.0", members, fingerprint or Fingerprint("0" * 64))


def find_links(folder: Path) -> tuple[str, ...]:
    return "--isolated", "--no-index", "--find-links", str(folder)


def task_file(tmp_path: Path, fingerprint: Fingerprint | None = None) -> ModelFile:
    if fingerprint is None:
        assembled = tmp_path / "expected.task"
        assemble(make_bundle(), make_wheel(tmp_path / "index"), assembled)
        fingerprint = Fingerprint(hashlib.sha256(assembled.read_bytes()).hexdigest(), assembled.stat().st_size)
    return ModelFile("fake.task", "tests", closed_port_url(), Fingerprint("f" * 64, 5), make_bundle(fingerprint))


def test_the_bundle_is_stored_uncompressed_with_every_model_on_a_four_byte_border(tmp_path: Path) -> None:
    target = tmp_path / "fake.task"
    assemble(make_bundle(), make_wheel(tmp_path), target)
    raw = target.read_bytes()
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["detector.tflite", "landmarks.tflite"]
        for entry, content in zip(archive.infolist(), MEMBERS.values(), strict=True):
            assert archive.read(entry) == content
            assert entry.compress_type == zipfile.ZIP_STORED
            assert raw.index(content) % 4 == 0


def test_the_bundle_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    assemble(make_bundle(), wheel, tmp_path / "a.task")
    assemble(make_bundle(), wheel, tmp_path / "b.task")
    assert (tmp_path / "a.task").read_bytes() == (tmp_path / "b.task").read_bytes()


def test_a_model_in_the_wheel_that_is_not_the_official_one_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {**MEMBERS, "fake/models/hand.tflite": b"another"})
    with pytest.raises(WeightsError, match=r"hand\.tflite has sha256 .*, expected"):
        assemble(make_bundle(), wheel, tmp_path / "fake.task")


def test_a_wheel_without_the_model_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {})
    with pytest.raises(WeightsError, match="missing from the wheel"):
        assemble(make_bundle(), wheel, tmp_path / "fake.task")


def test_a_wheel_that_is_no_zip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / WHEEL_NAME).write_bytes(b"not a zip")
    with pytest.raises(WeightsError, match="not a usable wheel"):
        assemble(make_bundle(), tmp_path / WHEEL_NAME, tmp_path / "fake.task")


def test_where_the_address_is_out_of_reach_the_bundle_is_put_together_from_the_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = task_file(tmp_path)
    store = ModelStore(tmp_path / "cache", files=(file,), pip_args=find_links(tmp_path / "index"))
    with caplog.at_level(logging.INFO, logger="gest_stream"):
        path = store.fetch("fake.task")
    assert path.read_bytes() == (tmp_path / "expected.task").read_bytes()
    assert content_of(path.parent) == ["fake.task"]
    assert store.verify("fake.task") == path
    (way,) = [message for message in caplog.messages if "putting it together" in message]
    assert "refused" in way and "fakehands==1.0" in way


def test_a_bundle_that_came_out_otherwise_is_not_put_in_place(tmp_path: Path) -> None:
    make_wheel(tmp_path / "index")
    file = task_file(tmp_path, Fingerprint("1" * 64))
    store = ModelStore(tmp_path / "cache", files=(file,), pip_args=find_links(tmp_path / "index"))
    with pytest.raises(WeightsError, match="expected sha256 1111"):
        store.fetch("fake.task")
    assert content_of(tmp_path / "cache") == []


def test_where_neither_way_is_open_the_error_names_both_and_the_remedy(tmp_path: Path) -> None:
    file = task_file(tmp_path)
    (tmp_path / "empty").mkdir()
    store = ModelStore(tmp_path / "cache", files=(file,), pip_args=find_links(tmp_path / "empty"))
    with pytest.raises(WeightsError) as caught:
        store.fetch("fake.task")
    message = str(caught.value)
    for part in (file.url, "refused", "No matching distribution", f"by hand to {tmp_path / 'cache' / 'fake.task'}"):
        assert part in message
    assert content_of(tmp_path / "cache") == []


def pip_that(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def run(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        if isinstance(answer, BaseException):
            raise answer
        return subprocess.CompletedProcess(command, 1, "", answer)

    monkeypatch.setattr(subprocess, "run", run)


def test_a_python_without_pip_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_that(monkeypatch, f"{sys.executable}: No module named pip\n")
    with pytest.raises(WeightsError, match="-m ensurepip"):
        download_wheel("fakehands==1.0", tmp_path)


def test_a_pip_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_that(monkeypatch, subprocess.TimeoutExpired("pip", 3.0))
    with pytest.raises(WeightsError, match="did not finish the download within 3 s"):
        download_wheel("fakehands==1.0", tmp_path, timeout_s=3.0)


@pytest.mark.weights
def test_the_real_hand_model_is_one_of_the_two_known_files(hand_model: Path) -> None:
    assert ModelStore(hand_model.parent).verify(HAND_LANDMARKER) == hand_model
