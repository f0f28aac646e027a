from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gest_stream.config import DinoBackbone
from gest_stream.models.dino_decoder import NetSpec, normalise
from gest_stream.training.data import Part, Pick
from gest_stream.training.labels import FOREARM, HAND, IGNORE, LabelledImage
from gest_stream.training.measure import measure
from gest_stream.training.survey import Seen

SIDE = 56
CORNERS = 0.015
"""A network's coarse answer, enlarged, rounds corners off by a pixel or two."""


class ColourNet(nn.Module):
    """Calls red hand, blue forearm and all else background, on the grid of a real network."""

    spec = NetSpec(DinoBackbone.NANO, input_size=SIDE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        dark = normalise(torch.zeros(1, 1, 1, 3, dtype=torch.uint8))
        size = (images.shape[2] // 14 * 4, images.shape[3] // 14 * 4)
        red, green, blue = F.interpolate(images - dark, size=size, mode="area").unbind(1)
        return torch.stack([green, red, blue], dim=1)


@dataclass
class Pictures:
    """Pictures in memory."""

    all: Sequence[LabelledImage]
    title: str = "pictures"

    def __len__(self) -> int:
        return len(self.all)

    def group(self, index: int) -> str:
        return str(index)

    def load(self, index: int) -> LabelledImage:
        return self.all[index]


def painted(labels: np.ndarray) -> LabelledImage:
    """Each pixel in the colour of its label, so that `ColourNet` is always right."""
    colours = np.zeros((256, 3), np.uint8)
    colours[0], colours[HAND], colours[FOREARM] = (0, 255, 0), (255, 0, 0), (0, 0, 255)
    return LabelledImage(colours[labels], labels.astype(np.uint8))


def scores(pictures: Sequence[LabelledImage], forearms_labelled: bool = True, batch: int = 2) -> dict[str, float]:
    seen = tuple(Seen(one.size, True, True) for one in pictures)
    part = Part(Pictures(pictures), tuple(range(len(pictures))), seen, 1.0, forearms_labelled)
    picks = [Pick(part, number) for number in range(len(pictures))]
    return measure(ColourNet(), picks, torch.device("cpu"), batch, 1)  # type: ignore[arg-type]


@pytest.fixture
def labels() -> np.ndarray:
    # edges lie between cells of 3.5 pixels
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[7:28, 14:42], labels[28:, 21:35] = HAND, FOREARM
    return labels


def test_right_answers_score_one(labels: np.ndarray) -> None:
    assert scores([painted(labels)]) == pytest.approx({"hand": 1.0, "forearm": 1.0}, abs=CORNERS)


def test_wrong_answers_lower_it_by_their_pixels(labels: np.ndarray) -> None:
    picture = painted(labels)
    picture.image[7:28, 14:28] = 0, 255, 0  # half of the hand is missed
    picture.image[0:7, 0:14] = 255, 0, 0  # a sixth of it is seen elsewhere
    assert scores([picture])["hand"] == pytest.approx((21 * 14) / (21 * 28 + 7 * 14), abs=CORNERS)


def test_pixels_are_counted_over_all_pictures_whatever_their_shapes(labels: np.ndarray) -> None:
    wide = np.zeros((28, SIDE), np.uint8)
    wide[7:14, 7:14] = HAND
    missed = painted(wide)
    missed.image[:] = 0, 255, 0
    pictures = [painted(labels), missed, painted(labels), painted(labels)]
    expected = 3 * 21 * 28 / (3 * 21 * 28 + 49)
    for batch in (1, 3):
        assert scores(pictures, batch=batch)["hand"] == pytest.approx(expected, abs=CORNERS)


def test_what_is_not_known_is_not_judged(labels: np.ndarray) -> None:
    picture = painted(labels)
    picture.image[0:7] = 255, 0, 0
    picture.labels[0:7] = IGNORE
    assert scores([picture])["hand"] == pytest.approx(1.0, abs=CORNERS)
    picture.labels[0:7] = 0
    assert scores([picture])["hand"] == pytest.approx(0.6, abs=CORNERS)


def test_forearms_are_judged_where_they_are_labelled(labels: np.ndarray) -> None:
    picture = painted(labels)
    picture.labels[picture.labels == FOREARM] = 0
    assert scores([picture], forearms_labelled=False) == {"hand": pytest.approx(1.0, abs=CORNERS)}
    assert scores([painted(labels), picture])["forearm"] == pytest.approx(0.5, abs=CORNERS)


def test_a_picture_is_fitted_with_its_aspect() -> None:
    labels = np.zeros((200, 400), np.uint8)  # becomes 56x28
    labels[50:150, 50:350] = HAND
    assert scores([painted(labels)])["hand"] == pytest.approx(1.0, abs=2 * CORNERS)


def test_padding_is_not_judged() -> None:
    picture = painted(np.full((15, SIDE), HAND))  # padded to 56x28; the answer fades into it
    assert scores([picture]) == {"hand": pytest.approx(1.0, abs=0.08)}


def test_the_network_comes_back_in_its_mode(labels: np.ndarray) -> None:
    net = ColourNet().train()
    part = Part(Pictures([painted(labels)]), (0,), (Seen((SIDE, SIDE), True, True),), 1.0, True)
    measure(net, [Pick(part, 0)], torch.device("cpu"), 1, 1)  # type: ignore[arg-type]
    assert net.training
