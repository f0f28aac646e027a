from __future__ import annotations

import numpy as np
import pytest

from gest_stream.synthetic.appearance import linear, make_light
from gest_stream.synthetic.layer import Layer
from gest_stream.training.wide_camera import draw_camera, expose
from gest_stream.training.wide_people import draw_person
from gest_stream.training.wide_scene import Item, Shadow, lay_together
from gest_stream.training.wide_things import Form, Solid, Thing, see_thing

GREY = linear(np.array([128, 128, 128], np.float32))
LIGHT = make_light(np.random.default_rng(0), (4.0,))


@pytest.mark.parametrize(
    ("form", "area", "nearest"),
    [(Form.BOX, 4 * 20 * 30, -10.0), (Form.CYLINDER, 4 * 20 * 30, -10.0), (Form.BALL, np.pi * 20 * 30, -10.0)],
)
def test_solids_have_their_size_and_depth(form: Form, area: float, nearest: float) -> None:
    thing = Thing((Solid(form, (0, 0, 0), (2.0, 3.0, 1.0), GREY, GREY),), 0.0)
    layer, depth = see_thing(thing, 10 * np.eye(3, dtype=np.float32), np.array([60, 50, 5.0]), LIGHT, (120, 100))
    np.testing.assert_allclose(layer.coverage.sum(), area, rtol=0.02)
    assert depth[layer.coverage > 0.99].min() == pytest.approx(nearest + 5.0, abs=0.2)
    assert depth[layer.coverage == 0].min(initial=1e9) > 1e8


def test_a_thing_outside_the_frame_has_no_pixels() -> None:
    thing = Thing((Solid(Form.BALL, (0, 0, 0), (2.0, 2.0, 2.0), GREY, GREY),), 0.0)
    layer, depth = see_thing(thing, 10 * np.eye(3, dtype=np.float32), np.array([-60, 50, 0.0]), LIGHT, (120, 100))
    assert layer.parts.size == 0 and depth.size == 0


def _square(x: int, y: int, side: int, parts: int) -> Layer:
    shares = np.zeros((parts, side, side), np.float32)
    shares[0] = 1.0
    return Layer((x, y), np.full((side, side, 3), 200, np.float32), shares)


def test_what_lies_before_a_hand_takes_its_pixels_and_its_share() -> None:
    background = np.zeros((40, 40, 3), np.float32)
    points = np.zeros((2, 21, 2), np.float32)
    items = [Item(_square(0, 0, 20, 2), 0), Item(_square(10, 10, 20, 2), 1), Item(_square(0, 0, 10, 1))]
    scene = lay_together(background, items, points)
    assert scene.shown.tolist() == [pytest.approx(0.5), 1.0]
    assert scene.hands[0, 5, 15] == 255 and scene.hands[0, 15, 15] == 0 and scene.hands[0, 5, 5] == 0
    assert scene.hands[1, 15, 15] == 255


def test_shadows_darken_and_are_no_hand() -> None:
    background = np.full((40, 40, 3), 100, np.float32)
    hand = _square(5, 5, 10, 2)
    shadow = Shadow((15.0, 0.0), 0.5, 0.5).of(hand, (40, 40))
    scene = lay_together(background, [Item(shadow), Item(hand, 0)], np.zeros((1, 21, 2), np.float32))
    assert scene.picture[10, 25, 0] == pytest.approx(50, abs=1) and scene.picture[30, 30, 0] == 100
    assert not scene.hands[0, 10, 25] and scene.shown[0] == 1.0


def test_people_are_opaque_heads_without_hands() -> None:
    light_skin, dark_skin = (draw_person(np.random.default_rng(2), LIGHT, tone) for tone in (2.0, 9.5))
    assert light_skin.parts.shape == (1, 256, 256) and light_skin.parts[0, 75, 128] == 1.0
    assert light_skin.parts[0, 5, 5] < 1e-6
    nose = (slice(80, 100), slice(100, 115))
    assert light_skin.colour[nose].mean() > 1.5 * dark_skin.colour[nose].mean()


def test_cameras_differ_and_deliver_pictures_of_the_size() -> None:
    picture = np.full((48, 64, 3), 120, np.float32)
    picture[:, 32:] = 60
    taken = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        frame = expose(picture, draw_camera(rng), rng)
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        assert frame[:, :24].mean() > frame[:, 40:].mean()
        taken.append(float(frame.mean()))
    assert np.ptp(taken) > 30
