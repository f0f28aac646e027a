"""The OBS effect filter's effects, looked at on a still picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.native.conftest import StartWorker
from tests.native.demo_clip import SIZE, DemoClip, Pictures, iou
from tests.native.obs_judge import shrunk
from tests.native.waiting import wait_until

pytest.importorskip("obsws_python", reason="not installed here: obsws-python")

from tests.native.obs_host import ObsHost, effect_filter, picture_source

pytestmark = [pytest.mark.native, pytest.mark.timeout(300), pytest.mark.usefixtures("obs_is_here")]


def test_effects_are_drawn_where_the_hands_are_on_a_source_without_frames(
    demo_clip: DemoClip, obs_plugin: Path, scripted: StartWorker, runtime: Path, tmp_path: Path
) -> None:
    frame = demo_clip.pictures[20]
    hands = demo_clip.masks[20]
    still, beach = tmp_path / "still.png", tmp_path / "beach.png"
    cv2.imwrite(str(still), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    stripes = np.zeros((200, 400, 3), np.uint8)
    stripes[:, :200], stripes[:, 200:] = (230, 200, 40), (30, 160, 90)
    cv2.imwrite(str(beach), cv2.cvtColor(stripes, cv2.COLOR_RGB2BGR))
    sources = [
        picture_source("still", still, [effect_filter({"timing": "low_latency", "opacity": 1.0, "feather": 0.0})])
    ]
    folder = tmp_path / "obs"
    folder.mkdir()
    with scripted() as worker, ObsHost(folder, obs_plugin, sources, runtime) as obs:
        obs.wait_for_log("Status: connected\n")
        snap = _Camera(obs, tmp_path)
        red = {"effect": "overlay", "colour": 0xFF0000FF}
        overlaid = snap.until(red, lambda out: iou(_is(out, (255, 0, 0)), hands) > 0.9)
        assert np.abs(overlaid[~_grown(hands, 9)].astype(int) - frame[~_grown(hands, 9)]).max() <= 3
        snap.until({"hands": "left"}, lambda out: 0.2 < _is(out, (255, 0, 0)).sum() / hands.sum() < 0.8)
        replaced = {"effect": "replace", "hands": "both", "picture": str(beach)}
        out = snap.until(replaced, lambda out: _is(out, (230, 200, 40)).any() and _is(out, (30, 160, 90)).any())
        assert iou(~(_is(out, (230, 200, 40)) | _is(out, (30, 160, 90))), hands) > 0.85
        assert _is(out, (230, 200, 40))[:, : SIZE[0] // 2 - 2][~_grown(hands, 9)[:, : SIZE[0] // 2 - 2]].all()
        out = snap.until({"effect": "contour", "colour": 0xFF00FF00}, lambda out: _is(out, (0, 255, 0)).sum() > 200)
        assert not (_is(out, (0, 255, 0)) & ~_grown(hands, 11)).any()
        assert not (_is(out, (0, 255, 0)) & shrunk(hands, 11)).any()
        out = snap.until(
            {"effect": "blur", "blur": 20}, lambda out: _detail(out, ~hands) < 0.5 * _detail(frame, ~hands)
        )
        assert np.abs(out[shrunk(hands, 9)].astype(int) - frame[shrunk(hands, 9)]).max() <= 3
        worker.kill()
        snap.until({"fallback": "blank"}, lambda out: not out.any())
        snap.until({"fallback": "pass"}, lambda out: bool(np.abs(out.astype(int) - frame).max() <= 3))


class _Camera:
    """Pictures of the scene as it is."""

    def __init__(self, obs: ObsHost, folder: Path) -> None:
        self._obs, self._path = obs, folder / "picture.png"
        self.picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)

    def until(self, settings: Mapping[str, object], looks_right: Callable[[Pictures], bool | np.bool_]) -> Pictures:
        """Change settings, and look until it looks right."""
        self._obs.set_filter("still", settings)

        def look() -> bool:
            self._obs.save_picture(self._path)
            self.picture = cv2.cvtColor(cv2.imread(str(self._path)), cv2.COLOR_BGR2RGB)
            return bool(looks_right(self.picture))

        wait_until(look, f"the scene looks right with {settings}", 30)
        return self.picture


def _is(picture: Pictures, rgb: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(picture.astype(np.int16) - rgb).max(axis=2) < 40)


def _grown(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((width, width), np.uint8)), bool)


def _detail(picture: Pictures, where: NDArray[np.bool_]) -> float:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[where].mean())
