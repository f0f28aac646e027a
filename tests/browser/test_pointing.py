"""Pointing at hands on the returned picture: what the server is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")

from tests.browser.stage import PHONE, visit

if TYPE_CHECKING:
    from tests.browser.stage import Stage

pytestmark = pytest.mark.browser

# Chromium sends a smaller picture until it trusts the connection
IS_WIDE = "document.getElementById('returned').videoWidth * 9 === document.getElementById('returned').videoHeight * 16"


@pytest.mark.parametrize("mirrored", [False, True])
def test_clicks_reach_the_right_place_of_a_letterboxed_picture_also_when_it_is_mirrored(
    stage: Stage, mirrored: bool
) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.page.select_option("#size", "720")  # 16:9 in a box of 4:3: an eighth is empty above and below
            await it.go_live()
            await it.until(IS_WIDE)
            if mirrored:
                await it.page.check("#mirror")
            await it.page.mouse.click(*await it.place(0.25, 0.35))
            prompt = await it.newest("prompt", 1)
            x, y = prompt["points_xy_norm"][0]
            assert x == pytest.approx(0.75 if mirrored else 0.25, abs=0.004)
            assert y == pytest.approx((0.35 - 0.125) / 0.75, abs=0.004)
            assert prompt["labels"] == [1] and prompt["track_id"] is None
            for beside in (0.06, 0.94):
                await it.page.mouse.click(*await it.place(0.5, beside))
            await it.page.mouse.click(*await it.place(0.5, 0.5))
            assert (await it.newest("prompt", 2))["points_xy_norm"] == [[0.5, 0.5]]

    stage.run(go())


@pytest.mark.parametrize("how", ["shift", "right", "mode"])
def test_a_region_is_taken_away_by_shift_by_the_right_button_and_by_mode(stage: Stage, how: str) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            if how == "mode":
                await it.page.check("input[value=negative]")
                await it.page.click("#pointer")
            elif how == "right":
                await it.page.click("#pointer", button="right")
            else:
                await it.page.click("#pointer", modifiers=["Shift"])
            assert (await it.newest("prompt", 1))["labels"] == [0]

    stage.run(go())


def test_a_click_is_about_the_hand_whose_box_it_lies_in_or_the_chosen_one(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            boxes = {3: [64, 48, 320, 240], 4: [64, 48, 128, 96], 5: None}
            tracks = [{"id": track_id, "box_xyxy_px": box} for track_id, box in boxes.items()]
            await it.page.evaluate("tracks => peer.result({tracks})", tracks)
            await it.until("document.getElementById('target').options.length === 4")
            expected = [((0.4, 0.4), None, 3), ((0.15, 0.15), None, 4), ((0.8, 0.8), None, None), ((0.8, 0.8), "5", 5)]
            for count, (place, chosen, track_id) in enumerate(expected, 1):
                if chosen:
                    await it.page.select_option("#target", chosen)
                await it.page.mouse.click(*await it.place(*place))
                assert (await it.newest("prompt", count))["track_id"] == track_id

    stage.run(go())


def test_a_hand_is_removed_by_a_click_on_it_and_elsewhere_nothing_is(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            await it.go_live()
            await it.page.evaluate("peer.result({tracks: [{id: 3, box_xyxy_px: [64, 48, 320, 240]}]})")
            await it.until("document.getElementById('target').options.length === 2")
            await it.page.check("input[value=remove]")
            await it.page.mouse.click(*await it.place(0.9, 0.9))
            await it.until_told("There is no hand there")
            await it.page.mouse.click(*await it.place(0.3, 0.3))
            assert (await it.newest("remove_track", 1))["track_id"] == 3
            assert not await it.commands("prompt")

    stage.run(go())


def test_a_finger_points_as_a_mouse_does(stage: Stage) -> None:
    async def go() -> None:
        async with visit(stage, options=PHONE) as it:
            await it.go_live()
            await it.page.touchscreen.tap(*await it.place(0.25, 0.75))
            (point,) = (await it.newest("prompt", 1))["points_xy_norm"]
            assert point == pytest.approx([0.25, 0.75], abs=0.01)

    stage.run(go())


@pytest.mark.parametrize("mirrored", [False, True])
def test_arrows_move_a_crosshair_that_enter_and_backspace_click_at(stage: Stage, mirrored: bool) -> None:
    async def go() -> None:
        async with visit(stage) as it:
            if mirrored:
                await it.page.check("#mirror")
            await it.go_live()
            await it.page.focus("#pointer")
            assert await it.page.is_visible("#crosshair")
            before = await it.page.locator("#crosshair").bounding_box()
            for key in ("ArrowRight", "ArrowRight", "Shift+ArrowUp"):
                await it.page.keyboard.press(key)
            after = await it.page.locator("#crosshair").bounding_box()
            assert before is not None and after is not None
            assert after["x"] > before["x"] and after["y"] < before["y"]  # to the right as it is seen
            await it.page.keyboard.press("Enter")
            place = [0.46 if mirrored else 0.54, 0.4]
            prompt = await it.newest("prompt", 1)
            assert (prompt["points_xy_norm"], prompt["labels"]) == ([place], [1])
            await it.page.keyboard.press("Backspace")
            prompt = await it.newest("prompt", 2)
            assert (prompt["points_xy_norm"], prompt["labels"]) == ([place], [0])

    stage.run(go())
