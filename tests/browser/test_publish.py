"""PyAV publishes by WHIP, Chromium watches by WHEP, viewers come and go, and the publisher is killed."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from playwright.async_api import Page

from tests.browser.stage import Stage, context_of, until

pytestmark = pytest.mark.browser

_GONE_S = 15
_MIB = 2**20
_SHOWN = "document.getElementById('returned').getVideoPlaybackQuality().totalVideoFrames"
_GRAB = """() => {
  const video = document.getElementById("returned"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


class Server:
    """`gest-stream serve` in a process of its own."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self.url = url
        self._process = process

    async def counts(self) -> dict[str, int]:
        """Sessions by kind, as `/healthz` tells them."""

        def ask() -> Any:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return json.load(answer)["sessions"]

        counts: dict[str, int] = await asyncio.to_thread(ask)
        return counts

    async def until_counts(self, wanted: dict[str, int], timeout_s: float) -> float:
        """Wait until so many sessions are open; how long it took, in seconds."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while (counts := await self.counts()) != wanted:
            assert loop.time() < begun + timeout_s, f"after {timeout_s} s there are {counts}, not {wanted}"
            await asyncio.sleep(0.1)
        return loop.time() - begun

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    command = ["-m", "gest_stream", "serve", "--segmenter", "light", "--port", "0"]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while not (line := await process.stderr.readline()).startswith(b"page"):
                assert line, "the server ended before it listened"
        draining = asyncio.create_task(process.stderr.read())
        yield Server(line.split()[1].decode().rstrip("/"), psutil.Process(process.pid))
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    await draining


@asynccontextmanager
async def publisher(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """FFmpeg's WHIP muxer in a process of its own, which is killed in the end."""
    command = ["-m", "tests.browser.pyav_publisher", f"{url}/whip/cam", "no-token"]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def published(served: Server, process: asyncio.subprocess.Process) -> None:
    """Wait until the publisher's session is there.

    Raises:
        AssertionError: It ended instead.
    """
    arrival = asyncio.create_task(served.until_counts({"loop": 0, "publish": 1, "view": 0}, 60))
    death = asyncio.create_task(process.wait())
    await asyncio.wait({arrival, death}, return_when=asyncio.FIRST_COMPLETED)
    death.cancel()
    if not arrival.done():
        arrival.cancel()
        assert process.stderr is not None
        raise AssertionError(f"the publisher ended: {(await process.stderr.read()).decode()}")
    arrival.result()


async def watch(page: Page, url: str) -> None:
    """Open the viewer and wait for pictures."""
    await page.goto(f"{url}/?view=cam")
    await until(page, f"{_SHOWN} > 10", 40)


async def picture(page: Page) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What the viewer shows, (H, W, 3) uint8 BGR."""
    image = cv2.imdecode(np.frombuffer(base64.b64decode(await page.evaluate(_GRAB)), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def overlaid_share(image: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    """Share of pixels with the blue of the first track's overlay, which neither skin nor sleeve has."""
    blue, green, red = (image[..., channel].astype(int) for channel in range(3))
    return float(((blue > red + 15) & (blue > green)).mean())


@pytest.mark.timeout(240)
def test_a_stream_is_watched_by_two_and_gone_soon_after_its_publisher_was_killed(stage: Stage) -> None:
    async def run() -> None:
        browser = await stage.browser()
        async with server() as served, context_of(browser, {}) as first, context_of(browser, {}) as second:
            memory = []
            for _ in range(2):  # the first round loads what stays: models, codecs, code
                async with publisher(served.url) as process:
                    await published(served, process)
                    viewer = await first.new_page()
                    await watch(viewer, served.url)
                    other = await second.new_page()
                    await watch(other, served.url)
                    assert (await served.counts())["view"] == 2
                    await other.close()
                    await served.until_counts({"loop": 0, "publish": 1, "view": 1}, _GONE_S)
                    shown = await viewer.evaluate(_SHOWN)
                    await until(viewer, f"{_SHOWN} > {shown + 20}", 20)
                    assert overlaid_share(await picture(viewer)) > 0.01
                    process.kill()
                    took_s = await served.until_counts({"loop": 0, "publish": 0, "view": 0}, _GONE_S)
                    assert took_s < _GONE_S
                    await viewer.close()
                memory.append(served.memory)
            assert memory[1] < memory[0] + 40 * _MIB

    stage.run(run(), 230)
