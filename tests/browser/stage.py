"""One Chromium and any number of servers, on an event loop of their own thread, for tests that are plain functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright

from gest_stream.config import PipelineConfig, ServerConfig
from gest_stream.errors import SignallingError
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.seams import SessionSeam, SessionsSeam
from gest_stream.server.serve import serve
from gest_stream.server.session import SessionKind

T = TypeVar("T")

CHROMIUM = Path("/usr/bin/chromium")
CONFIG = PipelineConfig(server=ServerConfig(port=0))
"""Of a server on a free port."""

FOREIGN_NAME = "gest.test"
"""A name that leads to this machine, and that browsers take for another one."""

FLAGS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream=device-count=3",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    f"--host-resolver-rules=MAP {FOREIGN_NAME} 127.0.0.1",
)
PHONE: Mapping[str, Any] = MappingProxyType(
    {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
)
"""Options of a browser context."""

_EXPECTED = (
    "Failed to load resource",  # a status that is no success
    "origin was untrustworthy",  # a page that came over HTTP from another machine
)
PEER = Path(__file__).with_name("peer.js")


async def launch(playwright: Playwright, *flags: str) -> Browser:
    """Chromium with a made-up camera."""
    return await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=[*FLAGS, *flags])


class Stage:
    """Runs coroutines on a loop that has a browser."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="browser tests", daemon=True)
        self._thread.start()
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 60.0) -> T:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(_bounded(work, timeout_s), self._loop).result()

    async def browser(self) -> Browser:
        """The browser, started when it is first asked for."""
        if self._browser is None:
            self._playwright = await async_playwright().start()
            self._browser = await launch(self._playwright)
        return self._browser

    def close(self) -> None:
        """End the browser and the thread."""
        self.run(self._let_go())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _let_go(self) -> None:
        if self._browser is not None:
            await self._browser.close()
        if self._playwright is not None:
            await self._playwright.stop()


async def _bounded(work: Coroutine[Any, Any, T], timeout_s: float) -> T:
    async with asyncio.timeout(timeout_s):
        return await work


async def until(page: Page, expression: str, timeout_s: float = 10.0) -> Any:
    """Wait until a JavaScript expression is true; its value.

    Playwright's own `wait_for_function` evaluates text in the page, which the page's security policy forbids.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not (value := await page.evaluate(expression)):
        assert loop.time() < deadline, f"not true within {timeout_s:g} s: {expression}"
        await asyncio.sleep(0.03)
    return value


@asynccontextmanager
async def served(config: PipelineConfig, sessions: SessionsSeam) -> AsyncIterator[str]:
    """The real HTTP server on a free port; gives its address without the last slash."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    work = asyncio.create_task(serve(config, sessions, ServerMetrics(), ready=address.set_result, stop=stop))
    try:
        done: set[asyncio.Future[Any]] = {work, address}
        await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        yield address.result().rstrip("/")
    finally:
        stop.set()
        await work


@dataclass
class PeerSession:
    """A session whose other end is in the page."""

    id: str
    kind: SessionKind
    owner: PeerSessions
    etag: str = '"scripted"'
    backgrounds: list[bytes] = field(default_factory=list)

    async def add_candidates(self, fragment: str) -> None:
        """Nothing: the offer held them all."""
        self.owner.fragments.append(fragment)
        self.owner.changed.set()

    def set_background(self, picture: bytes) -> None:
        """Keep the picture."""
        self.backgrounds.append(picture)

    async def close(self, reason: str) -> None:
        """Forget it."""
        self.owner.ended.append(self.id)
        self.owner.sessions.pop(self.id, None)
        self.owner.changed.set()


class PeerSessions:
    """Sessions that `peer.js` in the page answers; `refusal` is raised instead where it is set."""

    def __init__(self) -> None:
        self.page: Page | None = None
        self.refusal: SignallingError | None = None
        self.sessions: dict[str, PeerSession] = {}
        self.ended: list[str] = []
        self.offers: list[tuple[SessionKind, str, str]] = []
        self.fragments: list[str] = []
        self.changed = asyncio.Event()

    async def start(self, kind: SessionKind, stream: str, offer_sdp: str, client: str) -> tuple[SessionSeam, str]:
        """Let the page's own peer answer."""
        self.offers.append((kind, stream, offer_sdp))
        self.changed.set()
        if self.refusal is not None:
            raise self.refusal
        assert self.page is not None
        session = PeerSession(f"session{len(self.offers)}", kind, self)
        self.sessions[session.id] = session
        return session, await self.page.evaluate("offer => peer.answer(offer)", offer_sdp)

    async def until(self, condition: Callable[[PeerSessions], bool], timeout_s: float = 10.0) -> None:
        """Wait until something is true of what was offered, patched and ended."""
        async with asyncio.timeout(timeout_s):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()

    def get(self, session_id: str) -> PeerSession | None:
        """The session of that id."""
        return self.sessions.get(session_id)

    def describe(self) -> dict[str, Any]:
        """How many there are."""
        return {"sessions": len(self.sessions)}

    async def close(self) -> None:
        """End all."""
        self.sessions.clear()


@dataclass
class Visit:
    """A page of a server whose sessions are scripted."""

    page: Page
    sessions: PeerSessions
    url: str
    problems: list[str]

    async def text(self, element_id: str) -> str:
        """What an element says."""
        return await self.page.locator(f"#{element_id}").inner_text()

    async def until(self, expression: str, timeout_s: float = 10.0) -> Any:
        """Wait until a JavaScript expression is true; its value."""
        return await until(self.page, expression, timeout_s)

    async def until_phase(self, phase: str, timeout_s: float = 10.0) -> None:
        """Wait until the page is in a phase."""
        await self.until(f"document.body.dataset.phase === '{phase}'", timeout_s)

    async def until_told(self, text: str, element_id: str = "told") -> None:
        """Wait until an element says something that holds `text`."""
        await self.until(f"document.getElementById('{element_id}').textContent.includes({text!r})")

    async def go_live(self) -> None:
        """Start the camera, and wait for the returned picture and the server's greeting."""
        await self.page.click("#start")
        await self.until_phase("live")
        await self.until("document.getElementById('returned').videoWidth > 0")
        await self.until("peer.commands.length > 0")

    async def commands(self, kind: str) -> list[dict[str, Any]]:
        """The commands of one type that the server got."""
        found: list[dict[str, Any]] = await self.page.evaluate(
            "kind => peer.commands.filter(c => c.type === kind)", kind
        )
        return found

    async def newest(self, kind: str, count: int) -> dict[str, Any]:
        """The newest command of that type, once the server got so many."""
        await self.until(f"peer.commands.filter((one) => one.type === '{kind}').length >= {count}")
        found = await self.commands(kind)
        assert len(found) == count
        return found[-1]

    async def place(self, x: float, y: float) -> tuple[float, float]:
        """Where on the screen a place of the box around the returned picture lies, 0 to 1 of its size."""
        await self.page.locator("#pointer").scroll_into_view_if_needed()
        box = await self.page.locator("#pointer").bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]


@asynccontextmanager
async def visit(
    stage: Stage,
    config: PipelineConfig = CONFIG,
    *,
    path: str = "/",
    host: str | None = None,
    script: str = "",
    refusal: SignallingError | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> AsyncIterator[Visit]:
    """Open the page of a server whose sessions `peer.js` answers.

    Args:
        stage: Has the browser.
        config: Of the server.
        path: What is opened.
        host: A name to open it under, instead of the address.
        script: JavaScript that runs before the page's own.
        refusal: What the server answers to every offer; tests may take it back.
        options: Of the browser context: viewport, colour scheme and so on.
    """
    sessions = PeerSessions()
    sessions.refusal = refusal
    async with served(config, sessions) as url, context_of(await stage.browser(), options) as context:
        await context.add_init_script(path=PEER)
        if script:
            await context.add_init_script(script)
        sessions.page = page = await context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
        if host is not None:
            url = f"http://{host}:{url.rpartition(':')[2]}"
        await page.goto(url + path)
        yield Visit(page, sessions, url, problems)
        left = [text for text in problems if not any(expected in text for expected in _EXPECTED)]
        assert not left, f"the browser complained: {left}"


@asynccontextmanager
async def context_of(browser: Browser, options: Mapping[str, Any]) -> AsyncIterator[BrowserContext]:
    """A browser context of its own, closed in the end."""
    context = await browser.new_context(**options)
    try:
        yield context
    finally:
        await context.close()
