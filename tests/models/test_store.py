from __future__ import annotations

import hashlib
import logging
import re
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gest_stream.clock import now_ns
from gest_stream.config import Sam2Size
from gest_stream.errors import ConfigError, WeightsError
from gest_stream.models.registry import MODEL_FILES, Fingerprint, ModelFile, find_model_file, sam2_weights_name
from gest_stream.models.store import ModelStatus, ModelStore
from tests.models.fileserver import Answer, serving

GOOD = bytes(range(256)) * 1024
WRONG = b"<html>please log in</html>"
SHA256 = hashlib.sha256(GOOD).hexdigest()


def model_at(url: str, size: int | None = len(GOOD)) -> ModelFile:
    return ModelFile("model.bin", "tests", url, Fingerprint(SHA256, size))


def store_of(folder: Path, url: str, **settings: float) -> ModelStore:
    return ModelStore(folder, files=(model_at(url),), **settings)  # type: ignore[arg-type]


def content_of(folder: Path) -> list[str]:
    """What lies in a cache folder, less the empty lock files and the notes on what was found right."""
    names = sorted(entry.name for entry in folder.iterdir())
    return [name for name in names if not name.startswith(".") or not name.endswith((".lock", ".verified.json"))]


def closed_port_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/model.bin"


def test_a_right_file_is_put_in_place_and_not_fetched_again(tmp_path: Path) -> None:
    with serving([Answer(GOOD)]) as server:
        store = store_of(tmp_path / "new" / "cache", server.url)
        path = store.fetch("model.bin")
        assert store.fetch("model.bin") == path == store.path("model.bin") == store.verify("model.bin")
    assert path.read_bytes() == GOOD
    assert server.requests == ["/model.bin"]
    assert content_of(path.parent) == ["model.bin"]


def test_a_file_of_unknown_size_is_judged_by_its_hash(tmp_path: Path) -> None:
    with serving([Answer(WRONG), Answer(GOOD)]) as server:
        store = ModelStore(tmp_path, files=(model_at(server.url, size=None),))
        assert store.fetch("model.bin").read_bytes() == GOOD


def test_a_wrong_file_is_told_and_fetched_once_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving([Answer(WRONG), Answer(GOOD)]) as server, caplog.at_level(logging.WARNING):
        path = store_of(tmp_path, server.url).fetch("model.bin")
    assert path.read_bytes() == GOOD
    assert len(server.requests) == 2
    (warning,) = caplog.messages
    assert SHA256 in warning and hashlib.sha256(WRONG).hexdigest() in warning and server.url in warning


def test_a_file_wrong_twice_is_deleted_and_the_error_says_all(tmp_path: Path) -> None:
    same_size = GOOD[:-1] + b"?"
    with serving([Answer(same_size)]) as server:
        store = store_of(tmp_path, server.url)
        with pytest.raises(WeightsError) as caught:
            store.fetch("model.bin")
    message = str(caught.value)
    for part in (server.url, SHA256, hashlib.sha256(same_size).hexdigest(), str(tmp_path / "model.bin"), "by hand"):
        assert part in message
    assert "gest-stream models verify model.bin" in message
    assert server.ranges == [None, None]
    assert content_of(tmp_path) == []


def test_no_connection_and_nothing_cached_says_how_to_fetch_by_hand(tmp_path: Path) -> None:
    url = closed_port_url()
    with pytest.raises(WeightsError, match="refused") as caught:
        store_of(tmp_path, url).fetch("model.bin")
    assert str(caught.value).startswith(f"model.bin: {url} cannot be fetched: ")
    assert f"fetch {url} by hand to {tmp_path / 'model.bin'}" in str(caught.value)
    assert content_of(tmp_path) == []


def test_a_cached_file_needs_no_connection(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(GOOD)
    assert store_of(tmp_path, closed_port_url()).fetch("model.bin") == tmp_path / "model.bin"


def test_a_damaged_cached_file_is_told_and_fetched_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = bytearray(GOOD)
    damaged[1000] ^= 1
    (tmp_path / "model.bin").write_bytes(damaged)
    with serving([Answer(GOOD)]) as server, caplog.at_level(logging.WARNING):
        store = store_of(tmp_path, server.url)
        assert store.status("model.bin") is ModelStatus.DAMAGED
        with pytest.raises(WeightsError, match="is damaged: expected sha256"):
            store.verify("model.bin")
        assert store.fetch("model.bin").read_bytes() == GOOD
    assert store.status("model.bin") is ModelStatus.OK
    assert "is damaged" in caplog.messages[0]


def test_a_body_cut_short_is_fetched_once_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut = Answer(GOOD[:100_000], promised=len(GOOD))
    with serving([cut, Answer(GOOD)]) as server, caplog.at_level(logging.WARNING):
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert "broke off" in caplog.messages[0]


def test_a_body_cut_short_every_time_leaves_no_model_and_says_what_is_kept(tmp_path: Path) -> None:
    with serving([Answer(GOOD[:131_072], promised=len(GOOD))]) as server:
        with pytest.raises(WeightsError, match="cannot be fetched") as caught:
            store_of(tmp_path, server.url).fetch("model.bin")
        assert len(server.requests) == 2
    assert not (tmp_path / "model.bin").exists()
    assert "131072 of 262144 bytes are kept and 'gest-stream models fetch model.bin' goes on" in str(caught.value)


def test_a_server_that_falls_silent_is_given_up_on(tmp_path: Path) -> None:
    begun_ns = now_ns()
    with serving([Answer(GOOD[:1000], promised=len(GOOD), stall=True)]) as server:
        with pytest.raises(WeightsError, match="timed out"):
            store_of(tmp_path, server.url, read_timeout_s=0.2).fetch("model.bin")
    assert (now_ns() - begun_ns) / 1e9 < 5.0
    assert not (tmp_path / "model.bin").exists()


def test_an_http_error_is_quoted(tmp_path: Path) -> None:
    with serving([Answer(b"gone", status=404)]) as server:
        with pytest.raises(WeightsError, match="404"):
            store_of(tmp_path, server.url).fetch("model.bin")


def test_a_mirror_is_used_instead_of_the_official_address(tmp_path: Path) -> None:
    with serving([Answer(GOOD)]) as server:
        store = ModelStore(tmp_path, urls={"model.bin": server.url}, files=(model_at(closed_port_url()),))
        assert store.fetch("model.bin").read_bytes() == GOOD


def test_nothing_appears_under_the_name_before_the_last_byte(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Watch:
        total = 0

        def resume(self, done: int) -> None: ...

        def update(self, count: int) -> None:
            seen.append((tmp_path / "model.bin").exists())

        def close(self) -> None: ...

    with serving([Answer(GOOD)]) as server:
        ModelStore(tmp_path, files=(model_at(server.url),), progress=lambda file: Watch()).fetch("model.bin")
    assert len(seen) > 1 and not any(seen)
    assert (tmp_path / "model.bin").exists()


def test_progress_counts_to_the_total_and_is_closed_also_after_an_error(tmp_path: Path) -> None:
    class Bar:
        def __init__(self) -> None:
            self.total = self.done = self.closed = 0

        def resume(self, done: int) -> None:
            self.done = done

        def update(self, count: int) -> None:
            self.done += count

        def close(self) -> None:
            self.closed += 1

    bars: list[Bar] = []

    def begin(file: ModelFile) -> Bar:
        assert file.name == "model.bin"
        bars.append(Bar())
        return bars[-1]

    with serving([Answer(GOOD[:9], promised=len(GOOD)), Answer(GOOD)]) as server:
        ModelStore(tmp_path, files=(model_at(server.url),), progress=begin).fetch("model.bin")
    broken, whole = bars
    assert broken.closed >= 1 and whole.closed >= 1
    assert (whole.total, whole.done) == (len(GOOD), len(GOOD))


def test_fetches_at_the_same_time_all_end_with_the_right_file_and_one_transfer(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def fetch(url: str) -> None:
        try:
            assert store_of(tmp_path, url).fetch("model.bin").read_bytes() == GOOD
        except BaseException as exc:
            failures.append(exc)

    with serving([Answer(GOOD)]) as server:
        threads = [threading.Thread(target=fetch, args=(server.url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(server.requests) == 1
    assert content_of(tmp_path) == ["model.bin"]


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match="choose another cache folder"):
        store_of(tmp_path / "file" / "cache", closed_port_url()).fetch("model.bin")


def test_verify_says_how_to_fetch_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gest-stream models fetch model.bin"):
        store_of(tmp_path, closed_port_url()).verify("model.bin")


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'hand_landmarker.task'"):
        ModelStore(tmp_path).fetch("hand_landmark.task")


def test_the_store_lists_every_file_with_its_status(tmp_path: Path) -> None:
    (tmp_path / "sam2.1_hiera_tiny.pt").write_bytes(b"short")
    listed = {entry.file.name: entry.status for entry in ModelStore(tmp_path).list()}
    assert list(listed) == [file.name for file in MODEL_FILES]
    assert listed.pop("sam2.1_hiera_tiny.pt") is ModelStatus.DAMAGED
    assert set(listed.values()) == {ModelStatus.ABSENT}


def test_every_file_is_named_as_its_address_ends_and_has_a_hash() -> None:
    assert len({file.name for file in MODEL_FILES}) == len(MODEL_FILES) == 7
    for file in MODEL_FILES:
        assert file.url.startswith("https://") and file.url.endswith("/" + file.name)
        for fingerprint in file.accepted:
            assert len(fingerprint.sha256) == 64
            int(fingerprint.sha256, 16)
            assert fingerprint.size_bytes


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("hand_landmarker", "hand_landmarker.task"),
        ("sam2.1-tiny", "sam2.1_hiera_tiny.pt"),
        ("sam2.1_hiera_tiny.pt", "sam2.1_hiera_tiny.pt"),
        ("sam2.1-small", "sam2.1_hiera_small.pt"),
        ("sam2.1-base_plus", "sam2.1_hiera_base_plus.pt"),
        ("sam2.1-base-plus", "sam2.1_hiera_base_plus.pt"),
        ("SAM2.1-Large", "sam2.1_hiera_large.pt"),
        ("dinov2-vits14", "dinov2_vits14_pretrain.pth"),
        ("gest-detectron", "dinov2_hand_trained_segmentation.pth"),
    ],
)
def test_a_short_name_stands_for_the_file(tmp_path: Path, typed: str, name: str) -> None:
    store = ModelStore(tmp_path)
    assert store.path(typed) == tmp_path / name
    assert store.status(typed) is ModelStatus.ABSENT
    with pytest.raises(WeightsError, match=re.escape(name) + ": not in "):
        store.verify(typed)


def test_a_mistyped_short_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'sam2\.1-tiny'"):
        find_model_file("sam2.1-tny")


def test_every_official_size_of_sam2_has_its_weights() -> None:
    for size in set(Sam2Size) - {Sam2Size.NANO}:
        assert find_model_file(f"sam2.1-{size}").name == sam2_weights_name(size) == f"sam2.1_hiera_{size.value}.pt"
    with pytest.raises(ConfigError, match="SAM 2.1 size 'larg': unknown; did you mean 'large'"):
        sam2_weights_name("larg")


def test_a_mirror_may_be_given_by_short_name_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    file = replace(model_at(closed_port_url()), short_name="model")
    with serving([Answer(GOOD)]) as server:
        path = ModelStore(tmp_path, urls={"model": server.url}, files=(file,)).fetch("model")
    assert path == tmp_path / "model.bin"
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        ModelStore(tmp_path, urls={"modle": "http://mirror"}, files=(file,))
