"""The refiner's network: what it is built of, and that its folded weights compute the same."""

from __future__ import annotations

import pytest
import torch

from gest_stream.errors import WeightsError
from gest_stream.models.refiner import INPUTS, MAPS, RefinerNet, RefinerSpec, build_refiner, folded
from gest_stream.models.refiner_pass import RefinerPass

SPEC = RefinerSpec((8, 12, 16), (0, 1, 1), 64)


def learnt() -> RefinerNet:
    """A network whose normalisations have seen something."""
    torch.manual_seed(3)
    net = RefinerNet(SPEC, normalised=True).train()
    for _ in range(3):
        net(torch.randn(4, INPUTS, 64, 64))
    return net.eval()


def test_the_maps_have_the_grid_of_the_inputs_and_every_crop_has_one_presence() -> None:
    maps, seen = RefinerNet(SPEC)(torch.zeros(3, INPUTS, 64, 64))
    assert maps.shape == (3, len(MAPS), 64, 64) and seen.shape == (3,)


def test_folded_weights_compute_what_the_normalised_network_computes() -> None:
    net = learnt()
    plain = build_refiner(folded(net.state_dict()), SPEC)
    crops = torch.randn(2, INPUTS, 64, 64)
    with torch.inference_mode():
        for ours, theirs in zip(plain(crops), net(crops), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not any("norm" in name for name in plain.state_dict())


def test_in_use_it_says_of_the_hand_what_the_whole_network_says() -> None:
    whole = build_refiner(folded(learnt().state_dict()), SPEC)
    crops = torch.randn(2, INPUTS, 64, 96)
    with torch.inference_mode():
        maps, seen = whole(crops)
        odds, there = RefinerPass(whole)(crops)
    assert float(maps[:, 0].std()) > 0.1
    torch.testing.assert_close(odds, maps[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(there, seen)


def test_a_spec_survives_json() -> None:
    assert RefinerSpec.from_metadata(SPEC.as_metadata()) == SPEC


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "do not say what it is built of"),
        ({"widths": [8], "depths": [0, 1], "grid": 64}, "as many widths as depths"),
        ({"widths": [8, 8], "depths": [0, 1], "grid": 66}, "multiple of 4, got 66"),
    ],
)
def test_a_spec_that_no_network_has_is_refused(values: object, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        RefinerSpec.from_metadata(values)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError, match="do not fit what they say"):
        build_refiner(folded(learnt().state_dict()), RefinerSpec((8, 12, 20), (0, 1, 1), 64))


def test_the_shipped_size_is_below_a_million_parameters() -> None:
    assert sum(value.numel() for value in RefinerNet(RefinerSpec()).parameters()) < 1_000_000
