"""Runs the loop once: the real server in a process of its own, the real page in Chromium, a clip as its camera."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from playwright.async_api import Page, async_playwright

from tests.browser.clip import BAND_HEIGHT, BAND_WIDTH, CELLS, Picture

CHROMIUM: Final = Path("/usr/bin/chromium")
FLAGS: Final = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
_PROBE: Final = Path(__file__).with_name("webrtc_probe.js")
_BAND: Final = {"cells": CELLS, "width": BAND_WIDTH, "height": BAND_HEIGHT}
_PANEL: Final = """
[performance.now(), ...["p50", "p95"].map((name) => document.getElementById(`glass-${name}`).textContent)]
"""
_START_S: Final = 60.0
_LIVE_S: Final = 45.0
_SPARE_S: Final = 20.0
_PANEL_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How the loop is run.

    Args:
        codec: What the page prefers, "H264" or "VP8".
        seconds: How long it is measured.
        settle_s: How long it runs before.
        grabs: Returned pictures that are kept whole, after the measurement.
        segmenter: Of the server.
        options: Further ones for `gest-stream serve`.
    """

    codec: str = "H264"
    seconds: float = 30.0
    settle_s: float = 4.0
    grabs: int = 12
    segmenter: str = "light"
    options: tuple[str, ...] = ()

    @property
    def clip_s(self) -> float:
        """How long the camera's clip has to be, so that its numbers do not begin anew meanwhile."""
        return self.settle_s + self.seconds + _SPARE_S


@dataclass(frozen=True, slots=True, eq=False)
class Grab:
    """One returned picture whole."""

    rtp_timestamp: int
    image: Picture


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What the browser saw.

    Args:
        settings: How it was run.
        origin_ms: Unix milliseconds that the times below count from.
        sent: A record for every frame that the camera's picture showed.
        returned: The same for the returned picture.
        results: Every result, by the RTP timestamp of its picture.
        panel: When and what (p50, p95) the page's own panel said, once a second; milliseconds.
        browser_ms: Mean milliseconds a frame that the browser spent, by what for.
        facts: What the panel said at the end.
        grabs: Returned pictures.
    """

    settings: LoopSettings
    origin_ms: float
    sent: list[dict[str, Any]]
    returned: list[dict[str, Any]]
    results: dict[int, dict[str, Any]]
    panel: list[tuple[float, float, float]]
    browser_ms: dict[str, float]
    facts: dict[str, str]
    grabs: list[Grab]


async def record_loop(settings: LoopSettings, camera: Path, screenshot: Path | None = None) -> Recording:
    """Run the loop once.

    Args:
        settings: How.
        camera: The clip, as `CameraClip.write` makes it.
        screenshot: Where to keep a picture of the page.

    Raises:
        RuntimeError: The server does not start, no picture comes back, or the connection is lost meanwhile.
    """
    async with served(settings.segmenter, *settings.options) as url, async_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
        try:
            page = await browser.new_page(viewport={"width": 1280, "height": 1000})
            await page.add_init_script(path=_PROBE)
            await page.goto(url)
            await _go_live(page, settings.codec)
            await asyncio.sleep(settings.settle_s)
            recording = await _record(page, settings)
            if screenshot is not None:
                await page.screenshot(path=screenshot, type="jpeg", quality=80)
            return recording
        finally:
            await browser.close()


async def _go_live(page: Page, codec: str) -> None:
    await page.click("text=Advanced")
    await page.select_option("#codec", codec)
    await page.click("#start")
    deadline = asyncio.get_running_loop().time() + _LIVE_S
    while not await page.evaluate("document.getElementById('returned').currentTime > 0"):
        if asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"no picture came back; the page says: {await page.inner_text('body')}")
        await asyncio.sleep(0.1)


async def _record(page: Page, settings: LoopSettings) -> Recording:
    loop = asyncio.get_running_loop()
    await page.evaluate("band => probe.start(band)", _BAND)
    before = await page.evaluate("probe.times()")
    end, panel = loop.time() + settings.seconds, []
    while (left := end - loop.time()) > 0:
        await asyncio.sleep(min(left, _PANEL_EVERY_S))
        panel.append(await page.evaluate(_PANEL))
    after = await page.evaluate("probe.times()")
    # results of the grabbed pictures are still to come
    grabs = [await page.evaluate("probe.grab()") for _ in range(settings.grabs)]
    await asyncio.sleep(0.5)
    raw = await page.evaluate("probe.stop()")
    if raw["connections"] > 1:
        raise RuntimeError("the connection was lost while it was measured, and made again; is the machine too busy?")
    names = ("fps-sent", "fps-returned", "drops-server", "drops-browser", "hands", "stages", "link-facts")
    results = [json.loads(text) for text in raw["results"]]
    return Recording(
        settings=settings,
        origin_ms=raw["origin"],
        sent=raw["sent"],
        returned=raw["returned"],
        results={one["rtp_timestamp"]: one for one in results if one["rtp_timestamp"] is not None},
        panel=[(at, _ms(p50), _ms(p95)) for at, p50, p95 in panel if "n/a" not in (p50, p95)],
        browser_ms={name: _mean_ms(before[name], after[name]) for name in after},
        facts={name: await page.inner_text(f"#{name}") for name in names},
        grabs=[Grab(one["rtp"], _decoded(one["png"])) for one in grabs if one["rtp"] is not None],
    )


def _mean_ms(before: list[float | None], after: list[float | None]) -> float:
    (seconds, count), (end_seconds, end_count) = ([value or 0.0 for value in one] for one in (before, after))
    return round((end_seconds - seconds) * 1000 / max(1.0, end_count - count), 2)


def _ms(text: str) -> float:
    return float(text.removesuffix(" ms"))


def _decoded(png: str) -> Picture:
    image = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


@asynccontextmanager
async def served(segmenter: str, *options: str) -> AsyncIterator[str]:
    """`gest-stream serve` in a process of its own; gives its address.

    Raises:
        RuntimeError: It ended, or did not answer in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "gest_stream", "serve", "--segmenter", segmenter, "--port", str(port), *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    telling = asyncio.create_task(process.communicate())
    url = f"http://127.0.0.1:{port}"
    try:
        await _until_it_answers(f"{url}/healthz", telling)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        told = (await telling)[1].decode()
    if process.returncode:
        raise RuntimeError(f"the server ended with {process.returncode}: {told}")


async def _until_it_answers(url: str, telling: asyncio.Task[tuple[bytes, bytes]]) -> None:
    deadline = asyncio.get_running_loop().time() + _START_S
    while not telling.done():
        try:
            with await asyncio.to_thread(urllib.request.urlopen, url, timeout=2):
                return
        except OSError:
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"the server did not answer at {url} within {_START_S:g} s") from None
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the server ended: {telling.result()[1].decode()}")
