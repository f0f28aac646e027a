from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gest_stream.synthetic.appearance import make_light
from gest_stream.training import wide_foregrounds
from gest_stream.training.wide_foregrounds import Foreground, cut_out, read_manifest
from gest_stream.training.wide_sprites import SpritePath, moved_points
from tests.training.made_sets import HAND_COLOUR, write_set


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither sleeves nor other skin."""
    monkeypatch.setattr(wide_foregrounds, "_SLEEVED", 0.0)
    monkeypatch.setattr(wide_foregrounds, "_RECOLOURED", 0.0)


def _cut(folder: Path) -> Foreground:
    rng = np.random.default_rng(0)
    found = cut_out(read_manifest(folder)[0], rng, make_light(rng, (4.0,)))
    assert found is not None
    return found


@pytest.mark.usefixtures("plain")
def test_a_cut_out_hand_shows_nothing_of_its_old_ground(tmp_path: Path) -> None:
    found = _cut(write_set(tmp_path, "keyed", "keyed", 1))
    share = found.sprite.parts.sum(axis=0)
    edge = (share > 0.1) & (share < 0.9)
    colours = found.sprite.colour[edge] / share[edge][:, None]
    assert edge.any()
    assert np.abs(colours - HAND_COLOUR).max() < 45  # the ground is green, 100 away in red


@pytest.mark.usefixtures("plain")
def test_an_arm_that_the_border_cut_goes_on(tmp_path: Path) -> None:
    found = _cut(write_set(tmp_path, "keyed", "keyed", 1))
    hand, arm = found.sprite.parts
    assert hand.shape[0] > 80 + 80
    assert arm[-1].max() > 0.9 and hand[90:].max() < 0.01
    np.testing.assert_allclose(hand.sum(), 30 * 40, rtol=0.05)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_hands_are_turned_upright(tmp_path: Path, quarters: int) -> None:
    folder = write_set(tmp_path, "keyed", "keyed", 1)
    upright = _cut(folder)
    for part in ("images", "masks"):
        path = str(folder / part / "000.png")
        picture = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        assert picture is not None and cv2.imwrite(path, np.rot90(picture, quarters))
    manifest = (folder / "manifest.jsonl").read_text()
    (folder / "manifest.jsonl").write_text(manifest[: manifest.index('"hands"')] + '"hands": []}')
    turned = _cut(folder)
    assert np.isnan(turned.landmarks).all()
    np.testing.assert_allclose(turned.sprite.parts[0], upright.sprite.parts[0], atol=1e-5)
    np.testing.assert_allclose(turned.pivot_xy, upright.pivot_xy)


@pytest.mark.usefixtures("plain")
def test_a_placed_sprite_and_its_landmarks_move_alike(tmp_path: Path) -> None:
    found = _cut(write_set(tmp_path, "keyed", "keyed", 1))
    path = SpritePath(np.random.default_rng(3), found.pivot_xy, (100.0, 70.0), 0.5, 40.0, True, 30.0, 1.5)
    for time_s in (0.0, 0.8):
        matrix = path.at(time_s)
        layer = found.sprite.placed(matrix, (200, 150))
        rows, columns = np.nonzero(layer.parts[0] > 0.5)
        middle = np.array([columns.mean() + layer.origin_xy_px[0], rows.mean() + layer.origin_xy_px[1]]) + 0.5
        np.testing.assert_allclose(middle, moved_points(np.array([found.pivot_xy]), matrix)[0], atol=0.6)
