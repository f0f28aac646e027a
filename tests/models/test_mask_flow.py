"""Optical flow between small pictures."""

from __future__ import annotations

import numpy as np
import pytest

from gest_stream.models.mask_flow import FlowFinder


@pytest.mark.parametrize("size", [(24, 144), (28, 144), (31, 144), (144, 31)])
def test_pictures_too_narrow_for_the_search_have_no_flow(size: tuple[int, int]) -> None:
    """OpenCV's search read past pictures of 24 to 31 cells, and ended the process, after it had seen larger ones."""
    flow, rng = FlowFinder(), np.random.default_rng(0)
    large = rng.integers(0, 255, (144, 144), np.uint8)
    assert flow.between(large, large) is not None
    narrow = rng.integers(0, 255, size, np.uint8)
    assert flow.between(narrow, narrow) is None


def test_narrow_pictures_can_be_followed_finely() -> None:
    narrow = np.random.default_rng(0).integers(0, 255, (24, 144), np.uint8)
    found = FlowFinder(fine=True).between(narrow, narrow)
    assert found is not None and float(np.abs(found.back_xy).max()) < 0.5
