"""Nothing is left of a session: not after fifty, not of a publisher that dies, not of a server under too much load."""

import asyncio
import gc
import os
import sys
import tempfile
import threading

import psutil

from gest_stream.config import LimitsConfig
from gest_stream.server.session import SessionKind
from gest_stream.server.sessions import Sessions
from gest_stream.testing import ScriptedSegmenter
from gest_stream.tracking.tracker import TrackerCore
from tests.server.peers import Peer, make_sessions, scripted_tracker, until

LOOP, PUBLISH, VIEW = SessionKind.LOOP, SessionKind.PUBLISH, SessionKind.VIEW
_MIB = 2**20


def held() -> tuple[int, int, int]:
    """(threads, open file descriptors with sockets, resident bytes) of this process."""
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd")), psutil.Process().memory_info().rss


async def one_loop(sessions: Sessions, pictures: int = 3) -> None:
    async with Peer(LOOP, channels=True) as peer:
        await peer.join(sessions)
        await until(lambda: len(peer.pictures) >= pictures)


async def nobody(sessions: Sessions) -> None:
    await until(lambda: not any(sessions.describe()["sessions"].values()))


def test_fifty_sessions_one_after_another_leave_nothing_behind() -> None:
    async def run() -> None:
        sessions = make_sessions()
        for _ in range(8):  # what is made once: pools, caches, compiled code
            await one_loop(sessions)
        await nobody(sessions)
        threads, files, memory = held()
        for _ in range(50):
            await one_loop(sessions)
        await nobody(sessions)
        after = held()
        assert after[0] <= threads + 2, [thread.name for thread in threading.enumerate()]
        assert after[1] <= files + 4
        assert after[2] <= memory + 30 * _MIB
        await sessions.close()

    asyncio.run(run())


def test_eight_sessions_at_once_are_all_served_and_leave_nothing_behind() -> None:
    async def run() -> None:
        sessions = make_sessions(LimitsConfig(max_sessions=8))
        await one_loop(sessions)
        await nobody(sessions)
        threads, files, _ = held()
        await asyncio.gather(*(one_loop(sessions, 20) for _ in range(8)))
        await nobody(sessions)
        after = held()
        # the pool that encodes may have grown to what its maximum is
        assert after[0] <= threads + (os.cpu_count() or 1) + 4, [thread.name for thread in threading.enumerate()]
        assert after[1] <= files + 4
        await sessions.close()

    asyncio.run(run())


def test_frames_do_not_queue_up_under_a_segmenter_that_is_slower_than_the_camera() -> None:
    """aiortc's own queues grow without bound: a stage of 45 ms was 9.5 s behind after 20 s."""
    pause = threading.Event()

    def slow() -> TrackerCore:
        return scripted_tracker(ScriptedSegmenter(lambda seq: pause.wait(0.1)))  # type: ignore[arg-type]

    async def run() -> list[float]:
        sessions = make_sessions(make_tracker=slow)
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.results) > 40, 30)
            assert peer.results[-1]["dropped"] > 40
            registry = sessions._metrics.registry
            assert (registry.get_sample_value("gest_stream_frames_dropped_total", {"where": "input"}) or 0) > 40
        await sessions.close()
        return [result["timings_ms"]["queue"] for result in peer.results[5:]]

    waited_ms = asyncio.run(run())
    assert max(waited_ms) < 250  # one frame waits while one is worked on, however long it goes on
    assert sum(waited_ms[-10:]) < 2 * sum(waited_ms[:10]) + 500


def test_a_publisher_that_dies_is_gone_within_fifteen_seconds_and_so_are_its_threads() -> None:
    async def run() -> float:
        sessions = make_sessions()
        loop = asyncio.get_running_loop()
        before = threading.active_count()
        async with Peer(PUBLISH) as publisher:
            await publisher.join(sessions, "cam")
            async with Peer(VIEW) as viewer:
                await viewer.join(sessions, "cam")
                await until(lambda: len(viewer.pictures) > 3)
                died = loop.time()
                cut_off(publisher)
                await until(lambda: not any(sessions.describe()["sessions"].values()), 20)
                took = loop.time() - died
        await sessions.close()
        await until(lambda: threading.active_count() <= before + (os.cpu_count() or 1) + 4)
        return took

    assert asyncio.run(run()) < 15


def cut_off(peer: Peer) -> None:
    """Close a peer's sockets, as a process that is killed does: no BYE, no DTLS alert, no DELETE."""
    for transceiver in peer.connection.getTransceivers():
        ice = transceiver.receiver.transport.transport
        for protocol in ice._connection._protocols:
            protocol.transport.abort()


def test_nothing_of_a_session_is_written_to_disk() -> None:
    written: list[str] = []
    watching = threading.Event()

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and watching.is_set():
            path, mode, flags = (*args, None, 0)[:3]
            writes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if isinstance(path, str) and writes and not path.startswith(("/dev/", "/proc/")):
                written.append(f"{path} {mode}")

    sys.addaudithook(hook)

    async def run() -> None:
        sessions = make_sessions()
        await one_loop(sessions, 2)  # imports write their compiled files
        watching.set()
        await one_loop(sessions, 10)
        await sessions.close()
        watching.clear()

    asyncio.run(run())
    assert written == []
    watching.set()
    with open(os.devnull, "w"), tempfile.TemporaryFile("w"):
        pass
    watching.clear()
    assert written  # the hook does see files
