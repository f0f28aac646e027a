"""The OBS filters' dialogs: what can be set, what is shown when, and the help."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.native.virtual_screen import VirtualScreen
from tests.native.waiting import wait_until

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("obs_is_here")]

_ASYNC, _EFFECT = "gest_stream_async_filter", "gest_stream_effect_filter"
_COMMON = ["status_text", "effect", "hands", "feather", "opacity", "blur", "picture", "colour", "smoothing"]
_COMMON += ["mask_every", "timing", "fallback", "start_worker", "worker_command", "socket", "help"]


def _dialog(
    plugin: Path, folder: Path, filter_id: str, settings: Mapping[str, object] | None = None, button: str | None = None
) -> list[dict[str, Any]]:
    out = folder / "dialog.json"
    arguments = [str(plugin), filter_id, json.dumps(settings or {}), str(out), *([button] if button else [])]
    with VirtualScreen() as screen:
        environment = screen.environment
        done = subprocess.run(
            [sys.executable, "-m", "tests.native.obs_dialog", *arguments],
            cwd=Path(__file__).resolve().parents[2],
            env={**environment, "PATH": f"{folder}:{environment['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stdout
    told: list[dict[str, Any]] = json.loads(out.read_text())
    return told


@pytest.mark.parametrize(("filter_id", "own"), [(_ASYNC, []), (_EFFECT, ["search_lines"])])
def test_everything_can_be_set_and_has_words(obs_plugin: Path, tmp_path: Path, filter_id: str, own: list[str]) -> None:
    properties = _dialog(obs_plugin, tmp_path, filter_id)
    assert sorted(one["name"] for one in properties) == sorted(_COMMON + own)
    assert all(one["text"] and one["text"] != one["name"] for one in properties[1:])  # a status needs a filter


def test_only_what_an_effect_needs_is_shown(obs_plugin: Path, tmp_path: Path) -> None:
    def hidden(**settings: object) -> set[str]:
        properties = _dialog(obs_plugin, tmp_path, _EFFECT, settings)
        return {one["name"] for one in properties if not one["visible"]}

    assert hidden() == {"blur", "picture", "worker_command"}
    assert hidden(effect="cutout") == {"opacity", "blur", "picture", "colour", "worker_command"}
    assert hidden(effect="replace", start_worker=True) == {"opacity", "blur"}
    assert hidden(effect="nonsense") == hidden()


def test_the_help_button_opens_the_help(obs_plugin: Path, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}.part"; mv "{opened}.part" "{opened}"\n')
    opener.chmod(0o755)
    _dialog(obs_plugin, tmp_path, _ASYNC, button="help")
    wait_until(opened.exists, "the help is opened", 10)
    page = Path(opened.read_text())
    assert page == obs_plugin / "data" / "help.html"
    assert "gest-stream worker" in page.read_text()
