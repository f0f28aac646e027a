"""The built plugins, the demo clip, and a folder for the worker's socket; or a reason why not."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.native.demo_clip import DemoClip, render
from tests.native.worker_process import WorkerProcess

_PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

StartWorker = Callable[..., WorkerProcess]


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")


@pytest.fixture(scope="session")
def built_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of plugins/, built afresh."""
    _need("cmake", "make", "cc")
    folder = tmp_path_factory.mktemp("plugins")
    for command in (["cmake", "-S", str(_PLUGINS), "-B", str(folder)], ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-4000:]
    return folder


@pytest.fixture(scope="session")
def frei0r_plugin(built_plugins: Path) -> Path:
    """The frei0r filter."""
    plugin = built_plugins / "frei0r" / "gest_stream.so"
    if not plugin.exists():
        pytest.skip("frei0r.h is not here (Debian: apt-get install frei0r-plugins-dev)")
    return plugin


@pytest.fixture(scope="session")
def obs_plugin(built_plugins: Path) -> Path:
    """The folder that OBS loads the filters from."""
    folder = built_plugins / "obs" / "gest_stream"
    if not (folder / "bin" / "64bit" / "gest_stream.so").exists():
        pytest.skip("libobs is not here (Debian: apt-get install libobs-dev)")
    return folder


@pytest.fixture(scope="session")
def demo_clip(tmp_path_factory: pytest.TempPathFactory) -> DemoClip:
    """The clip, rendered once."""
    _need("ffmpeg", "ffprobe")
    return render(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def obs_is_here() -> None:
    """OBS, and a screen for it."""
    _need("obs", "Xvfb")


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder for XDG_RUNTIME_DIR; its path is short, as a socket's has to be."""
    with tempfile.TemporaryDirectory(prefix="gst") as folder:
        yield Path(folder)


@pytest.fixture
def scripted(demo_clip: DemoClip, runtime: Path) -> StartWorker:
    """Makes a worker that knows the clip; enter it to start it."""

    def make(*flags: str) -> WorkerProcess:
        return WorkerProcess(["-m", "tests.native.scripted_worker", str(demo_clip.script), *flags], runtime)

    return make
