"""The page against real sessions: aiortc answers, scripted models look at the pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")

from playwright.async_api import Page

from gest_stream.config import EffectConfig, LimitsConfig, PipelineConfig, ServerConfig
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.session import SessionKind
from gest_stream.server.sessions import Sessions
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from tests.browser.stage import context_of, served, until
from tests.server.peers import Peer

if TYPE_CHECKING:
    from tests.browser.stage import Stage

pytestmark = pytest.mark.browser

HAND = make_landmarks((320, 240), 200)
VALUE = "document.getElementById('{}').textContent"


def made_sessions(segmenter: ScriptedSegmenter | None = None, max_sessions: int = 4) -> tuple[PipelineConfig, Sessions]:
    """A server whose every picture shows one hand in the middle of 640x480."""
    limits = LimitsConfig(max_sessions=max_sessions, retry_after_s=1)
    config = PipelineConfig(effect=EffectConfig(labels=False), server=ServerConfig(port=0, limits=limits))

    def tracker() -> TrackerCore:
        return TrackerCore(ScriptedDetector(lambda seq: [HAND]), segmenter or ScriptedSegmenter())

    return config, Sessions(config, tracker, ServerMetrics(), "scripted")


@asynccontextmanager
async def opened(stage: Stage, url: str) -> AsyncIterator[Page]:
    async with context_of(await stage.browser(), {}) as context:
        page = await context.new_page()
        await page.goto(url)
        yield page


async def go_live(page: Page) -> None:
    await page.click("#start")
    await until(page, "document.getElementById('returned').videoWidth === 640", 20)
    await until(page, f"{VALUE.format('status-text')} === 'Live.'", 20)


async def until_true(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def sessions_are(sessions: Sessions, **counts: int) -> None:
    await until_true(lambda: counts.items() <= sessions.describe()["sessions"].items())


def run(stage: Stage, go: Callable[[], Any]) -> None:
    stage.run(go(), 90)


def test_the_returned_picture_has_the_hand_overlaid_and_the_panel_measures_it(stage: Stage) -> None:
    middle = """
    () => {
      const canvas = new OffscreenCanvas(640, 480).getContext("2d", { willReadFrequently: true });
      canvas.drawImage(document.getElementById("returned"), 0, 0);
      return [[320, 240], [20, 240]].map(([x, y]) => [...canvas.getImageData(x, y, 1, 1).data].slice(0, 3));
    }
    """

    async def go() -> None:
        config, sessions = made_sessions()
        async with served(config, sessions) as url, opened(stage, url) as page:
            await go_live(page)
            await until(page, f"{VALUE.format('hands')}.startsWith('1: ')")
            hand, ground = await page.evaluate(middle)
            assert abs(hand[2] - ground[2]) > 60  # Chromium's camera is green, the overlay of hand 1 is blue
            await until(page, f"parseInt({VALUE.format('glass-p50')}) > 0", 20)
            p50, p95 = [int((await page.inner_text(f"#glass-{one}")).split()[0]) for one in ("p50", "p95")]
            assert 5 <= p50 <= p95 < 3000
            assert await page.inner_text("#drops-server") != "n/a"
            assert "segment" in await page.inner_text("#stages")

    run(stage, go)


def test_a_click_and_a_removal_reach_the_segmenter(stage: Stage) -> None:
    segmenter = ScriptedSegmenter()

    def clicked() -> list[tuple[list[list[float]], list[int]]]:
        prompts = [one.prompt for step in segmenter.observations for one in step if one.prompt is not None]
        return [(one.points_xy_px.tolist(), one.labels.tolist()) for one in prompts if one.points_xy_px.size == 2]

    async def go() -> None:
        config, sessions = made_sessions(segmenter)
        async with served(config, sessions) as url, opened(stage, url) as page:
            await go_live(page)
            await until(page, f"{VALUE.format('hands')}.startsWith('1: ')")
            box = await page.locator("#pointer").bounding_box()
            assert box is not None
            await page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
            await until(page, f"{VALUE.format('told')}.includes('is new')")
            await until_true(lambda: clicked() != [])
            points, labels = clicked()[0]
            assert labels == [1]
            assert points[0] == [pytest.approx(64, abs=2), pytest.approx(432, abs=2)]
            await page.check("input[value=remove]")
            await page.select_option("#target", "1")
            await page.click("#pointer")
            await until(page, f"{VALUE.format('told')}.includes('Hand 1 is removed')")

    run(stage, go)


def test_a_full_server_lets_the_next_page_in_once_a_place_is_free(stage: Stage) -> None:
    async def go() -> None:
        config, sessions = made_sessions(max_sessions=1)
        async with served(config, sessions) as url, opened(stage, url) as first, opened(stage, url) as second:
            await go_live(first)
            await second.click("#start")
            await until(second, f"{VALUE.format('notice-title')} === 'The server is full'")
            await first.close(run_before_unload=True)
            await until(second, "document.getElementById('returned').videoWidth > 0", 20)
            await sessions_are(sessions, loop=1)

    run(stage, go)


def test_a_page_comes_back_after_the_server_ended_its_session_and_leaves_no_session_behind(stage: Stage) -> None:
    async def go() -> None:
        config, sessions = made_sessions()
        async with served(config, sessions) as url, opened(stage, url) as page:
            await go_live(page)
            (session,) = list(sessions._sessions.values())
            await session.close("scripted end")
            await until(page, f"{VALUE.format('notice-text')}.includes('Scripted end.')")
            await until(page, "document.body.dataset.phase === 'live'", 20)
            await until(page, "document.getElementById('returned').videoWidth > 0", 20)
            await sessions_are(sessions, loop=1)
            await page.keyboard.press("Escape")
            await sessions_are(sessions, loop=0)

    run(stage, go)


def test_a_pause_stops_the_picture_and_going_on_starts_it_again(stage: Stage) -> None:
    fps = f"{VALUE.format('fps-returned')}"

    async def go() -> None:
        config, sessions = made_sessions()
        async with served(config, sessions) as url, opened(stage, url) as page:
            await go_live(page)
            await until(page, f"parseFloat({fps}) > 3", 10)
            await page.click("#pause")
            await until(page, f"{fps} === 'n/a'", 10)
            assert await page.inner_text("#status-text") == "Paused."
            await page.click("#pause")
            await until(page, f"parseFloat({fps}) > 3", 10)
            assert await page.evaluate("document.body.dataset.phase") == "live"

    run(stage, go)


def test_viewers_see_a_published_stream_join_and_leave_and_are_told_of_its_end(stage: Stage) -> None:
    showing = "document.getElementById('returned').currentTime > 0"

    async def go() -> None:
        config, sessions = made_sessions()
        async with served(config, sessions) as url:
            async with Peer(SessionKind.PUBLISH) as publisher, opened(stage, f"{url}/?view=cam1") as first:
                await until(first, f"{VALUE.format('notice-title')}.includes('Nobody publishes')")
                published = await publisher.join(sessions, "cam1")
                await until(first, showing, 20)
                async with opened(stage, f"{url}/?view=cam1") as second:
                    await until(second, showing, 20)
                    assert await second.is_hidden("#sent")
                    await sessions_are(sessions, publish=1, view=2)
                    await second.close(run_before_unload=True)
                    await sessions_are(sessions, view=1)
                before = await first.evaluate("document.getElementById('returned').currentTime")
                await until(first, f"document.getElementById('returned').currentTime > {before + 1}")
                await published.close("the publisher hung up")
                await until(first, "document.body.dataset.phase === 'waiting'", 20)
                await sessions_are(sessions, publish=0, view=0)

    run(stage, go)
