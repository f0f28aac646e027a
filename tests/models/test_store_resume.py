"""A download that ended early is continued: in the same call, in a later one, and after its process was killed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from filelock import FileLock

from gest_stream.errors import WeightsError
from gest_stream.models import store as store_module
from gest_stream.models.part import sweep_leftovers
from gest_stream.models.registry import ModelFile
from gest_stream.models.store import ModelStore
from tests.models.fileserver import Answer, FileServer, serving
from tests.models.test_store import GOOD, SHA256, closed_port_url, content_of, model_at, store_of

CHUNK = 65_536
CUT = Answer(GOOD, etag='"v1"', ranged=True, sent=2 * CHUNK)
WHOLE = Answer(GOOD, etag='"v1"', ranged=True)
PART, NOTE = ".model.bin.part", ".model.bin.part.json"


class Bar:
    """A progress display that remembers what it was told."""

    def __init__(self) -> None:
        self.total = 0
        self.told: list[tuple[str, int]] = []

    def resume(self, done: int) -> None:
        self.told.append(("resume", done))

    def update(self, count: int) -> None:
        self.told.append(("update", count))

    def close(self) -> None: ...


def leave_part(
    folder: Path, address: str, content: bytes = GOOD[: 2 * CHUNK], origin: Mapping[str, object] | None = None
) -> None:
    """Put there what a killed download from `address` leaves."""
    (folder / PART).write_bytes(content)
    noted = {"url": address, "sha256": SHA256, "validator": '"v1"', "total": len(GOOD), **(origin or {})}
    (folder / NOTE).write_text(json.dumps(noted))


def test_a_broken_transfer_is_continued_with_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving([CUT, WHOLE]) as server, caplog.at_level(logging.INFO):
        path = store_of(tmp_path, server.url).fetch("model.bin")
    assert path.read_bytes() == GOOD
    assert server.ranges == [None, f"bytes={2 * CHUNK}-"]
    assert server.if_ranges == [None, '"v1"']
    assert server.sent == [2 * CHUNK, len(GOOD) - 2 * CHUNK]
    assert content_of(tmp_path) == ["model.bin"]
    assert any(f"broke off after {2 * CHUNK} bytes" in message for message in caplog.messages)
    assert any(f"going on after {2 * CHUNK} bytes" in message for message in caplog.messages)


def test_a_later_call_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    bars: list[Bar] = []

    def begin(file: ModelFile) -> Bar:
        bars.append(Bar())
        return bars[-1]

    silent = Answer(GOOD, etag='"v1"', ranged=True, sent=0)
    with serving([CUT, silent, WHOLE]) as server:
        with pytest.raises(WeightsError, match=f"{2 * CHUNK} of {len(GOOD)} bytes are kept"):
            store_of(tmp_path, server.url).fetch("model.bin")
        assert content_of(tmp_path) == [PART, NOTE]
        store = ModelStore(tmp_path, files=(model_at(server.url),), progress=begin)
        assert store.fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [None, f"bytes={2 * CHUNK}-", f"bytes={2 * CHUNK}-"]
    assert server.sent[-1] == len(GOOD) - 2 * CHUNK
    (bar,) = bars
    assert bar.total == len(GOOD)
    assert bar.told == [("resume", 2 * CHUNK), ("update", CHUNK), ("update", CHUNK)]
    assert content_of(tmp_path) == ["model.bin"]


def test_without_an_entity_tag_the_date_tells_the_version(tmp_path: Path) -> None:
    date = ("Last-Modified", "Sun, 29 Sep 2024 06:00:00 GMT")
    cut = Answer(GOOD, ranged=True, sent=CHUNK, etag='W/"weak"', headers=(date,))
    with serving([cut, Answer(GOOD)]) as server:
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.if_ranges == [None, date[1]]


def test_a_server_without_ranges_gives_it_from_the_start(tmp_path: Path) -> None:
    bars: list[Bar] = []

    def begin(file: ModelFile) -> Bar:
        bars.append(Bar())
        return bars[-1]

    with serving([Answer(GOOD)]) as server:
        leave_part(tmp_path, server.url)
        store = ModelStore(tmp_path, files=(model_at(server.url),), progress=begin)
        assert store.fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [f"bytes={2 * CHUNK}-"]
    assert sum(count for _, count in bars[0].told) == len(GOOD) and bars[0].told[0][0] == "update"


def test_another_version_on_the_server_is_fetched_from_the_start(tmp_path: Path) -> None:
    changed = Answer(GOOD, etag='"v2"', ranged=True)
    with serving([changed]) as server:
        leave_part(tmp_path, server.url, b"?" * CHUNK)
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert (server.if_ranges, server.sent) == (['"v1"'], [len(GOOD)])


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"", status=416),
        Answer(GOOD[CHUNK:], status=206, headers=(("Content-Range", f"bytes {CHUNK}-{len(GOOD) - 1}/{len(GOOD)}"),)),
        Answer(GOOD[2 * CHUNK :], status=206, headers=(("Content-Range", f"bytes {2 * CHUNK}-9/{len(GOOD) + 1}"),)),
        Answer(GOOD[2 * CHUNK :], status=206),
    ],
    ids=["416", "another place", "another size", "unsaid place"],
)
def test_an_answer_that_is_not_the_rest_leads_back_to_the_start(
    tmp_path: Path, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    with serving([answer, Answer(GOOD)]) as server, caplog.at_level(logging.WARNING):
        leave_part(tmp_path, server.url)
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [f"bytes={2 * CHUNK}-", None]
    assert caplog.messages == [], "found by the hash only, after it was written"


def test_a_part_that_does_not_fit_is_found_by_the_hash_and_fetched_from_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving([WHOLE]) as server, caplog.at_level(logging.WARNING):
        leave_part(tmp_path, server.url, b"?" * CHUNK)
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [f"bytes={CHUNK}-", None]
    (warning,) = caplog.messages
    assert "gave a wrong file" in warning


@pytest.mark.parametrize(
    "origin",
    [{"url": "http://another/model.bin"}, {"sha256": "0" * 64}, {"total": 5}, {"surprise": 1}],
    ids=["another address", "another file", "longer than the whole", "unreadable note"],
)
def test_a_part_of_something_else_is_not_continued(tmp_path: Path, origin: dict[str, object]) -> None:
    with serving([WHOLE]) as server:
        leave_part(tmp_path, server.url, origin=origin)
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [None]


def test_a_part_without_a_note_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(GOOD[:CHUNK])
    with serving([WHOLE]) as server:
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [None]


def test_a_whole_part_is_put_in_place_without_a_request(tmp_path: Path) -> None:
    url = closed_port_url()
    leave_part(tmp_path, url, GOOD)
    assert store_of(tmp_path, url).fetch("model.bin").read_bytes() == GOOD
    assert content_of(tmp_path) == ["model.bin"]


def test_an_error_of_the_server_leaves_the_part_for_the_next_time(tmp_path: Path) -> None:
    with serving([Answer(b"later", status=503)]) as server:
        leave_part(tmp_path, server.url)
        with pytest.raises(WeightsError, match=r"503.* 131072 of 262144 bytes are kept .*by hand"):
            store_of(tmp_path, server.url).fetch("model.bin")
    assert server.ranges == [f"bytes={2 * CHUNK}-"]
    assert (tmp_path / PART).read_bytes() == GOOD[: 2 * CHUNK]


def test_a_compressed_answer_is_unpacked_and_not_continued(tmp_path: Path) -> None:
    import gzip

    packed = gzip.compress(GOOD, mtime=0)
    encoding = (("Content-Encoding", "gzip"),)
    with serving([Answer(packed, headers=encoding, sent=len(packed) // 2), Answer(packed, headers=encoding)]) as server:
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [None, None]


def test_a_transfer_that_gets_on_may_break_off_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_GETTING_ON_BYTES", CHUNK)
    small = Answer(GOOD, ranged=True, sent=CHUNK)
    with serving([small]) as server:
        assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [None, *(f"bytes={n * CHUNK}-" for n in (1, 2, 3))]


CHILD = """
import sys
from pathlib import Path
from tests.models.test_store import model_at
from gest_stream.models.store import ModelStore

class Told:
    total = 0
    def resume(self, done): pass
    def update(self, count): print(count, flush=True)
    def close(self): pass

ModelStore(Path(sys.argv[1]), files=(model_at(sys.argv[2]),), progress=lambda file: Told()).fetch("model.bin")
"""


@pytest.fixture
def stalled_child(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], FileServer]]:
    """A process that has fetched two chunks and waits for more, holding the part."""
    root = Path(__file__).resolve().parents[2]
    stalled = Answer(GOOD, etag='"v1"', sent=2 * CHUNK, stall=True)
    with serving([stalled, WHOLE]) as server:
        command = [sys.executable, "-c", CHILD, str(tmp_path), server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:
            assert child.stdout is not None
            try:
                assert [int(child.stdout.readline()) for _ in range(2)] == [CHUNK, CHUNK]
                yield child, server
            finally:
                child.kill()


def test_a_killed_process_leaves_a_part_that_the_next_one_continues(
    tmp_path: Path, stalled_child: tuple[subprocess.Popen[str], FileServer]
) -> None:
    child, server = stalled_child
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert (tmp_path / PART).read_bytes() == GOOD[: 2 * CHUNK]
    assert store_of(tmp_path, server.url).fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [None, f"bytes={2 * CHUNK}-"]
    assert content_of(tmp_path) == ["model.bin"]


def test_whoever_waits_for_a_process_that_is_killed_takes_over_its_part(
    tmp_path: Path, stalled_child: tuple[subprocess.Popen[str], FileServer], caplog: pytest.LogCaptureFixture
) -> None:
    child, server = stalled_child
    waits = threading.Event()

    class Listen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waiting for it" in record.getMessage():
                waits.set()

    logger, listen = logging.getLogger(store_module.__name__), Listen()
    logger.addHandler(listen)
    try:
        with caplog.at_level(logging.INFO):
            waiter = threading.Thread(target=store_of(tmp_path, server.url).fetch, args=("model.bin",))
            waiter.start()
            assert waits.wait(30)
            os.kill(child.pid, signal.SIGKILL)
            waiter.join(30)
    finally:
        logger.removeHandler(listen)
    assert (tmp_path / "model.bin").read_bytes() == GOOD
    assert server.ranges == [None, f"bytes={2 * CHUNK}-"]


def test_a_process_that_brings_nothing_is_not_waited_for_and_keeps_its_part(tmp_path: Path) -> None:
    with serving([WHOLE]) as server, FileLock(tmp_path / ".model.bin.lock"):
        leave_part(tmp_path, server.url)
        store = store_of(tmp_path, server.url, patience_s=0.05)
        assert store.fetch("model.bin").read_bytes() == GOOD
    assert server.ranges == [None]
    assert content_of(tmp_path) == [PART, NOTE, "model.bin"]
    assert (tmp_path / PART).read_bytes() == GOOD[: 2 * CHUNK]


def test_folders_left_by_killed_processes_go_after_a_day(tmp_path: Path) -> None:
    now = time.time()
    for name, hours in ((".model.bin.old", 25), (".model.bin.new", 1), (".other.bin.old", 25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(b"some")
        for entry in (tmp_path / name / "model.bin", tmp_path / name):
            os.utime(entry, (now - hours * 3600, now - hours * 3600))
    with serving([WHOLE]) as server:
        store_of(tmp_path, server.url).fetch("model.bin")
    assert content_of(tmp_path) == [".model.bin.new", ".other.bin.old", "model.bin"]


def test_a_left_over_folder_that_is_still_written_to_stays(tmp_path: Path) -> None:
    folder = tmp_path / ".model.bin.busy"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"some")
    os.utime(folder, (0, 0))
    sweep_leftovers(tmp_path, "model.bin")
    assert folder.exists()


def test_the_hash_of_the_test_file_is_the_one_that_is_wanted() -> None:
    assert hashlib.sha256(GOOD).hexdigest() == SHA256
