"""The whole loop: Chromium's camera, the page, the server and back, 640x480 for 30 s with the real models."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")

from gest_stream.synthetic import preset
from tests.browser.clip import CameraClip
from tests.browser.other_work import OtherWork

pytestmark = [pytest.mark.browser, pytest.mark.weights, pytest.mark.timeout(600)]

_MAX_RUNS: Final = 3
_DISTURBED_CORES: Final = 0.25
"""A run during which others had less than this of one processor counts, however slow it was."""


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """The run that counts, what it says, and in what company it ran."""

    figures: dict[str, Any]
    screenshot: Path
    company: str


def _least_fps(figures: dict[str, Any]) -> float:
    """25, or where MediaPipe cannot give so many here, most of what it gives in the same run."""
    return min(25.0, 0.85 * 1000.0 / float(figures["stages_ms"]["landmarks"]))


def _most_ms(figures: dict[str, Any]) -> tuple[float, float]:
    """(p50, p95) 120 and 200, or where MediaPipe alone takes over 37 ms a frame in the same run, as many times that."""
    slower = max(1.0, float(figures["stages_ms"]["landmarks"]) / 37.0)
    return 120.0 * slower, 200.0 * slower


def _is_fast(figures: dict[str, Any]) -> bool:
    delay, (p50, p95) = figures["glass_to_glass_ms"], _most_ms(figures)
    return bool(figures["fps_returned"] >= _least_fps(figures) and delay["p50"] <= p50 and delay["p95"] <= p95)


@pytest.fixture(scope="module")
def loop(hand_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Thirty seconds of the loop; the figures and a screenshot are left in the run's temporary folder.

    The first run counts, unless it was too slow and processes that are not its own are known to have had the
    processors meanwhile: then another is made, two at most, of which the same is true.
    """
    from benchmarks.webrtc_figures import figures_of
    from benchmarks.webrtc_recording import CHROMIUM, LoopSettings, record_loop

    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM} here: apt-get install chromium")
    folder = tmp_path_factory.mktemp("loop")
    settings = LoopSettings(options=("--set", f"hands.model_path={hand_model}"))
    clip = CameraClip(preset("demo"))
    clip.write(folder / "camera.mjpeg", settings.clip_s)
    for run in range(1, _MAX_RUNS + 1):
        with OtherWork() as others:
            recording = asyncio.run(record_loop(settings, folder / "camera.mjpeg", folder / "page.jpg"))
        figures = figures_of(recording, clip)
        company = f"run {run}, during which others had {others.cores:.2f} of {os.cpu_count()} processors"
        if _is_fast(figures) or others.cores < _DISTURBED_CORES:
            break
    (folder / "camera.mjpeg").unlink()
    (folder / "figures.json").write_text(json.dumps({"company": company, **figures}, indent=2))
    return Loop(figures, folder / "page.jpg", company)


def test_twenty_five_frames_a_second_come_back_at_full_size_or_what_mediapipe_allows(loop: Loop) -> None:
    assert loop.figures["fps_returned"] >= _least_fps(loop.figures), (
        loop.figures["fps_sent"],
        loop.figures["stages_ms"],
        loop.company,
    )
    assert loop.figures["size"] == [640, 480]
    assert loop.figures["unreadable"]["returned"] <= 0.02 * loop.figures["results"]["frames_shown"]


def test_glass_to_glass_is_within_120_ms_and_nearly_always_within_200(loop: Loop) -> None:
    delay = loop.figures["glass_to_glass_ms"]
    p50, p95 = _most_ms(loop.figures)
    assert delay["count"] >= _least_fps(loop.figures) * 30 * 0.9, loop.company
    assert delay["p50"] <= p50 and delay["p95"] <= p95, (delay, loop.figures["stages_ms"], loop.company)


def test_the_panel_says_what_the_numbers_in_the_pictures_say(loop: Loop) -> None:
    panel = loop.figures["panel"]
    assert panel["times_read"] >= 15
    assert abs(panel["p50_furthest_from_barcode_ms"]) <= 30, panel


def test_a_result_is_about_the_very_frame_that_is_shown_with_it(loop: Loop) -> None:
    results = loop.figures["results"]
    assert results["share_with_result"] >= 0.95
    assert results["share_with_hand_found"] >= 0.9
    assert results["landmark_error_median"] < 0.06
    assert results["box_iou_median"] > 0.85
    # the hands move: results of the frame before or after would lie further off
    assert results["best_frame_offset"] == 0, results["landmark_error_mean_by_frame_offset"]


def test_the_overlay_lies_on_the_true_hands_and_nowhere_else(loop: Loop) -> None:
    overlay = loop.figures["overlay"]
    assert overlay["hands_looked_at"] >= 5
    assert overlay["share_of_hand_median"] >= 0.9
    assert overlay["share_of_background_max"] <= 0.02
    assert loop.screenshot.stat().st_size > 10_000
