"""The page's controls: what the server is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")

from gest_stream.config import IceServerConfig, PipelineConfig, RtcConfig, ServerConfig
from gest_stream.server.session import SessionKind
from tests.browser.stage import visit
from tests.media import make_image, quadrants

if TYPE_CHECKING:
    from tests.browser.stage import Stage

pytestmark = pytest.mark.browser

# Chromium sends a smaller picture until it trusts the connection
IS_WIDE = "document.getElementById('returned').videoWidth * 9 === document.getElementById('returned').videoHeight * 16"


def test_keys_choose_effects_pause_and_stop(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            for count, (key, kind) in enumerate([("2", "contour"), ("3", "green"), ("4", "blur"), ("1", "overlay")], 2):
                await it.page.keyboard.press(key)
                assert (await it.newest("effect", count))["kind"] == kind
                assert await it.page.is_checked(f"input[value={kind}]")
            await it.page.evaluate("document.activeElement.blur()")
            await it.page.keyboard.press("Space")
            assert (await it.newest("pause", 1))["paused"] is True
            await it.until("document.getElementById('pause').ariaPressed === 'true'")
            assert await it.text("status-text") == "Paused."
            await it.page.keyboard.press("Space")
            assert (await it.newest("pause", 2))["paused"] is False
            await it.until("document.getElementById('status-text').textContent === 'Live.'")
            await it.page.keyboard.press("Escape")
            await it.until_phase("idle")
            await it.sessions.until(lambda sessions: sessions.ended == ["session1"])
            assert await it.page.evaluate("document.getElementById('sent').srcObject") is None

    stage.run(go())


def test_a_background_is_uploaded_before_its_effect_is_asked_for_and_again_for_a_new_session(
    stage: Stage, tmp_path: Path
) -> None:
    picture = make_image(tmp_path / "wall.png", quadrants((4000, 1000)))

    async def go() -> None:
        from io import BytesIO

        from PIL import Image

        async with visit(stage) as it:
            await it.go_live()
            await it.page.keyboard.press("5")
            await it.until_told("Choose a background picture")
            assert await it.page.is_visible("#background")
            assert len(await it.commands("effect")) == 1
            await it.page.set_input_files("#background", picture)
            assert (await it.newest("effect", 2))["kind"] == "replace"
            (sent,) = it.sessions.sessions["session1"].backgrounds
            with Image.open(BytesIO(sent)) as image:
                assert (image.format, image.size) == ("JPEG", (1920, 480))
            await it.page.evaluate("peer.close()")
            assert (await it.newest("effect", 3))["kind"] == "replace"
            assert it.sessions.sessions["session2"].backgrounds == [sent]

    stage.run(go())


def test_a_file_that_is_no_picture_is_refused_by_the_page(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "notes.jpg"
    file.write_text("no picture")

    async def go() -> None:
        async with visit(stage) as it:
            await it.page.check("input[value=replace]")
            await it.page.set_input_files("#background", file)
            await it.until_told("notes.jpg is no picture")

    stage.run(go())


def codecs_of(offer: str) -> list[str]:
    """The names of an offer's video codecs, in the order of preference."""
    lines = offer.splitlines()
    order = next(line for line in lines if line.startswith("m=video")).split()[3:]
    names = dict(line.removeprefix("a=rtpmap:").split("/")[0].split() for line in lines if line.startswith("a=rtpmap:"))
    return [names[number] for number in order]


def test_h264_is_offered_first_and_vp8_on_request_at_once(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.click("text=Advanced")
            await it.page.select_option("#codec", "VP8")
            await it.sessions.until(lambda sessions: len(sessions.offers) == 2)
            first, second = (codecs_of(offer) for _, _, offer in it.sessions.offers)
            assert first[0] == "H264" and "VP8" in first and second[0] == "VP8"
            assert set(first) == set(second) == {"H264", "VP8", "rtx"}
            await it.until_phase("live")
            await it.sessions.until(lambda sessions: sessions.ended == ["session1"])

    stage.run(go())


def test_another_camera_and_another_size_are_sent_without_a_new_session(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            ids = await it.page.evaluate("[...document.getElementById('camera').options].map(({value}) => value)")
            assert len(set(ids)) == 3
            other = ids[2]  # the second of Chromium's made-up cameras gives depth, which is not sent
            assert await it.page.input_value("#camera") != other
            await it.page.select_option("#camera", other)
            of_sent = "document.getElementById('sent').srcObject.getVideoTracks()[0].getSettings()"
            await it.until(f"{of_sent}.deviceId === '{other}'")
            await it.page.select_option("#size", "720")
            await it.until(IS_WIDE)
            assert await it.page.evaluate(f"{of_sent}.deviceId") == other
            assert len(it.sessions.offers) == 1
            assert await it.page.evaluate("document.body.dataset.phase") == "live", await it.text("notice")

    stage.run(go())


SLOW_CAMERA = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.cameras = [];
window.allowed = new Promise((resolve) => (window.allow = resolve));
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await open(wanted);
  cameras.push(stream.getVideoTracks()[0]);
  await allowed;
  return stream;
};
"""


def test_stop_while_the_browser_asks_leaves_the_camera_off(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, script=SLOW_CAMERA) as it:
            await it.page.click("#start")
            await it.until("cameras.length === 1")
            await it.page.keyboard.press("Escape")
            await it.until_phase("idle")
            await it.page.evaluate("allow()")
            await it.until("cameras[0].readyState === 'ended'")
            assert await it.page.evaluate("document.body.dataset.phase") == "idle"
            assert not it.sessions.offers

    stage.run(go())


def test_of_two_changes_of_the_camera_in_a_row_the_last_one_counts(stage: Stage) -> None:
    change = """
    window.allowed = new Promise((resolve) => (window.allow = resolve));
    for (const lines of ["720", "480"]) {
      document.getElementById("size").value = lines;
      document.getElementById("size").dispatchEvent(new Event("change"));
    }
    """

    async def go() -> None:
        async with visit(stage, script=SLOW_CAMERA + "allow();") as it:
            await it.go_live()
            await it.page.evaluate(change)
            await it.until("cameras.length === 3")
            await it.page.evaluate("allow()")
            await it.until("cameras.map(({ readyState }) => readyState).join() === 'ended,ended,live'")
            sent = "document.getElementById('sent').srcObject.getVideoTracks()[0]"
            await it.until(f"{sent} === cameras[2] && {sent}.getSettings().height === 480")
            before = await it.page.evaluate("document.getElementById('returned').currentTime")
            await it.until(f"document.getElementById('returned').currentTime > {before + 1}")

    stage.run(go())


def test_candidates_found_after_the_offer_are_patched_in(stage: Stage) -> None:
    # nothing answers there: gathering goes on for seconds
    rtc = RtcConfig(ice_servers=(IceServerConfig("stun:127.0.0.1:9"),))

    async def go() -> None:
        async with visit(stage, PipelineConfig(rtc=rtc, server=ServerConfig(port=0))) as it:
            await it.go_live()
            await it.sessions.until(lambda sessions: "a=end-of-candidates" in "".join(sessions.fragments), 30)
            assert "a=ice-ufrag:" in it.sessions.fragments[-1] and "a=mid:0" in it.sessions.fragments[-1]

    stage.run(go())


@pytest.mark.parametrize("leave", ["navigate", "close"])
def test_leaving_the_page_ends_the_session_on_the_server(stage: Stage, leave: str) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            if leave == "navigate":
                await it.page.goto("about:blank")
            else:
                await it.page.close(run_before_unload=True)
            await it.sessions.until(lambda sessions: sessions.ended == ["session1"])

    stage.run(go())


VIEW_PEER = """
peer.take = null;
const plain = peer.answer;
peer.answer = async function (offer) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: true });
  const add = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
    if (description.type === "offer") {
      await add.call(this, description);
      this.addTrack(stream.getVideoTracks()[0]);
      RTCPeerConnection.prototype.setRemoteDescription = add;
      return;
    }
    return add.call(this, description);
  };
  return plain.call(this, offer);
};
"""


def test_a_viewer_sees_the_published_stream_and_nothing_of_its_own(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, path="/?view=cam1", script=VIEW_PEER) as it:
            await it.until_phase("live")
            await it.until("document.getElementById('returned').currentTime > 0")
            kind, stream, offer = it.sessions.offers[0]
            assert (kind, stream) == (SessionKind.VIEW, "cam1")
            assert "a=recvonly" in offer and "m=application" not in offer
            for hidden in ("#sent", "#controls", "#pause", "#hands"):
                assert await it.page.is_hidden(hidden)
            await it.until_told("only who sends the picture", "glass-reason")
            await it.page.click("#stop")
            await it.sessions.until(lambda sessions: sessions.ended == ["session1"])

    stage.run(go())
