"""The C client: its own tests and fuzzing under sanitizers, and against the Python worker."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gest_stream.config import EffectConfig
from gest_stream.exchange.messages import Effect, SettingKey
from gest_stream.exchange.slots import Output, PixelFormat, Shape
from gest_stream.worker import ViewConfig
from tests.exchange.host import equal, eventually, pattern
from tests.exchange.native import SHARED, SOURCES, Client, State, Status, compile_c, needs_compiler
from tests.worker.scripted import SIZE, Factory, working

pytestmark = [pytest.mark.native, needs_compiler]
RGBA = Shape(*SIZE, PixelFormat.RGBA, Output.FRAME)
PATIENT_MS = 20_000
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
TESTS = SHARED / "tests"


def run(program: Path, *arguments: str) -> str:
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("extra", ["-O2", "-O3", "-Wpedantic", "-Wconversion", "-Wshadow"])
def test_the_client_compiles_without_a_warning(tmp_path: Path, extra: str) -> None:
    compile_c(tmp_path / "client.so", extra, "-shared", "-fPIC", *SOURCES)


def test_messages_are_packed_and_parsed_as_documented(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "wire", *SANITIZED, TESTS / "test_wire.c", SHARED / "gst_exchange_wire.c")
    assert run(program).count("ok ") == 7


def test_the_client_stands_workers_that_behave_badly(tmp_path: Path) -> None:
    program = compile_c(
        tmp_path / "client", *SANITIZED, TESTS / "test_client.c", TESTS / "fake_worker.c", *SOURCES
    )  # fmt: skip
    assert run(program).count("ok ") == 19


@pytest.mark.parametrize(
    ("target", "sources", "inputs"),
    [("fuzz_wire.c", [SHARED / "gst_exchange_wire.c"], 200_000), ("fuzz_client.c", SOURCES, 20_000)],
)
def test_mutated_messages_do_no_harm(tmp_path: Path, target: str, sources: list[Path], inputs: int) -> None:
    program = compile_c(tmp_path / "fuzz", *SANITIZED, TESTS / "fuzz_main.c", TESTS / target, *sources)
    assert run(program, str(inputs), "7") == f"{inputs} inputs, seed 7\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("target", "sources"), [("fuzz_wire.c", [SHARED / "gst_exchange_wire.c"]), ("fuzz_client.c", SOURCES)]
)
def test_a_million_mutated_messages_do_no_harm(tmp_path: Path, target: str, sources: list[Path]) -> None:
    program = compile_c(tmp_path / "fuzz", *SANITIZED, TESTS / "fuzz_main.c", TESTS / target, *sources)
    assert run(program, "1000000", "1") == "1000000 inputs, seed 1\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("client") / "client.so"
    return ctypes.CDLL(str(compile_c(path, "-O2", "-shared", "-fPIC", *SOURCES)))


Connect = Callable[[Path, Shape], Client]


@pytest.fixture
def connect(library: ctypes.CDLL) -> Iterator[Connect]:
    clients: list[Client] = []

    def make(path: Path, shape: Shape) -> Client:
        clients.append(Client(library, path, shape))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
@pytest.mark.parametrize("output", list(Output))
def test_c_and_python_agree_on_every_format(
    tmp_path: Path, connect: Connect, pixel_format: PixelFormat, output: Output
) -> None:
    shape = Shape(51, 33, pixel_format, output)
    planes = pattern(shape)
    with working(tmp_path / "w.sock", Factory(), ViewConfig(echo=True)):
        client = connect(tmp_path / "w.sock", shape)
        for _ in range(4):
            status, out = client.process(planes, PATIENT_MS)
            assert status is Status.DONE
            assert equal(out, planes) if output is Output.FRAME else not out[0].any()


def test_settings_and_sizes_can_change_while_frames_run(tmp_path: Path, connect: Connect) -> None:
    with working(tmp_path / "w.sock", Factory(), ViewConfig(EffectConfig(labels=False))):
        client = connect(tmp_path / "w.sock", RGBA)
        client.set(SettingKey.EFFECT, Effect.GREEN)
        status, out = client.process(pattern(RGBA), PATIENT_MS)
        assert (status, out[0][0, :3].tolist()) == (Status.DONE, [0, 177, 64])
        client.set(SettingKey.EFFECT, Effect.ECHO)
        assert equal(client.process(pattern(RGBA), PATIENT_MS)[1], pattern(RGBA))
        mask = Shape(192, 128, PixelFormat.I420, Output.MASK)
        client.configure(mask)
        client.set(SettingKey.EFFECT, Effect.OVERLAY)
        status, out = client.process(pattern(mask), PATIENT_MS)
        assert status is Status.DONE and out[0].max() == 255


def test_a_host_attaches_again_to_a_worker_that_was_restarted(tmp_path: Path, connect: Connect) -> None:
    path, planes = tmp_path / "w.sock", pattern(RGBA)
    client = connect(path, RGBA)
    assert client.process(planes, PATIENT_MS)[0] is Status.ABSENT
    for _ in range(3):
        with working(path, Factory(), ViewConfig(echo=True)):
            eventually(lambda: client.process(planes, PATIENT_MS)[0] is Status.DONE, "it is attached")
            assert client.state() is State.READY
        status, out = client.process(planes, PATIENT_MS)
        assert status is Status.BROKEN and not out[0].any()
        assert client.process(planes, PATIENT_MS)[0] is Status.ABSENT
        assert client.state() is State.ABSENT


STOPPED = """
import signal, sys, threading
from pathlib import Path
from gest_stream.worker import ViewConfig, Worker
with Worker(Path(sys.argv[1]), lambda: None, ViewConfig(echo=True)) as worker:
    print("listening", flush=True)
    worker.serve()
"""


def test_a_hung_worker_costs_four_deadlines_and_is_used_again_when_it_wakes(tmp_path: Path, connect: Connect) -> None:
    path, planes, deadline_ms = tmp_path / "w.sock", pattern(RGBA), 40
    with subprocess.Popen([sys.executable, "-c", STOPPED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "listening\n"
            client = connect(path, RGBA)
            assert client.process(planes, PATIENT_MS)[0] is Status.DONE
            os.kill(process.pid, 19)  # SIGSTOP
            start = time.monotonic()
            statuses = {client.process(planes, deadline_ms)[0] for _ in range(60)}
            total_ms = (time.monotonic() - start) * 1e3
            assert statuses == {Status.LATE}
            assert client.state() is State.LATE
            assert 3 * deadline_ms < total_ms < 12 * deadline_ms  # without a breaker: 60 deadlines
            os.kill(process.pid, 18)  # SIGCONT
            eventually(lambda: client.process(planes, deadline_ms)[0] is Status.DONE, "it is waited for again")
        finally:
            process.kill()


def test_a_slow_worker_drops_frames_and_not_the_hosts_time(tmp_path: Path, connect: Connect) -> None:
    def slow(seq: int) -> tuple[()]:
        time.sleep(0.06)
        return ()

    factory = Factory(slow)
    with working(tmp_path / "w.sock", factory, ViewConfig()):
        client = connect(tmp_path / "w.sock", RGBA)
        start = time.monotonic()
        for _ in range(40):
            client.process(pattern(RGBA), 10)
            time.sleep(0.01)  # the host's own pace
        assert time.monotonic() - start < 40 * 0.01 + 2  # without a breaker it takes 0.4 s more; slack for the machine
        assert client.state() is State.LATE
        assert 2 < len(factory.seqs) < 30
        assert np.diff(factory.seqs).max() > 1  # skipped ones are counted


def test_a_refusal_reaches_the_host_in_words(tmp_path: Path, connect: Connect) -> None:
    planes = pattern(RGBA)
    with working(tmp_path / "w.sock", Factory(), ViewConfig(echo=True), max_hosts=1):
        first, second = connect(tmp_path / "w.sock", RGBA), connect(tmp_path / "w.sock", RGBA)
        assert first.process(planes, PATIENT_MS)[0] is Status.DONE
        assert second.process(planes, PATIENT_MS)[0] in (Status.BROKEN, Status.ABSENT)
        assert second.state() is State.REFUSED
        assert second.refusal() == "the worker serves as many plugins as it can already"
        assert first.process(planes, PATIENT_MS)[0] is Status.DONE
