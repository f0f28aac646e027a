"""How the page looks: the live panel, contrast, phones, focus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")

from tests.browser.stage import PHONE, visit

if TYPE_CHECKING:
    from tests.browser.stage import Stage

pytestmark = pytest.mark.browser

DELAYS = """
async (delays) => {
  const { GlassToGlass } = await import("/page/latency.js");
  const glass = new GlassToGlass();
  delays.forEach((delay, number) => {
    const result = { rtp_timestamp: number, capture_time_ms: performance.timeOrigin + 1000 };
    const frame = { rtpTimestamp: number, expectedDisplayTime: 1000 + delay };
    const steps = [() => glass.takeResult(result), () => glass.takeFrame(frame)];
    for (const step of number % 2 ? steps : steps.reverse()) step();  // either may come first
    glass.takeResult({ rtp_timestamp: null, capture_time_ms: 5 });
    glass.takeFrame({ rtpTimestamp: 1e6 + number, expectedDisplayTime: 9e9 });  // a frame without a result
  });
  return [glass.report(performance.now()), glass.report(performance.now() + 6000)];
}
"""


def test_glass_to_glass_is_display_time_less_capture_time_of_the_same_frame(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            now, later = await it.page.evaluate(DELAYS, list(range(101)))
            assert now["count"] == 101
            assert (now["p50"], now["p95"]) == (pytest.approx(50, abs=0.01), pytest.approx(95, abs=0.01))
            assert later == {"reason": "waiting for measurements"}

    stage.run(go())


def test_a_browser_that_names_no_frames_gets_the_reason_instead_of_a_delay(stage: Stage) -> None:
    script = """
    const plain = HTMLVideoElement.prototype.requestVideoFrameCallback;
    HTMLVideoElement.prototype.requestVideoFrameCallback = function (told) {
      return plain.call(this, (now, { expectedDisplayTime }) => told(now, { expectedDisplayTime }));
    };
    """

    async def go() -> None:
        async with visit(stage, script=script) as it:
            await it.go_live()
            await it.until_told("no rtpTimestamp", "glass-reason")
            assert await it.text("glass-p50") == "n/a"

    stage.run(go())


def test_the_panel_shows_rates_drops_hands_and_stages(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            tracks = "[{id: 2, handedness: 'left', state: 'tracked', box_xyxy_px: null}]"
            times = "{queue: 1, segment: 8.25, total: 66.6}"
            await it.page.evaluate(f"peer.result({{dropped: 12, tracks: {tracks}, timings_ms: {times}}})")
            await it.until_told("2: left, tracked", "hands")
            assert await it.text("drops-server") == "12"
            await it.until("parseFloat(document.getElementById('fps-sent').textContent) > 5")
            await it.until("parseFloat(document.getElementById('fps-returned').textContent) > 5")
            rows = await it.page.evaluate(
                "[...document.querySelectorAll('#stages div')].map((row) => row.innerText.split(/\\s+/))"
            )
            assert rows == [["queue", "1.0", "ms"], ["segment", "8.3", "ms"], ["total", "66.6", "ms"]]
            share = "parseFloat(document.querySelectorAll('#stages i')[{}].style.getPropertyValue('--share'))"
            assert await it.page.evaluate(share.format(2)) == 1.0
            assert await it.page.evaluate(share.format(1)) == pytest.approx(8.25 / 66.6, abs=0.001)

    stage.run(go())


CONTRASTS = """
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const groundOf = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const ground = rgba(getComputedStyle(one).backgroundColor);
      if (ground[3] > 0.99) return ground;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    const text = walk.currentNode.textContent.trim();
    const disabled = "button:disabled, fieldset:disabled > :not(.muted), label:has(input:disabled)";
    const unread = "script, noscript, option, [aria-hidden=true]";
    if (!text || !element.checkVisibility() || element.closest(`${disabled}, ${unread}`)) continue;
    const [ink, ground] = [rgba(getComputedStyle(element).color), groundOf(element)];
    let opacity = 1;
    for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
    const seen = ink.slice(0, 3).map((value, at) => value * opacity + ground[at] * (1 - opacity));
    const [light, dark] = [luminance(seen), luminance(ground)].sort((a, b) => b - a);
    found.push([text.slice(0, 40), (light + 0.05) / (dark + 0.05)]);
  }
  return found;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_schemes(stage: Stage, scheme: str) -> None:
    async def go() -> None:
        async with visit(stage, options={"color_scheme": scheme}) as it:
            await it.go_live()
            await it.page.click("text=Advanced")
            await it.page.click("text=Keys")
            await it.page.evaluate("peer.result({timings_ms: {segment: 8.25}})")
            await it.page.evaluate("peer.refusals.prompt = 'no'")
            await it.page.click("#pointer")
            await it.until_told("No.")
            await it.until("document.querySelectorAll('#stages div').length === 1")
            live = await it.page.evaluate(CONTRASTS)
            await it.page.evaluate("peer.say({type: 'ended', reason: 'scripted'})")
            await it.until_phase("waiting")
            waiting = await it.page.evaluate(CONTRASTS)
            await it.page.evaluate("peer.greeting.takes_clicks = false")
            await it.until_phase("live")
            await it.until_told("Clicks need", "pointing-note")
            found = live + waiting + await it.page.evaluate(CONTRASTS)
            assert len(found) > 60 and any("Scripted." in text for text, _ in found)
            assert [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5] == []

    stage.run(go())


SIZES = """
[...document.querySelectorAll("button, select, summary, .choices label, .toggle, input[type=file]")]
  .filter((one) => one.checkVisibility())
  .map((one) => [one.id || one.textContent.trim(), one.getBoundingClientRect()])
  .map(([name, { height, right }]) => [name, height, right])
"""


def test_a_phone_gets_one_column_that_does_not_scroll_sideways_and_controls_fit_for_fingers(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, options=PHONE) as it:
            await it.go_live()
            await it.page.tap("input[value=replace]")
            tracks = "[{id: 1, handedness: 'right', state: 'tentative', box_xyxy_px: null}]"
            await it.page.evaluate(f"peer.result({{tracks: {tracks}, timings_ms: {{a_stage_with_a_long_name: 8}}}})")
            await it.until_told("1: right", "hands")
            assert await it.page.evaluate("document.scrollingElement.scrollWidth") == 360
            sent, returned = [await it.page.locator(one).bounding_box() for one in ("#sent", "#returned")]
            assert sent is not None and returned is not None
            assert sent["x"] == returned["x"] and returned["y"] >= sent["y"] + sent["height"]
            assert sent["width"] > 320
            for name, height, right in await it.page.evaluate(SIZES):
                assert height >= 44 and right <= 360, name
            await it.page.evaluate("peer.say({type: 'ended', reason: 'a-reason-' + 'x'.repeat(80)})")
            await it.until_phase("waiting")
            assert await it.page.evaluate("document.scrollingElement.scrollWidth") == 360

    stage.run(go())


def test_marks_do_not_fade_for_those_who_asked_for_less_motion(stage: Stage) -> None:
    async def go() -> None:
        for motion, expected in (("no-preference", "ease-in"), ("reduce", "steps(1)")):
            async with visit(stage, options={"reduced_motion": motion}) as it:
                await it.go_live()
                await it.page.click("#pointer")
                timing = "getComputedStyle(document.querySelector('.mark')).animationTimingFunction"
                assert await it.page.evaluate(timing) == expected
                assert await it.page.evaluate("document.getAnimations().length") == 1  # and nothing else moves

    stage.run(go())


TAB_STOP = """
() => {
  const one = document.activeElement;
  const shown = one.matches(".choices input") ? one.nextElementSibling : one;
  const { outlineStyle, outlineWidth } = getComputedStyle(shown);
  return [one.id || `${one.name}=${one.value}` || one.tagName, outlineStyle, parseFloat(outlineWidth)];
}
"""


def test_every_control_is_reached_by_tab_and_shows_that_it_is_focused(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.click("text=Advanced")
            await it.page.evaluate("document.activeElement.blur()")
            stops: dict[str, tuple[str, float]] = {}
            for _ in range(40):
                await it.page.keyboard.press("Tab")
                name, style, width = await it.page.evaluate(TAB_STOP)
                stops.setdefault(name, (style, width))
            wanted = {
                "pause",
                "stop",
                "pointer",
                "effect=overlay",
                "landmarks",
                "mirror",
                "pointing=positive",
                "target",
            }
            assert wanted | {"size", "camera", "codec"} <= stops.keys()
            unseen = {name for name, (style, width) in stops.items() if style == "none" or width < 2} - {"=", "BODY"}
            assert not {name for name in unseen if "undefined" not in name}

    stage.run(go())
