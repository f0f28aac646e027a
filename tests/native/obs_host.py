"""A real OBS under Xvfb, with the built plugin, a folder of its own for everything, and one scene."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import obsws_python

from tests.native.virtual_screen import VirtualScreen
from tests.native.waiting import wait_until

SIZE = (640, 360)
_START_S = 60.0
_STOP_S = 20.0
_OBS_29_0_2 = 486539266

Settings = Mapping[str, Any]


def media_source(name: str, path: Path, filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A video file that plays in a loop."""
    settings = {"is_local_file": True, "local_file": str(path), "looping": True, "restart_on_activate": False}
    return _source(name, "ffmpeg_source", settings, filters)


def colour_source(name: str, rgb: tuple[int, int, int], filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """One colour, as large as the canvas."""
    red, green, blue = rgb
    settings = {"color": 0xFF000000 | blue << 16 | green << 8 | red, "width": SIZE[0], "height": SIZE[1]}
    return _source(name, "color_source_v3", settings, filters)


def picture_source(name: str, path: Path, filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A still picture, which has no frames in memory."""
    return _source(name, "image_source", {"file": str(path)}, filters)


def effect_filter(settings: Settings, name: str = "hands") -> dict[str, Any]:
    """The plugin's filter for every source."""
    return _source(name, "gest_stream_effect_filter", settings)


def async_filter(settings: Settings, name: str = "hands") -> dict[str, Any]:
    """The plugin's filter for cameras and media."""
    return _source(name, "gest_stream_async_filter", settings)


def crop_filter(left: int) -> dict[str, Any]:
    """OBS's own filter, cutting the left side off."""
    return _source("crop", "crop_filter", {"left": left, "relative": True})


def _source(name: str, kind: str, settings: Settings, filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    return {
        "id": kind,
        "versioned_id": kind,
        "name": name,
        "settings": dict(settings),
        "filters": [dict(one) for one in filters],
        "enabled": True,
        "muted": True,
        "mixers": 0,
    }


class ObsHost:
    """OBS, recording from its start until it is left.

    Args:
        folder: An empty folder for its settings, its log and the recording.
        plugin: The built folder `gest_stream`, with `bin` and `data`.
        sources: Of the scene, from back to front.
        runtime: What XDG_RUNTIME_DIR is to OBS, and so where it looks for the worker.
    """

    def __init__(self, folder: Path, plugin: Path, sources: Sequence[Mapping[str, Any]], runtime: Path) -> None:
        self._folder = folder
        self._runtime = runtime
        self._port = _free_port()
        self._log = folder / "obs.log"
        self._filters = [
            (source["name"], one["name"])
            for source in sources
            for one in source["filters"]
            if one["id"].startswith("gest_stream")
        ]
        _write_settings(folder, self._port, sources)
        shutil.copytree(plugin, folder / "config" / "obs-studio" / "plugins" / "gest_stream")
        self._screen = VirtualScreen()
        self._obs: subprocess.Popen[bytes] | None = None
        self._client: obsws_python.ReqClient | None = None
        self.recording: Path | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            self.finish()
        finally:
            self._kill()

    @property
    def log(self) -> str:
        """What OBS logged until now."""
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, times: int = 1, timeout_s: float = 20.0) -> None:
        """Wait until OBS logged `text` as often as that."""
        wait_until(lambda: self.log.count(text) >= times, f"OBS logs {text!r} {times} times", timeout_s)

    def set_filter(self, source: str, settings: Settings, name: str = "hands") -> None:
        """Change settings of a filter; the others stay."""
        assert self._client is not None
        self._client.set_source_filter_settings(source, name, dict(settings), True)

    def record_for(self, seconds: float) -> None:
        """Wait until that much more is recorded."""
        end_ms = self._recorded_ms() + seconds * 1000
        wait_until(lambda: self._recorded_ms() >= end_ms, f"OBS records {seconds:g} s", 10 * seconds + 20)

    def _recorded_ms(self) -> int:
        assert self._client is not None
        return int(self._client.get_record_status().output_duration)

    def save_picture(self, path: Path, source: str = "scene") -> None:
        """A picture of a source or the scene as it is now, as PNG."""
        assert self._client is not None
        self._client.save_source_screenshot(source, "png", str(path), *SIZE, -1)

    def add_and_remove(self, source: str, one: Settings) -> None:
        """Put a filter on a source and take it away again."""
        assert self._client is not None
        self._client.create_source_filter(source, one["name"], one["id"], one["settings"])
        self.save_picture(self._log.with_name("filtered.png"))
        self._client.remove_source_filter(source, one["name"])

    def finish(self) -> Path:
        """End the recording, remove the filters, end OBS; returns the recording.

        How OBS ends says nothing of the plugin: 29.0.2 without any crashed in Qt on 9 of 45 ends here.
        """
        assert self._obs is not None
        if self.recording is None:
            assert self._client is not None
            self.recording = Path(self._client.stop_record().output_path)
            with contextlib.suppress(AssertionError):  # OBS hangs when it is interrupted while it records
                wait_until(lambda: not self._is_recording(), "the recording ends", _STOP_S)
            for source, name in self._filters:
                self._client.remove_source_filter(source, name)
            self.wait_for_log(" ms each, longest ", len(self._filters))  # what a filter says when it goes
            self._obs.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._obs.wait(_STOP_S)
        return self.recording

    def held_ms(self, kind: str) -> tuple[float, float]:
        """How long a filter, "effect" or "async", held the graphics thread, as it said when it went.

        Returns:
            Milliseconds of a frame: mean and longest.
        """
        line = next(line for line in self.log.splitlines() if f"{kind} filter:" in line)
        mean, longest = re.findall(r"([\d.]+) ms", line)
        return float(mean), float(longest)

    @property
    def ended_well(self) -> bool:
        """Whether OBS ended by itself and without a crash."""
        assert self._obs is not None
        return self._obs.returncode == 0

    def _is_recording(self) -> bool:
        assert self._client is not None
        return bool(self._client.get_record_status().output_active)

    def _start(self) -> None:
        self._screen.__enter__()
        environment = {
            **self._screen.environment,
            "HOME": str(self._folder / "home"),
            "XDG_CONFIG_HOME": str(self._folder / "config"),
            "XDG_RUNTIME_DIR": str(self._runtime),
        }
        flags = "--multi --profile gst --collection gst --startrecording --minimize-to-tray"
        with self._log.open("wb") as log:
            self._obs = subprocess.Popen(
                ["obs", *flags.split(), "--disable-missing-files-check"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._connect, "OBS records", _START_S)

    def _connect(self) -> bool:
        assert self._obs is not None
        assert self._obs.poll() is None, f"OBS ended with {self._obs.returncode}:\n{self.log[-2000:]}"
        if self._client is None:
            try:  # the client logs a traceback where nobody listens
                socket.create_connection(("127.0.0.1", self._port), 1.0).close()
            except OSError:
                return False
            self._client = obsws_python.ReqClient(host="127.0.0.1", port=self._port, password="", timeout=10)
        try:
            return self._is_recording()
        except obsws_python.error.OBSSDKRequestError:  # it listens before it is ready
            return False

    def _kill(self) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.disconnect()
            self._client = None
        if self._obs is not None:
            self._obs.kill()
            self._obs.wait()
        self._screen.__exit__(None, None, None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_settings(folder: Path, port: int, sources: Sequence[Mapping[str, Any]]) -> None:
    home = folder / "config" / "obs-studio"
    profile, scenes = home / "basic" / "profiles" / "gst", home / "basic" / "scenes"
    for path in (profile, scenes, folder / "home", folder / "recording"):
        path.mkdir(parents=True)
    names = "Profile=gst\nProfileDir=gst\nSceneCollection=gst\nSceneCollectionFile=gst\n"
    (home / "global.ini").write_text(
        f"[General]\nFirstRun=true\nLastVersion={_OBS_29_0_2}\nEnableAutoUpdates=false\n[Basic]\n{names}"
        "[BasicWindow]\nPreviewEnabled=false\nSysTrayEnabled=false\n"
        f"[OBSWebSocket]\nFirstLoad=false\nServerEnabled=true\nServerPort={port}\nAuthRequired=false\n"
    )
    width, height = SIZE
    video = f"BaseCX={width}\nBaseCY={height}\nOutputCX={width}\nOutputCY={height}\nFPSCommon=30\n"
    output = f"FilePath={folder / 'recording'}\nRecFormat=mkv\nRecQuality=Stream\nRecEncoder=x264\nPreset=ultrafast\n"
    (profile / "basic.ini").write_text(
        f"[General]\nName=gst\n[Video]\n{video}[Output]\nMode=Simple\n[SimpleOutput]\n{output}VBitrate=8000\n"
    )
    items = [
        {"name": source["name"], "id": index + 1, "visible": True, "scale": {"x": 1.0, "y": 1.0}}
        for index, source in enumerate(sources)
    ]
    scene = {"id_counter": len(items), "items": items, "custom_size": False}
    collection = {
        "name": "gst",
        "current_scene": "scene",
        "current_program_scene": "scene",
        "scene_order": [{"name": "scene"}],
        "sources": [*(dict(source) for source in sources), _source("scene", "scene", scene)],
    }
    (scenes / "gst.json").write_text(json.dumps(collection))
