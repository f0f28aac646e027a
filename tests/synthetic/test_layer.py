import numpy as np
import pytest

from gest_stream.synthetic.layer import Layer, blurred, compose, visible_parts


def square(x: int, y: int, side: int, value: float = 200.0) -> Layer:
    shares = np.ones((1, side, side), np.float32)
    return Layer((x, y), np.full((side, side, 3), value, np.float32), shares)


def test_the_last_layer_lies_on_top() -> None:
    picture = compose(np.zeros((20, 20, 3), np.float32), [square(2, 2, 8, 100.0), square(6, 6, 8, 200.0)])
    assert picture[4, 4, 0] == 100.0 and picture[8, 8, 0] == 200.0 and picture[18, 18, 0] == 0.0


def test_the_background_itself_is_left_alone() -> None:
    background = np.zeros((20, 20, 3), np.float32)
    compose(background, [square(2, 2, 8)])
    assert not background.any()


def test_a_layer_in_front_hides_exactly_what_it_covers() -> None:
    seen = visible_parts(square(2, 2, 8), [square(6, 6, 8)])
    assert seen.sum() == 64 - 16
    assert not seen[0, 4:, 4:].any()


def test_what_two_layers_show_of_a_pixel_adds_up_to_one_at_most() -> None:
    rng = np.random.default_rng(0)
    back, front = (
        Layer((k, k), np.zeros((9, 9, 3), np.float32), rng.uniform(0, 1, (1, 9, 9)).astype(np.float32)) for k in (0, 2)
    )
    total = np.zeros((12, 12))
    total[back.slices] += visible_parts(back, [front])[0]
    total[front.slices] += visible_parts(front, [])[0]
    assert total.max() <= 1.0 + 1e-6


@pytest.mark.parametrize("motion", [(10.0, 0.0), (0.0, 6.0), (4.0, 3.0)])
def test_motion_blur_keeps_the_amount_and_the_place_and_spreads_along_the_motion(motion: tuple[float, float]) -> None:
    layer = blurred(square(20, 20, 8), np.array(motion), (64, 64))
    assert layer.coverage.sum() == pytest.approx(64, rel=1e-4)
    y, x = np.mgrid[layer.slices]
    weights = layer.coverage / layer.coverage.sum()
    assert (x * weights).sum() == pytest.approx(23.5, abs=0.05)
    assert (y * weights).sum() == pytest.approx(23.5, abs=0.05)
    spread = np.array([(weights * (v - (v * weights).sum()) ** 2).sum() for v in (x, y)])
    still = (8**2 - 1) / 12
    assert np.allclose(spread - still, np.array(motion) ** 2 / 12, atol=0.6)


def test_a_layer_that_hardly_moves_is_not_touched() -> None:
    layer = square(5, 5, 8)
    assert blurred(layer, np.array([1.0, 0.5]), (64, 64)) is layer


def test_blur_stays_inside_the_frame() -> None:
    layer = blurred(square(0, 56, 8), np.array([9.0, 9.0]), (64, 64))
    rows, columns = layer.slices
    assert rows.start >= 0 and columns.start >= 0 and rows.stop <= 64 and columns.stop <= 64
