"""Sessions over real connections on this machine, with scripted models."""

import asyncio
import itertools
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gest_stream.config import LimitsConfig, RtcConfig
from gest_stream.errors import ModelError, SignallingError
from gest_stream.server.session import SessionKind
from gest_stream.server.sessions import ServerFullError
from gest_stream.tracking.tracker import TrackerCore
from tests.server.peers import SIZE, Peer, make_sessions, scripted_tracker, until

LOOP, PUBLISH, VIEW = SessionKind.LOOP, SessionKind.PUBLISH, SessionKind.VIEW


def colour_spread(picture: np.ndarray) -> int:
    """How far the pixel in the middle is from grey."""
    pixel = picture[SIZE[1] // 2, SIZE[0] // 2].astype(int)
    return int(pixel.max() - pixel.min())


def test_a_loop_returns_the_picture_with_the_hand_drawn_in_and_its_results() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.pictures) > 10 and len(peer.results) > 10)
            picture = peer.pictures[-1]
            assert (picture.width, picture.height) == SIZE
            assert colour_spread(picture.to_ndarray(format="rgb24")) > 30
            result = peer.results[-1]
            assert (result["v"], result["type"], result["size"]) == (1, "result", list(SIZE))
            (track,) = result["tracks"]
            assert track["state"] == "tracked" and len(track["landmarks_px"]) == 21
            assert {"queue", "landmarks", "segment", "total"} <= set(result["timings_ms"])
            assert result["rtp_timestamp"] is not None
            (hello,) = [reply for reply in peer.replies if reply["type"] == "hello"]
            assert hello["segmenter"] == "scripted" and hello["takes_clicks"] is True
        await until(lambda: sessions.describe()["sessions"]["loop"] == 0)
        await sessions.close()

    asyncio.run(run())


def test_the_pictures_frame_is_told_by_the_results_rtp_timestamp() -> None:
    """A browser matches them so; here by the pts that aiortc makes of the RTP timestamps it receives."""

    async def run() -> None:
        sessions = make_sessions()
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.pictures) > 15 and len(peer.results) > 15)
        await sessions.close()
        told = [result for result in peer.results if result["rtp_timestamp"] is not None]
        assert len(told) > 10  # the first ones come before a picture was sent
        steps = {
            (late["rtp_timestamp"] - early["rtp_timestamp"]) % 2**32 == late["pts"] - early["pts"]
            for early, late in itertools.pairwise(told)
        }
        assert steps == {True}

    asyncio.run(run())


def test_what_is_published_is_seen_by_all_who_watch_and_a_second_one_may_come_and_go() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(PUBLISH, audio=True) as publisher, Peer(VIEW, channels=True, audio=True) as first:
            await publisher.join(sessions, "cam")
            await first.join(sessions, "cam")
            await until(lambda: len(first.pictures) > 5 and first.sounds > 5 and len(first.results) > 5)
            async with Peer(VIEW) as second:
                await second.join(sessions, "cam")
                await until(lambda: len(second.pictures) > 5)
                assert colour_spread(second.pictures[-1].to_ndarray(format="rgb24")) > 30
                assert sessions.describe()["sessions"] == {"loop": 0, "publish": 1, "view": 2}
            await until(lambda: sessions.describe()["sessions"]["view"] == 1)
            seen = len(first.pictures)
            await until(lambda: len(first.pictures) > seen + 5)
        await until(lambda: not any(sessions.describe()["sessions"].values()))
        await sessions.close()

    asyncio.run(run())


def test_viewers_are_let_go_when_the_publisher_hangs_up() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(VIEW) as viewer:
            async with Peer(PUBLISH) as publisher:
                await publisher.join(sessions, "cam")
                await viewer.join(sessions, "cam")
                await until(lambda: len(viewer.pictures) > 2)
            await until(lambda: not any(sessions.describe()["sessions"].values()))
        await sessions.close()

    asyncio.run(run())


def test_commands_change_what_is_drawn_and_what_results_hold() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(LOOP, channels=True) as peer:
            session = await peer.join(sessions)
            await until(lambda: len(peer.pictures) > 5)
            assert (await peer.command("ping", time_ms=12.5))["time_ms"] == 12.5
            reply = await peer.command("effect", kind="replace")
            assert reply["type"] == "error" and "no background yet" in reply["message"]
            encoded = BytesIO()
            Image.new("RGB", (64, 64), (10, 200, 10)).save(encoded, "PNG")
            await asyncio.to_thread(session.set_background, encoded.getvalue())
            assert (await peer.command("effect", kind="replace"))["type"] == "ok"
            await until(lambda: int(peer.pictures[-1].to_ndarray(format="rgb24")[5, 5, 1]) > 150)
            await peer.command("results", include=["contour", "mask_rle"])
            await until(lambda: "contour_px" in peer.results[-1]["tracks"][0])
            track = peer.results[-1]["tracks"][0]
            assert "landmarks_px" not in track and track["mask_rle"]["size"] == [SIZE[1], SIZE[0]]
            xs = [x for polygon in track["contour_px"] for x, _ in polygon]
            assert 40 < min(xs) < max(xs) < 120
        await sessions.close()

    asyncio.run(run())


def test_a_click_reaches_the_tracker_in_pixels_of_the_frame() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.results) > 5)
            reply = await peer.command("prompt", points_xy_norm=[[0.1, 0.2]], labels=[1])
            assert reply["type"] == "ok"
            added = reply["track_id"]
            await until(lambda: any(track["id"] == added for track in peer.results[-1]["tracks"]))
            box = next(track for track in peer.results[-1]["tracks"] if track["id"] == added)["box_xyxy_px"]
            assert (box[0] + box[2]) / 2 == pytest.approx(0.1 * SIZE[0], abs=4)  # the disc is cut off at the left
            assert (box[1] + box[3]) / 2 == pytest.approx(0.2 * SIZE[1], abs=4)
            assert (await peer.command("remove_track", track_id=added))["type"] == "ok"
            await until(lambda: all(track["id"] != added for track in peer.results[-1]["tracks"]))
            refused = await peer.command("remove_track", track_id=99)
            assert "no such hand" in refused["message"]
        await sessions.close()

    asyncio.run(run())


def test_pausing_freezes_the_results_until_it_goes_on() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.results) > 5)
            await peer.command("pause", paused=True)
            await peer.command("ping", time_ms=0)
            sent, frozen = peer.track.sent, len(peer.results)
            await until(lambda: peer.track.sent > sent + 10)
            assert len(peer.results) <= frozen + 2  # what was under way
            await peer.command("pause", paused=False)
            await until(lambda: len(peer.results) > frozen + 10)
        await sessions.close()

    asyncio.run(run())


def test_a_frame_that_was_dropped_is_counted_once() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.results) > 5)
            await peer.command("pause", paused=True)
            sent = peer.track.sent
            await until(lambda: peer.track.sent > sent + 30)
            await peer.command("pause", paused=False)
            seen = len(peer.results)
            await until(lambda: len(peer.results) > seen + 5)
            assert 25 <= peer.results[-1]["dropped"] <= peer.track.sent - len(peer.results)
        await sessions.close()

    asyncio.run(run())


def test_a_peer_that_floods_the_server_is_cut_off_and_others_are_not() -> None:
    async def run() -> None:
        sessions = make_sessions(LimitsConfig(max_messages_per_s=5))
        async with Peer(LOOP, channels=True) as calm, Peer(LOOP, channels=True) as flood:
            await calm.join(sessions)
            await flood.join(sessions)
            await until(lambda: flood.commands is not None and flood.commands.readyState == "open")
            assert flood.commands is not None
            for _ in range(200):
                flood.commands.send("x")
            await until(lambda: sessions.describe()["sessions"]["loop"] == 1)
            assert {"v": 1, "type": "ended", "reason": "the peer sent far too many messages"} in flood.replies
            seen = len(calm.pictures)
            await until(lambda: len(calm.pictures) > seen + 5)
        await sessions.close()

    asyncio.run(run())


def test_a_full_server_says_when_to_try_again() -> None:
    async def run() -> None:
        sessions = make_sessions(
            LimitsConfig(max_sessions=1, max_viewers=1, max_sessions_per_client=2, retry_after_s=7)
        )
        async with Peer(PUBLISH) as one, Peer(LOOP) as two, Peer(VIEW) as three, Peer(VIEW) as four, Peer(VIEW) as five:
            await one.join(sessions, "cam")
            with pytest.raises(ServerFullError, match="all 1 places are taken") as caught:
                await two.join(sessions)
            assert (caught.value.status, caught.value.retry_after_s) == (503, 7)
            await three.join(sessions, "cam", "other")
            with pytest.raises(ServerFullError, match="all 1 places"):
                await four.join(sessions, "cam", "third")
            with pytest.raises(SignallingError, match="nobody publishes it") as unknown:
                await five.join(sessions, "nothing")
            assert unknown.value.status == 404
        await sessions.close()

    asyncio.run(run())


def test_one_client_cannot_take_every_place() -> None:
    async def run() -> None:
        sessions = make_sessions(LimitsConfig(max_sessions_per_client=1))
        async with Peer(LOOP) as one, Peer(LOOP) as two, Peer(LOOP) as three:
            await one.join(sessions, client="a")
            with pytest.raises(ServerFullError, match="a has 1 sessions") as caught:
                await two.join(sessions, client="a")
            assert caught.value.status == 429
            await three.join(sessions, client="b")
        await sessions.close()

    asyncio.run(run())


def test_a_name_is_published_by_one_at_a_time() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with Peer(PUBLISH) as one, Peer(PUBLISH) as two, Peer(PUBLISH) as three:
            session = await one.join(sessions, "cam")
            with pytest.raises(SignallingError, match="somebody publishes it already") as caught:
                await two.join(sessions, "cam")
            assert caught.value.status == 409
            await session.close("test")
            await three.join(sessions, "cam")
        await sessions.close()

    asyncio.run(run())


def test_a_refused_offer_takes_no_place() -> None:
    async def run() -> None:
        sessions = make_sessions(LimitsConfig(max_sessions=1))
        for _ in range(3):
            with pytest.raises(SignallingError):
                await sessions.start(LOOP, "", "v=0\r\n", "test")
        async with Peer(LOOP) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.pictures) > 1)
        await sessions.close()

    asyncio.run(run())


def test_an_error_of_the_models_ends_the_session_and_the_peer_is_told_why() -> None:
    def fail() -> TrackerCore:
        raise ModelError("the model is broken")

    async def run() -> None:
        sessions = make_sessions(make_tracker=fail)
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: any(reply["type"] == "ended" for reply in peer.replies))
            assert peer.replies[-1]["reason"] == "the model is broken"
            await until(lambda: not any(sessions.describe()["sessions"].values()))
        await sessions.close()

    asyncio.run(run())


def test_closing_the_server_closes_every_connection_and_refuses_new_ones() -> None:
    async def run() -> None:
        sessions = make_sessions()
        async with (
            Peer(LOOP, channels=True) as loop,
            Peer(PUBLISH) as publisher,
            Peer(VIEW) as viewer,
            Peer(LOOP) as late,
        ):
            await loop.join(sessions)
            await publisher.join(sessions, "cam")
            await viewer.join(sessions, "cam")
            await until(lambda: len(viewer.pictures) > 2 and len(loop.pictures) > 2)
            await asyncio.wait_for(sessions.close(), 10)
            peers = (loop, publisher, viewer)
            await until(lambda: all(peer.connection.connectionState == "closed" for peer in peers))
            with pytest.raises(ServerFullError, match="shutting down"):
                await late.join(sessions)

    asyncio.run(run())


def test_a_peer_that_never_connects_is_given_up() -> None:
    async def run() -> None:
        sessions = make_sessions(rtc=RtcConfig(connect_timeout_s=0.3))
        async with Peer(LOOP) as peer:
            await sessions.start(LOOP, "", await peer.offer(), "test")
            assert sessions.describe()["sessions"]["loop"] == 1
            await until(lambda: sessions.describe()["sessions"]["loop"] == 0)
        await sessions.close()

    asyncio.run(run())


def test_a_peer_that_sends_no_more_pictures_is_let_go() -> None:
    async def run() -> None:
        sessions = make_sessions(LimitsConfig(idle_after_s=0.5))
        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.pictures) > 3)
            peer.connection.getSenders()[0].replaceTrack(None)
            await until(lambda: sessions.describe()["sessions"]["loop"] == 0)
            assert any("no picture came for 0.5 s" in reply.get("reason", "") for reply in peer.replies)
        await sessions.close()

    asyncio.run(run())


def test_every_metric_is_told_of_what_happened() -> None:
    async def run() -> None:
        sessions = make_sessions()
        registry = sessions._metrics.registry

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"gest_stream_{name}", labels)

        async with Peer(LOOP, channels=True) as peer:
            await peer.join(sessions)
            await until(lambda: len(peer.results) > 5)
            await peer.command("ping", time_ms=0)
            with pytest.raises(SignallingError):
                await sessions.start(LOOP, "", "v=0\r\n", "test")
            assert value("sessions", kind="loop") == 1
        await until(lambda: value("sessions", kind="loop") == 0)
        await sessions.close()
        assert value("sessions_started_total", kind="loop") == 1
        assert value("sessions_refused_total", status="422") == 1
        assert value("commands_total", outcome="done") == 1
        frames = value("frames_total")
        assert frames is not None and frames > 5
        assert value("stage_milliseconds_count", stage="total") == frames
        assert value("frames_dropped_total", where="input") is not None
        assert [family.name for family in registry.collect() if not family.samples] == []

    asyncio.run(run())


def test_every_session_has_a_tracker_of_its_own_and_closes_it() -> None:
    made: list[TrackerCore] = []

    def make() -> TrackerCore:
        made.append(scripted_tracker())
        return made[-1]

    async def run() -> None:
        sessions = make_sessions(make_tracker=make)
        async with Peer(LOOP) as one, Peer(LOOP) as two:
            await one.join(sessions)
            await two.join(sessions)
            await until(lambda: len(one.pictures) > 2 and len(two.pictures) > 2)
        await sessions.close()

    asyncio.run(run())
    assert len(made) == 2
    assert all(tracker._closed for tracker in made)
