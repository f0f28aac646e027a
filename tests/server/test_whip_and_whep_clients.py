"""Our own WHIP sink and WHEP source against our own server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction

import numpy as np
import pytest

from gest_stream.config import EffectConfig, LimitsConfig, PipelineConfig, ServerConfig, SourceConfig
from gest_stream.errors import SourceOpenError
from gest_stream.interfaces import SourceInfo
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.serve import serve
from gest_stream.server.sessions import Sessions
from gest_stream.sinks.whip import WhipSink
from gest_stream.sources.whep import WhepSource
from gest_stream.types import Frame, FrameResult
from tests.rtc.peers import until
from tests.server.peers import scripted_tracker

TOKEN = "not-for-your-eyes"
SIZE = (160, 120)
TIME_BASE = Fraction(1, 90_000)


@asynccontextmanager
async def served(limits: LimitsConfig | None = None) -> AsyncIterator[tuple[str, Sessions]]:
    """The server with a token, on a free port; its address."""
    config = PipelineConfig(server=ServerConfig(port=0, token=TOKEN, limits=limits or LimitsConfig()))
    metrics, stop, urls = ServerMetrics(), asyncio.Event(), list[str]()
    sessions = Sessions(config, scripted_tracker, metrics)
    task = asyncio.create_task(serve(config, sessions, metrics, ready=urls.append, stop=stop))
    await until(lambda: urls != [] or task.done())
    try:
        yield urls[0].rstrip("/"), sessions
    finally:
        stop.set()
        await task


@asynccontextmanager
async def published(base: str) -> AsyncIterator[WhipSink]:
    """A sink that sends grey pictures, growing brighter from 20 to 220, thirty times a second."""
    sink = WhipSink(f"{base}/whip/cam", EffectConfig(labels=False), TOKEN)
    await sink.open(SourceInfo("test", True, SIZE, TIME_BASE), None)

    async def send() -> None:
        index = 0
        while True:
            image = np.full((SIZE[1], SIZE[0], 3), 20 + index % 200, np.uint8)
            await sink.write(FrameResult(Frame(image, 3000 * index, TIME_BASE, 0, index)))
            await asyncio.sleep(1 / 30)
            index += 1

    sending = asyncio.create_task(send())
    try:
        yield sink
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        await sink.close()


def test_what_the_sink_pushes_is_what_the_source_pulls() -> None:
    async def scenario() -> None:
        async with served() as (base, sessions):
            async with published(base):
                async with WhepSource(f"{base}/whep/cam", TOKEN) as source:
                    assert source.info.size == SIZE
                    frames = []
                    async for frame in source:
                        frames.append(frame)
                        if len(frames) == 20:
                            break
                levels = np.array([float(np.median(frame.image)) for frame in frames])
                times_s = np.array([frame.time_s for frame in frames])
                # one level brighter with every picture, thirty a second
                assert np.abs((levels - levels[0]) - (times_s - times_s[0]) * 30).max() < 3
                assert levels[-1] - levels[0] >= 15
            await until(lambda: sessions.describe()["sessions"] == {"loop": 0, "publish": 0, "view": 0})

    asyncio.run(scenario())


def test_the_server_s_refusals_reach_the_user() -> None:
    async def refused(url: str, token: str | None) -> str:
        with pytest.raises(SourceOpenError) as caught:
            async with WhepSource(url, token, config=SourceConfig()):
                pass
        return str(caught.value)

    async def scenario() -> None:
        async with served(LimitsConfig(max_viewers=1, retry_after_s=7)) as (base, _):
            assert "does not accept the token (401)" in await refused(f"{base}/whep/cam", "wrong-token")
            assert "wants a token (401)" in await refused(f"{base}/whep/cam", None)
            assert "(404)" in await refused(f"{base}/whep/nobody", TOKEN)
            async with published(base):
                async with WhepSource(f"{base}/whep/cam", TOKEN):
                    full = await refused(f"{base}/whep/cam", TOKEN)
                    assert "the server is full or busy (503)" in full and "come back in 7 s" in full

    asyncio.run(scenario())
