"""`gest-stream worker` as a process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gest_stream.cli.worker import worker
from gest_stream.errors import ConfigError
from gest_stream.exchange.address import ListeningSocket
from tests.exchange.host import Host, equal, eventually, pattern, rgba_shape

SHAPE = rgba_shape()
PROGRAM = "import typer; from gest_stream.cli.worker import worker; typer.run(worker)"


class Started:
    """A worker process.

    Args:
        arguments: Of the command.
        runtime: XDG_RUNTIME_DIR.
    """

    def __init__(self, arguments: tuple[str, ...], runtime: Path) -> None:
        self._log = runtime / "stderr"
        with self._log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments],
                env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
                stderr=stderr,
            )

    def said(self) -> str:
        """Everything so far."""
        return self._log.read_text()

    def wait(self) -> int:
        """For its end; the exit code."""
        return self.process.wait(20)


@contextmanager
def started(*arguments: str, runtime: Path) -> Iterator[Started]:
    """A worker process that listens."""
    it = Started(arguments, runtime)
    try:
        eventually(lambda: "(Ctrl-C ends)" in it.said() or it.process.poll() is not None, "it listens")
        assert it.process.poll() is None, it.said()
        yield it
    finally:
        it.process.kill()
        it.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "gest_stream" / "worker.sock"
    with started("--echo", runtime=tmp_path) as it:
        assert f"listening for plugins at {path}" in it.said()
        with Host(path, SHAPE) as host:
            planes = pattern(SHAPE)
            assert equal(host.exchange(planes), planes)
            it.process.send_signal(number)
            assert host.ended()
        assert it.wait() == 0
        assert not path.exists()
        assert "every plugin was let go" in it.said()


def test_a_killed_workers_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    with started("--echo", "--socket", str(path), runtime=tmp_path):
        pass  # it is killed
    assert path.exists()
    with started("--echo", "--socket", str(path), runtime=tmp_path), Host(path, SHAPE) as host:
        assert host.exchange(pattern(SHAPE))


def test_a_signal_while_nothing_happens_is_not_slept_through(tmp_path: Path) -> None:
    with started("--echo", runtime=tmp_path) as it:
        it.process.send_signal(signal.SIGINT)
        assert it.wait() == 0


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(worker)
    return CliRunner().invoke(app, arguments)


def test_a_second_worker_at_the_same_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    listening = ListeningSocket(path)
    result = run("--echo", "--socket", str(path))
    listening.close()
    assert isinstance(result.exception, ConfigError)
    assert "another worker listens there; stop it first or choose another place with --socket" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--smoothing", "2"), "smoothing: expected 0 to 0.95, got 2.0"), (("--mask-every", "0"), "mask_every: expected")],
)
def test_settings_out_of_range_are_told(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    result = run("--echo", "--socket", str(tmp_path / "w.sock"), *arguments)
    assert isinstance(result.exception, ConfigError) and told in str(result.exception)
    assert not (tmp_path / "w.sock").exists()


def test_a_wrong_hand_is_answered_with_the_right_names() -> None:
    result = run("--hands", "middle")
    assert result.exit_code == 2
    assert "'middle' is not known" in result.output
