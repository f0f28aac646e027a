"""What the page says when something is wrong, and that its remedy works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")

from gest_stream.config import PipelineConfig, ServerConfig
from gest_stream.errors import SignallingError
from gest_stream.server.session import SessionKind
from gest_stream.server.sessions import ServerFullError
from tests.browser.stage import FOREIGN_NAME, visit

if TYPE_CHECKING:
    from tests.browser.stage import Stage

pytestmark = pytest.mark.browser

TOKEN = "a-token-of-tests"
GUARDED = PipelineConfig(server=ServerConfig(port=0, token=TOKEN))

REFUSE_ONCE = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
let asked = 0;
navigator.mediaDevices.getUserMedia = (wanted) =>
  asked++ ? open(wanted) : Promise.reject(new DOMException("scripted", "%s"));
"""


@pytest.mark.parametrize(
    ("error", "title", "remedy"),
    [
        ("NotFoundError", "No camera was found", "Plug one in"),
        ("NotAllowedError", "The camera was refused", "Allow it for this page"),
        ("NotReadableError", "The camera is in use", "Close other programs"),
    ],
)
def test_a_camera_that_does_not_open_is_explained_and_can_be_tried_again(
    stage: Stage, error: str, title: str, remedy: str
) -> None:
    async def go() -> None:
        async with visit(stage, script=REFUSE_ONCE % error) as it:
            await it.page.click("#start")
            await it.until_told(title, "notice-title")
            assert remedy in await it.text("notice-text")
            assert title in await it.text("status-text")
            assert not it.sessions.offers
            await it.page.click("#notice-action")
            await it.until_phase("live")
            assert await it.page.is_hidden("#notice")

    stage.run(go())


def test_a_page_that_may_not_use_cameras_says_under_which_address_it_may(stage: Stage) -> None:
    config = PipelineConfig(server=ServerConfig(port=0, public_names=(FOREIGN_NAME,)))

    async def go() -> None:
        async with visit(stage, config, host=FOREIGN_NAME) as it:
            await it.page.click("#start")
            await it.until_told("may not use a camera", "notice-title")
            text = await it.text("notice-text")
            assert f"https://{FOREIGN_NAME}" in text and "localhost" in text

    stage.run(go())


def test_a_camera_that_is_unplugged_is_told_and_ends_the_session(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.evaluate(
                "document.getElementById('sent').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
            )
            await it.until_told("The camera went away", "notice-title")
            await it.until_phase("idle")
            await it.sessions.until(lambda sessions: sessions.ended == ["session1"])

    stage.run(go())


def test_a_full_server_is_counted_down_to_and_tried_again(stage: Stage) -> None:
    async def go() -> None:
        full = ServerFullError("all 4 places are taken", 503, 3)
        async with visit(stage, refusal=full) as it:
            await it.page.click("#start")
            await it.until_told("The server is full", "notice-title")
            assert await it.text("status-text") == "The server is full."
            seen: list[int] = []
            while it.sessions.refusal and len(seen) < 2:
                shown = int(await it.text("notice-seconds"))
                if shown not in seen:
                    seen.append(shown)
                await asyncio.sleep(0.05)
            assert seen in ([3, 2], [2, 1])
            assert len(it.sessions.offers) == 1
            it.sessions.refusal = None
            await it.until_phase("live")
            assert len(it.sessions.offers) == 2
            assert await it.page.is_hidden("#notice")

    stage.run(go())


def test_a_full_server_can_be_tried_at_once_and_given_up(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, refusal=ServerFullError("you have too many", 429, 600)) as it:
            await it.page.click("#start")
            await it.until_phase("waiting")
            assert await it.page.is_visible("#notice-action")
            await it.page.click("#notice-action")
            await it.sessions.until(lambda sessions: len(sessions.offers) == 2)
            await it.until_phase("waiting")
            await it.page.click("#stop")
            await it.until_phase("idle")
            assert await it.page.is_hidden("#notice")

    stage.run(go())


def test_a_refused_offer_is_shown_and_not_repeated(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, refusal=SignallingError("offer: no video", 422)) as it:
            await it.page.click("#start")
            await it.until_phase("refused")
            assert "422" in await it.text("notice-title")
            assert "Offer: no video." in await it.text("notice-text")
            assert len(it.sessions.offers) == 1

    stage.run(go())


def test_a_token_is_asked_for_before_the_camera_and_kept_for_the_tab_only(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, GUARDED) as it:
            await it.until_told("wants a token", "notice-title")
            assert await it.page.evaluate("document.activeElement.id") == "token"
            assert await it.page.get_attribute("#token", "type") == "password"
            assert await it.page.is_hidden("#notice-close")
            await it.page.fill("#token", "not-the-token")
            await it.page.keyboard.press("Enter")
            await it.until_told("does not take this token", "notice-title")
            await it.page.fill("#token", TOKEN)
            await it.page.click("#token-form button")
            await it.until_phase("idle")
            assert await it.page.is_hidden("#notice")
            stored = await it.page.evaluate(
                "[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]"
            )
            assert TOKEN in stored[0] and stored[1:] == ["{}", ""]
            await it.page.reload()
            await it.go_live()

    stage.run(go())


def test_a_token_in_the_address_is_used_and_taken_out_of_it(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, GUARDED, path=f"/#token={TOKEN}") as it:
            assert await it.page.evaluate("location.href") == f"{it.url}/"
            await it.go_live()

    stage.run(go())


def test_a_token_put_into_the_address_of_an_open_page_is_used(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, GUARDED) as it:
            await it.until_phase("token")
            await it.page.evaluate(f"location.hash = 'token={TOKEN}'")
            await it.until_phase("idle")
            assert await it.page.evaluate("location.href") == f"{it.url}/"

    stage.run(go())


def test_the_reason_why_the_server_ended_a_session_is_told_and_the_page_comes_back(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.evaluate("peer.say({type: 'ended', reason: 'the server shuts down'})")
            await it.until_told("The server ended the session", "notice-title")
            assert "The server shuts down." in await it.text("notice-text")
            await it.until("peer.connections === 2")
            await it.until_phase("live")
            assert await it.page.is_hidden("#notice")

    stage.run(go())


def test_a_closed_connection_is_told_and_made_again_with_what_was_chosen(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.keyboard.press("2")
            await it.page.check("#landmarks")
            await it.until("peer.commands.length === 3")
            await it.page.evaluate("peer.close()")
            await it.until_told("The connection was lost", "notice-title")
            await it.until_phase("live")
            await it.until("peer.commands.length === 4")
            assert (await it.commands("effect"))[-1] | {"id": 0} == {
                "v": 1, "id": 0, "type": "effect", "kind": "contour", "landmarks": True,
            }  # fmt: skip

    stage.run(go())


def test_pictures_and_results_that_stop_for_five_seconds_are_a_loss(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.evaluate("peer.pc.getSenders().find((one) => one.track).replaceTrack(null)")
            began = asyncio.get_running_loop().time()
            await it.until_told("Nothing came from the server any more", "notice-text")
            assert 4.0 < asyncio.get_running_loop().time() - began < 9.0
            await it.until_phase("live")

    stage.run(go())


def test_a_network_that_is_away_for_three_seconds_is_a_loss(stage: Stage) -> None:
    script = """
    let page = null;  // the page's own connection is the first that is made
    const Plain = RTCPeerConnection;
    window.RTCPeerConnection = class extends Plain {
      constructor(settings) { super(settings); page ??= this; }
      get iceConnectionState() { return this === page && window.away ? "disconnected" : super.iceConnectionState; }
    };
    window.goAway = () => { window.away = true; page.dispatchEvent(new Event("iceconnectionstatechange")); };
    """

    async def go() -> None:
        async with visit(stage, script=script) as it:
            await it.go_live()
            await it.page.evaluate("goAway()")
            began = asyncio.get_running_loop().time()
            await it.until_told("The network went away", "notice-text")
            assert 2.5 < asyncio.get_running_loop().time() - began < 6.0

    stage.run(go())


PAUSES = """
async (kinds) => {
  const { Link } = await import("/page/link.js");
  const { HttpProblem, Unreachable } = await import("/page/signalling.js");
  Math.random = () => 0.5;  // no jitter
  const problems = { unreachable: () => new Unreachable("away"), broken: () => new HttpProblem(500, "", "broken") };
  const link = new Link({}, async () => { throw problems[kinds.shift()](); });
  const pauses = [];
  await new Promise((done) => {
    link.addEventListener("phase", ({ detail }) => {
      if (detail.phase !== "waiting") return;
      pauses.push(detail.seconds);
      if (kinds.length) queueMicrotask(() => queueMicrotask(() => link.retryNow()));
      else { link.stop(); done(); }
    });
    link.start();
  });
  return pauses;
}
"""


def test_pauses_between_attempts_grow_up_to_twenty_seconds(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            kinds = ["unreachable", "broken", *["unreachable"] * 5]
            assert await it.page.evaluate(PAUSES, kinds) == [1, 2, 4, 8, 16, 20, 20]

    stage.run(go())


def test_a_server_without_clicks_says_so_and_takes_none(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, script="Object.assign(peer.greeting, {takes_clicks: false, segmenter: 'light'})") as it:
            await it.go_live()
            assert "Clicks need the segmenter sam2; this server runs light." in await it.text("pointing-note")
            assert await it.page.is_disabled("input[name=pointing][value=remove]")
            await it.page.click("#pointer")
            await it.page.keyboard.press("3")  # told after the click: the click would have come first
            await it.until("peer.commands.some((one) => one.kind === 'green')")
            assert not await it.commands("prompt")

    stage.run(go())


def test_a_refused_command_is_shown(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.evaluate("peer.refusals.prompt = 'track 9: no such hand is in view'")
            await it.page.click("#pointer")
            await it.until_told("Track 9: no such hand is in view.")

    stage.run(go())


def test_a_refused_effect_is_shown_and_the_choice_goes_back(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.evaluate("peer.refusals.effect = 'not now'")
            await it.page.keyboard.press("4")
            await it.until_told("not now")
            assert await it.page.is_checked("input[value=overlay]")

    stage.run(go())


def test_a_stream_that_nobody_publishes_is_waited_for(stage: Stage) -> None:
    async def go() -> None:
        refusal = SignallingError("stream cam1: nobody publishes it", 404)
        async with visit(stage, path="/?view=cam1", refusal=refusal) as it:
            await it.until_told("Nobody publishes “cam1” now", "notice-title")
            assert await it.page.evaluate("document.body.dataset.phase") == "waiting"
            assert it.sessions.offers[0][:2] == (SessionKind.VIEW, "cam1")

    stage.run(go())


def test_what_is_no_name_of_a_stream_is_not_asked_for(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, path="/?view=../session") as it:
            await it.until_told("is no name of a stream", "notice-title")
            assert not it.sessions.offers

    stage.run(go())


def test_a_server_that_is_gone_is_waited_for(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.page.route("**/loop", lambda route: route.abort("connectionrefused"))
            await it.page.click("#start")
            await it.until_told("The connection was lost", "notice-title")
            assert "cannot be reached" in await it.text("notice-text")
            await it.page.unroute("**/loop")
            await it.until_phase("live")

    stage.run(go())
