import asyncio
import http.server
import io
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gest_stream.config import ReconnectConfig, SourceConfig
from gest_stream.errors import SourceLostError, SourceOpenError
from gest_stream.sources.network import NetworkSource
from gest_stream.types import Frame
from tests.media import Clip, make_clip
from tests.sources.running import FakeTime, open_error, read_all, until

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]

QUICK = SourceConfig(
    open_timeout_s=2.0,
    read_timeout_s=0.3,
    reconnect=ReconnectConfig(initial_s=0.01, max_s=0.02, jitter=0.0, give_up_after_s=0.5),
)


@contextmanager
def serving(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """A loopback server that gives each request the next answer, the last one again and again; its address and log."""
    left = list(answers)
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append(self.headers.get("Range", ""))
            answer = left.pop(0) if len(left) > 1 else left[0]
            self.close_connection = True
            try:
                answer(self)
            except OSError:
                pass  # the client hung up

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def whole(data: bytes, stop_at: int | None = None) -> Answer:
    """A file with byte ranges; a connection breaks once `stop_at` of the file has been sent."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        start = int(asked[0])
        handler.send_response(206 if "Range" in handler.headers else 200)
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[start:stop_at])

    return answer


def endless(data: bytes, then: Callable[[], object] = lambda: None) -> Answer:
    """A live stream: no length; after `data`, `then` is called and the connection ends."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(data)
        handler.wfile.flush()
        then()

    return answer


def refusing(status: int) -> Answer:
    return lambda handler: handler.send_error(status)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five seconds, index in front, bytes spread evenly over time, with a tone."""
    images = [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(150)]
    options = (("qp", "20"), ("g", "10"), ("bf", "0"))
    settings = Clip(
        frames=150, images=images, options=options, audio="aac", container_options=(("movflags", "faststart"),)
    )
    return Path(make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", settings)).read_bytes()


@pytest.fixture(scope="module")
def transport() -> bytes:
    """An MPEG-TS of 60 frames."""
    buffer = io.BytesIO()
    make_clip(buffer, Clip(frames=60, options=(("qp", "20"), ("g", "10"), ("bf", "0"))), "mpegts")
    return buffer.getvalue()


def every_frame(source: NetworkSource) -> list[Frame]:
    """The frames the worker makes, without the newest-wins ring in between."""
    source._open()
    try:
        return list(source._frames())
    finally:
        source._close()


def test_a_clip_on_a_server_gives_every_frame(clip: bytes) -> None:
    with serving(whole(clip)) as (address, _):
        source = NetworkSource(f"{address}/clip.mp4", config=QUICK)
        frames = read_all(source)
    assert [frame.seq for frame in frames] == list(range(150))
    assert (source.info.live, source.info.frame_count) == (False, 150)


def test_a_clip_in_realtime_is_a_live_source_at_its_own_speed(clip: bytes) -> None:
    fake = FakeTime()
    with serving(whole(clip)) as (address, _):
        source = NetworkSource(f"{address}/clip.mp4", True, config=QUICK, clock=fake.clock, wait=fake.wait)
        frames = read_all(source)
    assert source.info.live
    assert sum(fake.waits_s) == pytest.approx(149 / 30, abs=1e-3)
    assert all(f.captured_ns == pytest.approx(10**9 + f.time_s * 1e9, abs=1000) for f in frames)


def test_a_broken_connection_goes_on_behind_the_last_frame_with_nothing_twice(
    clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(whole(clip)) as (address, _):
        expected = [(f.pts, int(f.image.sum())) for f in read_all(NetworkSource(f"{address}/c.mp4", config=QUICK))]
    with caplog.at_level(logging.INFO), serving(whole(clip, len(clip) // 2), whole(clip)) as (address, _):
        source = NetworkSource(f"{address}/c.mp4", config=QUICK)

        async def run() -> tuple[list[tuple[int, int]], list[int]]:
            async with source:
                assert source.audio is not None
                reader = source.audio.reader()
                got = [(f.pts, int(f.image.sum())) async for f in source]
                return got, [packet.dts for packet in reader.take()]

        got, audio_dts = asyncio.run(run())
    assert got == expected
    assert all(a < b for a, b in zip(audio_dts, audio_dts[1:], strict=False))
    assert audio_dts[-1] > 200_000
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert sum("reconnecting" in message for message in messages) == 1
    assert sum("back after" in message for message in messages) == 1


def test_a_stream_without_length_is_live_and_connected_again_when_it_ends(transport: bytes) -> None:
    with serving(endless(transport), endless(transport), refusing(503)) as (address, _):
        source = NetworkSource(f"{address}/live", config=QUICK)
        frames: list[Frame] = []
        assert source._open().live
        with pytest.raises(SourceLostError) as caught:
            for frame in source._frames():
                frames.append(frame)
        source._close()
    assert len(frames) == 120
    assert [frame.seq for frame in frames] == list(range(120))
    # The second connection starts its clock again; media time goes on one frame later.
    steps = {round((b.time_s - a.time_s) * 30, 2) for a, b in zip(frames, frames[1:], strict=False)}
    assert steps == {1.0}
    assert f"{address}/live: lost (" in str(caught.value)
    assert "and not back after" in str(caught.value)


@pytest.mark.parametrize(("live", "threads"), [(False, "AUTO"), (True, "SLICE")])
def test_only_a_clip_is_decoded_with_frame_threads_that_add_delay(
    clip: bytes, transport: bytes, live: bool, threads: str
) -> None:
    with serving(endless(transport) if live else whole(clip)) as (address, _):
        source = NetworkSource(f"{address}/x", config=QUICK)
        source._open()
        assert source._container is not None
        assert source._container.streams.video[0].thread_type.name == threads
        source._close()


def test_a_live_stream_holds_only_its_newest_frame(transport: bytes) -> None:
    with serving(endless(transport), refusing(503)) as (address, _):
        source = NetworkSource(f"{address}/live", config=QUICK)

        async def run() -> int:
            async with source:
                assert source.info.live
                await until(lambda: source.stats.pushed >= 60)
                assert source.stats.held <= 1
                return (await anext(aiter(source))).seq

        assert asyncio.run(run()) == 59


def test_a_stalled_stream_is_noticed_within_the_read_timeout(transport: bytes) -> None:
    release = threading.Event()
    with serving(endless(transport, lambda: release.wait(10)), endless(transport)) as (address, _):
        source = NetworkSource(f"{address}/live", config=QUICK)

        async def run() -> float:
            async with source:
                await until(lambda: source.stats.pushed >= 50)
                since = time.monotonic()
                await until(lambda: source.stats.pushed >= 100)
                return time.monotonic() - since

        try:
            assert 0.2 < asyncio.run(asyncio.wait_for(run(), 10)) < 5
        finally:
            release.set()


def test_stop_ends_a_blocked_read_within_the_read_timeout(transport: bytes) -> None:
    release = threading.Event()
    with serving(endless(transport, lambda: release.wait(10))) as (address, _):

        async def run() -> float:
            async with NetworkSource(f"{address}/live", config=QUICK) as source:
                await until(lambda: source.stats.pushed >= 50)
                source.stop()
                since = time.monotonic()
                assert [frame async for frame in source] == []
                assert time.monotonic() - since < 0.2
            return time.monotonic() - since

        try:
            assert asyncio.run(run()) < 5
        finally:
            release.set()


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    config = SourceConfig(open_timeout_s=0.3, read_timeout_s=0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        since = time.monotonic()
        message = open_error(NetworkSource(f"http://127.0.0.1:{listener.getsockname()[1]}/x", config=config))
        assert time.monotonic() - since < 5
    assert "no answer within 0.3 s; check the address and the firewall" in message


def test_a_refused_port_says_so_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    source = NetworkSource(f"http://me:hunter2@127.0.0.1:{port}/x.mp4?token=t0ps3cret", config=QUICK)
    with pytest.raises(SourceOpenError) as caught:
        read_all(source)
    assert str(caught.value) == (
        f"http://me:***@127.0.0.1:{port}/x.mp4?token=***: connection refused; start the server, or check host and port"
    )
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert "hunter2" not in shown
    assert "t0ps3cret" not in shown


def test_no_password_reaches_the_log(transport: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), serving(endless(transport), refusing(503)) as (address, _):
        url = address.replace("http://", "http://me:hunter2@") + "/live?token=t0ps3cret"
        with pytest.raises(SourceLostError) as caught:
            every_frame(NetworkSource(url, config=QUICK))
    shown = caplog.text + "".join(traceback.format_exception(caught.value))
    assert "reconnecting" in shown
    assert "hunter2" not in shown
    assert "t0ps3cret" not in shown


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusing(404), "the server has nothing under this address (404); check the path"),
        (refusing(401), "check the user name, password or token in the address"),
        (refusing(403), "check the user name, password or token in the address"),
        (refusing(500), "cannot be opened"),
        (whole(b"<html>hello</html>" * 100), "the server answers, but not with a video"),
    ],
)
def test_a_servers_refusal_is_told_with_a_remedy(answer: Answer, expected: str) -> None:
    with serving(answer) as (address, _):
        assert expected in open_error(NetworkSource(f"{address}/x.mp4", config=QUICK))


def test_rtsp_is_carried_over_tcp_unless_told_otherwise() -> None:
    assert NetworkSource("rtsp://cam/s")._options() == {"rtsp_transport": "tcp"}
    assert NetworkSource("rtsp://cam/s", config=SourceConfig(rtsp_tcp=False))._options() == {}
